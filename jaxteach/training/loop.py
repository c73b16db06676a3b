"""Training runs from their options to their folders: compiled chunks inside; evaluation, logs and checkpoints here."""

import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from jaxteach.config import HostsConfig, TrainConfig
from jaxteach.distributed.compile_cache import compile_notice
from jaxteach.distributed.multihost import (
    assert_same_config,
    broadcast_text,
    exit_on_lost_peer,
    is_main_process,
    on_main_process,
    sync_failures,
)
from jaxteach.distributed.sharding import describe, unused_accelerator
from jaxteach.errors import UserError
from jaxteach.llm.online import OnlineTeacher, uncovered_ids
from jaxteach.ppo.episodes import Episodes, unfinished_message
from jaxteach.ppo.learner import LearnerState
from jaxteach.runs.files import lock_folder
from jaxteach.runs.run_folder import PLANS, create_run, further, resume_run
from jaxteach.runs.run_writer import RunWriter
from jaxteach.system.interrupt import PATIENCE_S, on_interrupt
from jaxteach.system.memory import explain_out_of_memory
from jaxteach.tasks import canonical_task
from jaxteach.teacher.domain import UNLISTED
from jaxteach.teacher.loading import learnt_digest
from jaxteach.teacher.plans import PlanFile, save_plans
from jaxteach.training.nonfinite import NonFinite, first_nonfinite, world_fault
from jaxteach.training.programs import Experiment
from jaxteach.training.progress import TrainingProgress, make_console

Evaluation = Callable[[Any, int], Episodes]
"""(params, a number that draws the layouts) -> `Episodes` [seeds, episodes]."""


def train(config: TrainConfig, started: float, arguments: Sequence[str] | None = None) -> Path:
    """Trains, or goes on training, and returns the run's folder; see `train_group`."""
    return train_group([config], started, arguments)[0]


def train_group(configs: Sequence[TrainConfig], started: float, arguments: Sequence[str] | None = None) -> list[Path]:
    """Trains runs in one program, or goes on training them, and returns their folders.

    Args:
        configs: the options; they differ in seeds, folders and `PPOConfig.hparams` alone.
        started: the clock (`time.perf_counter`) when the command began; wall times count from it.
        arguments: the command line of a run alone, which tells how to go on after Ctrl-C.

    Raises:
        UserError: the options can't be met, or the runs have not come equally far.
    """
    configs = [_ready(config) for config in configs]
    with sync_failures():
        experiment = Experiment(*configs)
        experiment.check()
    assert_same_config(experiment.fingerprint)
    console, plans = make_console(is_main_process()), experiment.plans
    folders = [_folder(config, plans) for config in configs]
    for folder in folders:
        console.print(f"run {folder}", highlight=False, markup=False, soft_wrap=True)
    _tell_of_devices(experiment.devices, console)
    for line in (*_teacher_notes(configs[0], plans), *experiment.rounded):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    with exit_on_lost_peer(), explain_out_of_memory(), ExitStack() as files:
        if arguments is not None and is_main_process():
            command = _going_on(configs[0], folders[0], arguments)
            files.enter_context(on_interrupt(lambda: f"; go on: {command}"))
        on_main_process(lambda: [files.enter_context(lock_folder(folder)) for folder in folders])
        writers = [
            files.enter_context(closing(RunWriter(*run))) for run in zip(folders, configs, experiment.seed_slices)
        ]
        done, state = _begin(experiment, writers)
        for writer in writers:
            for line in writer.begin(done, on_main_process(lambda writer=writer: _keep_plans(writer, plans))):
                console.print(line, highlight=False, markup=False, soft_wrap=True)
        if experiment.config.resume:
            steps, wall_s = done * experiment.config.steps_per_iteration, max(writer.wall_s for writer in writers)
            so_far = f"goes on after iteration {done} ({steps:,} steps, {wall_s:.1f} s)"
            console.print(so_far if done else "has no checkpoint yet: begins anew", highlight=False, soft_wrap=True)
        console.print(compile_notice(experiment.world), highlight=False, soft_wrap=True)
        with TrainingProgress(console, experiment.config.iterations, done, len(experiment.seeds)) as progress:
            online = _online_teacher(experiment, folders[0], done)
            TrainingLoop(experiment, writers, progress, online, started).run(state, done)
    return folders


