"""PPO in the structure of PureJaxRL, in our worlds and with our networks.

PureJaxRL is a repository to copy from, not a package, so this is our own re-statement of the
structure of its `ppo.py`: every step draws a fresh layout for every environment and selects it
where an episode ended; the statistics of its log wrapper are kept with every transition; a time
limit counts as an end; each epoch shuffles the whole batch and cuts it into minibatches.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxteach.config import PPOConfig
from jaxteach.networks.base import forward
from jaxteach.networks.registry import Network


class Transition(NamedTuple):
    """A step of each environment, [N, ...] each."""

    done: jax.Array
    action: jax.Array
    value: jax.Array
    reward: jax.Array
    log_prob: jax.Array
    inputs: jax.Array
    info: dict[str, jax.Array]


class Logged(NamedTuple):
    """A world and the statistics of its episodes."""

    env: Any
    episode_return: jax.Array
    episode_length: jax.Array
    returned_return: jax.Array
    returned_length: jax.Array
    timestep: jax.Array


class Runner(NamedTuple):
    """What an update changes."""

    params: Any
    opt_state: Any
    env: Logged
    inputs: jax.Array
    key: jax.Array


class PureJaxPPO:
    """The trainer: `init`, and `update` as the body of a scan.

    Args:
        env: a world of one agent.
        network: a student without recurrence.
        config: the numbers.
        num_envs: environments.
        updates: in the whole run, over which the learning rate falls.
    """

    def __init__(self, env: Any, network: Network, config: PPOConfig, num_envs: int, updates: int) -> None:
        self.env, self.network, self.config, self.num_envs = env, network, config, num_envs
        self.minibatches = num_envs * config.rollout_length // config.batch_size
        steps = updates * config.epochs * self.minibatches
        rate = optax.linear_schedule(config.learning_rate, config.final_learning_rate, steps)
        clip = optax.clip_by_global_norm(config.max_grad_norm)
        self.optimizer = optax.chain(clip, optax.adam(rate, eps=config.adam_eps))

    def init(self, key: jax.Array) -> Runner:
        params_key, env_key, key = jax.random.split(key, 3)
        env, inputs = jax.vmap(self._reset)(jax.random.split(env_key, self.num_envs))
        first = jnp.zeros((1, self.num_envs), bool)
        params = self.network.init(params_key, inputs[None, :, None], first, ())
        return Runner(params, self.optimizer.init(params), env, inputs, key)

    def update(self, runner: Runner) -> tuple[Runner, dict[str, jax.Array]]:
        """Rollout, advantages and epochs; also the statistics of every step."""
        runner, batch = jax.lax.scan(self._step, runner, length=self.config.rollout_length)
        _, last_value = self._apply(runner.params, runner.inputs)
        advantages = self._advantages(batch, last_value)
        everything = (batch, advantages, advantages + batch.value)
        key, *epoch_keys = jax.random.split(runner.key, self.config.epochs + 1)
        (params, opt_state), _ = jax.lax.scan(
            lambda learned, key: self._epoch(learned, everything, key),
            (runner.params, runner.opt_state),
            jnp.stack(epoch_keys),
        )
        return runner._replace(params=params, opt_state=opt_state, key=key), batch.info

    def _reset(self, key: jax.Array) -> tuple[Logged, jax.Array]:
        state, timestep = self.env.reset(key)
        zero, none = jnp.float32(0), jnp.int32(0)
        return Logged(state, zero, none, zero, none, none), self.network.prepare(timestep.observation)

    def _env_step(self, key: jax.Array, logged: Logged, action: jax.Array) -> tuple[Logged, Any]:
        """gymnax's step with PureJaxRL's log wrapper around it."""
        state, timestep = self.env.step(logged.env, action)
        fresh, inputs = self._reset(key)
        done = timestep.last()
        state = jax.tree.map(lambda new, old: jnp.where(done, new, old), fresh.env, state)
        inputs = jnp.where(done, inputs, self.network.prepare(timestep.observation))
        returns, length = logged.episode_return + timestep.reward, logged.episode_length + 1
        logged = Logged(
            state,
            jnp.where(done, 0, returns),
            jnp.where(done, 0, length),
            jnp.where(done, returns, logged.returned_return),
            jnp.where(done, length, logged.returned_length),
            logged.timestep + 1,
        )
        info = {
            "returned_episode_returns": logged.returned_return,
            "returned_episode_lengths": logged.returned_length,
            "timestep": logged.timestep,
            "returned_episode": done,
        }
        return logged, (inputs, timestep.reward, done, info)

    def _step(self, runner: Runner, _: None) -> tuple[Runner, Transition]:
        key, act_key, env_key = jax.random.split(runner.key, 3)
        logits, value = self._apply(runner.params, runner.inputs)
        action = jax.random.categorical(act_key, logits)
        log_prob = jnp.take_along_axis(jax.nn.log_softmax(logits), action[:, None], 1)[:, 0]
        keys = jax.random.split(env_key, self.num_envs)
        env, (inputs, reward, done, info) = jax.vmap(self._env_step)(keys, runner.env, action)
        record = Transition(done, action, value, reward, log_prob, runner.inputs, info)
        return runner._replace(env=env, inputs=inputs, key=key), record

    def _advantages(self, batch: Transition, last_value: jax.Array) -> jax.Array:
        config = self.config

        def back(carry: tuple[jax.Array, jax.Array], step: Transition) -> tuple[Any, jax.Array]:
            advantage, next_value = carry
            delta = step.reward + config.gamma * next_value * (1 - step.done) - step.value
            advantage = delta + config.gamma * config.lam * (1 - step.done) * advantage
            return (advantage, step.value), advantage

        start = (jnp.zeros_like(last_value), last_value)
        return jax.lax.scan(back, start, batch, reverse=True, unroll=16)[1]

    def _epoch(self, learned: Any, everything: Any, key: jax.Array) -> tuple[Any, None]:
        count = self.minibatches * self.config.batch_size
        order = jax.random.permutation(key, count)

        def shuffled(leaf: jax.Array) -> jax.Array:
            rows = jnp.take(leaf.reshape(count, *leaf.shape[2:]), order, axis=0)
            return rows.reshape(self.minibatches, -1, *leaf.shape[2:])

        def step(learned: Any, part: Any) -> tuple[Any, jax.Array]:
            params, opt_state = learned
            loss, grads = jax.value_and_grad(self._loss)(params, *part)
            updates, opt_state = self.optimizer.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), loss

        return jax.lax.scan(step, learned, jax.tree.map(shuffled, everything))[0], None

    def _loss(self, params: Any, batch: Transition, advantage: jax.Array, target: jax.Array) -> jax.Array:
        config, clip = self.config, self.config.clip
        logits, value = self._apply(params, batch.inputs)
        log_probs = jax.nn.log_softmax(logits)
        ratio = jnp.exp(jnp.take_along_axis(log_probs, batch.action[:, None], 1)[:, 0] - batch.log_prob)
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        surrogate = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage)
        clipped = batch.value + jnp.clip(value - batch.value, -clip, clip)
        value_loss = 0.5 * jnp.maximum((value - target) ** 2, (clipped - target) ** 2).mean()
        entropy = -(jnp.exp(log_probs) * log_probs).sum(-1).mean()
        return config.value_coef * value_loss - surrogate.mean() - config.entropy_coef * entropy

    def _apply(self, params: Any, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        """float32[B, actions] and float32[B], logits and values for inputs [B, ...]."""
        first = jnp.zeros((1, inputs.shape[0]), bool)
        output = forward(self.network, params, inputs[None, :, None], first, ())[0]
        return output.logits[0, :, 0], output.value[0, :, 0]
