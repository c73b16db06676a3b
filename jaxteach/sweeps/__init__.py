"""Sweeps: many runs, in this process or on a cluster."""
