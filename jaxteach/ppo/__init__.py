"""PPO, MAPPO and distillation as pure functions."""
