"""The teacher as one jitted function: memory and observation to a distribution over actions."""

import math
from collections.abc import Callable
from dataclasses import field
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

import envs_jax
from envs_jax.sharding import shard_map_local
from envs_jax.small_gather import pick
from envs_jax.vector import select_copies
from jaxteach.errors import UserError
from jaxteach.tasks import TASKS, list_of_taught_tasks
from jaxteach.teacher.domain import NO_CAPTION, UNLISTED, Domain, Vocabulary
from jaxteach.teacher.navigation import FINISHED
from jaxteach.teacher.plans import MisfitError, PlanFile, find_plans
from jaxteach.teacher.table import (
    EXPLORE,
    FIRST_OBJECT_SKILL,
    NOTHING_LEFT,
    OBJECT_SKILLS,
    SkillTable,
    compile_plans,
    others_index,
)


@flax.struct.dataclass
class Teacher:
    """A policy made of plans, frozen into a table.

    Calling it is pure: `jit`, `vmap` and `scan` it. It sees only the observation, and a memory
    of what earlier ones showed. A plan's action is that of its first skill that gives one; the
    soft teacher mixes the plans' actions by the plans' probabilities, the hard one draws a plan
    at every step, for every agent its own. A caption without plans gives a row of zeros, so it
    weighs nothing in a cross-entropy against the teacher.

    In a world of several agents observations, memories, actions, captions and probabilities
    have an axis [A] for them, here written in brackets; the DoorKey worlds have none.

    Where several first actions of a shortest path are equal, *forward* is taken before *left*
    before *right* (see `navigation.approach`).
    """

    table: SkillTable
    domain: Domain = field(metadata={"pytree_node": False})
    soft: bool = field(metadata={"pytree_node": False})
    plans: PlanFile | None = field(default=None, metadata={"pytree_node": False})

    # By identity, so that `jax.jit(teacher)` can look it up: arrays have no hash.
    __hash__ = object.__hash__
    __eq__ = object.__eq__

    @property
    def vocabulary(self) -> Vocabulary:
        """The words of captions and plans."""
        return self.domain.vocabulary

    @property
    def captions(self) -> list[str]:
        """The texts of all captions; `caption` gives numbers into this list."""
        return self.vocabulary.texts

    def reset(self) -> Any:
        """The empty memory at the start of an episode: arrays [A, ...] in one world."""
        memory, agents = self.domain.reset(), self.domain.num_agents
        if agents is None:
            return memory
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (agents, *jnp.shape(leaf))), memory)

    def remember(self, memory: Any, obs: Any) -> Any:
        """The memory after an observation."""
        return self._each(lambda memory, obs: self.domain.remember(memory, self.domain.read(obs)))(memory, obs)

    def advance(self, memory: Any, action: jax.Array) -> Any:
        """The memory after the actions int32[A] that follow the observation; it needs them in LockedHallway."""
        return self._each(self.domain.advance)(memory, action)

    def caption(self, memory: Any, obs: Any) -> jax.Array:
        """int32[A], the captions of an observation; -1 for none, -2 where the domain gives a number outside its list.

        The memory may have taken the observation in or not.
        """
        memory, scene = self.remember(memory, obs), self._each(self.domain.read)(obs)
        return self._each(self._caption_id)(memory, scene)[0]

    def __call__(self, memory: Any, obs: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        """One step of the teacher.

        Args:
            memory: from `reset`, or from the step before after `advance`.
            obs: the environment's observation.
            key: PRNG key; only the hard teacher draws from it.

        Returns:
            The new memory and float32[A, actions], the probabilities of the actions.
        """
        return self.decide(memory, obs, key)[:2]

    def decide(self, memory: Any, obs: Any, key: jax.Array) -> tuple[Any, jax.Array, jax.Array]:
        """As a call, with int32[A], the captions as `caption` gives them, as the third result."""
        memory, scenes = self.remember(memory, obs), self._each(self.domain.read)(obs)
        captions, actions, weights = self._each(self._plan_actions)(memory, scenes, self._rows(memory, scenes))
        return memory, self._mix(actions, weights, key), captions

    def label(
        self, memory: Any, obs: Any, action: jax.Array, first: jax.Array, key: jax.Array
    ) -> tuple[Any, jax.Array, jax.Array]:
        """The teacher along finished trajectories, all steps at once except for the memory.

        Args:
            memory: arrays [N, A, ...], before the first step.
            obs: the observations, arrays [T, N, ...].
            action: int32[T, N, A], the actions that followed them.
            first: bool[T, N], an episode begins with this observation.
            key: PRNG key; only the hard teacher draws from it.

        Returns:
            The memory after the last action, float32[T, N, A, actions] as `__call__` would give,
            and int32[T, N, A], the captions' numbers as `caption` gives them.
        """
        agents = () if self.domain.num_agents is None else (self.domain.num_agents,)
        shape = (*first.shape, *agents)
        scenes = _in_blocks(self.domain.read, obs, len(shape))

        def carry_on(memory: Any, step: tuple[jax.Array, Any, jax.Array]) -> tuple[Any, Any]:
            first, scene, action = step
            memory = select_copies(first, self.reset(), memory)
            memory = jax.vmap(self._each(self.domain.remember))(memory, scene)
            return jax.vmap(self.advance)(memory, action), memory

        memory, memories = jax.lax.scan(carry_on, memory, (first, scenes, action))
        rows = jax.vmap(jax.vmap(self._rows))(memories, scenes)
        captions, actions, weights = _in_blocks(
            lambda step: self._plan_actions(*step), (memories, scenes, rows), len(shape)
        )
        return memory, self._mix(actions, weights, key), captions

    def plan_actions(self, memory: Any, obs: Any) -> tuple[jax.Array, jax.Array]:
        """The action of each plan, int32[A, P], and its probability, float32[A, P], for a memory that holds `obs`."""

        scenes = self._each(self.domain.read)(obs)
        rows = self._rows(memory, scenes)
        return self._each(self._plan_actions)(memory, scenes, rows)[1:]

    def likeliest_plan(self, memory: Any, obs: Any) -> tuple[jax.Array, Any]:
        """The likeliest plan of each agent, for a memory that holds `obs`.

        Returns:
            int32[A, S], its skills as in `SkillTable`, `NOTHING_LEFT` after the last and throughout where the caption
            has no plans; and the context that the domain gives with the captions.
        """
        scenes = self._each(self.domain.read)(obs)
        captions, context = self._each(self._caption_id)(memory, scenes)
        numbers, covered = self._each(self._likeliest)(captions, self._rows(memory, scenes))
        return jnp.where(covered[..., None], numbers, NOTHING_LEFT), context

    def targets(self, memory: Any, obs: Any) -> jax.Array:
        """int32[A], the first object that each agent's likeliest plan is for, of `Domain.object_ids`, or -1.

        The memory may have taken the observation in or not.
        """
        memory, scenes = self.remember(memory, obs), self._each(self.domain.read)(obs)
        return self._each(self._target)(memory, scenes, self._rows(memory, scenes))

    def _caption_id(self, memory: Any, scene: Any) -> tuple[jax.Array, Any]:
        """As `Domain.caption_id`, with a caption that is in the list, or below 0."""
        caption, context = self.domain.caption_id(memory, scene)
        listed = (caption >= NO_CAPTION) & (caption < len(self.captions))
        return jnp.where(listed, caption, UNLISTED), context

    def _target(self, memory: Any, scene: Any, row: jax.Array | None) -> jax.Array:
        caption, context = self._caption_id(memory, scene)
        numbers, covered = self._likeliest(caption, row)
        named = numbers >= FIRST_OBJECT_SKILL
        object_ids = self.domain.object_ids(scene, context)[
            jnp.maximum(numbers - FIRST_OBJECT_SKILL, 0) // len(OBJECT_SKILLS)
        ]
        first = jnp.argmax(named & (object_ids >= 0))
        # Exploring comes before what is named behind it.
        goes = named[first] & (numbers[0] != EXPLORE) & covered
        return jnp.where(goes, object_ids[first], -1)

    def _likeliest(self, caption: jax.Array, row: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        """int32[S], the skills of the likeliest plan of a caption, and bool[], whether the caption has plans."""
        row = jnp.maximum(caption, 0) if row is None else row
        skills, plans, weights = (pick(jnp.asarray(part), row) for part in self.table[:3])
        return skills[plans[jnp.argmax(weights)]], (weights.sum() > 0) & (caption >= 0)

    def _each(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function of one agent for all agents of a world."""
        return function if self.domain.num_agents is None else jax.vmap(function)

    def _rows(self, memory: Any, scenes: Any) -> jax.Array | None:
        """int32[A], the table's rows for the agents' captions together; None where captions have one row each."""
        if self.table.rows.shape[1] == 0:
            return None
        captions = self._each(self._caption_id)(memory, scenes)[0]
        rows, count = jnp.asarray(self.table.rows), self.table.rows.shape[0]
        others = [jnp.sort(jnp.delete(captions, i, assume_unique_indices=True)) for i in range(len(captions))]
        own = jnp.maximum(captions, 0)
        found = [rows[own[i], others_index(jnp.maximum(rest, 0), count)] for i, rest in enumerate(others)]
        # Where another agent has no caption, an agent's own plans count.
        known = [(rest >= 0).all() for rest in others]
        return jnp.where(jnp.stack(known), jnp.stack(found), own)

    def _plan_actions(self, memory: Any, scene: Any, row: jax.Array | None) -> tuple[jax.Array, jax.Array, jax.Array]:
        """int32[], the caption of one agent, and its plans' actions int32[P] and probabilities float32[P].

        `row` is the table's; None for that of the caption.
        """
        caption, context = self._caption_id(memory, scene)
        row = jnp.maximum(caption, 0) if row is None else row
        skills, plans, weights = (pick(jnp.asarray(part), row) for part in self.table[:3])
        results = self.domain.skill_actions(memory, scene, context, skills)
        weights = jnp.where(caption < 0, 0, weights)
        return caption, _first_action(results, plans, self.domain.noop), weights

    def _mix(self, actions: jax.Array, weights: jax.Array, key: jax.Array) -> jax.Array:
        """float32[..., actions] from the plans' actions and probabilities, [..., P] each."""
        if not self.soft:
            plan = jax.random.categorical(key, jnp.log(weights))
            drawn = jax.nn.one_hot(plan, weights.shape[-1], dtype=jnp.float32)
            weights = jnp.where(weights.sum(-1, keepdims=True) > 0, drawn, weights)
        return (weights[..., None] * jax.nn.one_hot(actions, self.domain.num_actions, dtype=jnp.float32)).sum(-2)


def make_teacher(task: str, plans: str = "shipped", soft: bool = True, **overrides: Any) -> Teacher:
    """The teacher of a task.

    Args:
        task: a task of `envs_jax.all_tasks()`, in upper or lower case.
        plans: "shipped" for the plans that come with the package, be they "recorded" from a
            language model or "scripted" by hand; one of these two words to insist on it; or the
            path of a plan file.
        soft: mix the plans; else draw one at every step.
        overrides: the parameters with which the task's environment is made.

    Raises:
        ValueError: an unknown task or override, parameters that the teacher can't deal with, or
            plans that can't be used.
    """
    task = envs_jax.canonical_name(task)
    env = envs_jax.make(task, **overrides)
    domain = task_domain(env, task)
    found = find_plans(plans, task)
    return Teacher(table_for(found, domain), domain, soft, found)


def table_for(plans: PlanFile, domain: Domain) -> SkillTable:
    """The table of a plan file for a task's domain.

    Raises:
        MisfitError: the file has words that the task doesn't have, or is for another number of agents.
    """
    table = compile_plans(plans, domain.vocabulary)
    agents, captions = domain.num_agents or 1, len(domain.vocabulary.texts)
    if table.rows.shape[1] not in (0, captions ** (agents - 1)):
        raise MisfitError(f"the plan file is for another number of agents than {agents}")
    return table


def task_domain(env: Any, task: str) -> Domain:
    """What the teacher knows of a task in one of its worlds.

    Raises:
        ValueError: the task has no teacher, or not with the world's parameters.
    """
    if task not in TASKS or TASKS[task].domain is None:
        raise ValueError(f"{task} has no teacher; tasks with one are {list_of_taught_tasks()}")
    domain, counts = TASKS[task].make_domain(task, env), getattr(env.action_spec, "num_values", None)
    if counts is not None and domain.num_actions != np.max(counts):
        raise UserError(f"the teacher of {task} has {domain.num_actions} actions, but its world has {np.max(counts)}")
    return domain


def _first_action(results: jax.Array, plans: jax.Array, noop: int) -> jax.Array:
    """int32[P], for plans int32[P, S] of places among the results int32[M] the first that is an action."""
    given = pick(results, plans)
    action = jnp.full(plans.shape[0], noop, jnp.int32)
    for i in reversed(range(plans.shape[1])):
        action = jnp.where(given[:, i] == FINISHED, action, given[:, i])
    return action


def _in_blocks(function: Callable[[Any], Any], steps: Any, axes: int) -> Any:
    """A function of one step for steps [T, N, ...], which have that many leading axes.

    On CPUs they are taken in blocks, so that what is computed between stays in the cache. A
    block also waits for its own longest path only, not for the longest of all.
    """

    def each(steps: Any) -> Any:
        shape = jax.tree.leaves(steps)[0].shape[:axes]
        count = math.prod(shape)
        block = min(count, 128) if jax.default_backend() == "cpu" else count
        whole, blocks = count // block * block, jax.vmap(function)
        flat = jax.tree.map(lambda leaf: leaf.reshape(count, *leaf.shape[axes:]), steps)
        # Not by the `batch_size` of `lax.map`, which fails for arrays without elements.
        grouped = jax.tree.map(lambda leaf: leaf[:whole].reshape(whole // block, block, *leaf.shape[1:]), flat)
        results = jax.tree.map(lambda leaf: leaf.reshape(whole, *leaf.shape[2:]), jax.lax.map(blocks, grouped))
        if whole < count:
            rest = blocks(jax.tree.map(lambda leaf: leaf[whole:], flat))
            results = jax.tree.map(lambda one, other: jnp.concatenate([one, other]), results, rest)
        return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), results)

    return shard_map_local(each, axis=1)(steps)
