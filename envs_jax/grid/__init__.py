"""MiniGrid's physics as pure functions on small states."""
