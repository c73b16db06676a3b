"""Films of trained students: an episode a run, as GIF."""

from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from envs_jax.animation import animate, has_pictures
from jaxteach.curves import RunCurves
from jaxteach.errors import UserError
from jaxteach.evaluate import film_episodes, student_policy
from jaxteach.playing import FPS, load_student

MOST_FRAMES = 120
LONGEST_EPISODE = 10_000


@dataclass(frozen=True)
class Film:
    """A film of a run's student."""

    path: Path
    run: str
    told: str


def film_student(run: RunCurves, path: Path) -> Film:
    """Plays an episode with the student of a run's first seed, and writes it in at most `MOST_FRAMES` pictures.

    Raises:
        UserError: the run has no checkpoint that can be read, or its episodes are too long.
        OSError: the film can't be written.
    """
    if (run.config.world.max_steps or 0) > LONGEST_EPISODE:
        raise UserError(f"its episodes may have more than {LONGEST_EPISODE:,} steps")
    seed = run.config.seed_list[0]
    experiment, params, iteration = load_student(run.folder, run.config, seed)
    if not has_pictures(experiment.world.env):
        raise UserError(f"{run.config.task} has no render to draw it")
    carry = experiment.network.initial_carry(1)

    @jax.jit
    def program(params: object, key: jax.Array) -> object:
        policy = student_policy(experiment.network, params, greedy=False)
        return film_episodes(experiment.world, policy, carry, key, episodes=1, filmed=1)

    outcome, film = jax.device_get(program(params, jax.random.key(0)))
    length = int(outcome.length[0])
    every = -(-length // (MOST_FRAMES - 1))
    moments = np.append(np.arange(0, length, every), length)  # The end is always shown.
    shown = jax.tree.map(lambda leaf: leaf[moments, 0], film)
    animate(experiment.world.env, shown, path, fps=FPS)
    told = f"seed {seed}, iteration {iteration}: {length} steps, return {float(outcome.episode_return[0]):.3f}"
    told += ", success" if outcome.success[0] else ""
    return Film(path, run.name, told if every == 1 else f"{told}; one of {every} steps is shown")