def _ready(config: TrainConfig) -> TrainConfig:
    """The options of a run, checked, and without where its processes meet."""
    config = replace(config, task=canonical_task(config.task))
    config.check()
    if config.hosts.coordinator is not None and not jax.distributed.is_initialized():
        raise UserError("several processes meet in python -m jaxteach.train alone; leave --coordinator out")
    # From here on a run is the same, whichever processes train it.
    return replace(config, hosts=HostsConfig())


def _folder(config: TrainConfig, plans: PlanFile | None) -> Path:
    def begin() -> str:
        return str(resume_run(config, plans and learnt_digest(config, plans)) if config.resume else create_run(config))

    return Path(broadcast_text(on_main_process(begin)))


def _tell_of_devices(devices: list[Any], console: Console) -> None:
    """Where the run is, and what it leaves idle."""
    console.print(f"on {describe(devices)}", highlight=False, markup=False, soft_wrap=True)
    idle = unused_accelerator(devices[0].platform)
    if idle is not None:
        console.print(idle, highlight=False, markup=False, soft_wrap=True)


def _going_on(config: TrainConfig, folder: Path, arguments: Sequence[str]) -> str:
    """The command that goes on with a run which a command line began."""
    more = ["--savedir", folder.name] if config.savedir is None else []
    return shlex.join(["python", "-m", "jaxteach.train", *arguments, *more, *([] if config.resume else ["--resume"])])


def _teacher_notes(config: TrainConfig, plans: PlanFile | None) -> Iterator[str]:
    """What a person should know of who teaches."""
    if not config.taught and not config.no_teacher:
        yield f"{config.task} has no teacher: pure reinforcement learning"
    if plans is not None and plans.by_hand:
        yield "the teacher's plans were written by hand, not by a language model"


def _begin(experiment: Experiment, writers: list[RunWriter]) -> tuple[int, LearnerState]:
    """The iteration that runs have come to, and the state of all of them there.

    Raises:
        UserError: they have not come equally far, or further than the options say.
    """
    found = [writer.restore(experiment.abstract_run_state(writer.config)) for writer in writers if writer.is_resuming()]
    if not found:
        return 0, experiment.init()
    if len(found) < len(writers) or len({done for done, _ in found}) > 1:
        raise UserError("runs that train side by side must have come equally far")
    done = found[0][0]
    if done > experiment.config.iterations:
        raise UserError(further(writers[0].folder, experiment.config, done))
    return done, experiment.concat_seeds([state for _, state in found])


def _keep_plans(writer: RunWriter, plans: PlanFile | None) -> str | None:
    """Keeps a run's plans in its folder; their digest, None without a teacher."""
    if plans is None:
        return None
    # With --online, the file of this name has the plans that were learnt.
    if not writer.config.online:
        save_plans(plans, writer.folder / PLANS)
    return learnt_digest(writer.config, plans)


def _online_teacher(experiment: Experiment, folder: Path, done: int) -> OnlineTeacher | None:
    """What asks a model while the student trains, if the options want it."""
    if not experiment.config.online or experiment.teacher is None:
        return None
    online = OnlineTeacher(experiment.config, experiment.teacher, folder, done)
    experiment.table = online.table
    return online


