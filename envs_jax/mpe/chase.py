"""What the worlds of adversaries and good agents share: who they are and where the arena ends."""

from typing import Final

import jax
import jax.numpy as jnp

from envs_jax.mpe.world import Agent, Landmark

LANDMARK_SPREAD: Final = 0.9
OBSTACLE: Final = Landmark(size=0.2, collides=True, spread=LANDMARK_SPREAD)


def adversary(name: str, speaks: bool = False) -> Agent:
    """A large, slow agent."""
    return Agent(name, size=0.075, speaks=speaks, accel=3.0, max_speed=1.0)


def good_agent(name: str, size: float, speed: float = 1.0) -> Agent:
    """A small agent, `speed` times as fast as usual."""
    return Agent(name, size=size, accel=4.0 * speed, max_speed=1.3 * speed)


def outside(p_pos: jax.Array) -> jax.Array:
    """float32[n], the penalty for being far out: on each axis 0 to 1 in the arena's rim, then up to 10."""
    far = jnp.abs(p_pos)
    # From the exponent 3 on it is 10; without that bound the exponential has an infinite gradient far out.
    steep = jnp.minimum(jnp.exp(jnp.minimum(2 * far - 2, 3)), 10)
    penalty = jnp.where(far < 1, jnp.maximum(10 * (far - 0.9), 0), steep)
    return penalty[:, 0] + penalty[:, 1]
