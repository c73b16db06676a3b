"""The runs of a sweep's trials: those that are on the disk, and new ones for the seeds that these lack."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from glob import escape

from jaxteach.config import TrainConfig
from jaxteach.errors import UserError
from jaxteach.runs.run_folder import check_resumable, folder_of, read_config
from jaxteach.sweeps.spec import Trial
from jaxteach.teacher.loading import digest_of


def runs_of(trial: Trial, logdir: str, seeds_per_run: int | None = None) -> list[TrainConfig]:
    """The runs of a trial, each with some of its seeds, which train side by side.

    Args:
        trial: of a sweep.
        logdir: where runs are kept.
        seeds_per_run: the most seeds of a new run; None for no limit.

    Raises:
        UserError: a run's folder can't have its name.
    """
    parts = list(_existing(trial, logdir))
    taken = {seed for part in parts for seed in part}
    left = tuple(seed for seed in trial.seeds if seed not in taken)
    size = seeds_per_run or max(1, len(left))
    parts += [left[start : start + size] for start in range(0, len(left), size)]
    return [replace(trial.config, seed_list=part, savedir=_run_name(trial, part), logdir=logdir) for part in parts]


def _existing(trial: Trial, logdir: str) -> Iterator[tuple[int, ...]]:
    """The seeds of each run on the disk that is of this trial, no seed twice."""
    missing = set(trial.seeds)
    folders = folder_of(logdir, trial.config.task, trial.name).parent
    for folder in sorted(folders.glob(f"{escape(trial.name)}-seed*")):
        try:
            stored = read_config(folder, trial.config.task)
            config = replace(trial.config, seed_list=stored.seed_list)
            check_resumable(config, stored, folder, digest_of(config))
        except UserError:
            continue  # Another trial's run, or one that is refused later with the reason.
        if folder.name == _run_name(trial, stored.seed_list) and missing.issuperset(stored.seed_list):
            missing -= set(stored.seed_list)
            yield stored.seed_list


def _run_name(trial: Trial, seeds: tuple[int, ...]) -> str:
    """The trial's name with seed-3, seeds-0..7 or seeds-1+5+9."""
    if len(seeds) == 1:
        return f"{trial.name}-seed-{seeds[0]}"
    if seeds == tuple(range(seeds[0], seeds[0] + len(seeds))):
        return f"{trial.name}-seeds-{seeds[0]}..{seeds[-1]}"
    text = "+".join(map(str, seeds))
    return f"{trial.name}-seeds-{text if len(text) <= 40 else hashlib.sha256(text.encode()).hexdigest()[:8]}"
