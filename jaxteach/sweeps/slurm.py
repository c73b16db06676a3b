"""The runs of a sweep as jobs of a SLURM cluster, by submitit."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from jaxteach.config import SweepConfig, TrainConfig
from jaxteach.distributed.compile_cache import use_cache
from jaxteach.errors import UserError
from jaxteach.runs.files import read_names, write_json, writing
from jaxteach.sweeps.scheduler import run_or_resume
from jaxteach.sweeps.spec import sweep_name
from jaxteach.system.plugins import import_plugins

POLL_S = 5
MOST_TIMES = 20
"""How often a run is sent again, at most, because a job's time was too short."""


class Job:
    """What a job does: it trains a run to its end, and is submitted again if the time limit was too short."""

    def __call__(self, run: TrainConfig) -> str | None:
        use_cache()
        import_plugins()
        return run_or_resume(run)

    def checkpoint(self, run: TrainConfig) -> Any:
        """Called by submitit before a job is ended: the next one goes on from the run's last checkpoint."""
        return _submitit().helpers.DelayedSubmission(self, run)


def train_on_cluster(
    runs: Mapping[str, TrainConfig], config: SweepConfig, folder: Path, cluster: str = "slurm", poll_s: float = POLL_S
) -> Iterator[tuple[str, str]]:
    """Submits runs and waits for them; jobs that were submitted before and have not ended are only waited for.

    Args:
        runs: by name.
        config: what a job gets.
        folder: for submitit's files, the jobs' outputs, and the jobs' numbers in `jobs.json`; the
            cluster's machines must have it at the same place.
        cluster: submitit's name for it; "local" and "debug" are this machine.
        poll_s: how often the jobs are looked at.

    Yields:
        Name and reason of each run that fails.

    Raises:
        UserError: there is no cluster, or it does not accept jobs.
    """
    submitit = _submitit()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    names: dict[Any, str] = {}
    if cluster == "slurm":
        numbers = _numbers(folder)
        before = {name: submitit.SlurmJob(folder, numbers[name]) for name in runs if name in numbers}
        names |= {job: name for name, job in before.items() if not job.done()}
    for job, name in names.items():
        print(f"job {job.job_id} of before: {name}", flush=True)
    left = {name: run for name, run in runs.items() if name not in names.values()}
    jobs = _submit(submitit, list(left.values()), config, folder, cluster) if left else []
    for name, job in zip(left, jobs):
        print(f"job {job.job_id}: {name}", flush=True)
    names |= dict(zip(jobs, left))
    write_json(folder / "jobs.json", _numbers(folder) | {name: job.job_id for job, name in names.items()})
    for job in submitit.helpers.as_completed(list(names), poll_frequency=poll_s):
        reason = _failure(job)
        print(f"{'failed' if reason else 'finished'}: {names[job]}, its output is {job.paths.stdout}", flush=True)
        if reason:
            yield names[job], reason


def _submit(
    submitit: ModuleType, runs: list[TrainConfig], config: SweepConfig, folder: Path, cluster: str
) -> list[Any]:
    """A job for each run, in one array."""
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster, slurm_max_num_timeout=MOST_TIMES)
        executor.update_parameters(
            name=sweep_name(config.file),
            timeout_min=config.minutes,
            cpus_per_task=config.cpus,
            gpus_per_node=config.gpus,
            mem_gb=config.memory,
            slurm_partition=config.partition,
            slurm_array_parallelism=config.max_jobs,
        )
        return executor.map_array(Job(), runs)
    except (RuntimeError, OSError) as error:
        raise UserError(f"SLURM does not accept jobs: {error}") from None


def _failure(job: Any) -> str | None:
    """Why a job that has ended failed, None if it did not."""
    error = job.exception()
    if error is None:
        return job.result()
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"job {job.job_id} ended without a result: {lines[-1]}"


def _numbers(folder: Path) -> dict[str, str]:
    """The numbers of the jobs submitted so far, by the names of their runs."""
    return read_names(folder / "jobs.json", "see that no job of the sweep runs, and remove it")


def _submitit() -> ModuleType:
    try:
        import submitit  # noqa: PLC0415 - an extra
    except ImportError:
        raise UserError("--engine slurm needs the package submitit: pip install submitit") from None
    return submitit
