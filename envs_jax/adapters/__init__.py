"""The worlds for other libraries: PettingZoo, Gymnasium, and batches of arrays for training with PyTorch.

Importing this registers the tasks with Gymnasium, see `register_envs`.
"""

from envs_jax.adapters.gymnasium import GymnasiumEnv
from envs_jax.adapters.pettingzoo import PettingZooEnv
from envs_jax.adapters.registration import register_envs
from envs_jax.adapters.vector import BatchedEnv

__all__ = ["BatchedEnv", "GymnasiumEnv", "PettingZooEnv", "register_envs"]

register_envs()
