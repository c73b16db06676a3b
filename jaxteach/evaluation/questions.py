"""Policies for When2Ask's worlds that have learnt nothing."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxteach.ppo.episodes import Policy


def ask_policy(share: float) -> Policy:
    """Asks at random in a share of the steps, 0 to 1: 0 asks only after plans, 1 in each step."""

    def act(memory: Any, obs: Any, first: jax.Array, key: jax.Array) -> tuple[Any, jax.Array]:
        del obs
        return memory, jax.random.bernoulli(key, jnp.float32(share), (len(first), 1)).astype(jnp.int32)

    return act
