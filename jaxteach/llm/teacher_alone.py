"""How a teacher does by itself, with the plans of a file: its episodes, and conflicts between its agents."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
from msgspec import structs

from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.config import TeacherConfig, WorldConfig
from jaxteach.llm.joint_captions import conflict_share, rollout_captions
from jaxteach.ppo.distillation import initial_memory
from jaxteach.ppo.episodes import Episodes, evaluation_key, film_episodes, teacher_policy, unfinished_message
from jaxteach.system.memory import compile_checked, explain_out_of_memory
from jaxteach.teacher import Teacher
from jaxteach.teacher.loading import load_teacher
from jaxteach.teacher.plans import PlanFile
from jaxteach.teacher.policy import table_for


@dataclass(frozen=True)
class TeacherResult:
    """Episodes of a task in which the teacher itself acts.

    Attributes:
        task: the task.
        teacher: the teacher.
        outcome: the episodes.
        film: what the first episodes show, as `film_episodes` gives it.
        unfinished: how many episodes had not ended, None where all have.
        conflict_share: the share of steps in which two agents pursue the same object; None for a single agent.
        conflict_share_without_debate: as `conflict_share`, without the plans that depend on the other agents; None
            where there are none.
    """

    task: str
    teacher: Teacher
    outcome: Episodes
    film: Any
    unfinished: str | None
    conflict_share: float | None
    conflict_share_without_debate: float | None


def evaluate_teacher(
    plans: PlanFile, teacher: Teacher, task: str, world: AgentAxisWrapper, episodes: int, filmed: int = 0
) -> TeacherResult:
    """Plays episodes in which a task's teacher itself acts, its actions sampled, and films the first `filmed` of them.

    `plans` are the teacher's.
    """
    outcome, film = _play(world, teacher, episodes, filmed)
    share = share_without_debate = None
    if world.num_agents > 1:
        share, undebated = conflicts(world, teacher), _without_others(plans)
        if undebated != plans:
            alone = dataclasses.replace(teacher, table=table_for(undebated, teacher.domain))
            share_without_debate = conflicts(world, alone)
    unfinished = unfinished_message(outcome, world.max_steps)
    return TeacherResult(task, teacher, outcome, film, unfinished, share, share_without_debate)


def teacher_from_plans(plans: PlanFile, task: str, world: WorldConfig) -> Teacher:
    """The soft teacher of a task with the plans of a file in memory.

    Raises:
        UserError: the task has no teacher in this world, or the plans are not for it.
    """
    teacher = load_teacher(task, TeacherConfig(plans="none"), world)
    return dataclasses.replace(teacher, table=table_for(plans, teacher.domain))


def _play(world: AgentAxisWrapper, teacher: Teacher, episodes: int, filmed: int) -> tuple[Episodes, Any]:
    memory, key = initial_memory(teacher, episodes), evaluation_key(0)

    def play(key: jax.Array) -> tuple[Episodes, Any]:
        return film_episodes(world, teacher_policy(teacher), memory, key, episodes, filmed)

    with explain_out_of_memory():
        return jax.device_get(compile_checked(play, key)(key))


def conflicts(world: AgentAxisWrapper, teacher: Teacher) -> float:
    """The share of steps in which two agents pursue the same object."""
    return conflict_share(rollout_captions(world, teacher, random_actions=0.1))


def _without_others(plans: PlanFile) -> PlanFile:
    """The plans that don't depend on the other agents' captions."""
    return structs.replace(plans, captions=tuple(entry for entry in plans.captions if not entry.others))
