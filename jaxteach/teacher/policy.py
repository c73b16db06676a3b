"""The teacher as one jitted function: memory and observation to a distribution over actions."""

from dataclasses import field
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

import envs_jax
from envs_jax.grid.constants import NUM_ACTIONS, Actions
from jaxteach.teacher.captions import NO_CAPTION, Captions, Objects, Scene
from jaxteach.teacher.lookup import pick
from jaxteach.teacher.plans import load_plans, recorded_plans
from jaxteach.teacher.skills import FINISHED, STUCK, Pose, explore, go_to, read_map
from jaxteach.teacher.table import SkillTable, compile_plans

COLORED_CAPTIONS: dict[str, bool] = {
    "SimpleDoorKey": False,
    "LavaDoorKey": False,
    "ColoredDoorKey": True,
    "TwoDoor": False,
}


@flax.struct.dataclass
class Teacher:
    """A policy made of a language model's plans, frozen into a table.

    Calling it is pure: `jit`, `vmap` and `scan` it. It sees the observation alone, and a memory
    of where keys were last seen. A plan's action is that of its first skill that gives one; the
    soft teacher mixes the plans' actions by the plans' probabilities, the hard one draws a plan
    at every step. A caption without plans gives a row of zeros, so it weighs nothing in a
    cross-entropy against the teacher.

    Where several first actions of a shortest path are equal, *forward* is taken before *left*
    before *right* (see `skills.go_to`).
    """

    table: SkillTable
    vocabulary: Captions = field(metadata={"pytree_node": False})
    view_size: int = field(metadata={"pytree_node": False})
    soft: bool = field(metadata={"pytree_node": False})

    # By identity, so that `jax.jit(teacher)` can look it up: arrays have no hash.
    __hash__ = object.__hash__
    __eq__ = object.__eq__

    @property
    def captions(self) -> list[str]:
        """The texts of all captions; `caption` gives numbers into this list."""
        return self.vocabulary.texts

    def reset(self) -> jax.Array:
        """The empty memory at the start of an episode, int32[names of keys]."""
        return jnp.full(self.vocabulary.memory_size, -1, jnp.int32)

    def remember(self, memory: jax.Array, obs: jax.Array) -> jax.Array:
        """The memory after an observation."""
        return self.vocabulary.remember(memory, self.vocabulary.read(newest_frame(obs)))

    def caption(self, memory: jax.Array, obs: jax.Array) -> jax.Array:
        """int32[], the caption of an observation; -1 for one that no world of the task shows."""
        del memory
        return self.vocabulary.caption_id(self.vocabulary.read(newest_frame(obs)))

    def __call__(self, memory: jax.Array, obs: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One step of the teacher.

        Args:
            memory: int32[names of keys], from `reset` or the step before.
            obs: uint8[W, H, 4 * F], the newest frame on the last four channels.
            key: PRNG key; only the hard teacher draws from it.

        Returns:
            The new memory and float32[7], the probabilities of the actions.
        """
        scene = self.vocabulary.read(newest_frame(obs))
        memory = self.vocabulary.remember(memory, scene)
        return memory, self._mix(*self._plan_actions(memory, obs, scene), key)

    def label(
        self, memory: jax.Array, obs: jax.Array, first: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The teacher along finished trajectories, all steps at once but for the memory.

        Args:
            memory: int32[N, names of keys], before the first step.
            obs: uint8[T, N, W, H, 4 * F].
            first: bool[T, N], an episode begins with this observation.
            key: PRNG key; only the hard teacher draws from it.

        Returns:
            The memory after the last step, float32[T, N, 7] as `__call__` would give, and
            int32[T, N], the captions' numbers.
        """
        scenes = jax.vmap(jax.vmap(lambda frame: self.vocabulary.read(newest_frame(frame))))(obs)

        def carry_on(memory: jax.Array, step: tuple[jax.Array, Scene]) -> tuple[jax.Array, jax.Array]:
            memory = jnp.where(step[0][:, None], self.reset(), memory)
            memory = jax.vmap(self.vocabulary.remember)(memory, step[1])
            return memory, memory

        memory, memories = jax.lax.scan(carry_on, memory, (first, scenes))
        actions, weights = self._plan_actions_in_blocks((memories, obs, scenes))
        captions = jax.vmap(jax.vmap(self.vocabulary.caption_id))(scenes)
        return memory, self._mix(actions, weights, key), captions

    def plan_actions(self, memory: jax.Array, obs: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The action of each plan, int32[P], and its probability, float32[P], for a memory that holds `obs`."""
        return self._plan_actions(memory, obs, self.vocabulary.read(newest_frame(obs)))

    def _plan_actions(self, memory: jax.Array, obs: jax.Array, scene: Scene) -> tuple[jax.Array, jax.Array]:
        caption = self.vocabulary.caption_id(scene)
        row = jnp.maximum(caption, 0)
        objects = self.vocabulary.locate(memory, scene)
        results = self._skill_results(newest_frame(obs), obs.shape[:2], scene, objects)
        plans = pick(jnp.asarray(self.table.skills), row)
        weights = pick(jnp.asarray(self.table.probabilities), row)
        return _first_action(results, plans), jnp.where(caption == NO_CAPTION, 0, weights)

    def _plan_actions_in_blocks(self, steps: tuple[jax.Array, jax.Array, Scene]) -> tuple[jax.Array, jax.Array]:
        """`_plan_actions` of [T, N] steps; on CPUs in blocks, so that the searches' maps stay in the cache.

        A block also waits for its own longest path only, not for the longest of all.
        """
        shape = steps[1].shape[:2]
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), steps)
        block = 128 if jax.default_backend() == "cpu" else max(1, shape[0] * shape[1])
        results = jax.lax.map(lambda step: self._plan_actions(*step), flat, batch_size=block)
        return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), results)

    def _mix(self, actions: jax.Array, weights: jax.Array, key: jax.Array) -> jax.Array:
        """float32[..., 7] from the plans' actions and probabilities, [..., P] each."""
        if not self.soft:
            plan = jax.random.categorical(key, jnp.log(weights))
            drawn = jax.nn.one_hot(plan, weights.shape[-1], dtype=jnp.float32)
            weights = jnp.where(weights.sum(-1, keepdims=True) > 0, drawn, weights)
        return (weights[..., None] * jax.nn.one_hot(actions, NUM_ACTIONS, dtype=jnp.float32)).sum(-2)

    def _skill_results(self, words: jax.Array, size: Any, scene: Scene, objects: Objects) -> jax.Array:
        """int32[skill numbers of the table], what each skill gives: an action, or `FINISHED`."""
        pose = Pose(scene.agent_cell // size[1], scene.agent_cell % size[1], scene.agent_dir)
        world = read_map(words, scene.agent_cell, size)
        x, y = objects.targets // size[1], objects.targets % size[1]
        walks = jax.vmap(go_to, in_axes=(None, None, 0, 0, None))(world, pose, x, y, size[1])
        walks = jnp.where(walks == STUCK, Actions.done, walks)[self.vocabulary.object_targets]
        on_object = [walks] + [jnp.full_like(walks, a) for a in (Actions.pickup, Actions.drop, Actions.toggle)]
        by_object = jnp.where(objects.known[:, None], jnp.stack(on_object, 1), Actions.done).reshape(-1)
        exploring = explore(world, pose, size[1], self.view_size)
        idle = jnp.int32(Actions.done)
        return jnp.concatenate([jnp.stack([idle, idle, exploring]), by_object.astype(jnp.int32)])


def make_teacher(task: str, plans: str = "recorded", soft: bool = True, **overrides: Any) -> Teacher:
    """The teacher of a task.

    Args:
        task: a task of `envs_jax.tasks()`.
        plans: "recorded" for the plans that ship with the package, or the path of a plan file.
        soft: mix the plans; else draw one at every step.
        overrides: the parameters with which the task's environment is made.

    Raises:
        ValueError: an unknown task or override, or a plan file that can't be used.
    """
    env = envs_jax.make(task, **overrides)
    vocabulary = task_vocabulary(env, task)
    source = recorded_plans(task) if plans == "recorded" else load_plans(plans, task)
    return Teacher(compile_plans(source, vocabulary), vocabulary, env.view_size, soft)


def task_vocabulary(env: Any, task: str) -> Captions:
    """The captions of a task in one of its worlds.

    Raises:
        ValueError: the task has no captions.
    """
    if task not in COLORED_CAPTIONS:
        raise ValueError(f"{task} has no teacher; tasks with one are {', '.join(COLORED_CAPTIONS)}")
    return Captions(env.num_keys, env.num_doors, COLORED_CAPTIONS[task])


def newest_frame(obs: jax.Array) -> jax.Array:
    """uint32[W * H], the last four channels of uint8[W, H, 4 * F] as one word a cell."""
    return jax.lax.bitcast_convert_type(obs[..., -4:], jnp.uint32).reshape(-1)


def _first_action(results: jax.Array, plans: jax.Array) -> jax.Array:
    """int32[P], for plans int32[P, S] of skill numbers the first result that is an action."""
    given = pick(results, plans)
    action = jnp.full(plans.shape[0], Actions.done, jnp.int32)
    for i in reversed(range(plans.shape[1])):
        action = jnp.where(given[:, i] == FINISHED, action, given[:, i])
    return action
