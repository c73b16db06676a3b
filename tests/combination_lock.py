"""A tiny world for tests of guidance: a lock that opens when its digits are found soon enough."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jumanji import specs
from jumanji.types import StepType, TimeStep

from envs_jax.vector import VectorEnv
from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.config import PPOConfig
from jaxteach.networks.mlp import MLPNet
from jaxteach.networks.registry import with_hint
from jaxteach.ppo.learner import Learner
from jaxteach.teacher import Teacher
from jaxteach.teacher.plans import CaptionPlans, Plan, PlanFile
from jaxteach.teacher.policy import table_for
from jaxteach.teacher.tasks.plain import PlainDomain, Words

DIGITS = (2, 0, 1, 1, 2, 0, 1, 2, 0, 1)
"""The right action of three at each place; a wrong one costs time."""
PLACES = len(DIGITS)
SILENT = 3
"""A place for which the teacher of some tests has no plans."""
NAMES = [f"digit {i}" for i in range(PLACES)]


class LockState(NamedTuple):
    key: jax.Array
    step_count: jax.Array  # int32[]
    place: jax.Array  # int32[]


class Lock:
    """One agent; the observation is the place, one-hot; the reward is 1 for opening the lock."""

    action_spec = specs.DiscreteArray(3)

    def __init__(self, max_steps=12):
        self.max_steps = max_steps

    def reset(self, key):
        state = LockState(jax.random.split(key)[0], jnp.int32(0), jnp.int32(0))
        return state, self._timestep(state)

    def step(self, state, action):
        right = action == jnp.asarray(DIGITS, jnp.int32)[state.place]
        state = LockState(state.key, state.step_count + 1, jnp.where(right, state.place + 1, state.place))
        return state, self._timestep(state)

    def observe(self, state):
        return jax.nn.one_hot(state.place, PLACES, dtype=jnp.float32)

    def _timestep(self, state):
        success = state.place == PLACES
        last = success | (state.step_count >= self.max_steps)
        return TimeStep(
            step_type=jnp.where(last, StepType.LAST, StepType.MID),
            reward=success.astype(jnp.float32),
            discount=1 - success.astype(jnp.float32),
            observation=self.observe(state),
            extras={"success": success},
        )


def _actions(obs):
    return {(skill, NAMES[i]): (DIGITS[i] + wrong) % 3 for i in range(PLACES) for skill, wrong in SKILLS.items()}


SKILLS = {"toggle": 0, "goto": 1}
"""By how much a skill's action is wrong."""
DOMAIN = PlainDomain(
    Words([[name] for name in NAMES], NAMES), 3, lambda obs: jnp.where(obs.sum() > 0, jnp.argmax(obs), -1), _actions
)


def lock_plans(right=0.9, silent=(), values=True):
    """Plans that are right with a probability, but at some places; the value of a place is its number's share."""
    plans = [Plan(right, (("toggle", name),)) for name in NAMES]
    wrong = [Plan(1 - right, (("goto", name),)) for name in NAMES]
    entries = [
        CaptionPlans((NAMES[i],), None, (plans[i], wrong[i]), value=i / PLACES if values else None)
        for i in range(PLACES)
        if i not in silent
    ]
    return PlanFile(("Lock",), tuple(entries))


def lock_teacher(plans=None, soft=True):
    plans = lock_plans() if plans is None else plans
    return Teacher(table_for(plans, DOMAIN), DOMAIN, soft, plans)


def lock_learner(guidance, teacher, iterations=1, num_envs=8, max_steps=12, **changes):
    """A learner of the lock with a small student; rollouts of 8 steps, whose samples are one minibatch."""
    numbers = {"rollout_length": 8, "batch_size": 8 * num_envs, "epochs": 1} | changes
    world = AgentAxisWrapper(Lock(max_steps))
    network = MLPNet(world.action_counts, width=16)
    network = with_hint(network, world) if "hint" in guidance.split("+") else network
    return Learner(VectorEnv(world, num_envs), network, PPOConfig(guidance=guidance, **numbers), teacher, iterations)
