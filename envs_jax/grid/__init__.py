"""MiniGrid's physics as pure functions on small facts."""
