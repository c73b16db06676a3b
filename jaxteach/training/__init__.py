"""Training runs, from options to finished students."""
