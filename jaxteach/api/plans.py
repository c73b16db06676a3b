"""Plan files written by hand, in the words in which a model answers."""

from collections.abc import Mapping
from pathlib import Path

import envs_jax
from jaxteach.errors import UserError, did_you_mean
from jaxteach.llm.parse import Rejected, parse_answer
from jaxteach.system.plugins import import_plugins
from jaxteach.tasks import canonical_task
from jaxteach.teacher.domain import Vocabulary
from jaxteach.teacher.plans import BY_HAND, CaptionPlans, Plan, PlanFile, check_plans, save_plans
from jaxteach.teacher.policy import task_domain


def write_plans(path: str | Path, task: str, plans: Mapping[str, str | Mapping[str, float]]) -> PlanFile:
    """Writes plans that you give into a plan file, for `--plans`, or `teacher=` in Python.

    Args:
        path: of the file; an existing file is replaced.
        task: the task's name.
        plans: for each caption, by its text, a plan in the words of prompts and answers, such as "go to <key>, pick up
            <key>"; or several plans with their probabilities, which sum to 1. Captions that are left out have no plans.

    Returns:
        The plans as written.

    Raises:
        ValueError: an unknown task or one without a teacher; a caption that is not one of the task's; a text that is
            not a plan in the task's words; probabilities that don't sum to 1; or the file can't be written.

    Example::

        jaxteach.write_plans("plans.json", "SimpleDoorKey", {"Agent sees <nothing>, holds <nothing>.": "explore"})
    """
    import_plugins()
    task = canonical_task(task)
    vocabulary = task_domain(envs_jax.make(task), task).vocabulary
    captions = tuple(_entry(caption, given, vocabulary) for caption, given in plans.items())
    file = PlanFile((task,), captions, {"source": BY_HAND})
    check_plans(file, str(path))
    save_plans(file, path)
    return file


def _entry(caption: str, given: str | Mapping[str, float], vocabulary: Vocabulary) -> CaptionPlans:
    if caption not in vocabulary.texts:
        advice = did_you_mean(caption, vocabulary.texts, f"one is {vocabulary.texts[0]!r}")
        raise UserError(f"the task has no caption {caption!r}; {advice}")
    if not isinstance(given, str | Mapping):
        raise UserError(f"give {caption!r} a plan, or plans with their probabilities, not {given!r}")
    number = vocabulary.texts.index(caption)
    weighted = {given: 1.0} if isinstance(given, str) else given
    plans = tuple(_plan(text, probability, caption, vocabulary) for text, probability in weighted.items())
    return CaptionPlans(tuple(vocabulary.sees[number]), vocabulary.holds[number], plans)


def _plan(text: str, probability: float, caption: str, vocabulary: Vocabulary) -> Plan:
    try:
        return Plan(probability, parse_answer(f"Action: {{{text}}}", vocabulary))
    except Rejected as error:
        raise UserError(f"the plan {text!r} for {caption!r} can't be used: {error}") from None
