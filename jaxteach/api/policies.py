"""Trained students as functions from observations to actions."""

from pathlib import Path
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from jaxteach.errors import UserError
from jaxteach.evaluation.students import load_student
from jaxteach.networks.base import forward
from jaxteach.networks.registry import Network
from jaxteach.runs.run_folder import is_folder, read_config


@flax.struct.dataclass
class Policy:
    """A trained student; a pytree, so that it may be an argument of a jitted function.

    Attributes:
        params: the network's parameters.
        network: the network.
        axes: how many axes the first leaf of one observation has, without a batch.
        single: whether the world has one agent and its arrays no axis for agents.
    """

    params: Any
    network: Network = flax.struct.field(pytree_node=False)
    axes: int = flax.struct.field(pytree_node=False)
    single: bool = flax.struct.field(pytree_node=False)

    def __call__(
        self, obs: Any, carry: Any = None, first: Any = None, key: jax.Array | None = None
    ) -> tuple[jax.Array, Any]:
        """The actions for one observation or a batch of them.

        Args:
            obs: an observation of the environment, or with a leading axis [N] a batch.
            carry: what the call before returned; None where episodes begin.
            first: bool[] or bool[N], which episodes begin with this observation; those of no `carry` all do.
            key: PRNG key to sample actions with; the likeliest ones when left out.

        Returns:
            int32[] or int32[N], with several agents int32[A] or int32[N, A]; and the recurrent state.
        """
        is_batch = jnp.ndim(jax.tree.leaves(obs)[0]) > self.axes
        if not is_batch:
            obs = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], obs)
        count = len(jax.tree.leaves(obs)[0])
        if self.single:
            obs = jax.tree.map(lambda leaf: jnp.asarray(leaf)[:, None], obs)
        begins = jnp.full(count, carry is None) if first is None else jnp.broadcast_to(jnp.asarray(first), count)
        carry = self.network.initial_carry(count) if carry is None else carry
        inputs = jax.vmap(jax.vmap(self.network.prepare))(obs)
        output, carry = forward(self.network, self.params, inputs[None], begins[None], carry)
        logits = output.logits[0]
        action = jnp.argmax(logits, -1) if key is None else jax.random.categorical(key, logits)
        action = action.astype(jnp.int32)
        action = action[:, 0] if self.single else action
        return action if is_batch else action[0], carry


def load_policy(folder: str | Path, seed: int | None = None, checkpoint: int | None = None) -> Policy:
    """The trained student of a run.

    Args:
        folder: the run's.
        seed: one of the run's seeds; the first when left out.
        checkpoint: the iteration; the last one when left out.

    Returns:
        `policy(obs) -> (action, carry)`, see `Policy`.

    Raises:
        ValueError: the folder is not a run's, or the run has no such seed or checkpoint.
    """
    folder = Path(folder).resolve()
    if not is_folder(folder):
        raise UserError(f"there is no run {folder}")
    config = read_config(folder)
    seed = config.seed_list[0] if seed is None else seed
    if seed not in config.seed_list:
        raise UserError(f"the run has no seed {seed}; it has {', '.join(map(str, config.seed_list))}")
    experiment, params, _ = load_student(folder, config, seed, checkpoint)
    world = experiment.world
    leaf = jax.tree.leaves(world.abstract_observation)[0]
    return Policy(params, experiment.network, leaf.ndim - world.is_single, world.is_single)
