"""Students: the networks that are trained."""
