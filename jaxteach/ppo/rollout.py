"""Trajectories: the student acts in all environments, and what is needed to learn from it is kept."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.sharding import shard_map_local
from envs_jax.vector import VectorEnv
from jaxteach.guidance import Advice
from jaxteach.networks.base import Carry, forward
from jaxteach.networks.registry import Network
from jaxteach.ppo.rollout_teacher import RolloutTeacher


class Actor(NamedTuple):
    """Where the rollout stands between two calls."""

    env: Any  # VectorState
    obs: Any  # leaves [N, A, ...]
    first: jax.Array  # bool[N], the observations begin an episode
    active: jax.Array | None  # bool[N, A], who has not finished; None for one agent, who acts to the end
    carry: Carry  # of the network, before `obs`


class Trajectory(NamedTuple):
    """T steps of N environments with A agents each."""

    obs: Any  # leaves [T, N, A, ...]
    inputs: jax.Array  # [T, N, A, ...], the observations as the network takes them
    first: jax.Array  # bool[T, N]
    active: jax.Array | None  # bool[T, N, A], who had not finished before this step; None for one agent
    action: jax.Array  # int32[T, N, A]
    log_prob: jax.Array  # float32[T, N, A]
    value: jax.Array  # float32[T, N, A], as the network says it
    next_value: jax.Array  # float32[T, N, A], of what followed, before any reset; meaningless where discount is 0
    reward: jax.Array  # float32[T, N, A]
    discount: jax.Array  # float32[T, N, A], the world's; where it is 0, nothing follows for this agent
    last: jax.Array  # bool[T, N], the episode ended with this step
    success: jax.Array  # bool[T, N], the task was fulfilled in this step
    episode_return: jax.Array  # float32[T, N, A], so far
    episode_length: jax.Array  # int32[T, N], so far
    carry: Carry  # the network's before the first step
    advice: Advice | None  # the teacher's before each action, leaves [T, ...]; None without a teacher in the rollout
    by_student: jax.Array | None  # bool[T, N, A], the action is the student's; None where all are
    memory: Any  # the teacher's after the last step; () without a teacher in the rollout


class _Truncated(NamedTuple):
    """The ends that are not terminal: the first S final states of each environment, to be valued after the rollout."""

    env: Any  # leaves [S, N, ...]
    carry: Carry  # leaves [S, N, ...]
    used: jax.Array  # int32[N], slots filled so far


def start(venv: VectorEnv[Any], network: Network, key: jax.Array) -> Actor:
    """All environments, `AgentAxisWrapper`s, at the first step of an episode."""
    state, timestep = venv.reset(key)
    count, agents = venv.num_envs, venv.env.num_agents
    active = jnp.ones((count, agents), bool) if agents > 1 else None
    return Actor(state, timestep.observation, jnp.ones(count, bool), active, network.initial_carry(count))


def collect(
    venv: VectorEnv[Any],
    network: Network,
    params: Any,
    actor: Actor,
    key: jax.Array,
    length: int,
    teacher: RolloutTeacher | None = None,
    memory: Any = (),
) -> tuple[Actor, Trajectory]:
    """`length` steps of every environment with actions that the student samples, or a teacher that takes over.

    Args:
        venv: the environments.
        network: the student.
        params: its parameters.
        actor: where the environments stand.
        key: draws the actions.
        length: T.
        teacher: where one is queried before each action.
        memory: the teacher's, leaves [N, ...].

    Returns:
        Where the environments stand afterwards, and the trajectory.
    """
    critic, truncated = _Critic(venv, network, params), _no_truncated(actor, (length - 1) // venv.env.max_steps + 1)

    def step(carry: tuple[Actor, _Truncated, Any], key: jax.Array) -> tuple[tuple[Actor, _Truncated, Any], Any]:
        actor, truncated, memory = carry
        memory, inputs, advice = _advise(teacher, memory, actor, critic.prepare(actor.obs), key)
        output, after = forward(network, params, inputs[None], actor.first[None], actor.carry)
        action, log_probs, by_student = _choose(teacher, output.logits[0], actor, advice, key)
        if teacher is not None:
            memory = teacher.advance(memory, action)
        env, timestep = venv.step(actor.env, action)
        last, terminated = jnp.asarray(timestep.last()), jnp.asarray(timestep.discount == 0)
        cut, final = last & ~terminated.all(-1), (timestep.extras["next_state"], after)
        late = cut & (truncated.used >= jax.tree.leaves(truncated.env)[0].shape[0])
        record = _record(actor, inputs, action, log_probs, output.value[0], timestep)
        record |= {"advice": advice, "by_student": by_student}
        truncated = _keep_final(truncated, cut, *final)
        seen_late = shard_map_local(critic.late_value)(late, *final, output.value[0])
        active = None if actor.active is None else actor.active & ~terminated | last[:, None]
        following = Actor(env, timestep.observation, last, active, after)
        return (following, truncated, memory), (record, cut, late, seen_late)

    begin, keys = actor.carry, jax.random.split(key, length)
    end, (record, cut, late, late_values) = jax.lax.scan(step, (actor, truncated, memory), keys)
    actor, truncated, memory = end
    kept_values = jax.vmap(critic.final_value)(truncated.env, truncated.carry)
    final_values = jnp.where(late[..., None], late_values, _at_truncations(kept_values, cut))
    following = jnp.append(record["value"][1:], critic.value(actor.obs, actor.first, actor.carry)[None], 0)
    next_value = jnp.where(record["last"][..., None], final_values, following)
    return actor, Trajectory(**record, next_value=next_value, carry=begin, memory=memory)


@dataclass(frozen=True)
class _Critic:
    """The network's values of observations."""

    venv: VectorEnv[Any]
    network: Network
    params: Any

    def prepare(self, obs: Any) -> jax.Array:
        """The network's inputs for observations [N, A, ...]."""
        return jax.vmap(jax.vmap(self.network.prepare))(obs)

    def value(self, obs: Any, first: jax.Array, carry: Carry) -> jax.Array:
        """float32[N, A]."""
        return forward(self.network, self.params, self.prepare(obs)[None], first[None], carry)[0].value[0]

    def final_value(self, env: Any, carry: Carry) -> jax.Array:
        """float32[N, A], of the observations of states, within their episodes."""
        obs = jax.vmap(self.venv.env.observe)(env)
        return self.value(obs, jnp.zeros(len(jax.tree.leaves(obs)[0]), bool), carry)

    def late_value(self, late: jax.Array, env: Any, carry: Carry, otherwise: jax.Array) -> jax.Array:
        """As `final_value`, computed only if one of `late` bool[N] is true; else `otherwise`."""
        return _if_any(late, lambda: self.final_value(env, carry), otherwise)