class TrainingLoop:
    """One session of the runs that train side by side.

    Args:
        experiment: what is trained.
        writers: the files of each run.
        progress: what a person sees.
        online: what asks a model while the student trains, if anything does; one run alone has it.
        started: the clock when the command began.
    """

    def __init__(
        self,
        experiment: Experiment,
        writers: list[RunWriter],
        progress: TrainingProgress,
        online: OnlineTeacher | None,
        started: float,
    ) -> None:
        self.experiment, self.config, self.online = experiment, experiment.config, online
        self.writers, self.progress = writers, progress
        self.before_s = max(writer.wall_s for writer in writers)
        self.started = started
        self._notified: set[int] = set()
        self._done = 0
        self._reported_unfinished = False

    def run(self, state: LearnerState, done: int) -> None:
        """Trains from iteration `done` to the end, and evaluates what came out."""
        self._done = done
        with on_interrupt(self._last_words):
            self._run(state, done)

    def _run(self, state: LearnerState, done: int) -> None:
        with ThreadPoolExecutor(1) as compiler:
            evaluation = compiler.submit(self.experiment.compile_evaluation, self.config.num_eval)
            run_updates = self.experiment.compile_updates()
            evaluate = evaluation.result()
        self.progress.say(f"compiled {self._seconds():.1f} s after the start")
        self.progress.compiled()
        saved = done
        while done < self.config.iterations:
            began = time.perf_counter()
            count = min(self.config.eval_interval, self.config.iterations - done)
            state, metrics = self._run_chunk(run_updates, state, done, count)
            uncovered = metrics.pop("uncovered_captions", None)
            rows = _first(metrics, count)
            speed = count * self.config.steps_per_iteration / (time.perf_counter() - began)
            nonfinite = first_nonfinite(rows)
            if nonfinite is not None:
                last = done + nonfinite.place
                # With --online the table has grown since; of several runs each goes back alone.
                if last > saved and self.online is None and len(self.writers) == 1:
                    state = self._replay(run_updates, saved, last)
                    if last > done:
                        self._record(last, _first(rows, last - done), evaluate(state.params, last), speed)
                    self._save(last, state)
                    saved = last
                raise self._ended_by(nonfinite, done, saved, self._world_fault(run_updates, saved, last))
            self._done = done = done + count
            self._record(done, rows, evaluate(state.params, done), speed)
            if uncovered is not None:
                self._handle_unlisted(int(rows["unlisted_captions"].sum()))
                self._handle_uncovered(uncovered_ids(np.asarray(uncovered)), done)
            if done - saved >= self.config.save_interval or done == self.config.iterations:
                self._save(done, state)
                saved = done
        if self.config.final_eval:
            self._final_evaluation(evaluate, state, done)

    def _run_chunk(
        self, run_updates: Any, state: LearnerState, done: int, count: int
    ) -> tuple[LearnerState, dict[str, Any]]:
        """`count` iterations after `done`: the state after them, and their metrics."""
        return run_updates(state, self.experiment.table, self.experiment.hparams, np.int32(done), np.int32(count))

    def _save(self, done: int, state: LearnerState) -> None:
        for writer in self.writers:
            writer.save(done, state)

    def _replay(self, run_updates: Any, saved: int, last: int) -> LearnerState:
        """A lone run's state after iteration `last`, played again from its checkpoint `saved`, in the same bits."""
        (writer,), like = self.writers, self.experiment.abstract_state
        state = self.experiment.init() if saved == 0 else writer.restore(like, saved)[1]
        while saved < last:
            count = min(self.config.eval_interval, last - saved)
            state, _ = self._run_chunk(run_updates, state, saved, count)
            saved += count
        return state

    def _world_fault(self, run_updates: Any, saved: int, last: int) -> str | None:
        """What the world itself gave in the iteration after `last`, as a sentence; None where it can't be seen."""
        if saved < last or self.online is not None or len(self.writers) > 1 or self.experiment.mesh is not None:
            return None
        return world_fault(self.experiment.collect(self._replay(run_updates, saved, last), last))

    def _ended_by(self, nonfinite: NonFinite, done: int, saved: int, fault: str | None) -> UserError:
        """Says what is wrong in the iterations after `done`, and from where it can be seen again."""
        origin = f"from the checkpoint of iteration {saved}" if saved else "from the beginning"
        return UserError(
            f"the {nonfinite.what} of seed {self.experiment.seeds[nonfinite.seed]} is {nonfinite.value} in iteration "
            f"{done + nonfinite.place + 1}; --resume goes there again {origin}; "
            + (f"correct the world: {fault}" if fault else "a lower --learning_rate may help")
        )

    def _handle_uncovered(self, captions: list[int], done: int) -> None:
        """Asks about captions met without plans, or tells them, each once."""
        if self.online is not None:
            heard = self.online.learn(captions, done)
            self.experiment.table = self.online.table
            if heard is not None:
                self.progress.say(heard)
            return
        texts = self.experiment.captions
        for caption in sorted(set(captions) - self._notified):
            self.progress.say(f"no plans for: {texts[caption]} It has no weight in the loss; --online asks about it")
        self._notified |= set(captions)

    def _handle_unlisted(self, count: int) -> None:
        """Tells, once, that the task's domain gives numbers outside its list of captions."""
        if count and UNLISTED not in self._notified:
            self._notified.add(UNLISTED)
            self.progress.say(
                f"no plans for {count:,} observations whose captions have numbers outside "
                f"0..{len(self.experiment.captions) - 1}: they have no weight in the loss; see what `caption` gives"
            )

    def _record(self, done: int, metrics: dict[str, np.ndarray], outcome: Episodes, speed: float) -> None:
        """Logs the iterations of a chunk and the evaluation after it, in the first process."""
        with sync_failures():
            if not is_main_process():
                return
            outcome, wall_s = jax.tree.map(np.asarray, outcome), self.before_s + self._seconds()
            seed_slices = [writer.log_points(done, metrics, outcome, speed, wall_s) for writer in self.writers]
            points = [point for seed_slice in seed_slices for point in seed_slice]
            means = {name: float(np.mean([point[name] for point in points])) for name in _SHOWN}
            self.progress.show(done, means, speed * len(points), self._seconds())
            self._notify_unfinished(outcome)

    def _final_evaluation(self, evaluate: Evaluation, state: LearnerState, done: int) -> None:
        """Evaluates the finished students, in as many rounds as it takes."""
        trained_s = self.before_s + self._seconds()
        rounds = -(-self.config.final_eval // self.config.num_eval)
        played = [evaluate(state.params, done + 1 + i) for i in range(rounds)]
        outcome = jax.tree.map(lambda *leaves: np.concatenate(leaves, 1)[:, : self.config.final_eval], *played)
        taken = f"{trained_s:.1f} s" + (" in all" if self.before_s else "")
        self._notify_unfinished(outcome)
        for writer in self.writers:
            whose = "" if len(self.writers) == 1 else f"{writer.folder.name}, "
            for result in writer.conclude(done, outcome, trained_s):
                counted = "".join(f", {name} {result[name]:.1f}" for name in outcome.metrics)
                self.progress.say(
                    f"{whose}seed {result['seed']}: success {result['success_rate']:.3f}, "
                    f"return {result['return_mean']:.3f}, length {result['episode_length']:.1f}{counted} "
                    f"over {result['episodes']} episodes, after {result['env_steps']:,} steps and {taken}"
                )

    def _last_words(self) -> str:
        """What there is when Ctrl-C ends the runs."""
        if not is_main_process():
            return ""
        kept = self.writers[0].kept(PATIENCE_S / 2)
        none = (
            f"nothing is saved yet: a checkpoint comes every {self.config.save_interval} iterations (--save_interval)"
        )
        what = none if kept is None else f"the checkpoint of iteration {kept} is kept"
        return f" after {self._done * self.config.steps_per_iteration:,} steps; {what}"

    def _notify_unfinished(self, outcome: Episodes) -> None:
        """Says once that evaluations stop episodes that go on."""
        message = None if self._reported_unfinished else unfinished_message(outcome, self.experiment.world.max_steps)
        if message is not None:
            self._reported_unfinished = True
            self.progress.say(message)

    def _seconds(self) -> float:
        """Since this command began."""
        return time.perf_counter() - self.started


_SHOWN = ("env_steps", "success_rate", "return_mean", "kickstarting_coef")


def _first(metrics: Mapping[str, Any], count: int) -> dict[str, np.ndarray]:
    """The metrics [seeds, iterations] of the first iterations."""
    return {name: np.asarray(leaf)[:, :count] for name, leaf in metrics.items()}
