"""The DoorKey worlds as the teacher knows them: one agent, whose observation is the map it has seen."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from envs_jax.grid.constants import NUM_ACTIONS, Actions
from envs_jax.small_gather import pick
from jaxteach.teacher.navigation import STUCK, Map, Pose, explore, go_to, read_map
from jaxteach.teacher.table import OBJECT_SKILLS
from jaxteach.teacher.tasks.doorkey_captions import Captions, Objects, Scene


class View(NamedTuple):
    """What one observation shows."""

    objects: Scene
    world: Map


@dataclass(frozen=True)
class DoorKeyDomain:
    """A `Domain` whose observations are uint8[W, H, 4 * F], the newest frame on the last four channels.

    The memory is int32[names of keys and boxes], the cells where these were last seen.
    """

    vocabulary: Captions
    size: tuple[int, int]
    view_size: int
    num_agents = None
    num_actions = NUM_ACTIONS
    noop = int(Actions.done)

    def reset(self) -> jax.Array:
        return jnp.full(self.vocabulary.memory_size, -1, jnp.int32)

    def read(self, obs: jax.Array) -> View:
        words = newest_frame(obs)
        objects = self.vocabulary.read(words)
        return View(objects, read_map(words, objects.agent_cell, self.size))

    def remember(self, memory: jax.Array, scene: View) -> jax.Array:
        return self.vocabulary.remember(memory, scene.objects)

    def advance(self, memory: jax.Array, action: jax.Array) -> jax.Array:
        """The memory unchanged: the map shows where the agent is."""
        del action
        return memory

    def caption_id(self, memory: jax.Array, scene: View) -> tuple[jax.Array, Objects]:
        return self.vocabulary.caption_id(scene.objects), self.vocabulary.locate(memory, scene.objects)

    def object_ids(self, scene: View, context: Objects) -> jax.Array:
        """Nothing: there is nobody to take it from."""
        del scene, context
        return jnp.full(len(self.vocabulary.object_names), -1, jnp.int32)

    def skill_actions(self, memory: jax.Array, scene: View, context: Objects, skills: jax.Array) -> jax.Array:
        del memory
        size, agent = self.size, scene.objects
        pose = Pose(agent.agent_cell // size[1], agent.agent_cell % size[1], agent.agent_dir)
        x, y = context.targets // size[1], context.targets % size[1]
        walks = jax.vmap(go_to, in_axes=(None, None, 0, 0, None))(scene.world, pose, x, y, size[1])
        walks = jnp.where(walks == STUCK, Actions.done, walks)[self.vocabulary.object_targets]
        ways = {"goto": walks, "pickup": Actions.pickup, "drop": Actions.drop, "toggle": Actions.toggle}
        on_object = [jnp.broadcast_to(ways.get(skill, Actions.done), walks.shape) for skill in OBJECT_SKILLS]
        by_object = jnp.where(context.known[:, None], jnp.stack(on_object, 1), Actions.done).reshape(-1)
        exploring = explore(scene.world, pose, size[1], self.view_size)
        noop = jnp.int32(Actions.done)
        return pick(jnp.concatenate([jnp.stack([noop, noop, exploring]), by_object.astype(jnp.int32)]), skills)


def doorkey_domain(task: str, env: Any) -> DoorKeyDomain:
    """The domain of a DoorKey task's environment.

    Raises:
        ValueError: there are more keys than the task's captions can distinguish.
    """
    if env.num_keys > 1:
        raise ValueError(f"the teacher of {task} has words for one key, not for num_keys {env.num_keys}")
    return _domain(env, colored=False)


def boxed_key_domain(task: str, env: Any) -> DoorKeyDomain:
    """The domain of a DoorKey task whose key is always in the box at first."""
    del task
    return _domain(env, colored=False, boxed_key=True)


def colored_doorkey_domain(task: str, env: Any) -> DoorKeyDomain:
    """The domain of a DoorKey task with colours in its captions."""
    del task
    return _domain(env, colored=True)


def _domain(env: Any, colored: bool, boxed_key: bool = False) -> DoorKeyDomain:
    captions = Captions(env.num_keys, env.num_doors, colored, env.num_boxes, boxed_key)
    return DoorKeyDomain(captions, (env.size, env.size), env.view_size)


def newest_frame(obs: jax.Array) -> jax.Array:
    """uint32[W * H], the last four channels of uint8[W, H, 4 * F] as one word a cell."""
    return jax.lax.bitcast_convert_type(obs[..., -4:], jnp.uint32).reshape(-1)
