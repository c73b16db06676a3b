"""The multi-agent particle worlds as Jumanji environments, exact to PyPI `mpe2`."""

from typing import Any, Final

from envs_jax.mpe.environment import ParticleWorld, WorldState
from envs_jax.mpe.simple import Simple
from envs_jax.mpe.simple_adversary import SimpleAdversary
from envs_jax.mpe.simple_crypto import SimpleCrypto
from envs_jax.mpe.simple_push import SimplePush
from envs_jax.mpe.simple_reference import SimpleReference
from envs_jax.mpe.simple_speaker_listener import SimpleSpeakerListener
from envs_jax.mpe.simple_spread import SimpleSpread
from envs_jax.mpe.simple_tag import SimpleTag
from envs_jax.mpe.simple_world_comm import SimpleWorldComm

__all__ = ["SCENARIOS", "ParticleWorld", "WorldState"]

SCENARIOS: Final[dict[str, tuple[type[Any], dict[str, Any]]]] = {
    "simple": (Simple, {}),
    "simple_adversary": (SimpleAdversary, {}),
    "simple_crypto": (SimpleCrypto, {}),
    "simple_push": (SimplePush, {}),
    "simple_reference": (SimpleReference, {}),
    "simple_speaker_listener": (SimpleSpeakerListener, {}),
    "simple_spread": (SimpleSpread, {}),
    "simple_tag": (SimpleTag, {}),
    "simple_world_comm": (SimpleWorldComm, {}),
}
