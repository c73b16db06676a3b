"""MAPPO as JaxMARL trains it, for its particle worlds.

The wheel of JaxMARL 0.2.0 ships its worlds but none of its baselines, so this is our own
re-statement of the structure and the numbers of its recurrent MAPPO for MPE: an actor and a
critic that share nothing, each a dense layer, a GRU and a dense layer; an optimiser each; the
critic sees the observations of all agents side by side; minibatches of whole trajectories of
agents; time limits treated as ends. The worlds are JaxMARL's own.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.peers import jaxmarl_world
from jaxteach.networks.base import along_steps
from jaxteach.ppo.gae import generalized_advantages


@dataclass(frozen=True)
class Settings:
    """JaxMARL's numbers for recurrent MAPPO in its particle worlds."""

    learning_rate: float = 2e-3
    num_envs: int = 16
    num_steps: int = 128
    width: int = 128
    epochs: int = 4
    minibatches: int = 4
    gamma: float = 0.99
    lam: float = 0.95
    clip: float = 0.2
    entropy_coef: float = 0.01
    value_coef: float = 0.5
    max_grad_norm: float = 0.5


class Trunk(nn.Module):
    """A dense layer, a GRU, a dense layer, and outputs: logits, or a value."""

    width: int
    outputs: int
    last_scale: float

    @nn.compact
    def __call__(self, carry: jax.Array, inputs: jax.Array, first: jax.Array) -> tuple[jax.Array, jax.Array]:
        hidden = nn.relu(self._dense(self.width, 2**0.5)(inputs))
        hidden, carry = along_steps(nn.GRUCell, self.width, "gru", hidden, first, carry)
        hidden = nn.relu(self._dense(self.width, 2.0)(hidden))
        return self._dense(self.outputs, self.last_scale)(hidden), carry

    @staticmethod
    def _dense(width: int, scale: float) -> nn.Dense:
        return nn.Dense(width, kernel_init=nn.initializers.orthogonal(scale))


class Sample(NamedTuple):
    """[T, B, ...] for B agents of all environments; `carry` [1, B, width] each."""

    obs: jax.Array
    joint: jax.Array
    first: jax.Array
    action: jax.Array
    log_prob: jax.Array
    value: jax.Array
    advantage: jax.Array
    returns: jax.Array
    actor_carry: jax.Array
    critic_carry: jax.Array


class Loop(NamedTuple):
    """What an update changes."""

    params: Any  # (actor's, critic's)
    opt_states: Any
    env: Any
    obs: jax.Array  # float32[A, N, features]
    first: jax.Array  # bool[B]
    carries: Any
    key: jax.Array


class Trained(NamedTuple):
    """A finished actor, and what it took."""

    act: Callable[..., tuple[jax.Array, jax.Array]]
    initial_carry: Callable[[int], jax.Array]
    params: Any
    env_steps: int
    compile_s: float
    train_s: float


