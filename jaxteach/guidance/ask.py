"""The rules of When2Ask (arXiv 2306.03604): when a question is put, and what it costs."""

from dataclasses import dataclass
from typing import Final, NamedTuple

import jax
import jax.numpy as jnp

from jaxteach.teacher.executor import Execution, Executor

SAME_PLAN, OTHER_PLAN = 0.5, -0.1
"""What an answer adds to the price of a question, in units of `SURCHARGE`."""
SURCHARGE: Final = 0.1


class Dialogue(NamedTuple):
    """What was asked in an episode, and what the answer leads to."""

    execution: Execution
    questions: jax.Array  # int32[], so far in the episode
    surcharge: jax.Array  # float32[], of the last question: `SAME_PLAN`, `OTHER_PLAN`, or 0 for the first


@dataclass(frozen=True)
class Asking:
    """The rules of questions and their prices.

    A question is put where the student wants it, and where the last plan was done.

    Args:
        executor: carries the plans out.
        price: of a question, lambda in the paper.
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
            dialogue: before it.
            obs: the observation of the teacher.
            wanted: bool[], the student wants to ask.
            coin: int32[], 0 or 1, see `Executor.act`.

        Returns:
            The dialogue after the step, the action int32[], and the charge float32[]. A question that is put because
            a plan was done is charged together with the last action of the plan.
        """
        before = dialogue.execution
        asks = wanted | before.done
        answered = self.executor.ask(before, obs)
        same = self.executor.same_plan(before.plan, answered.plan)
        surcharge = jnp.where(dialogue.questions == 0, 0, jnp.where(same, SAME_PLAN, OTHER_PLAN))
        surcharge = jnp.where(asks, surcharge, dialogue.surcharge).astype(jnp.float32)
        execution = jax.tree.map(lambda new, old: jnp.where(asks, new, old), answered, before)
        execution, action = self.executor.act(execution, obs, coin)
        charged = wanted | execution.done
        charge = jnp.where(charged, self.price + SURCHARGE * surcharge, 0).astype(jnp.float32)
        return Dialogue(execution, dialogue.questions + asks, surcharge), action, charge
