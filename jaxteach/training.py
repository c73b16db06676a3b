"""A training run from its options to its folder: compiled chunks inside; evaluation, logs and checkpoints here."""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from jaxteach.checkpoints import Checkpoints
from jaxteach.config import HostsConfig, TrainConfig, canonical_task
from jaxteach.errors import UserError
from jaxteach.evaluate import Episodes
from jaxteach.experiment import Experiment
from jaxteach.files import write_json
from jaxteach.finite import Trouble, first_trouble
from jaxteach.hosts import check_alike, from_first, in_first, is_first, losing_nobody, text_from_first, together
from jaxteach.learner import LearnerState
from jaxteach.online import OnlineTeacher, met_silent
from jaxteach.progress import TrainingProgress
from jaxteach.runs import MetricsLog, create_run, resume_run
from jaxteach.teacher.plans import find_plans

Evaluation = Callable[[Any, int], Episodes]
"""(params, a number that draws the layouts) -> `Episodes` [seeds, episodes]."""

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
    "grad_norm": "Train/Gradient Norm",
    "kickstarting_coef": "Train/Kickstarting Coef",
    "silent_teacher": "Train/Silent Teacher",
}
MOST_POINTS = 5000
"""Points that a run writes for each of TensorBoard's training tags: long runs leave iterations out."""
TEST_TAGS = {"return_mean": "Test/Return", "episode_length": "Test/Eplen", "success_rate": "Test/Success Rate"}


def train(config: TrainConfig, started: float) -> Path:
    """Trains, or goes on training, and returns the run's folder.

    Args:
        config: the options.
        started: the clock (`time.perf_counter`) when the command began; wall times count from it.

    Raises:
        UserError: the options can't be met.
    """
    config = replace(config, task=canonical_task(config.task))
    config.check()
    if config.hosts.coordinator is not None and not jax.distributed.is_initialized():
        raise UserError("several processes meet in python -m jaxteach.train alone; leave --coordinator out")
    # From here on a run is the same, whichever processes train it.
    config = replace(config, hosts=HostsConfig())
    with together():
        experiment = Experiment(config)
    check_alike(experiment.facts)
    name = text_from_first(in_first(lambda: str(resume_run(config) if config.resume else create_run(config))))
    folder, console = Path(name), Console(quiet=not is_first())
    console.print(f"run {folder}", highlight=False, soft_wrap=True)
    if not config.taught and not config.no_teacher:
        console.print(f"{config.task} has no teacher: pure reinforcement learning", highlight=False)
    if config.taught and find_plans(config.teacher.plans, config.task).by_hand:
        console.print("the teacher's plans were written by hand, not by a language model", highlight=False)
    with losing_nobody(), closing(Checkpoints(folder)) as checkpoints:
        # A run that ended before its first checkpoint begins again.
        saved = config.resume and from_first(in_first(lambda: np.bool_(len(checkpoints.iterations) > 0)), np.bool_())
        done, state = checkpoints.restore(experiment.abstract_state) if saved else (0, experiment.init())
        log = in_first(lambda: MetricsLog(folder, config.seed_list, done))
        with (
            nullcontext() if log is None else closing(log),
            TrainingProgress(console, config.iterations, done) as progress,
        ):
            online = _online_teacher(experiment, folder, done)
            Session(experiment, log, checkpoints, progress, online, started).run(state, done, folder)
    return folder


def _online_teacher(experiment: Experiment, folder: Path, done: int) -> OnlineTeacher | None:
    """What asks a model while the student trains, if the options want it."""
    if not experiment.config.online or experiment.teacher is None:
        return None
    online = OnlineTeacher(experiment.config, experiment.teacher, folder, done)
    experiment.table = online.table
    return online


