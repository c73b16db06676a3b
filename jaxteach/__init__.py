"""A large language model as policy teacher for reinforcement learning, compiled into JAX."""
