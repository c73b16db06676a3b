"""When2Ask's world (arXiv 2306.03604): the teacher's plans act, and the student decides when to ask for a plan."""

from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jumanji import specs
from jumanji.env import Environment
from jumanji.types import TimeStep

from envs_jax.checks import checked_action
from envs_jax.doorkey import DoorKey
from envs_jax.equality import EqualByArguments
from envs_jax.grid.state import GridState
from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.config import TrainConfig
from jaxteach.errors import UserError
from jaxteach.guidance.ask import Asking, Dialogue
from jaxteach.tasks import OBJECT
from jaxteach.teacher.executor import Executor
from jaxteach.teacher.loading import load_teacher
from jaxteach.teacher.policy import Teacher
from jaxteach.teacher.tasks.doorkey import DoorKeyDomain


class AskState(NamedTuple):
    """The state of an `AskWorld`."""

    key: jax.Array  # PRNG key of the executor's coins, and of the next episode
    world: GridState
    dialogue: Dialogue
    obs: jax.Array  # uint8[size, size, 4 * frame_stack], the world's observation
    previous_obs: jax.Array  # of the same shape, the observation one step earlier; at first the same as `obs`


class AskWorld(EqualByArguments, Environment[Any, specs.DiscreteArray, Any]):
    """A DoorKey world in which the teacher's plans act, and the agent decides when to ask for a new one.

    - observation: uint8[size, size, 4], the world's observation minus the one of the step before, modulo 256; zeros at
      first. With a `frame_stack` above 1 it is the world's observation.
    - action: int32[], 1 to ask, 0 to go on with the plan. A question is also put if the last plan is done, and in the
      first step.
    - reward: float32[], the world's minus the price of a question. The price is `price`, plus 0.05 if the new plan is
      the same as the last one, or minus 0.01 if it differs.
    - discount: float32[], the world's.
    - extras: `success`, bool[], the task was fulfilled in time; an episode that takes all `max_steps` steps counts as
      failed. `questions`, int32[], so far in the episode. `game_reward`, float32[], the world's reward.

    Args:
        env: the world, such as `envs_jax.make("KeyInBox")`.
        teacher: its teacher; the likeliest plan is the answer.
        price: of a question, in units of the reward.

    Raises:
        UserError: the world is not a DoorKey one, or the teacher is for another world.
    """

    episode_metrics = ("questions",)
    """The extras that evaluations report, as they are when an episode ends."""

    def __init__(self, env: DoorKey, teacher: Teacher, price: float = 0.01) -> None:
        if not isinstance(env, DoorKey) or not isinstance(teacher.domain, DoorKeyDomain):
            raise UserError("--guidance ask is for the DoorKey tasks and their teachers")
        if teacher.domain.size != (env.size, env.size) or teacher.domain.view_size != env.view_size:
            raise UserError("the teacher is for a world of another size or view; make it with the world's options")
        self.env = env
        self.asking = Asking(Executor(teacher), price)
        self.max_steps = env.max_steps
        super().__init__()

    @cached_property
    def observation_spec(self) -> specs.Spec[Any]:
        shape = (self.env.size, self.env.size, 4 * self.env.frame_stack)
        return specs.BoundedArray(shape, jnp.uint8, minimum=0, maximum=255, name="observation")

    @cached_property
    def action_spec(self) -> specs.DiscreteArray:
        return specs.DiscreteArray(2, name="action")

    @cached_property
    def reward_spec(self) -> specs.Array:
        return specs.Array((), jnp.float32, name="reward")

    @cached_property
    def discount_spec(self) -> specs.BoundedArray:
        return self.env.discount_spec

    def reset(self, key: jax.Array) -> tuple[AskState, TimeStep[Any]]:
        """A fresh layout, before the first question."""
        key, world_key = jax.random.split(key)
        world, timestep = self.env.reset(world_key)
        obs: Any = timestep.observation
        state = AskState(key, world, self.asking.reset(), obs, obs)
        return state, self._timestep(timestep, state, jnp.float32(0))

    def step(self, state: AskState, action: ArrayLike) -> tuple[AskState, TimeStep[Any]]:
        """One step of the plan, after a question if one is put.

        Raises:
            ValueError: the action is invalid, see `checked_action`.
        """
        wanted = checked_action(action, 2) == 1
        key, coin_key = jax.random.split(state.key)
        coin = jax.random.bernoulli(coin_key, jnp.float32(0.5)).astype(jnp.int32)
        dialogue, taken, charge = self.asking.step(state.dialogue, state.obs, wanted, coin)
        world, timestep = self.env.step(state.world, taken)
        state = AskState(key, world, dialogue, timestep.observation, state.obs)
        return state, self._timestep(timestep, state, charge)

    def observe(self, state: AskState) -> jax.Array:
        """The observation of a state."""
        return state.obs - state.previous_obs if self.env.frame_stack == 1 else state.obs

    def render(self, state: AskState) -> np.ndarray:
        """uint8[H, W, 3], an RGB picture of the world; runs on the host."""
        return self.env.render(state.world)

    def _timestep(self, timestep: TimeStep[Any], state: AskState, charge: jax.Array) -> TimeStep[Any]:
        """The agent's time step for the world's."""
        success = (timestep.discount == 0) & (timestep.reward > 0) & (state.world.step_count < self.max_steps)
        extras = {"success": success, "questions": state.dialogue.questions, "game_reward": timestep.reward}
        return timestep.replace(  # type: ignore[attr-defined]
            observation=self.observe(state), reward=timestep.reward - charge, extras={**timestep.extras, **extras}
        )


def student_world(config: TrainConfig) -> AgentAxisWrapper:
    """The world in which the student of a run acts: the task's, or with `--guidance ask` an `AskWorld`.

    Raises:
        UserError: the world can't be made, or has no teacher that can be asked.
    """
    if not config.ppo.asks:
        return config.world.make(config.task)
    if config.task.startswith(OBJECT):
        raise UserError(
            "--guidance ask is for a task's name; pass AskWorld(env, teacher) as the environment, without a teacher"
        )
    teacher = load_teacher(config.task, config.teacher, config.world)
    return AgentAxisWrapper(AskWorld(config.world.make_env(config.task), teacher, config.ppo.ask_lambda))
