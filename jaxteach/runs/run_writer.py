"""What runs keep on the disk while they train: curves, checkpoints, and the final evaluation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxteach.config import TrainConfig
from jaxteach.distributed.multihost import broadcast, on_main_process
from jaxteach.runs.checkpoints import Checkpoints
from jaxteach.runs.files import write_json
from jaxteach.runs.metrics_log import MetricsLog
from jaxteach.runs.run_folder import begin_session

TRAIN_TAGS = {
    "return_mean": "Train/Return Mean",
    "return_std": "Train/Return Std",
    "episode_length": "Train/Eplen",
    "success_rate": "Train/Success Rate",
    "loss": "Train/Loss",
    "entropy": "Train/Mean Entropy",
    "kickstarting_loss": "Train/Kickstarting Loss",
    "policy_loss": "Train/Policy Loss",
    "value_loss": "Train/Value Loss",
    "approx_kl": "Train/Approx KL",
    "clip_fraction": "Train/Clip Fraction",
    "explained_variance": "Train/Explained Variance",
    "grad_norm": "Train/Gradient Norm",
    "kickstarting_coef": "Train/Kickstarting Coef",
    "teacher_coverage": "Train/Teacher Coverage",
    "learning_rate": "Train/Learning Rate",
}
SUMS = ("episodes", "return_sum", "return_square_sum", "length_sum", "success_sum")
"""The metrics that are sums over episodes."""
MOST_POINTS = 5000
"""Points that a run writes for each of TensorBoard's training tags: long runs leave iterations out."""
TEST_TAGS = {
    "return_mean": "Test/Return",
    "episode_length": "Test/Eplen",
    "success_rate": "Test/Success Rate",
    "questions": "Test/Comm",
}


