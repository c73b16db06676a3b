"""What a person sees on the terminal while a student trains, and what a reader who goes away makes of it."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from rich.console import Console

import envs_jax
import jaxteach.distributed.sharding
from envs_jax.wrappers import AgentAxisWrapper
from jaxteach.distributed.compile_cache import compile_notice
from jaxteach.distributed.sharding import describe, unused_accelerator
from jaxteach.evaluation import command as playing
from jaxteach.training.progress import TrainingProgress

ROOT = Path(__file__).resolve().parents[1]
POINT = {"env_steps": 12_149_504, "success_rate": 0.992, "return_mean": -112.3456, "kickstarting_coef": 0.0649}


def last_line(width, *points):
    """The live line of a terminal of some columns, after points at iterations of 100, and the longest line of all."""
    out = io.StringIO()
    console = Console(width=width, force_terminal=True, file=out, _environ={})
    with TrainingProgress(console, 100, 0) as progress:
        progress.compiled()
        for iteration in points:
            progress.show(iteration, POINT, 132_359.0, 1021.8)
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue()).replace("\r", "\n").split("\n")
    return [line for line in lines if line.strip()][-1], max(map(len, lines))


@pytest.mark.parametrize(
    ("width", "more"),
    [
        (80, []),
        (100, ["return -112.346"]),
        (120, ["return -112.346", "teacher x0.0649"]),
        (160, ["return -112.346", "teacher x0.0649", "132,359 steps/s", "1021.8 s"]),
    ],
)
def test_the_line_fits_the_terminal(width, more):
    """Catches a bar or a time left that a narrow terminal cuts off, and a time left that needs a second point."""
    line, longest = last_line(width, 25)
    assert longest <= width
    bar = re.match("[\u2501\u2578\u257a]+", line)
    assert bar is not None
    assert len(bar[0]) >= 10
    for part in ("12,149,504 steps", "success 0.992", *more):
        assert part in line
    assert re.search(r"\d:\d\d:\d\d left$", line.rstrip())


@pytest.mark.parametrize(("seeds", "unit"), [(1, "9 steps/s  "), (3, "9 steps/s, all seeds  ")])
def test_the_speed_of_several_seeds_is_labelled(seeds, unit):
    out = io.StringIO()
    with TrainingProgress(Console(file=out, width=160), 100, 0, seeds) as progress:
        progress.show(1, POINT, 132_359.0, 1.0)
    assert unit in out.getvalue()


def test_a_very_narrow_terminal_keeps_the_time_left():
    """Catches a line that breaks in two."""
    line, longest = last_line(30, 25)
    assert longest <= 30
    assert line.rstrip().endswith(" left")


def test_the_line_says_that_it_compiles():
    """Catches a bar at nothing that does not say why."""
    out = io.StringIO()
    with TrainingProgress(Console(width=80, force_terminal=True, file=out, _environ={}), 100, 0):
        pass
    assert "compiling, 0 s" in out.getvalue()


def test_the_device_of_a_run_is_named():
    """Catches a run that does not say where it is."""
    devices = jax.devices("cpu")[:1]
    cores = len(os.sched_getaffinity(0))
    assert describe(devices) == f"cpu, {cores} core{'s' if cores > 1 else ''} ({devices[0]})"
    assert describe(devices * 4).startswith("4 x cpu, ")


@pytest.mark.parametrize(("found", "word"), [("an NVIDIA GPU", "jax[cuda13]"), ("a TPU", "jax[tpu]")])
def test_an_idle_accelerator_is_told(found, word, tmp_path, monkeypatch):
    """Catches hours on the CPU of a machine with a GPU; and a warning for whoever has chosen the CPU."""
    nowhere = {name: ((str(tmp_path / "none"),), None, word) for name in jaxteach.distributed.sharding.ACCELERATORS}
    monkeypatch.setattr(jaxteach.distributed.sharding, "ACCELERATORS", nowhere)
    before = jax.config.values["jax_platforms"]
    try:
        jax.config.update("jax_platforms", None)
        assert unused_accelerator("cpu") is None
        monkeypatch.setitem(nowhere, found, ((str(tmp_path),), None, word))
        told = unused_accelerator("cpu")
        assert told is not None
        assert found in told
        assert word in told
        assert unused_accelerator("gpu") is None
        jax.config.update("jax_platforms", "cpu")
        assert unused_accelerator("cpu") is None
    finally:
        jax.config.update("jax_platforms", before)


@pytest.mark.parametrize(
    ("task", "view", "seconds"), [("TwoDoor", 3, 20), ("TwoDoor", 9, 40), ("TwoDoor", 15, 70), ("simple", None, 20)]
)
def test_a_long_compilation_is_told_before(task, view, seconds):
    """Catches a minute and more of silence; measured: 24, 39 and 75 s in TwoDoor, 10 to 24 s elsewhere."""
    world = envs_jax.make(task) if view is None else envs_jax.make(task, view_size=view)
    notice = compile_notice(AgentAxisWrapper(world))
    assert f"about {seconds} s the first time" in notice
    assert (f"a view of {view} x {view}" in notice) == (seconds > 20)


def test_films_are_mp4_too_where_that_can_be_had(tmp_path, monkeypatch):
    """Catches an MP4 that is asked of a machine without ffmpeg, and one that has it and gets none."""
    written = []
    monkeypatch.setattr(playing, "animate", lambda env, frames, path, fps: written.append(path.name))
    for found in (None, "here"):
        monkeypatch.setattr(playing, "find_spec", lambda name, found=found: found)
        playing.write_film(None, None, tmp_path / "1.gif")
    assert written == ["1.gif", "1.gif", "1.mp4"]


PHASES = {
    "kept until the end": "print('one')",
    "written at once": "print('one', flush=True); print('two', flush=True)",
    "by rich": "from rich.console import Console; Console().print('one'); Console().print('two')",
    "before a mistake": "print('one'); raise UserError('wrong')",
    "before a plain end": "print('one'); sys.exit(0)",
    "much": "print('one' * 100_000)",
}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("both", [False, True])
def test_a_reader_who_goes_away_is_no_trouble(phase, both):
    """`... | head -1` and `... 2>&1 | head -1`: catches a traceback, Python's complaint at its end, and rich's 1."""
    body = "\n    ".join(PHASES[phase].split("; "))
    imports = "import sys\nfrom jaxteach.errors import UserError\nfrom jaxteach.system.command import run_command"
    program = f"{imports}\ndef command():\n    {body}\n"
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", program + "run_command(command)"],
        cwd=ROOT,
        env=buffered,
        stdout=writer,
        stderr=writer if both else subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert done.returncode == 141
    if not both:
        assert done.stderr == ("error: wrong\n" if "mistake" in phase else "")