def _no_truncated(actor: Actor, slots: int) -> _Truncated:
    """Room for the final states of truncated episodes.

    That is enough for environments that truncate only after `max_steps`; further ones are valued one by one.
    """
    env, carry = jax.tree.map(
        lambda leaf: jnp.stack([_cloned(leaf) for _ in range(slots)]), (actor.env.env, actor.carry)
    )
    return _Truncated(env, carry, jnp.zeros(len(actor.first), jnp.int32))


def _record(
    actor: Actor, inputs: jax.Array, action: jax.Array, log_probs: jax.Array, value: jax.Array, timestep: Any
) -> dict[str, Any]:
    """What is kept of a step."""
    return {
        "obs": actor.obs,
        "inputs": inputs,
        "first": actor.first,
        "active": actor.active,
        "action": action,
        "log_prob": jnp.take_along_axis(log_probs, action[..., None], -1)[..., 0],
        "value": value,
        "reward": timestep.reward,
        "discount": timestep.discount,
        "last": jnp.asarray(timestep.last()),
        "success": timestep.extras["success"],
        "episode_return": timestep.extras["episode_return"],
        "episode_length": timestep.extras["episode_length"],
    }


def _advise(
    teacher: RolloutTeacher | None, memory: Any, actor: Actor, inputs: jax.Array, key: jax.Array
) -> tuple[Any, jax.Array, Advice | None]:
    """The teacher's memory, the network's inputs with a hint if there is one, and the teacher's advice."""
    if teacher is None:
        return memory, inputs, None
    # The student draws from `key` itself, as it does without a teacher.
    teacher_key, hint_key = (jax.random.fold_in(jax.random.clone(key), i) for i in (1, 2))
    memory, advice = teacher.advise(memory, actor.obs, actor.first, teacher_key)
    return memory, teacher.with_hint(inputs, advice, hint_key), advice


def _choose(
    teacher: RolloutTeacher | None, logits: jax.Array, actor: Actor, advice: Advice | None, key: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """Draws the actions.

    Args:
        teacher: in the rollout, or None.
        logits: float32[N, A, actions], the student's.
        actor: where the environments stand.
        advice: the teacher's.
        key: draws.

    Returns:
        The actions int32[N, A]; float32[N, A, actions], the log-probabilities by which they were drawn; and
        bool[N, A], whether each action is the student's, None where all are.
    """
    if teacher is not None and advice is not None:
        logits = teacher.policy_logits(logits, advice)
    log_probs = jax.nn.log_softmax(logits)
    action = jax.random.categorical(key, log_probs).astype(jnp.int32)
    if teacher is None or advice is None:
        return action, log_probs, None
    takeover_key = jax.random.fold_in(jax.random.clone(key), 3)
    return teacher.intervene(action, log_probs, actor.env.episode_length, advice, takeover_key)


def _if_any(mask: jax.Array, function: Callable[[], jax.Array], otherwise: jax.Array) -> jax.Array:
    """What the function gives if the mask is true anywhere, else `otherwise`.

    A loop of at most one round: under `vmap`, `lax.cond` would call the function in any case.
    """
    start = (mask.any(), otherwise)
    return jax.lax.while_loop(lambda loop: loop[0], lambda _: (jnp.bool_(False), function()), start)[1]


def _keep_final(truncated: _Truncated, cut: jax.Array, env: Any, carry: Carry) -> _Truncated:
    """Puts the states of the environments in `cut` into their next free slots."""
    slots = jax.tree.leaves(truncated.env)[0].shape[0]
    chosen = cut[None] & (np.arange(slots, dtype=np.int32)[:, None] == truncated.used[None])

    def put(kept: jax.Array, new: jax.Array) -> jax.Array:
        mask = chosen.reshape(chosen.shape + (1,) * (new.ndim - 1))
        return _cloned(jnp.where(mask, _cloned(new)[None], _cloned(kept)))

    env, carry = jax.tree.map(put, (truncated.env, truncated.carry), (env, carry))
    return _Truncated(env, carry, truncated.used + cut.astype(jnp.int32))


def _cloned(leaf: jax.Array) -> jax.Array:
    """The same; keys cloned: the check for reused keys can't see that those of final states are never drawn from."""
    return jax.random.clone(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def _at_truncations(values: jax.Array, cut: jax.Array) -> jax.Array:
    """float32[T, N, A]: the slots' values, float32[S, N, A], at the truncations bool[T, N]; else without meaning."""
    order = jnp.clip(jnp.cumsum(cut, 0, dtype=jnp.int32) - 1, 0, len(values) - 1)
    return jnp.take_along_axis(values, order[..., None], 0)