class RunWriter:
    """The files of a run, whose seeds are some of those that train side by side.

    All processes make one and call its methods together, but for `log_points`; the first touches the disk.

    Args:
        folder: the run's.
        config: its options.
        seed_slice: its seeds' place on the leading axis of a state.
    """

    def __init__(self, folder: Path, config: TrainConfig, seed_slice: slice) -> None:
        self.folder, self.config, self.seed_slice = folder, config, seed_slice
        self._checkpoints, self._log = Checkpoints(folder), None

    def is_resuming(self) -> bool:
        """Whether the run goes on from a checkpoint; one that ended before its first begins again."""
        if not self.config.resume:
            return False
        return bool(broadcast(on_main_process(lambda: np.bool_(len(self._checkpoints.iterations) > 0)), np.bool_()))

    def restore(self, like: Any, iteration: int | None = None) -> tuple[int, Any]:
        """Iteration and state of one of the run's checkpoints; arguments and errors as `Checkpoints.restore`."""
        return self._checkpoints.restore(like, iteration)

    def save(self, iteration: int, state: Any) -> None:
        """Begins to write a checkpoint of the run's part of a state."""
        self._checkpoints.save(iteration, _slice_seeds(state, self.seed_slice))

    def kept(self, seconds: float) -> int | None:
        """The iteration of the newest checkpoint, as `Checkpoints.newest`."""
        return self._checkpoints.newest(seconds)

    def begin(self, done: int, plans: str | None) -> list[str]:
        """Begins a session after iteration `done`, and gives what a person should know of it, in lines.

        Args:
            done: iterations behind the run.
            plans: the digest of the teacher's plans, None without a teacher.
        """
        self._log = on_main_process(lambda: MetricsLog(self.folder, self.config, done))
        return on_main_process(lambda: begin_session(self.folder, self.config, done, plans)) or []

    @property
    def wall_s(self) -> float:
        """Seconds that the run has behind it, as its curves tell."""
        return 0.0 if self._log is None else self._log.wall_s

    def log_points(
        self, done: int, metrics: Mapping[str, np.ndarray], outcome: Any, speed: float, wall_s: float
    ) -> list[dict[str, Any]]:
        """Logs the iterations of a chunk and the evaluation after it; only in the first process.

        Args:
            done: iterations behind the run.
            metrics: of the chunk, [seeds, iterations] of all that train side by side.
            outcome: `Episodes` of NumPy arrays [seeds, episodes], of all of them.
            speed: environment steps a second of one seed.
            wall_s: seconds since the run began.

        Returns:
            The points of `metrics.jsonl`, one for each of the run's seeds.
        """
        assert self._log is not None
        metrics, outcome = _slice_seeds((metrics, outcome), self.seed_slice)
        steps, seeds = self.config.steps_per_iteration, self.config.seed_list
        count, stride = metrics["episodes"].shape[1], -(-self.config.iterations // MOST_POINTS)
        rates = [self.config.learning_rate_at(iteration) for iteration in range(done - count, done)]
        metrics = {**metrics, "learning_rate": np.tile(rates, (len(seeds), 1))}
        points = []
        for i, seed in enumerate(seeds):
            whole = {name: leaf[i] for name, leaf in metrics.items()}
            for j in range(count):
                number = done - count + 1 + j
                if number % stride:
                    continue
                row = _train_values({name: leaf[j : j + 1] for name, leaf in whole.items()})
                tags = {tag: row[name] for name, tag in TRAIN_TAGS.items() if row.get(name) is not None}
                self._log.scalars(seed, tags, number, number * steps)
            test = summary(_row(outcome, i))
            self._log.scalars(
                seed, {tag: test[name] for name, tag in TEST_TAGS.items() if name in test}, done, done * steps
            )
            place = {"iteration": done, "env_steps": done * steps, "wall_s": wall_s, "seed": seed}
            training = {f"train_{name}" if name in test else name: x for name, x in _train_values(whole).items()}
            points.append(place | test | training | {"steps_per_s": speed * len(seeds)})
        self._log.points(points)
        return points

    def conclude(self, done: int, outcome: Any, wall_s: float) -> list[dict[str, Any]]:
        """Writes `summary.json` and returns its rows, one for each of the run's seeds; arguments as of `log_points`."""
        outcome, steps = _slice_seeds(outcome, self.seed_slice), done * self.config.steps_per_iteration
        results = [
            {"seed": seed, "env_steps": steps, "wall_s": wall_s} | summary(_row(outcome, i))
            for i, seed in enumerate(self.config.seed_list)
        ]
        on_main_process(lambda: write_json(self.folder / "summary.json", results))
        return results

    def close(self) -> None:
        """Waits until all is written.

        Raises:
            UserError: it could not be written.
        """
        try:
            if self._log is not None:
                self._log.close()
        finally:
            self._checkpoints.close()


def summary(outcome: Any) -> dict[str, Any]:
    """The means over the episodes of an evaluation, as plain numbers."""
    return {
        "success_rate": float(np.mean(outcome.success)),
        "return_mean": float(np.mean(outcome.episode_return)),
        "return_std": float(np.std(outcome.episode_return)),
        "episode_length": float(np.mean(outcome.length)),
        "episodes": int(np.size(outcome.length)),
        **{name: float(np.mean(values)) for name, values in outcome.metrics.items()},
    }


def _slice_seeds(tree: Any, seed_slice: slice) -> Any:
    """A part of the leading axis; what is whole is not copied."""
    return tree if seed_slice == slice(None) else jax.tree.map(lambda leaf: leaf[seed_slice], tree)


def _row(outcome: Any, place: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[place], outcome)


def _train_values(metrics: Mapping[str, np.ndarray]) -> dict[str, float | None]:
    """The values of some iterations, of metrics [iterations]: means over iterations, and over all episodes together.

    None for what no episode could tell.
    """
    means = {name: float(np.mean(leaf, dtype=np.float64)) for name, leaf in metrics.items() if name not in SUMS}
    episodes, *sums = (float(np.sum(metrics[name], dtype=np.float64)) for name in SUMS)
    if not episodes:
        return means | {"episodes": 0} | dict.fromkeys(("return_mean", "return_std", "episode_length", "success_rate"))
    mean, square, length, success = (total / episodes for total in sums)
    returns = {"return_mean": mean, "return_std": max(square - mean**2, 0.0) ** 0.5}
    return means | {"episodes": int(episodes)} | returns | {"episode_length": length, "success_rate": success}
