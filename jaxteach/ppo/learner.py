"""PPO with a teacher, for one agent or, as MAPPO, for several: updates, and compiled chunks of updates.

MAPPO (arXiv 2103.01955) is PPO here: all agents share the network, which may judge by what all of
them observe (`MLPNet`). A sample is a step of an environment, with all its agents.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from envs_jax.sharding import AXIS, replicate, shard
from envs_jax.vector import VectorEnv
from jaxteach.config import PPOConfig
from jaxteach.guidance import Advice, CombinedGuidance, Steps, has_plans
from jaxteach.networks.base import forward
from jaxteach.networks.registry import Network
from jaxteach.ppo import losses
from jaxteach.ppo import value_norm as value_scale
from jaxteach.ppo.distillation import (
    AnyTeacher,
    ask,
    initial_memory,
    merge_agents,
    uncovered_captions,
    unlisted_captions,
    with_table,
)
from jaxteach.ppo.episode_cohorts import Cohorts, counted, no_cohorts
from jaxteach.ppo.gae import generalized_advantages
from jaxteach.ppo.rollout import Actor, Trajectory, collect, start
from jaxteach.ppo.rollout_teacher import RolloutTeacher
from jaxteach.ppo.value_norm import ValueScale, unknown_scale
from jaxteach.teacher import Teacher
from jaxteach.teacher.domain import NO_CAPTION
from jaxteach.teacher.table import SkillTable


class LearnerState(NamedTuple):
    """All that an update changes."""

    params: Any
    opt_state: optax.OptState
    actor: Actor
    memory: Any  # the teacher's, leaves [N, ...]; () without a teacher
    value_scale: ValueScale | None  # None: values are not normalised
    cohorts: Cohorts
    key: jax.Array


class Batch(NamedTuple):
    """What the loss reads; [T, N, A, ...] or a part of it."""

    inputs: jax.Array
    first: jax.Array  # [T, N]
    active: jax.Array | None
    improved_by: jax.Array | None  # the samples of the policy loss; None for all
    action: jax.Array
    log_prob: jax.Array
    value: jax.Array
    advantage: jax.Array
    returns: jax.Array  # in the critic's units
    teacher_probs: jax.Array  # float32[T, N, A, actions], the labels, or [T, N, A, 0] without a teacher
    prior_probs: jax.Array | None = None  # the teacher's, ungated, for `policy_logits`; None if no method has that hook


class Schedule(NamedTuple):
    """The teacher's weights in an iteration."""

    active: jax.Array  # bool[], whether the teacher is still queried
    fade: jax.Array  # float32[], the share that is left of its weights
    imitation: jax.Array  # float32[], the weight of the cross-entropy to it
    shown: jax.Array  # float32[], what the user sees, the weight of the cross-entropy or, without one, `fade`


