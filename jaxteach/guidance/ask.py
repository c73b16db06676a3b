"""The rules of When2Ask (arXiv 2306.03604): when a question is put, and what it costs."""

from dataclasses import dataclass
from typing import Final, NamedTuple

import jax
import jax.numpy as jnp

from envs_jax.vector import select_copies
from jaxteach.teacher.executor import Execution, Executor

SURCHARGE: Final = 0.1
SAME_PLAN, OTHER_PLAN = 0.5, -0.1
"""What an answer adds to the price of a question, in units of `SURCHARGE`, as in LLM4RL."""


class Dialogue(NamedTuple):
    """The plan that acts, and the questions so far in the episode."""

    execution: Execution
    questions: jax.Array  # int32[], how many were put
    surcharge: jax.Array  # float32[], the last one's: `SAME_PLAN`, `OTHER_PLAN`, or 0 for the first question


@dataclass(frozen=True)
class Asking:
    """The rules of questions and their prices.

    A question is put if the student wants to, or if the last plan is done.

    Args:
        executor: carries out the plans.
        price: of a question, in units of the reward; lambda in the paper.
    """

    executor: Executor
    price: float = 0.01

    def reset(self) -> Dialogue:
        """The start of an episode."""
        return Dialogue(self.executor.reset(), jnp.int32(0), jnp.float32(0))

    def step(
        self, dialogue: Dialogue, obs: jax.Array, wanted: jax.Array, coin: jax.Array
    ) -> tuple[Dialogue, jax.Array, jax.Array]:
        """One step.

        Args:
            dialogue: before the step.
            obs: the teacher's observation, uint8[W, H, 4 * frames].
            wanted: bool[], the student wants to ask.
            coin: int32[], 0 or 1, see `Executor.act`.

        Returns:
            The dialogue after the step, the action int32[], and the charge float32[]. If a question is put because a
            plan is done, its price is charged with the plan's last action.
        """
        before = dialogue.execution
        asks = wanted | before.done
        answered = self.executor.ask(before, obs)
        same = self.executor.same_plan(before.plan, answered.plan)
        surcharge = jnp.where(dialogue.questions == 0, 0, jnp.where(same, SAME_PLAN, OTHER_PLAN))
        surcharge = jnp.where(asks, surcharge, dialogue.surcharge).astype(jnp.float32)
        execution = select_copies(asks, answered, before)
        execution, action = self.executor.act(execution, obs, coin)
        charged = wanted | execution.done
        charge = jnp.where(charged, self.price + SURCHARGE * surcharge, 0).astype(jnp.float32)
        return Dialogue(execution, dialogue.questions + asks.astype(jnp.int32), surcharge), action, charge