class Mappo:
    """The trainer on one world of JaxMARL's."""

    def __init__(self, env: Any, settings: Settings, updates: int) -> None:
        self.env, self.settings, self.updates = env, settings, updates
        self.batch = env.num_agents * settings.num_envs
        self.actor = Trunk(settings.width, env.action_space(env.agents[0]).n, 0.01)
        self.critic = Trunk(settings.width, 1, 1.0)
        steps = updates * settings.epochs * settings.minibatches
        rate = optax.linear_schedule(settings.learning_rate, 0.0, steps)
        clip = optax.clip_by_global_norm(settings.max_grad_norm)
        self.optimizer = optax.chain(clip, optax.adam(rate, eps=1e-5))

    def carry(self, batch: int) -> jax.Array:
        return jnp.zeros((batch, self.settings.width), jnp.float32)

    def init(self, key: jax.Array) -> Loop:
        actor_key, critic_key, env_key, key = jax.random.split(key, 4)
        obs, state = jax.vmap(self.env.reset)(jax.random.split(env_key, self.settings.num_envs))
        obs, first, carry = self._stack(obs), jnp.ones(self.batch, bool), self.carry(self.batch)
        inputs = (carry, self._flat(obs)[None], first[None])
        params = (
            self.actor.init(actor_key, *inputs),
            self.critic.init(critic_key, carry, self._joint(obs)[None], first[None]),
        )
        opt_states = tuple(self.optimizer.init(part) for part in params)
        return Loop(params, opt_states, state, obs, first, (carry, carry), key)

    def train(self, loop: Loop) -> tuple[Loop, jax.Array]:
        """All updates; also the mean reward of each."""
        return jax.lax.scan(lambda loop, _: self.update(loop), loop, length=self.updates)

    def update(self, loop: Loop) -> tuple[Loop, jax.Array]:
        settings, carries = self.settings, loop.carries
        loop, steps = jax.lax.scan(self._step, loop, length=settings.num_steps)
        obs, joint, first, action, log_prob, value, reward, last = steps
        critic_carry = loop.carries[1]
        ahead = self.critic.apply(loop.params[1], critic_carry, self._joint(loop.obs)[None], loop.first[None])
        tail = ahead[0][..., 0]  # type: ignore[index]
        following, discount = jnp.concatenate([value[1:], tail]), 1 - last.astype(jnp.float32)
        advantage = generalized_advantages(reward, value, following, discount, last, settings.gamma, settings.lam)
        batch = Sample(
            obs, joint, first, action, log_prob, value, advantage, advantage + value, carries[0][None], carries[1][None]
        )
        key, *epoch_keys = jax.random.split(loop.key, settings.epochs + 1)
        learned = jax.lax.scan(
            lambda learned, key: self._epoch(learned, batch, key), (loop.params, loop.opt_states), jnp.stack(epoch_keys)
        )[0]
        return loop._replace(params=learned[0], opt_states=learned[1], key=key), reward.mean()

    def _step(self, loop: Loop, _: None) -> tuple[Loop, Any]:
        key, act_key, env_key = jax.random.split(loop.key, 3)
        obs, joint = self._flat(loop.obs), self._joint(loop.obs)
        logits, actor_carry = self._apply(self.actor, loop.params[0], loop.carries[0], obs[None], loop.first[None])
        value, critic_carry = self._apply(self.critic, loop.params[1], loop.carries[1], joint[None], loop.first[None])
        action = jax.random.categorical(act_key, logits[0])
        log_prob = jnp.take_along_axis(jax.nn.log_softmax(logits[0]), action[:, None], 1)[:, 0]
        moves = dict(zip(self.env.agents, action.reshape(self.env.num_agents, -1)))
        keys = jax.random.split(env_key, self.settings.num_envs)
        new_obs, state, reward, done, _ = jax.vmap(self.env.step)(keys, loop.env, moves)
        last, reward = self._stack(done).reshape(-1), self._stack(reward).reshape(-1)
        record = (obs, joint, loop.first, action, log_prob, value[0, :, 0], reward, last)
        carries = (actor_carry, critic_carry)
        return Loop(loop.params, loop.opt_states, state, self._stack(new_obs), last, carries, key), record

    def _epoch(self, learned: Any, batch: Sample, key: jax.Array) -> tuple[Any, None]:
        rows = jax.random.permutation(key, self.batch).reshape(self.settings.minibatches, -1)

        def step(learned: Any, rows: jax.Array) -> tuple[Any, None]:
            params, opt_states = learned
            part = jax.tree.map(lambda leaf: leaf[:, rows], batch)
            grads = (jax.grad(self._actor_loss)(params[0], part), jax.grad(self._critic_loss)(params[1], part))
            pairs = [self.optimizer.update(g, s, p) for g, s, p in zip(grads, opt_states, params)]
            params = tuple(optax.apply_updates(p, updates) for p, (updates, _) in zip(params, pairs))
            return (params, tuple(state for _, state in pairs)), None

        return jax.lax.scan(step, learned, rows)[0], None

    def _actor_loss(self, params: Any, part: Sample) -> jax.Array:
        logits, _ = self._apply(self.actor, params, part.actor_carry[0], part.obs, part.first)
        log_probs = jax.nn.log_softmax(logits)
        ratio = jnp.exp(jnp.take_along_axis(log_probs, part.action[..., None], -1)[..., 0] - part.log_prob)
        advantage = (part.advantage - part.advantage.mean()) / (part.advantage.std() + 1e-8)
        clip = self.settings.clip
        surrogate = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage)
        entropy = -(jnp.exp(log_probs) * log_probs).sum(-1)
        return -surrogate.mean() - self.settings.entropy_coef * entropy.mean()

    def _critic_loss(self, params: Any, part: Sample) -> jax.Array:
        value = self._apply(self.critic, params, part.critic_carry[0], part.joint, part.first)[0][..., 0]
        clipped = part.value + jnp.clip(value - part.value, -self.settings.clip, self.settings.clip)
        errors = jnp.maximum((value - part.returns) ** 2, (clipped - part.returns) ** 2)
        return self.settings.value_coef * 0.5 * errors.mean()

    @staticmethod
    def _apply(
        trunk: Trunk, params: Any, carry: jax.Array, inputs: jax.Array, first: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        outputs, carry = trunk.apply(params, carry, inputs, first)  # type: ignore[misc]
        return outputs, carry

    def _stack(self, by_agent: Any) -> jax.Array:
        return jnp.stack([by_agent[agent] for agent in self.env.agents])

    def _flat(self, obs: jax.Array) -> jax.Array:
        """[A, N, F] -> [A * N, F]."""
        return obs.reshape(self.batch, -1)

    def _joint(self, obs: jax.Array) -> jax.Array:
        """[A, N, F] -> [A * N, A * F], the same for all agents of an environment."""
        beside = obs.swapaxes(0, 1).reshape(1, self.settings.num_envs, -1)
        return jnp.broadcast_to(beside, (self.env.num_agents, *beside.shape[1:])).reshape(self.batch, -1)


def train_jaxmarl(scenario: str, seed: int, total_steps: int, settings: Settings) -> Trained:
    """Trains on one of JaxMARL's worlds, such as `MPE_simple_spread_v3`.

    Raises:
        MissingPeer: JaxMARL is not installed.
    """
    updates = max(1, total_steps // (settings.num_envs * settings.num_steps))
    mappo = Mappo(jaxmarl_world(scenario), settings, updates)
    began = time.perf_counter()
    loop = jax.block_until_ready(jax.jit(mappo.init)(jax.random.key(seed)))
    program = jax.jit(mappo.train).lower(loop).compile()
    compiled = time.perf_counter()
    loop, rewards = program(loop)
    jax.block_until_ready(rewards)
    finished = time.perf_counter()
    steps = updates * settings.num_envs * settings.num_steps
    if not np.isfinite(rewards).all():
        raise FloatingPointError("the training of the JaxMARL stand-in diverged")

    def act(params: Any, carry: jax.Array, obs: jax.Array, first: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits, carry = mappo._apply(mappo.actor, params, carry, obs[None], first[None])
        return logits[0], carry

    return Trained(act, mappo.carry, loop.params[0], steps, compiled - began, finished - compiled)
