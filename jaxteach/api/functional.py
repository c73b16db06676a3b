"""Training as pure functions: nothing is written, everything may be transformed."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxteach.api.options import DEFAULT, configured, named_options, names_as_keywords
from jaxteach.config import HostsConfig, PPOConfig, TrainConfig
from jaxteach.errors import UserError, did_you_mean
from jaxteach.options.markers import NOT_LEARNT, check_values, marked, refuse_idle, without_effect
from jaxteach.ppo.learner import LearnerState
from jaxteach.training.programs import Experiment

NOT_PURE: Final = {
    *marked(TrainConfig("SimpleDoorKey"), NOT_LEARNT),
    *(option.name for option in fields(HostsConfig)),
    *("seeds", "online", "eval_interval", "num_eval"),
}
"""Options of runs on the disk, of their evaluations and of their places on devices."""


class TrainState(NamedTuple):
    """What an update changes."""

    learner: LearnerState
    iteration: jax.Array  # int32[], updates behind it


Update = Callable[..., tuple[TrainState, dict[str, jax.Array]]]
"""(state, **hparams) -> (state, metrics)."""


@names_as_keywords()
def make_train(
    task: Any, *, teacher: Any = DEFAULT, network: Any = None, **options: Any
) -> tuple[Callable[[jax.Array], TrainState], Update]:
    """The two pure functions of training, for `jax.jit`, `jax.vmap` and `jax.lax.scan`; they touch no disk.

    Args:
        task: as for `train`.
        teacher: as for `train`.
        network: as for `train`.
        **options: as for `train`, but for those of folders, evaluations, seeds and devices. `total_steps` is the
            length over which the learning rate falls.

    Returns:
        `init(key)`, a fresh `TrainState` from a PRNG key; and `update(state, **hparams)`, the state after an
        iteration of `num_envs * rollout_length` environment steps, and its metrics: float32[] or int32[] each, but for
        `uncovered_captions`, int32[captions], with a teacher. `hparams` are numbers of `PPOConfig.hparams`,
        float32[], such as `distill_coef` and `learning_rate`, which may be traced; the options' when left out.

    Raises:
        ValueError: as for `train`; `update` for an hparam that shapes the program, or has no effect.

    Example::

        init, update = jaxteach.make_train("SimpleDoorKey", num_envs=64)
        states = jax.vmap(init)(jax.random.split(jax.random.key(0), 4))
        states, metrics = jax.jit(jax.vmap(update))(states)
    """
    idle = sorted(NOT_PURE & set(options))
    if idle:
        raise UserError(f"make_train has no use for {idle[0]}: it is of runs on the disk; leave it out")
    with named_options(task, None, teacher, network, options) as (_, flat):
        experiment = Experiment(configured(flat))
    learner, table, config = experiment.learner, experiment.table, experiment.config

    def init(key: jax.Array) -> TrainState:
        return TrainState(learner.init(key), jnp.int32(0))

    def update(state: TrainState, **hparams: Any) -> tuple[TrainState, dict[str, jax.Array]]:
        _check_hparams(config, hparams)
        numbers = {name: jnp.float32(value) for name, value in (config.ppo.hparams | hparams).items()}
        changed, metrics = learner.with_hparams(numbers).update(state.learner, table, state.iteration)
        return TrainState(changed, state.iteration + jnp.int32(1)), metrics

    return init, update


@names_as_keywords()
def _check_hparams(config: TrainConfig, hparams: dict[str, Any]) -> None:
    """Raises `UserError` for names that are no inputs of the program, or have no effect in it."""
    known = PPOConfig().hparams
    for name, value in hparams.items():
        if name in vars(config.ppo) and name not in known:
            raise UserError(f"{name} shapes the program; give it to make_train")
        if name not in known:
            advice = did_you_mean(name, known, f"known are {', '.join(known)}")
            raise UserError(f"no hparam is {name}; {advice}")
        if not isinstance(value, int | float | np.number | np.ndarray | jax.Array) or np.ndim(value):
            raise UserError(f"{name} must be a scalar, not {value!r:.60}; several values are for jax.vmap")
        if not isinstance(value, Tracer):
            check_values(replace(config.ppo, **{name: float(value)}))
    refuse_idle(without_effect(config, hparams))
