"""Many runs, here or on a cluster."""
