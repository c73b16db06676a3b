"""The ways in which a teacher can guide a student, one file each, and the world of `--guidance ask`."""

from jaxteach.guidance.base import Advice, Guidance, Steps, has_plans
from jaxteach.guidance.combined import METHODS, CombinedGuidance

__all__ = ["METHODS", "Advice", "CombinedGuidance", "Guidance", "Steps", "has_plans"]
