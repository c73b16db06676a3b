"""Weights & Biases: the curves of each seed as a run there."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxteach.config import TrainConfig, to_json
from jaxteach.errors import UserError
from jaxteach.runs.files import read_names, write_json

IDS = "wandb.json"
"""The file in a run's folder with the ids of its runs there, by seed."""


class WandbWriter:
    """A `ScalarWriter`; a run that goes on goes on there too.

    Iterations that come again after a resume stand there twice: nothing is taken back there.

    Args:
        folder: the run's.
        config: its options.

    Raises:
        UserError: the package is missing, or Weights & Biases can't be reached.
    """

    def __init__(self, folder: Path, config: TrainConfig) -> None:
        try:
            import wandb  # noqa: PLC0415  # pyright: ignore[reportMissingImports] - an extra
        except ImportError:
            raise UserError("--wandb needs the package wandb: pip install wandb") from None
        ids = read_names(folder / IDS, "remove it, and the run begins anew at Weights & Biases")
        self._runs: dict[int, Any] = {}
        for seed in config.seed_list:
            ids.setdefault(str(seed), secrets.token_hex(4))
            try:
                self._runs[seed] = wandb.init(
                    project=config.wandb_project,
                    id=ids[str(seed)],
                    name=f"{folder.name}-seed-{seed}",
                    group=f"{config.task}/{folder.name}",
                    config=to_json(config) | {"seed": seed},
                    dir=folder,
                    resume="allow",
                    reinit="create_new",
                    settings=wandb.Settings(silent=True),
                )
            except wandb.Error as error:
                raise UserError(
                    f"Weights & Biases: {error}; set WANDB_MODE=offline to log without it, or leave --wandb out"
                ) from None
            self._runs[seed].define_metric("*", step_metric="iteration")
        write_json(folder / IDS, ids)

    def scalars(self, seed: int, values: Mapping[str, float | None], iteration: int, env_steps: int) -> None:
        """See `ScalarWriter`."""
        self._runs[seed].log({**values, "iteration": iteration, "env_steps": env_steps})

    def flush(self) -> None:
        """See `ScalarWriter`; the package sends what it has by itself."""

    def close(self) -> None:
        """See `ScalarWriter`."""
        for run in self._runs.values():
            run.finish()
