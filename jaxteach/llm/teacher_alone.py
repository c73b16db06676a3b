"""How a teacher does by itself, with the plans of a file: its episodes, and conflicts between its agents."""

import dataclasses
from typing import Any

import jax
from msgspec import structs

from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.config import TeacherConfig, WorldConfig
from jaxteach.llm.joint_captions import conflict_share, rollout_captions
from jaxteach.ppo.distillation import initial_memory
from jaxteach.ppo.episodes import Episodes, evaluation_key, film_episodes, teacher_policy
from jaxteach.system.memory import compile_checked, explain_out_of_memory
from jaxteach.teacher import Teacher
from jaxteach.teacher.loading import load_teacher
from jaxteach.teacher.plans import PlanFile
from jaxteach.teacher.policy import table_for


def teacher_with(plans: PlanFile, task: str, world: WorldConfig) -> Teacher:
    """The soft teacher of a task with the plans of a file in memory.

    Raises:
        UserError: the task has no teacher in this world, or the plans are not for it.
    """
    teacher = load_teacher(task, TeacherConfig(plans="none"), world)
    return dataclasses.replace(teacher, table=table_for(plans, teacher.domain))


def play_alone(world: AgentAxisWrapper, teacher: Teacher, episodes: int, filmed: int = 0) -> tuple[Episodes, Any]:
    """Episodes in which the teacher itself acts, its actions sampled, and what the first `filmed` of them show."""
    memory, key = initial_memory(teacher, episodes), evaluation_key(0)

    def play(key: jax.Array) -> tuple[Episodes, Any]:
        return film_episodes(world, teacher_policy(teacher), memory, key, episodes, filmed)

    with explain_out_of_memory():
        return jax.device_get(compile_checked(play, key)(key))


def conflicts(world: AgentAxisWrapper, teacher: Teacher) -> float:
    """The share of steps in which two agents pursue the same object."""
    return conflict_share(rollout_captions(world, teacher, random_actions=0.1))


def without_others(plans: PlanFile) -> PlanFile:
    """The plans that don't depend on the other agents' captions."""
    return structs.replace(plans, captions=tuple(entry for entry in plans.captions if not entry.others))
