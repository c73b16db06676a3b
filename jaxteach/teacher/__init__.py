"""The teacher: from observations to captions, plans, skills and action distributions."""

from jaxteach.teacher.policy import Teacher, make_teacher

__all__ = ["Teacher", "make_teacher"]
