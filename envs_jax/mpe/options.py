"""Checks of the scenarios' options, each with one clear sentence."""

from collections.abc import Sequence


def check_counts(least: int = 1, **counts: int | None) -> None:
    """Every count must be at least `least`; None stands for no count."""
    for name, count in counts.items():
        if count is not None and count < least:
            raise ValueError(f"{name} must be at least {least}, not {count}")


def checked_ratio(local_ratio: float) -> float:
    """`local_ratio` if it is a proportion."""
    if not 0 <= local_ratio <= 1:
        raise ValueError(f"local_ratio must be within 0..1, not {local_ratio}")
    return local_ratio


def checked_stage(curriculum_stage: int, stages: Sequence[object]) -> int:
    """`curriculum_stage` if there is such a stage."""
    if not 0 <= curriculum_stage < len(stages):
        raise ValueError(f"curriculum_stage must be within 0..{len(stages) - 1}, not {curriculum_stage}")
    return curriculum_stage
