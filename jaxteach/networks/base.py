"""What all students share: their interface, recurrence along steps, and their heads."""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from envs_jax.vector import select_copies

Carry = Any
"""The recurrent state: a tuple of arrays with a leading axis [N], empty without recurrence."""


class Output(NamedTuple):
    """A network's outputs for each observation."""

    logits: jax.Array  # float32[T, N, A, actions]
    value: jax.Array  # float32[T, N, A]


class Student(nn.Module):
    """A network without recurrence; subclasses have `__call__`.

    `__call__(inputs, first, carry)` gets inputs [T, N, A, ...], what `prepare` made of the
    observations, and returns an `Output` and the carry unchanged.
    """

    @staticmethod
    def prepare(obs: Any) -> Any:
        """The input for one agent's observation: itself."""
        return obs

    @staticmethod
    def initial_carry(num_envs: int) -> Carry:
        """The recurrent state: none."""
        del num_envs
        return ()


def is_student(made: Any) -> bool:
    """Whether a module has what a `Student` has besides `__call__`."""
    return callable(getattr(made, "prepare", None)) and callable(getattr(made, "initial_carry", None))


def forward(network: Any, params: Any, inputs: jax.Array, first: jax.Array, carry: Carry) -> tuple[Output, Carry]:
    """The network along T steps.

    Args:
        network: the student.
        params: its parameters.
        inputs: [T, N, A, ...], prepared observations.
        first: bool[T, N], an episode begins here.
        carry: the recurrent state before the first step.
    """
    return cast(tuple[Output, Carry], network.apply(params, inputs, first, carry))


class _ResettingCell(nn.Module):
    """A recurrent cell whose state is cleared where an episode begins."""

    cell: Callable[[int], Any]
    width: int

    @nn.compact
    def __call__(self, carry: Any, step: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
        hidden, first = step
        carry = select_copies(first, jax.tree.map(jnp.zeros_like, carry), carry)
        return self.cell(self.width)(carry, hidden)


def along_steps(
    cell: Callable[[int], Any], width: int, name: str, hidden: jax.Array, first: jax.Array, carry: Any
) -> tuple[jax.Array, Any]:
    """A recurrent layer over [T, N, ...]: its outputs, and its state after the last step."""
    scan = nn.scan(_ResettingCell, variable_broadcast="params", split_rngs={"params": False})
    carry, hidden = scan(cell, width, name=name)(carry, (hidden, first))
    return hidden, carry


def dense(width: int, scale: float) -> nn.Dense:
    """A layer whose outputs begin with variance `scale` for inputs of variance 1."""
    return nn.Dense(width, kernel_init=nn.initializers.variance_scaling(scale, "fan_in", "truncated_normal"))


def heads(hidden: jax.Array, num_actions: int) -> Output:
    """An actor and a critic on a shared trunk."""
    actor = nn.relu(dense(64, 2.0)(hidden))
    critic = nn.relu(dense(64, 2.0)(hidden))
    return Output(dense(num_actions, 1e-4)(actor), dense(1, 1.0)(critic)[..., 0])
