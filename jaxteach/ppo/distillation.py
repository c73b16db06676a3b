"""What the learner asks a teacher: the distributions to learn from, along finished trajectories."""

from dataclasses import replace
from typing import Any, Protocol, TypeVar, cast

import jax
import jax.numpy as jnp

from jaxteach.teacher import Teacher
from jaxteach.teacher.domain import NO_CAPTION
from jaxteach.teacher.table import SkillTable


class TeamTeacher(Protocol):
    """A teacher of all agents of an environment: a dataclass, so that `with_table` can change its table."""

    table: SkillTable

    def reset(self) -> Any:
        """The empty memory of one environment, for all its agents."""
        ...

    def label(
        self, memory: Any, obs: Any, action: jax.Array, first: jax.Array, key: jax.Array
    ) -> tuple[Any, jax.Array, jax.Array]:
        """The teacher along trajectories of T steps in N environments of A agents.

        Args:
            memory: leaves [N, ...], before the first step.
            obs: leaves [T, N, A, ...].
            action: int32[T, N, A], what followed.
            first: bool[T, N], an episode begins with this observation.
            key: PRNG key of a teacher that draws.

        Returns:
            The memory after the last step; float32[T, N, A, actions], a row of zeros where the
            teacher is silent; int32[T, N, A], the captions' numbers, -1 for none; other numbers
            outside the table are counted as unlisted.
        """
        ...


AnyTeacher = Teacher | TeamTeacher
"""A `Teacher` of worlds without an axis for agents teaches teams of one."""
SomeTeacher = TypeVar("SomeTeacher", bound=AnyTeacher)


def initial_memory(teacher: AnyTeacher, num_envs: int) -> Any:
    """The teacher's empty memory for N environments, leaves [N, ...]."""
    return jax.tree.map(lambda leaf: jnp.tile(leaf, (num_envs, *[1] * leaf.ndim)), teacher.reset())


def with_table(teacher: SomeTeacher, table: SkillTable) -> SomeTeacher:
    """The same teacher with another table of the same shapes; its arrays may be traced."""
    return replace(cast(Any, teacher), table=table)


def merge_agents(teacher: AnyTeacher, tree: Any) -> Any:
    """Arrays [..., N, A, ...] of a team as the teacher takes them: less the axis [A] where it knows none."""
    if isinstance(teacher, Teacher) and teacher.domain.num_agents is None:
        return jax.tree.map(lambda leaf: leaf[:, 0], tree)
    return tree


def ask(
    teacher: AnyTeacher, memory: Any, obs: Any, action: jax.Array, first: jax.Array, key: jax.Array
) -> tuple[Any, jax.Array, jax.Array]:
    """`TeamTeacher.label` of any teacher."""
    obs, acted = jax.vmap(lambda tree: merge_agents(teacher, tree))((obs, action))
    memory, probs, captions = teacher.label(memory, obs, acted, first, key)
    return memory, probs.reshape(*action.shape, -1), captions.reshape(action.shape)


def uncovered_captions(table: SkillTable, captions: jax.Array) -> jax.Array:
    """How often each caption was met for which the table has no plans.

    Args:
        table: of C captions.
        captions: int32[...], the captions met; those that are not in the table count nowhere.

    Returns:
        int32[C].
    """
    count = table.rows.shape[0]
    silent = jnp.asarray(table.probabilities)[:count].sum(-1) == 0
    places = jnp.where(captions < 0, count, captions).reshape(-1)
    return jnp.where(silent, jnp.zeros(count, jnp.int32).at[places].add(1, mode="drop"), 0)


def unlisted_captions(table: SkillTable, captions: jax.Array) -> jax.Array:
    """int32[], how many of the captions int32[...] are neither in the table nor -1 for none."""
    return ((captions < NO_CAPTION) | (captions >= table.rows.shape[0])).sum(dtype=jnp.int32)
