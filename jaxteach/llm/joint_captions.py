"""The captions that all agents have together while their teacher acts, and conflicts between their plans."""

from collections import Counter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.vector import VectorEnv, select_copies
from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.ppo.distillation import initial_memory
from jaxteach.ppo.episodes import teacher_policy, with_random_actions
from jaxteach.system.memory import compile_checked, explain_out_of_memory
from jaxteach.teacher import Teacher

NUM_ENVS = 64
STEPS = 200
RANDOM_ACTIONS = 0.3


class JointCaptions(NamedTuple):
    """T steps of N environments with A agents."""

    captions: Any  # int32[T, N, A]
    targets: Any  # int32[T, N, A], the object that an agent's likeliest plan is for, -1: none


def rollout_captions(
    world: AgentAxisWrapper, teacher: Teacher, random_actions: float = RANDOM_ACTIONS, seed: int = 0
) -> JointCaptions:
    """The captions while the teacher acts, with a share of random actions, in `NUM_ENVS` environments.

    Args:
        world: of several agents.
        teacher: of all of them.
        random_actions: the share.
        seed: of layouts and actions.
    """
    venv = VectorEnv(world, NUM_ENVS)
    policy = with_random_actions(teacher_policy(teacher), random_actions, world.action_counts)

    def step(carry: Any, key: jax.Array) -> tuple[Any, JointCaptions]:
        state, obs, first, memory = carry
        seen = select_copies(first, teacher.reset(), memory)
        joint = JointCaptions(jax.vmap(teacher.caption)(seen, obs), jax.vmap(teacher.targets)(seen, obs))
        memory, action = policy(memory, obs, first, key)
        state, timestep = venv.step(state, action)
        return (state, timestep.observation, timestep.last(), memory), joint

    def run(key: jax.Array) -> JointCaptions:
        reset_key, act_key = jax.random.split(key)
        state, timestep = venv.reset(reset_key)
        start = (state, timestep.observation, jnp.ones(NUM_ENVS, bool), initial_memory(teacher, NUM_ENVS))
        return jax.lax.scan(step, start, jax.random.split(act_key, STEPS))[1]

    key = jax.random.key(seed)
    with explain_out_of_memory():
        return jax.device_get(compile_checked(run, key)(key))


def frequent_situations(joint: JointCaptions, most: int) -> list[tuple[int, ...]]:
    """The most frequent situations: the agents' captions, sorted."""
    flat = np.sort(joint.captions.reshape(-1, joint.captions.shape[-1]), 1)
    counts = Counter(map(tuple, flat[(flat >= 0).all(1)].tolist()))
    return [situation for situation, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]]


def conflict_share(joint: JointCaptions) -> float:
    """The share of steps in which the likeliest plans of two agents are for the same object."""
    targets = np.sort(joint.targets, -1)
    return float(((targets[..., 1:] == targets[..., :-1]) & (targets[..., 1:] >= 0)).any(-1).mean())
