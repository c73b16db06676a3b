"""Alice tells Bob a secret that Eve overhears; Alice and Bob share a key."""

from typing import Final

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.mpe.colors import GREY, RED
from envs_jax.mpe.environment import ParticleWorld, WorldState
from envs_jax.mpe.observe import join
from envs_jax.mpe.world import Agent, Landmark, World

EVE: Final = 0
BOB: Final = 1
ALICE: Final = 2
DIM_C: Final = 4


class SimpleCrypto(ParticleWorld):
    """`mpe2.simple_crypto_v3`: nobody moves; Bob and Eve say what they believe the secret to be.

    - observation: Eve's is Alice's message; Bob's the key and Alice's message; Alice's the
      secret and the key. Secret and key are one-hot with the length of a message.
    - reward: Eve's is minus the squared distance of her message to the secret; Alice's and
      Bob's is Eve's squared distance less Bob's. Someone silent (all zeros) counts as exact.
    - goals: int32[2], the secret and the key.
    """

    num_goals = 2

    def __init__(self, max_cycles: int = 25, continuous_actions: bool = False, dynamic_rescaling: bool = True) -> None:
        agents = [Agent(name, collides=False, moves=False, speaks=True) for name in ("eve_0", "bob_0", "alice_0")]
        super().__init__(World(agents, [Landmark()] * 2, DIM_C), max_cycles, continuous_actions, dynamic_rescaling)

    def _observe_groups(self, state: WorldState) -> list[jax.Array]:
        secret, key = jax.nn.one_hot(state.goals, DIM_C, dtype=jnp.float32)
        message = state.c[ALICE]
        return [message[None], join(key[None], message[None]), join(secret[None], key[None])]

    def _rewards(self, state: WorldState) -> jax.Array:
        secret = jax.nn.one_hot(state.goals[0], DIM_C, dtype=jnp.float32)
        error = jnp.square(state.c - secret[None]).sum(-1)
        error = jnp.where((state.c == 0).all(-1), 0, error)
        good = error[EVE] - error[BOB]
        return jnp.stack([-error[EVE], good, good])

    def entity_colors(self, goals: np.ndarray) -> np.ndarray:
        landmarks = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0)]
        agents = [GREY] * 3
        agents[EVE], agents[BOB] = RED, landmarks[goals[0]]
        return np.array(agents + landmarks, np.float32)
