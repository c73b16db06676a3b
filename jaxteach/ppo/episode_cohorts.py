"""How the episodes of training went, counted by the iteration in which they began.

Between two time limits only short episodes end, and where success ends an episode these are the
successes: means over the episodes that end in an iteration mislead. So the outcomes of the
episodes that began together are kept until all of them must have ended.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxteach.ppo.rollout import Trajectory

MOST_COHORTS = 256


class Cohorts(NamedTuple):
    """Sums over the episodes of each cohort, those that began in the same iterations.

    A ring: cohort `c` has place `c % B`. A return is the mean over the agents.
    """

    begun: jax.Array  # int32[B], episodes that began
    ended: jax.Array  # int32[B], of them those that have ended
    returns: jax.Array  # float32[B]
    square_returns: jax.Array  # float32[B]
    lengths: jax.Array  # float32[B]
    successes: jax.Array  # int32[B]


def delay(rollout_length: int, max_steps: int) -> int:
    """Iterations after which all episodes that began in one have come to `max_steps`."""
    return -(-(max_steps - 1) // rollout_length)


def no_cohorts(rollout_length: int, max_steps: int) -> Cohorts:
    """The ring before the first iteration, all zeros."""
    late = delay(rollout_length, max_steps)
    size = -(-late // _width(late)) + 1
    kinds = {"begun": jnp.int32, "ended": jnp.int32, "successes": jnp.int32}
    return Cohorts(*(jnp.zeros(size, kinds.get(name, jnp.float32)) for name in Cohorts._fields))


def counted(
    cohorts: Cohorts, trajectory: Trajectory, iteration: jax.Array, max_steps: int
) -> tuple[Cohorts, dict[str, jax.Array]]:
    """The ring after an iteration, and the sums of the cohort that it completes.

    An episode that has not ended by itself after `max_steps` steps counts as it stands there, as
    in an evaluation.

    Args:
        cohorts: before the iteration.
        trajectory: of the iteration.
        iteration: int32[], its number.
        max_steps: the world's.

    Returns:
        The ring, and the sums by the names of `Learner.update`'s metrics; all are 0 where no
        cohort is complete, or one is not known from its beginning.
    """
    steps, late = len(trajectory.last), delay(len(trajectory.last), max_steps)
    width, size = _width(late), len(cohorts.begun)
    length = trajectory.episode_length
    ends = (trajectory.last & (length <= max_steps)) | (length == max_steps)
    began = iteration + (np.arange(1, steps + 1, dtype=np.int32)[:, None] - length) // steps
    chosen = ends[None] & (np.arange(size, dtype=np.int32)[:, None, None] == (began // width % size)[None])

    def total(values: jax.Array) -> jax.Array:
        return jnp.where(chosen, values[None], jnp.zeros((), values.dtype)).sum((1, 2), dtype=values.dtype)

    returns = trajectory.episode_return.mean(-1)
    place = np.arange(size, dtype=np.int32) == iteration // width % size
    kept = ~(place & (iteration % width == 0))
    added = Cohorts(
        begun=jnp.where(place, trajectory.first.sum(dtype=jnp.int32), 0),
        ended=total(ends.astype(jnp.int32)),
        returns=total(returns),
        square_returns=total(returns**2),
        lengths=total(length.astype(jnp.float32)),
        successes=total(trajectory.success.astype(jnp.int32)),
    )
    cohorts = jax.tree.map(lambda old, new: jnp.where(kept, old, 0) + new, cohorts, added)
    done = jax.tree.map(lambda leaf: leaf[(iteration - late) // width % size], cohorts)
    complete = ((iteration - late) % width == width - 1) & (done.begun == done.ended)
    names = ("episodes", "return_sum", "return_square_sum", "length_sum", "success_sum")
    return cohorts, {name: jnp.where(complete, value, 0) for name, value in zip(names, done[1:])}


def _width(late: int) -> int:
    """Iterations of a cohort: more than one where a ring of `MOST_COHORTS` could not reach as far back."""
    return max(1, -(-late // (MOST_COHORTS - 1)))
