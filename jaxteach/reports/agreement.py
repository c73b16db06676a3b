"""How far two plan files agree, caption by caption."""

from jaxteach.llm.parse import Skills
from jaxteach.teacher.plans import CaptionParts, CaptionPlans, PlanFile, PlanFileError, find_plans


def recorded_plans(task: str) -> PlanFile | None:
    """A language model's plans for a task that come with the package; None where there are none."""
    try:
        return find_plans("recorded", task)
    except PlanFileError:
        return None


def overlaps(plans: PlanFile, recorded: PlanFile) -> dict[CaptionParts, float]:
    """The overlap with each caption of the recorded plans, 0 where the other file has no plans for it."""
    known = entries_by_caption(plans)
    return {
        caption: overlap(known[caption], entry) if caption in known else 0.0
        for caption, entry in entries_by_caption(recorded).items()
    }


def entries_by_caption(plans: PlanFile) -> dict[CaptionParts, CaptionPlans]:
    """The entries that don't depend on the other agents' captions."""
    return {entry.caption: entry for entry in plans.captions if not entry.others}


def overlap(one: CaptionPlans, other: CaptionPlans) -> float:
    """The sum over plans of the smaller of their two probabilities, each normalised to the sum 1."""
    p, q = shares_of(one), shares_of(other)
    return sum(min(p[plan], q[plan]) for plan in p.keys() & q.keys())


def shares_of(entry: CaptionPlans) -> dict[Skills, float]:
    """The probabilities of an entry's plans, normalised to the sum 1; a plan that is there twice counts once."""
    total, shares = sum(plan.probability for plan in entry.plans), {}
    for plan in entry.plans:
        shares[plan.skills] = shares.get(plan.skills, 0.0) + plan.probability / total
    return shares