class Session:
    """One sitting of a run.

    Args:
        experiment: what is trained.
        log: None in all processes but the first.
        checkpoints: of the run.
        progress: what a person sees.
        online: what asks a model while the student trains, if anything does.
        started: the clock when the command began.
    """

    def __init__(
        self,
        experiment: Experiment,
        log: MetricsLog | None,
        checkpoints: Checkpoints,
        progress: TrainingProgress,
        online: OnlineTeacher | None,
        started: float,
    ) -> None:
        self.experiment, self.config, self.online = experiment, experiment.config, online
        self.log, self.checkpoints, self.progress = log, checkpoints, progress
        self.started = started - (0 if log is None else log.wall_s)
        self._told: set[int] = set()

    def run(self, state: LearnerState, done: int, folder: Path) -> None:
        """Trains from iteration `done` to the end, and evaluates what came out."""
        with ThreadPoolExecutor(1) as compiler:
            evaluation = compiler.submit(self.experiment.compile_evaluation, self.config.num_eval)
            chunk = self.experiment.compile_chunk()
            evaluate = evaluation.result()
        self.progress.say(f"compiled {self._wall():.1f} s after the start")
        saved = done
        while done < self.config.iterations:
            began = time.perf_counter()
            count = min(self.config.eval_interval, self.config.iterations - done)
            state, metrics = chunk(state, self.experiment.table, np.int32(done), np.int32(count))
            silent = metrics.pop("silent_captions", None)
            rows = _first(metrics, count)
            speed = count * self.config.steps_per_iteration * len(self.config.seed_list)
            speed /= time.perf_counter() - began
            trouble = first_trouble(rows)
            if trouble is not None:
                last = done + trouble.place
                if last > saved and self.online is None:  # With --online the table has grown since.
                    state = self._go_back(chunk, saved, last)
                    if last > done:
                        self._record(last, _first(rows, last - done), evaluate(state.params, last), speed)
                    self.checkpoints.save(last, state)
                    saved = last
                raise self._ended_by(trouble, done, saved)
            done += count
            self._record(done, rows, evaluate(state.params, done), speed)
            if silent is not None:
                self._hear_of(met_silent(np.asarray(silent)), done)
            if done - saved >= self.config.save_interval or done == self.config.iterations:
                self.checkpoints.save(done, state)
                saved = done
        if self.config.final_eval:
            self._conclude(evaluate, state, done, folder)

    def _go_back(self, chunk: Any, saved: int, last: int) -> LearnerState:
        """The state after iteration `last`, played again from the checkpoint `saved`, in the same bits."""
        state = (
            self.experiment.init() if saved == 0 else self.checkpoints.restore(self.experiment.abstract_state, saved)[1]
        )
        while saved < last:
            count = min(self.config.eval_interval, last - saved)
            state, _ = chunk(state, self.experiment.table, np.int32(saved), np.int32(count))
            saved += count
        return state

    def _ended_by(self, trouble: Trouble, done: int, saved: int) -> UserError:
        """Says what is wrong in the iterations after `done`, and from where it can be seen again."""
        origin = f"from the checkpoint of iteration {saved}" if saved else "from the beginning"
        return UserError(
            f"the {trouble.what} of seed {self.config.seed_list[trouble.seed]} is {trouble.value} in iteration "
            f"{done + trouble.place + 1}; --resume goes there again {origin}, and a lower --learning_rate may help"
        )

    def _hear_of(self, captions: list[int], done: int) -> None:
        """Asks about captions met without plans, or tells them, each once."""
        if self.online is not None:
            heard = self.online.learn(captions, done)
            self.experiment.table = self.online.table
            if heard is not None:
                self.progress.say(heard)
            return
        texts = self.experiment.captions
        for caption in sorted(set(captions) - self._told):
            self.progress.say(f"no plans for: {texts[caption]} It has no weight in the loss; --online asks about it")
        self._told |= set(captions)

    def _record(self, done: int, metrics: dict[str, np.ndarray], outcome: Episodes, speed: float) -> None:
        """Logs the iterations of a chunk and the evaluation after it, in the first process."""
        with together():
            if self.log is not None:
                self._write(self.log, done, metrics, outcome, speed)

    def _write(
        self, log: MetricsLog, done: int, metrics: dict[str, np.ndarray], outcome: Episodes, speed: float
    ) -> None:
        env_steps, points = done * self.config.steps_per_iteration, []
        count, stride = metrics["episodes"].shape[1], -(-self.config.iterations // MOST_POINTS)
        for i, seed in enumerate(self.config.seed_list):
            rows = [_train_values({name: leaf[i, j] for name, leaf in metrics.items()}) for j in range(count)]
            for number, row in enumerate(rows, done - count + 1):
                if number % stride:
                    continue
                tags = {tag: row[name] for name, tag in TRAIN_TAGS.items() if row.get(name) is not None}
                log.scalars(seed, tags, number, number * self.config.steps_per_iteration)
            test = summary(jax.tree.map(lambda leaf, i=i: leaf[i], outcome))
            log.scalars(seed, {tag: test[name] for name, tag in TEST_TAGS.items()}, done, env_steps)
            place = {"iteration": done, "env_steps": env_steps, "wall_s": self._wall(), "seed": seed}
            points.append(place | test | dict(_averages(rows)) | {"steps_per_s": speed})
        log.points(points)
        means = {name: float(np.mean([point[name] for point in points])) for name in _SHOWN}
        self.progress.show(done, means, speed)

    def _conclude(self, evaluate: Evaluation, state: LearnerState, done: int, folder: Path) -> None:
        """Evaluates the finished student, in as many rounds as it takes, and writes `summary.json`."""
        trained_s = self._wall()
        rounds = -(-self.config.final_eval // self.config.num_eval)
        played = [evaluate(state.params, done + 1 + i) for i in range(rounds)]
        outcome = jax.tree.map(lambda *leaves: np.concatenate(leaves, 1)[:, : self.config.final_eval], *played)
        results = []
        for i, seed in enumerate(self.config.seed_list):
            result = summary(jax.tree.map(lambda leaf, i=i: leaf[i], outcome))
            steps = done * self.config.steps_per_iteration
            results.append({"seed": seed, "env_steps": steps, "wall_s": trained_s} | result)
            self.progress.say(
                f"seed {seed}: success {result['success_rate']:.3f}, return {result['return_mean']:.3f}, "
                f"length {result['episode_length']:.1f} over {result['episodes']} episodes, "
                f"after {steps:,} steps and {trained_s:.1f} s"
            )
        in_first(lambda: write_json(folder / "summary.json", results))

    def _wall(self) -> float:
        return time.perf_counter() - self.started


_SHOWN = ("env_steps", "success_rate", "return_mean", "kickstarting_coef", "wall_s")


def _first(metrics: Mapping[str, Any], count: int) -> dict[str, np.ndarray]:
    """The metrics [seeds, iterations] of the first iterations."""
    return {name: np.asarray(leaf)[:, :count] for name, leaf in metrics.items()}


def summary(outcome: Episodes) -> dict[str, Any]:
    """The means over the episodes of an evaluation, as plain numbers."""
    return {
        "success_rate": float(np.mean(outcome.success)),
        "return_mean": float(np.mean(outcome.episode_return)),
        "return_std": float(np.std(outcome.episode_return)),
        "episode_length": float(np.mean(outcome.length)),
        "episodes": int(np.size(outcome.length)),
    }


def _train_values(row: dict[str, np.ndarray]) -> dict[str, float | None]:
    """The values of one iteration; None for what no ended episode could tell."""
    sums = {"episodes", "return_sum", "return_square_sum", "length_sum", "success_sum"}
    values: dict[str, float | None] = {name: float(value) for name, value in row.items() if name not in sums}
    episodes = int(row["episodes"])
    names = ("return_mean", "return_std", "episode_length", "success_rate")
    if episodes == 0:
        return values | dict.fromkeys(names)
    mean = float(row["return_sum"]) / episodes
    variance = float(row["return_square_sum"]) / episodes - mean**2
    length, success = float(row["length_sum"]) / episodes, float(row["success_sum"]) / episodes
    return values | dict(zip(names, (mean, max(variance, 0.0) ** 0.5, length, success)))


def _averages(rows: list[dict[str, float | None]]) -> Iterator[tuple[str, float | None]]:
    """Means over the iterations of a chunk; what an evaluation also tells gets the prefix `train_`."""
    for name in rows[0]:
        known = [value for row in rows if (value := row[name]) is not None]
        prefix = "train_" if name in ("return_mean", "return_std", "episode_length", "success_rate") else ""
        yield prefix + name, float(np.mean(known)) if known else None