class Learner:
    """The student's training on one task.

    Args:
        venv: the environments, of a `AgentAxisWrapper`.
        network: the student.
        config: the numbers of PPO and of the distillation.
        teacher: None for pure reinforcement learning.
        iterations: updates in the whole run, over which the learning rate falls.
    """

    def __init__(
        self,
        venv: VectorEnv[Any],
        network: Network,
        config: PPOConfig,
        teacher: AnyTeacher | None,
        iterations: int,
    ) -> None:
        self.venv, self.network, self.config, self.teacher = venv, network, config, teacher
        self.guidance = CombinedGuidance.of(config, venv.env.max_steps, teacher)
        self.iterations = iterations
        gradient_steps = iterations * config.epochs * self.minibatches()[1]
        rate = optax.linear_schedule(config.learning_rate, config.final_learning_rate, max(1, gradient_steps))
        self.optimizer = optax.chain(
            optax.clip_by_global_norm(config.max_grad_norm),
            optax.adam(rate, eps=config.adam_eps),
        )

    def with_hparams(self, hparams: Mapping[str, Any]) -> "Learner":
        """The same with other numbers of PPO, by name; they may be traced, float32[] each."""
        config = replace(self.config, **hparams)
        return Learner(self.venv, self.network, config, self.teacher, self.iterations)

    def minibatches(self) -> tuple[int, int]:
        """Columns in a minibatch, and minibatches in an epoch; a column is a step, with recurrence an environment."""
        length = self.samples // self.columns
        size = min(self.columns, max(1, self.config.batch_size // length))
        return size, self.columns // size

    @property
    def samples(self) -> int:
        """Samples of an iteration."""
        return self.venv.num_envs * self.config.rollout_length

    @property
    def columns(self) -> int:
        """Columns of an iteration, see `minibatches`."""
        recurrent = bool(jax.tree.leaves(self.network.initial_carry(1)))
        return self.venv.num_envs * (1 if recurrent else self.config.rollout_length)

    def init(self, key: jax.Array) -> LearnerState:
        """Fresh parameters and environments."""
        params_key, env_key, key = jax.random.split(key, 3)
        actor = start(self.venv, self.network, env_key)
        inputs = jax.vmap(jax.vmap(self.network.prepare))(actor.obs)
        params = self.network.init(params_key, inputs[None], actor.first[None], actor.carry)
        memory = () if self.teacher is None else initial_memory(self.teacher, self.venv.num_envs)
        scale = unknown_scale() if self.config.normalize_values else None
        cohorts = no_cohorts(self.config.rollout_length, self.venv.env.max_steps)
        return LearnerState(params, self.optimizer.init(params), actor, memory, scale, cohorts, key)

    def run_updates(
        self, state: LearnerState, table: SkillTable | None, iteration: jax.Array, count: jax.Array, most: int
    ) -> tuple[LearnerState, dict[str, jax.Array]]:
        """`count` updates, the first of them number `iteration`.

        Args:
            state: changed by every update.
            table: the teacher's, None without a teacher.
            iteration: int32[].
            count: int32[], at most `most`.
            most: length of the metrics' leading axis; those past `count` are 0.
        """
        # Compiled functions keep their traces, so that the loop does not trace an update again.
        update = jax.jit(self.update, inline=True)
        shapes = jax.eval_shape(update, state, table, iteration)[1]
        metrics = jax.tree.map(lambda leaf: jnp.zeros((most, *leaf.shape), leaf.dtype), shapes)

        def body(i: jax.Array, carry: Any) -> Any:
            state, metrics = carry
            state, row = update(state, table, iteration + i)
            return state, jax.tree.map(lambda rows, new: rows.at[i].set(new), metrics, row)

        return jax.lax.fori_loop(0, count, body, (state, metrics))

    def update(
        self, state: LearnerState, table: SkillTable | None, iteration: jax.Array
    ) -> tuple[LearnerState, dict[str, jax.Array]]:
        """Rollout, labels, advantages, and the epochs of gradient steps; also the update's metrics.

        The metrics are scalars, but for `uncovered_captions`, int32[captions], which there is with a
        teacher: how often each caption without plans was met. `episodes` and the sums beside it
        are of the episodes that began together some iterations ago, see `cohorts.counted`.
        """
        key, act_key, label_key, shuffle_key = jax.random.split(state.key, 4)
        schedule = self._schedule(iteration)
        actor, trajectory, memory, advice = self._rollout(state, table, schedule, act_key, label_key)
        teacher_probs, captions = self._gated(advice, iteration), advice.captions
        rewards = self._rewards(state, trajectory, advice, teacher_probs, memory, actor)
        advantages, returns, scale = self._advantages(trajectory, rewards, state.value_scale)
        improved_by, inputs = self._improved_by(trajectory), trajectory.inputs
        if self.guidance.hinted:
            inputs = self.guidance.drop_hints(inputs, teacher_probs.shape[-1], label_key)
        batch = Batch(
            inputs=inputs,
            first=trajectory.first,
            active=trajectory.active,
            improved_by=improved_by,
            action=trajectory.action,
            log_prob=trajectory.log_prob,
            value=trajectory.value,
            advantage=_standardized(advantages, improved_by, self.config.min_advantage_std),
            returns=returns,
            teacher_probs=teacher_probs,
            prior_probs=advice.probs if self.guidance.uses("policy_logits") else None,
        )
        params, opt_state, terms = self.update_epochs(state, batch, trajectory.carry, schedule, shuffle_key)
        cohorts, outcomes = counted(state.cohorts, trajectory, iteration, self.venv.env.max_steps)
        metrics = (
            terms
            | outcomes
            | {
                "explained_variance": losses.explained_variance(batch.value, returns, trajectory.active),
                "kickstarting_coef": schedule.shown,
                "teacher_coverage": losses.mean(has_plans(teacher_probs).astype(jnp.float32), trajectory.active),
            }
        )
        if table is not None:
            metrics["uncovered_captions"] = uncovered_captions(table, captions)
            metrics["unlisted_captions"] = unlisted_captions(table, captions)
        return LearnerState(params, opt_state, actor, memory, scale, cohorts, key), metrics

    def rollout(self, state: LearnerState, table: SkillTable | None, iteration: jax.Array) -> tuple[Actor, Trajectory]:
        """The rollout of an update, with the same arguments: where the environments stand then, and the trajectory."""
        _, act_key, label_key, _ = jax.random.split(state.key, 4)
        return self._rollout(state, table, self._schedule(iteration), act_key, label_key)[:2]

    def _schedule(self, iteration: jax.Array) -> Schedule:
        """The teacher's weights in an iteration, all 0 without a teacher."""
        if self.teacher is None:
            return Schedule(jnp.bool_(False), *[jnp.float32(0)] * 3)
        coefficient, fade = (part(iteration, self.samples) for part in (self.config.coefficient, self.config.fade))
        imitation = self.guidance.imitation_coef(coefficient)
        shown = imitation if self.guidance.uses("imitation_coef") else fade
        return Schedule(self.guidance.active(coefficient, fade), fade, imitation, shown)

    def _rollout(
        self,
        state: LearnerState,
        table: SkillTable | None,
        schedule: Schedule,
        act_key: jax.Array,
        label_key: jax.Array,
    ) -> tuple[Actor, Trajectory, Any, Advice]:
        """Where the environments stand afterwards, the trajectory, and the teacher's memory and advice."""
        rollout = (self.venv, self.network, state.params, state.actor, act_key, self.config.rollout_length)
        if self.guidance.before_acting and table is not None:
            # As `CombinedGuidance.of` has checked.
            assert isinstance(self.teacher, Teacher)
            teacher = RolloutTeacher(with_table(self.teacher, table), self.guidance, schedule.fade, schedule.active)
            actor, trajectory = collect(*rollout, teacher, state.memory)
            assert trajectory.advice is not None
            return actor, trajectory, trajectory.memory, trajectory.advice._replace(fade=schedule.fade)
        actor, trajectory = collect(*rollout)
        memory, probs, captions = self.label(state.memory, table, trajectory, label_key, schedule.active)
        return actor, trajectory, memory, Advice(probs, captions, schedule.fade)

    def _improved_by(self, trajectory: Trajectory) -> jax.Array | None:
        """bool[T, N, A], the samples of the policy loss; None for all."""
        if self.guidance.learns_from_demonstrations:
            return trajectory.active
        return _both(trajectory.active, trajectory.by_student)

    def _gated(self, advice: Advice, iteration: jax.Array) -> jax.Array:
        """The teacher's distributions as labels, times the weights of a gate if there is one."""
        if not self.guidance.uses("gate"):
            return advice.probs
        # The product may be more than an int32 holds.
        samples = iteration.astype(jnp.float32) * self.samples
        return advice.probs * self.guidance.gate(advice, samples)[..., None]

    def _rewards(
        self,
        state: LearnerState,
        trajectory: Trajectory,
        advice: Advice,
        labels: jax.Array,
        memory: Any,
        actor: Actor,
    ) -> jax.Array:
        """The rewards with the methods' bonuses, float32[T, N, A].

        Args:
            state: before the trajectory.
            trajectory: what the student did.
            advice: what the teacher says of it.
            labels: the teacher's distributions, gated.
            memory: the teacher's, after the trajectory.
            actor: where the environments stand then.
        """
        if not self.guidance.uses("bonus"):
            return trajectory.reward
        after = jnp.full_like(advice.captions[0], NO_CAPTION)
        if self.guidance.needs_captions:
            # Captions don't depend on plans, which may be another table's.
            assert isinstance(self.teacher, Teacher)
            after = jax.vmap(self.teacher.caption)(memory, merge_agents(self.teacher, actor.obs)).reshape(after.shape)
        steps = Steps(
            trajectory.action,
            self._policy(state.params, trajectory, advice),
            trajectory.discount,
            jnp.broadcast_to(trajectory.last[..., None], advice.captions.shape),
            jnp.append(advice.captions[1:], after[None], 0),
        )
        return trajectory.reward + self.guidance.bonus(steps, advice._replace(probs=labels))

    def _policy(self, params: Any, trajectory: Trajectory, advice: Advice) -> jax.Array:
        """float32[T, N, A, actions], the probabilities by which the student acted."""
        output, _ = forward(self.network, params, trajectory.inputs, trajectory.first, trajectory.carry)
        return jax.nn.softmax(self.guidance.policy_logits(output.logits, advice.probs, advice.fade))

    def _advantages(
        self, trajectory: Trajectory, rewards: jax.Array, scale: ValueScale | None
    ) -> tuple[jax.Array, jax.Array, ValueScale | None]:
        """Advantages and, in the critic's units, returns, float32[T, N, A] each; also the scale after them."""
        values, next_values = trajectory.value, trajectory.next_value
        if scale is not None:
            values, next_values = (value_scale.to_returns(scale, x) for x in (values, next_values))
        advantages = generalized_advantages(
            rewards,
            values,
            next_values,
            trajectory.discount,
            trajectory.last[..., None],
            self.config.gamma,
            self.config.lam,
        )
        returns = advantages + values
        if scale is None:
            return advantages, returns, None
        scale = value_scale.updated(scale, returns, trajectory.active)
        return advantages, value_scale.to_values(scale, returns), scale

    def label(
        self, memory: Any, table: SkillTable | None, trajectory: Trajectory, key: jax.Array, teacher_active: jax.Array
    ) -> tuple[Any, jax.Array, jax.Array]:
        """The teacher's memory, probabilities and captions for a trajectory.

        Args:
            memory: leaves [N, ...], before the trajectory.
            table: the teacher's.
            trajectory: what the student did.
            key: PRNG key of the hard teacher.
            teacher_active: bool[], whether the teacher still has weight; else it is not queried, and all rows
                are zeros, all captions -1.

        Returns:
            The memory after the trajectory, float32[T, N, A, actions] and int32[T, N, A].
        """
        shape, silence = trajectory.action.shape, jnp.full(trajectory.action.shape, -1, jnp.int32)
        if self.teacher is None or table is None:
            return memory, jnp.zeros((*shape, 0), jnp.float32), silence
        teacher = with_table(self.teacher, table)

        def query_teacher(memory: Any) -> tuple[Any, jax.Array, jax.Array]:
            return ask(teacher, memory, trajectory.obs, trajectory.action, trajectory.first, key)

        def skip(memory: Any) -> tuple[Any, jax.Array, jax.Array]:
            return memory, jnp.zeros((*shape, max(self.venv.env.action_counts)), jnp.float32), silence

        return jax.lax.cond(teacher_active, query_teacher, skip, memory)

    def update_epochs(
        self, state: LearnerState, batch: Batch, carry: Any, schedule: Schedule, key: jax.Array
    ) -> tuple[Any, optax.OptState, dict[str, jax.Array]]:
        """The epochs of gradient steps; without recurrence single steps are shuffled, with it whole environments.

        Args:
            state: parameters and optimiser.
            batch: [T, N, A, ...].
            carry: the network's before the first step.
            schedule: the teacher's weights.
            key: shuffles.

        Returns:
            The new parameters and optimiser, the means of the loss's terms, and `grad_norm`, the
            largest norm of a gradient before it is clipped.
        """
        if not jax.tree.leaves(carry):
            batch = jax.tree.map(lambda leaf: leaf.reshape(1, leaf.shape[0] * leaf.shape[1], *leaf.shape[2:]), batch)
        # Samples of all devices are shuffled together, so that minibatches don't depend on how many there are.
        batch, carry = replicate((batch, carry))
        columns = batch.action.shape[1]
        size, count = self.minibatches()

        def step(params_and_state: Any, rows: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
            params, opt_state = params_and_state
            part = shard(jax.tree.map(lambda leaf: leaf[:, rows], batch), axis=1)
            part_carry = shard(jax.tree.map(lambda leaf: leaf[rows], carry))
            grads, terms = jax.grad(self._loss, has_aux=True)(params, part, part_carry, schedule)
            terms["grad_norm"] = optax.tree.norm(grads)
            # Optax promotes its counters, and with 64 bits would correct the moments in float64.
            with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
                updates, opt_state = self.optimizer.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), terms

        def epoch(params_and_state: Any, key: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
            rows = jax.random.permutation(key, columns)[: count * size].reshape(count, size)
            return jax.lax.scan(step, params_and_state, rows)

        keys = jax.random.split(key, self.config.epochs)
        (params, opt_state), terms = jax.lax.scan(epoch, (state.params, state.opt_state), keys)
        return params, opt_state, jax.tree.map(jnp.mean, terms) | {"grad_norm": terms["grad_norm"].max()}

    def _loss(
        self, params: Any, batch: Batch, carry: Any, schedule: Schedule
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        output, _ = forward(self.network, params, batch.inputs, batch.first, carry)
        config, guidance, logits = self.config, self.guidance, output.logits
        if batch.prior_probs is not None:
            logits = guidance.policy_logits(logits, batch.prior_probs, schedule.fade)
        log_probs = jax.nn.log_softmax(logits)
        chosen = jnp.take_along_axis(log_probs, batch.action[..., None], -1)[..., 0]
        terms = {
            "policy_loss": losses.policy_loss(chosen, batch.log_prob, batch.advantage, config.clip, batch.improved_by),
            "value_loss": losses.value_loss(output.value, batch.value, batch.returns, config.clip, batch.active),
            "entropy": losses.entropy(output.logits, batch.active),
            "approx_kl": losses.approx_kl(chosen, batch.log_prob, batch.improved_by),
            "clip_fraction": losses.clip_fraction(chosen, batch.log_prob, config.clip, batch.improved_by),
        }
        policy_loss = terms["policy_loss"]
        if guidance.uses("policy_coef"):
            policy_loss *= guidance.policy_coef(schedule.fade)
        loss = policy_loss + config.value_coef * terms["value_loss"] - config.entropy_coef * terms["entropy"]
        if guidance.uses("imitation_coef"):
            terms["kickstarting_loss"] = losses.kickstarting_loss(output.logits, batch.teacher_probs, batch.active)
            loss += schedule.imitation * terms["kickstarting_loss"]
        return loss, terms | {"loss": loss}


def _both(one: jax.Array | None, other: jax.Array | None) -> jax.Array | None:
    """Where both masks hold; None holds everywhere."""
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _standardized(values: jax.Array, active: jax.Array | None, min_std: float) -> jax.Array:
    """The values with mean 0 over the active samples, divided by their deviation, but at least by `min_std`."""
    centred = values - losses.mean(values, active)
    return centred / jnp.maximum(jnp.sqrt(losses.mean(centred**2, active)), min_std)


def state_shardings(state: LearnerState, mesh: Mesh) -> LearnerState:
    """Where the leaves of a state [seeds, ...] lie: those of environments, [seeds, N, ...], in parts on the devices.

    Args:
        state: the state, or its shapes and dtypes.
        mesh: of the devices.

    Returns:
        A `NamedSharding` for each leaf.
    """
    parts, copies = NamedSharding(mesh, PartitionSpec(None, AXIS)), NamedSharding(mesh, PartitionSpec())

    def place(tree: Any, sharding: NamedSharding) -> Any:
        return jax.tree.map(lambda _: sharding, tree)

    shardings = place(state, copies)
    return shardings._replace(actor=place(state.actor, parts), memory=place(state.memory, parts))
