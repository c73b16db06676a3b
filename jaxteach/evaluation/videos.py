"""Films of policies: an episode each, not too long for a page."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from envs_jax.animation import has_pictures
from jaxteach.config import TrainConfig
from jaxteach.errors import UserError
from jaxteach.evaluation.command import write_film
from jaxteach.evaluation.students import load_student
from jaxteach.ppo.episodes import Episodes, evaluation_key, film_episodes, student_policy

MOST_FRAMES = 120
LONGEST_EPISODE = 10_000


@dataclass(frozen=True)
class Film:
    """A film of a policy: a run's student, or the teacher."""

    path: Path
    run: str
    caption: str


def film_student(folder: Path, config: TrainConfig, path: Path) -> Film:
    """Plays an episode with the student of a run's first seed, and writes it in at most `MOST_FRAMES` pictures.

    Raises:
        UserError: the run has no checkpoint that can be read, or its episodes may be too long.
        OSError: the film can't be written.
    """
    if config.world.make(config.task).max_steps > LONGEST_EPISODE:
        raise UserError(f"its episodes may have more than {LONGEST_EPISODE:,} steps")
    seed = config.seed_list[0]
    experiment, params, iteration = load_student(folder, config, seed)
    if not has_pictures(experiment.world.env):
        raise UserError(f"{config.task} has no render to draw it")
    carry = experiment.network.initial_carry(1)

    @jax.jit
    def program(params: object, key: jax.Array) -> object:
        policy = student_policy(experiment.network, params, greedy=False)
        return film_episodes(experiment.world, policy, carry, key, episodes=1, filmed=1)

    outcome, film = jax.device_get(program(params, evaluation_key(0)))
    shown, caption = filmed_episode(outcome, film, 0)
    write_film(experiment.world.env, shown, path)
    return Film(path, folder.name, f"seed {seed}, iteration {iteration}: {caption}")


def filmed_episode(outcome: Episodes, film: Any, episode: int) -> tuple[Any, str]:
    """At most `MOST_FRAMES` frames of a filmed episode, stacked, and what became of it.

    Args:
        outcome: of all episodes.
        film: what `film_episodes` gives, leaves [max_steps + 1, filmed, ...].
        episode: which of the filmed ones.
    """
    length = int(outcome.length[episode])
    every = -(-length // (MOST_FRAMES - 1))
    moments = np.append(np.arange(0, length, every), length)  # The end is always shown.
    caption = f"{length} steps, return {float(outcome.episode_return[episode]):.3f}"
    caption += ", success" if outcome.success[episode] else ""
    caption += ", stopped after max_steps" if outcome.unfinished[episode] else ""
    caption += "" if every == 1 else f"; one frame for every {every} steps"
    return jax.tree.map(lambda leaf: leaf[moments, episode], film), caption
