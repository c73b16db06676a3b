"""`python -m benchmarks.readme_figures`: the figures of README and docs: measured, kept as JSON, written into the text.

`docs/figures.json` has for each figure what was measured, on what, and when. The tables and sentences between
`<!-- figures:NAME -->` and `<!-- end -->` in README.md and docs/ are made from it, never by hand.
"""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tyro

from benchmarks import mappo, scaling, students, throughput, training
from benchmarks.machine import describe_machine
from jaxteach.errors import UserError
from jaxteach.reports.aggregate import RunGroup, aggregate, group_runs
from jaxteach.reports.curves import load_run
from jaxteach.reports.plots import compact_curves
from jaxteach.system.command import run_command

ROOT = Path(__file__).resolve().parents[1]
FIGURES_JSON = ROOT / "docs" / "figures.json"
BLOCK = re.compile(r"(<!-- figures:([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

DOORKEY = ("SimpleDoorKey", "LavaDoorKey", "ColoredDoorKey", "TwoDoor")
BOXES = ("KeyInBox", "RandomBoxKey")
HALLWAYS = ("LockedHallway-2Rooms", "LockedHallway-4Rooms", "LockedHallway-6Rooms")
MINIGRID = (
    *("Unlock-v0", "UnlockPickup-v0", "BlockedUnlockPickup-v0"),
    *("KeyCorridorS3R1-v0", "KeyCorridorS3R2-v0", "KeyCorridorS3R3-v0"),
    *("MultiRoom-N2-S4-v0", "MultiRoom-N4-S5-v1", "MultiRoom-N4-S5-v0", "RedBlueDoors-6x6-v0"),
    *("LavaCrossingS9N1-v0", "FourRooms-v0", "ObstructedMaze-1Dlhb-v0"),
)
DRAWN = ("UnlockPickup-v0", "BlockedUnlockPickup-v0", "KeyCorridorS3R2-v0")
"""The worlds of the README's picture."""
TAUGHT = (*DOORKEY, *BOXES, *HALLWAYS, "simple_spread")
THRESHOLD = 0.95


@dataclass(frozen=True)
class Figure:
    """A figure: how it is measured, and what the texts say of it.

    Args:
        how: for a person, with seeds and episodes.
        measure: (a folder for runs, what was measured before or None) -> what is kept.
        texts: by the name of a block, Markdown of what is kept.
    """

    how: str
    measure: Callable[[Path, Any], Any]
    texts: dict[str, Callable[[Any], str]]


@dataclass(frozen=True)
class Options:
    """Measures figures anew, writes them into README and docs, or checks that these agree with docs/figures.json."""

    measure: tuple[str, ...] = ()
    """figures to measure anew, one after the other, on a machine that does nothing else; each is kept as it is done"""
    write: tyro.conf.FlagCreatePairsOff[bool] = False
    """write all figures into README and docs; --measure does so too"""
    check: tyro.conf.FlagCreatePairsOff[bool] = False
    """fail where README or docs say something else than docs/figures.json"""
    folder: Path | None = None
    """keep the runs here, and go on with those that are there; a folder that is removed when left out"""


def main() -> None:
    options = tyro.cli(Options, prog="python -m benchmarks.readme_figures", use_underscores=True)
    unknown = sorted(set(options.measure) - set(FIGURES))
    if unknown or not (options.measure or options.write or options.check):
        what = f"no figure is called {', '.join(unknown)}" if unknown else "give --measure, --write or --check"
        raise UserError(f"{what}; the figures are {', '.join(FIGURES)}")
    for name in options.measure:
        measure(name, options.folder)
    for path, text in written(json.loads(FIGURES_JSON.read_text("utf-8"))).items():
        if path.read_text("utf-8") == text:
            continue
        if options.check:
            raise UserError(f"{path} differs from docs/figures.json; run python -m benchmarks.readme_figures --write")
        path.write_text(text, "utf-8")


def measure(name: str, folder: Path | None) -> None:
    """Measures a figure and keeps it in docs/figures.json, with what it was measured on."""
    kept = json.loads(FIGURES_JSON.read_text("utf-8"))
    before = kept.get(name, {}).get("data")
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary) if folder is None else folder.resolve() / name
        place.mkdir(parents=True, exist_ok=True)
        data = FIGURES[name].measure(place, before)
    on = describe_machine() | {"date": datetime.now(UTC).date().isoformat()}
    # Other figures may have been measured meanwhile.
    kept = json.loads(FIGURES_JSON.read_text("utf-8")) | {name: {"on": on, "data": data}}
    FIGURES_JSON.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", "utf-8")


def written(kept: dict[str, Any]) -> dict[Path, str]:
    """README and docs as they should be.

    Raises:
        UserError: a text names a block that no figure has, or no text has a figure's block.
    """
    blocks: dict[str, str] = {}
    for name, figure in FIGURES.items():
        # What was measured before there was this script is kept as text.
        texts = kept[name].get("texts") or {block: text(kept[name]["data"]) for block, text in figure.texts.items()}
        blocks |= {block: text.strip() for block, text in texts.items()}
    blocks["provenance"] = _provenance(kept)
    used: set[str] = set()

    def fill(match: re.Match[str]) -> str:
        if match[2] not in blocks:
            raise UserError(f"no figure has a block {match[2]}")
        used.add(match[2])
        return f"{match[1]}{blocks[match[2]]}\n{match[3]}"

    paths = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    texts = {path: BLOCK.sub(fill, path.read_text("utf-8")) for path in paths}
    if set(blocks) - used:
        raise UserError(f"no text shows {', '.join(sorted(set(blocks) - used))}")
    return texts


def _provenance(kept: dict[str, Any]) -> str:
    rows = []
    for name, figure in FIGURES.items():
        on = kept[name]["on"]
        where = f"{on['processor']}, {on['cores']} core{'s' if on['cores'] > 1 else ''}, jax {on['versions']['jax']}"
        rows.append((f"`{name}`", figure.how, where, on["date"], on["revision"]))
    return table(("figure", "how", "on", "date", "revision"), rows)


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown."""
    lines = [tuple(head), *(tuple(map(str, row)) for row in rows)]
    lines.insert(1, ("---",) * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def call(module: str, *arguments: object, environment: dict[str, str] | None = None) -> str:
    """Runs a command as a user does, and gives what it printed.

    Raises:
        UserError: it failed.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise UserError(f"{' '.join(command[1:])} failed; its error stands above")
    return done.stdout


# The teacher alone


def measure_teacher_alone(folder: Path, before: Any) -> Any:
    data = {}
    for task in TAUGHT:
        found = evaluate_teacher(folder, task)
        data[task] = {name: found[name] for name in ("success_rate", "mean_return", "mean_length", "episodes")}
    return data


def evaluate_teacher(folder: Path, task: str, *teacher: object) -> dict[str, Any]:
    """The results of a task's teacher by itself over 1,000 episodes."""
    name = datetime.now(UTC).strftime("%H%M%S%f")
    options = ["--eval_teacher", "--num_eval", 1000, "--num_videos", 0, "--savedir", name, *teacher]
    call("jaxteach.eval", "--task", task, "--logdir", folder, *options)
    return json.loads((folder / "ppo" / task / name / "eval.json").read_text("utf-8"))


def teacher_alone_text(data: Any) -> str:
    worlds = {
        "SimpleDoorKey": ("10 x 10", "find the key, open the door"),
        "LavaDoorKey": ("10 x 10", "the same with a cell of lava, which the teacher does not avoid"),
        "ColoredDoorKey": ("10 x 10", "two keys, only one fits"),
        "TwoDoor": (
            "20 x 20",
            "a key in the middle, two doors far away, a view of 3 x 3 (the paper's DivergedDoorKey)",
        ),
        "KeyInBox": ("10 x 10", "the key is in a box, which has to be opened"),
        "RandomBoxKey": ("10 x 10", "the key is in the box, or on the floor beside an empty one"),
    }
    rows = [(f"`{task}`", *told, f"{data[task]['success_rate']:.2f}") for task, told in worlds.items()]
    return table(("task", "world", "the difficulty", "success of the teacher alone"), rows)


def teams_alone_text(data: Any) -> str:
    spread = data["simple_spread"]
    rooms = ", ".join(f"{data[task]['success_rate']:.2f}" for task in HALLWAYS)
    return (
        f"These teachers alone succeed in {rooms} of the episodes of the hallway with 2, 4 and 6 rooms, and in "
        f"{spread['success_rate']:.2f} of those of `simple_spread` (return {spread['mean_return']:.1f})."
    )


# Training, as a user does it


def train(folder: Path, task: str, name: str, *options: object) -> Path:
    """Trains a run, or goes on with it if it was begun, and returns its folder."""
    run = folder / "ppo" / task / name
    if not (run / "summary.json").is_file():
        more = ["--resume"] if run.is_dir() else []
        call("jaxteach.train", "--task", task, "--logdir", folder, "--savedir", name, *options, *more)
    return run


def outcome(run: Path, measure: str = "success_rate", threshold: float = THRESHOLD) -> dict[str, Any]:
    """The final results of a run, and when each of its seeds first reached a threshold."""
    final = json.loads((run / "summary.json").read_text("utf-8"))
    points = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    first = [
        next((point for point in points if point["seed"] == row["seed"] and point[measure] >= threshold), None)
        for row in final
    ]
    return {
        "env_steps": final[0]["env_steps"],
        "wall_s": final[0]["wall_s"],
        "final": [round(row[measure], 3) for row in final],
        "steps_to": [point and point["env_steps"] for point in first],
        "seconds_to": [point and round(point["wall_s"], 1) for point in first],
    }


def draw(runs: Iterable[Path], picture: str, by_return: Collection[str] = ()) -> None:
    """The learning curves of runs as a picture of docs/."""
    tasks: dict[str, list[RunGroup]] = {}
    for line in group_runs([load_run(run) for run in runs], no_merge=True)[0]:
        tasks.setdefault(line.task, []).append(line)
    (ROOT / "docs" / picture).write_bytes(compact_curves(tasks, THRESHOLD, by_return))


def train_pairs(folder: Path, tasks: Iterable[str]) -> dict[str, dict[str, Path]]:
    """Runs of three seeds with and without a teacher, with default options."""
    ways = {"taught": (), "alone": ("--no_teacher",)}
    return {
        task: {way: train(folder, task, way, "--seed_list", 0, 1, 2, *options) for way, options in ways.items()}
        for task in tasks
    }


def measure_training(folder: Path, before: Any) -> Any:
    runs = train_pairs(folder, DOORKEY)
    draw([run for pair in runs.values() for run in pair.values()], "curves.png")
    return {task: {way: outcome(run) for way, run in pair.items()} for task, pair in runs.items()}


def measure_minigrid(folder: Path, before: Any) -> Any:
    runs = train_pairs(folder, [f"MiniGrid-{name}" for name in MINIGRID])
    draw([run for name in DRAWN for run in runs[f"MiniGrid-{name}"].values()], "minigrid.png")
    return {
        task: {"teacher": evaluate_teacher(folder, task)["success_rate"]}
        | {way: outcome(run) for way, run in pair.items()}
        for task, pair in runs.items()
    }


def minigrid_text(data: Any) -> str:
    rows = []
    for task, row in data.items():
        finals = [_each(row[way]["final"], ".3f") for way in ("taught", "alone")]
        steps = _each(row["taught"]["steps_to"], "k")
        rows.append((f"`{task}`", f"{row['taught']['env_steps']:,}", f"{row['teacher']:.3f}", *finals, steps))
    return table(
        ("task", "env steps", "teacher itself", "with teacher", "without", f"steps to {THRESHOLD} with teacher"), rows
    )


def training_text(data: Any) -> str:
    rows = []
    for task, row in data.items():
        finals = [_each(row[way]["final"], ".3f") for way in ("taught", "alone")]
        rows.append((task, f"{row['taught']['env_steps']:,}", *finals, _each(row["taught"]["steps_to"], "k")))
    return table(("task", "env steps", "with teacher", "without", f"steps to {THRESHOLD} with teacher"), rows)


def _each(values: list[float | None], form: str) -> str:
    """Values one by one, "not reached" where there is none."""
    shown = [
        "not reached" if value is None else f"{value / 1000:.0f}k" if form == "k" else format(value, form)
        for value in values
    ]
    return ", ".join(shown)


def _span(values: list[float | None]) -> str:
    """The least and the largest of the values, and how many have none."""
    found = sorted(value for value in values if value is not None)
    if not found:
        return "not reached"
    ends = dict.fromkeys(f"{value / 1000:,.0f}k" for value in (found[0], found[-1]))
    missing = len(values) - len(found)
    return " to ".join(ends) + (f", {missing} of {len(values)} seeds not" if missing else "")


def measure_cold(folder: Path, before: Any) -> Any:
    runs = [training.train_cold(task, 0, training.Options()) for task in DOORKEY]
    reached = {run["task"]: run["first_reached"][str(THRESHOLD)] for run in runs}
    return {
        run["task"]: {
            "wall_s": round(run["wall_s"], 1),
            "seconds_to": (at := reached[run["task"]]) and round(at["wall_s"], 1),
        }
        for run in runs
    }


def cold_text(data: Any) -> str:
    parts = []
    for task, row in data.items():
        reached = "never" if row["seconds_to"] is None else f"{row['seconds_to']:.0f} s"
        parts.append(f"{task} {row['wall_s']:.0f} s and {reached}")
    return (
        "One seed from a cold start, nothing compiled before, to the end and to "
        f"{THRESHOLD}: {', '.join(parts)}. Compiled programs are kept in `~/.cache/jaxteach`, so that a second start "
        "takes a third of the time."
    )


def measure_screen(folder: Path, before: Any) -> Any:
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(folder / "cache")}
    said = call("jaxteach.train", "--task", "SimpleDoorKey", "--logdir", folder / "log", environment=environment)
    lines = said.replace(f"{folder}/", "").strip().splitlines()
    first = next(i for i, line in enumerate(lines) if " steps  success " in line)
    return [*lines[: first + 2], "  ...", *lines[-2:]]


def screen_text(data: Any) -> str:
    return "\n".join(["```", *data, "```"])


# Many runs


def measure_sweep(folder: Path, before: Any) -> Any:
    (text,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "sweeps.md").read_text("utf-8"), re.DOTALL)
    (folder / "distill.toml").write_text(text, "utf-8")
    call("jaxteach.sweep", folder / "distill.toml", "--logdir", folder)
    runs = sorted((folder / "ppo").glob("*/distill-*"))
    call("jaxteach.report", *runs, "--out", folder / "report")
    photograph(folder / "report" / "report.html", ROOT / "docs" / "report.png")
    lines = group_runs([load_run(run) for run in runs])[0]
    return [{"task": line.task, "run": line.label} | aggregate(line, THRESHOLD) for line in lines]


def photograph(page: Path, picture: Path) -> None:
    """The upper part of a page as Chromium shows it; the old picture stays where there is no Chromium."""
    browser = shutil.which("chromium")
    if browser is None:
        print(f"no Chromium is here: {picture} stays as it was", file=sys.stderr)
        return
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking"]
    with tempfile.TemporaryDirectory() as profile:
        options += [f"--user-data-dir={profile}", "--window-size=1100,1480", f"--screenshot={picture}"]
        subprocess.run([browser, *options, page.resolve().as_uri()], capture_output=True, check=True)


def sweep_text(data: Any) -> str:
    columns = ("final success", "normalised AULC", f"steps to {THRESHOLD}")
    rows = [
        (row["task"], f"`distill_coef` {row['run'].split('-')[2]}", *(row[name] for name in columns)) for row in data
    ]
    return table(("task", f"{data[0]['seeds']} seeds", *columns), rows)


# How much the teacher matters

TEACHERS = {
    "recorded": "the recorded 33B model",
    "random": "uniformly random plans (`--backend random --samples 50`)",
    "smollm2": "SmolLM2-135M with `--structured --samples 50`",
    "none": "none (`--no_teacher`)",
}


def weak_plans(folder: Path, task: str, *more: object) -> dict[str, Path]:
    """The plan files of weak teachers of a task, `<task>-<teacher>.json`, made where they are missing."""
    from tests.language_model import MODEL  # noqa: PLC0415  # checking needs no model

    asked = {"random": ["--backend", "random"], "smollm2": ["--model", MODEL, "--structured"]}
    files = {name: folder / f"{task}-{name}.json" for name in asked}
    for name, file in files.items():
        if not file.exists():
            call("jaxteach.teach", "--task", task, "--out", file, *asked[name], *more)
    return files


def measure_teachers(folder: Path, before: Any) -> Any:
    weak = weak_plans(folder, "SimpleDoorKey", "--samples", 50)
    ways = {name: ["--plans", file] for name, file in weak.items()}
    ways = {"recorded": [], **ways, "none": ["--no_teacher"]}
    steps = ["--seed_list", *range(8), "--total_steps", 3_000_000, "--eval_interval", 10]
    runs = {name: train(folder, "SimpleDoorKey", name, *steps, *options) for name, options in ways.items()}
    draw(runs.values(), "teachers.png")
    alone = {
        name: evaluate_teacher(folder, "SimpleDoorKey", *options)["success_rate"]
        for name, options in ways.items()
        if name != "none"
    }
    return {name: outcome(run) | {"alone": alone.get(name)} for name, run in runs.items()}


def teachers_text(data: Any) -> str:
    rows = [
        (
            about,
            "" if data[name]["alone"] is None else f"{data[name]['alone']:.2f}",
            _span(data[name]["steps_to"]),
            _each(sorted(data[name]["final"], reverse=True), ".2f"),
        )
        for name, about in TEACHERS.items()
    ]
    head = ("teacher", "alone", f"env steps to {THRESHOLD}, fastest to slowest seed", "at the end, 1,000 episodes")
    return table(head, rows)


# Ways of guidance

METHODS = ("kickstart", "agreement", "prior", "guide", "dagger", "clone", "hint", "kickstart+gate", "potential")


def measure_guidance(folder: Path, before: Any) -> Any:
    longer = {"potential": ["--total_steps", 1_000_000]}
    runs = {
        name: train(folder, "SimpleDoorKey", name, "--seed_list", 0, 1, 2, "--guidance", name, *longer.get(name, []))
        for name in METHODS
    }
    return {name: outcome(run, threshold=0.9) for name, run in runs.items()}


def guidance_text(data: Any) -> str:
    rows = [
        (f"`{name}`", f"{row['env_steps']:,}", _each(row["steps_to"], "k"), _each(row["final"], ".3f"))
        for name, row in data.items()
    ]
    return table(("`--guidance`", "env steps", "steps to 0.90", "success at the end, 1,000 episodes"), rows)


PLANS = {"shipped": "good plans", "smollm2": "plans of a small model", "random": "random plans"}


def measure_comparison(folder: Path, before: Any) -> Any:
    sweep = (ROOT / "benchmarks" / "guidance.toml").read_text("utf-8").replace('"plans/', f'"{folder}/plans/')
    document = tomllib.loads(sweep)
    fixed, tasks = document["fixed"], document["grid"]["task"]
    (folder / "plans").mkdir(exist_ok=True)
    (folder / "guidance.toml").write_text(sweep, "utf-8")
    for task in tasks:
        weak_plans(folder / "plans", task)
    call("jaxteach.sweep", folder / "guidance.toml", "--logdir", folder)
    rows = []
    for line in group_runs([load_run(run) for run in sorted((folder / "ppo").glob("*/guidance-*"))])[0]:
        config = line.runs[0].config
        (plans,) = (name for name in PLANS if name in config.teacher.plans.rsplit("-", 1)[-1])
        row = {"task": line.task, "guidance": config.ppo.guidance, "plans": plans}
        rows.append(row | aggregate(line, THRESHOLD))
    return rows + [_alone(folder, task, fixed) for task in tasks]


def _alone(folder: Path, task: str, fixed: dict[str, Any]) -> dict[str, str]:
    """What PPO reaches without a teacher, with the options of a sweep."""
    steps = ["--seed_list", *fixed["seed_list"], "--total_steps", fixed["total_steps"]]
    (line,) = group_runs([load_run(train(folder, task, "alone", "--no_teacher", *steps))])[0]
    return {"task": task, "guidance": "none", "plans": ""} | aggregate(line, THRESHOLD)


def comparison_text(data: Any) -> str:
    told = {
        (row["task"], row["guidance"], row["plans"]): f"{row['final success']}; {row[f'steps to {THRESHOLD}']}"
        for row in data
    }
    rows = [
        (task, "no teacher", told[task, way, ""], "", "")
        if way == "none"
        else (task, f"`{way}`", *(told[task, way, name] for name in PLANS))
        for task, way in dict.fromkeys((row["task"], row["guidance"]) for row in data)
    ]
    return table(("task", "`--guidance`", *PLANS.values()), rows)


# A student that decides when to ask

ASK = ("--guidance", "ask", "--network", "cnn", "--entropy_coef", 0.01, "--total_steps", 220_000)
WHEN2ASK = {
    "SimpleDoorKey": (1.00, 4.2),
    "KeyInBox": (1.00, 4.3),
    "RandomBoxKey": (0.95, 3.6),
}
"""Success and questions per episode in the table of arXiv 2306.03604."""


def measure_asking(folder: Path, before: Any) -> Any:
    rows = {}
    for task in WHEN2ASK:
        run = train(folder, task, "asks", *ASK, "--seed_list", *range(5))
        final = json.loads((run / "summary.json").read_text("utf-8"))
        rows[task] = {name: [row[name] for row in final] for name in ("success_rate", "questions")}
    return rows


def asking_text(data: Any) -> str:
    rows = [
        (
            f"`{task}`",
            "{:.2f}, {}".format(*WHEN2ASK[task]),
            f"{statistics.fmean(row['success_rate']):.3f}, {statistics.fmean(row['questions']):.1f}",
            _each(row["success_rate"], ".2f"),
            _each(row["questions"], ".1f"),
        )
        for task, row in data.items()
    ]
    head = ("", "the paper", "here", "success of each seed", "questions of each seed")
    return table(head, rows)


# Several agents


def measure_agents(folder: Path, before: Any) -> Any:
    measured = {
        "LockedHallway-2Rooms": (range(8), "success_rate", THRESHOLD),
        "simple_spread": (range(3), "return_mean", -13.0),
    }
    runs = {
        (task, way): train(folder, task, way, "--seed_list", *seeds, *options)
        for task, (seeds, _, _) in measured.items()
        for way, options in {"taught": (), "alone": ("--no_teacher",)}.items()
    }
    draw(runs.values(), "several_agents.png", by_return=["simple_spread"])
    data: dict[str, Any] = {}
    for (task, way), run in runs.items():
        _, name, threshold = measured[task]
        row = outcome(run, name, threshold) | {"measure": name, "threshold": threshold}
        data.setdefault(task, {})[way] = row | {"success": outcome(run)["final"]}
    return data


def agents_text(data: Any) -> str:
    rows = [
        (
            f"`{task}`" if way == "taught" else "",
            f"{row['env_steps']:,}" if way == "taught" else "",
            way,
            f"{row['measure'].split('_')[0]} {row['threshold']:g}: {_span(row['steps_to'])}",
            _each(row["final"], ".2f")
            + ("" if row["final"] == row["success"] else f"; success {_each(row['success'], '.2f')}"),
        )
        for task, ways in data.items()
        for way, row in ways.items()
    ]
    return table(("task", "env steps", "", "steps to the threshold", "at the end, 1,000 episodes"), rows)


def measure_mappo(folder: Path, before: Any) -> Any:
    runs = mappo.measure(mappo.Options(total_steps=1_000_000))["runs"]
    found = {run["who"]: {name: run[f"{name}_sampled"] for name in ("return", "error")} for run in runs}
    # The peer is not installed everywhere; what was measured of it before stays.
    return (before or {}) | found


def mappo_text(data: Any) -> str:
    shown = {who: f"{row['return']:.1f} ± {row['error']:.1f}" for who, row in data.items()}
    return (
        "`simple_spread` without a teacher, 1,000,000 steps, one seed, judged in `mpe2` itself over 500 episodes: "
        f"{shown['jaxteach']}, where a re-statement of JaxMARL's recurrent MAPPO in JaxMARL's own world came to "
        f"{shown['JaxMARL']} (`benchmarks.mappo`; our numbers were tuned on this task in some ten short runs, "
        "JaxMARL's are its own)."
    )


# Answers of a local model


def measure_answers(folder: Path, before: Any) -> Any:
    from benchmarks import teaching  # noqa: PLC0415  # checking needs no model
    from tests.language_model import MODEL  # noqa: PLC0415

    found = teaching.measure(teaching.Options(MODEL))
    ways = found["sampling"].items()
    return {"answers": found["answers"]} | {
        name: {"together": way["together"]["s"], "one_by_one": way["one_by_one"]["s"]} for name, way in ways
    }


def answers_text(data: Any) -> str:
    grammar, free = data["grammar"], data["free"]
    return (
        f"{data['answers']} answers of SmolLM2-135M about SimpleDoorKey on 2 cores take {grammar['together']:.1f} s "
        f"with the grammar and {free['together']:.1f} s without; asked one by one, with llama-cpp-python's own prompt "
        f"cache, {grammar['one_by_one']:.1f} s and {free['one_by_one']:.1f} s (`benchmarks.teaching`)."
    )


# Speed

KEPT = ("MiniGrid-DoorKey-8x8-v0", "MiniGrid-Unlock-v0")
SPEEDS = {
    "c": ("SimpleDoorKey", 4096, "SimpleDoorKey, 4,096 environments", "a C loop of our own on one core"),
    "c, many": ("SimpleDoorKey", 16384, "SimpleDoorKey, 16,384 environments", "the C loop"),
    "xland": ("SimpleDoorKey", 4096, "SimpleDoorKey, 4,096 environments", "XLand-MiniGrid DoorKey-8x8"),
    "jaxmarl": ("simple_spread", 4096, "simple_spread, 4,096 environments", "JaxMARL"),
    "xland, DoorKey": (KEPT[0], 4096, f"{KEPT[0]}, every observation kept", "XLand-MiniGrid"),
    "navix, DoorKey": (KEPT[0], 4096, f"{KEPT[0]}, every observation kept", "Navix"),
    "xland, Unlock": (KEPT[1], 4096, f"{KEPT[1]}, every observation kept", "XLand-MiniGrid"),
}


def measure_speed(folder: Path, before: Any) -> Any:
    data = dict(before or {})
    for name, (task, count, _, _) in SPEEDS.items():
        peer: Any = name.split(",")[0]
        found = throughput.measure(throughput.Options(task=task, num_envs=count, peer=(peer,), keep=task in KEPT))
        theirs = found["peers"][peer]
        if "steps_per_s" in theirs:  # A peer that is not installed keeps its earlier figure.
            data[name] = {"own": found["steps_per_s"], "peer": theirs["steps_per_s"]}
    rates = {student["network"]: student["steps_per_s"] for student in students.measure(students.Options())["students"]}
    data["ppo"] = {"own": rates["egocentric"]["alone"], "peer": rates["egocentric"]["purejaxrl"]}
    data["taught"] = {"own": rates["egocentric"]["taught"], "peer": rates["egocentric"]["alone"]}
    data["cnn"] = {"own": rates["reference"]["taught"], "peer": rates["reference"]["alone"]}
    tasks = {task: throughput.measure(throughput.Options(task=task, peer=("none",)))["steps_per_s"] for task in DOORKEY}
    return data | {"tasks": tasks}


def speed_text(data: Any) -> str:
    told = {name: (what, peer, 1e6) for name, (_, _, what, peer) in SPEEDS.items()}
    told |= {
        "ppo": ("PPO, default student, 64 environments", "PureJaxRL's structure", 1.0),
        "taught": ("with the teacher asked in every update", "without it", 1.0),
        "cnn": ("the reference's CNN, with the teacher", "without it", 1.0),
    }
    rows = []
    for name, (what, peer, unit) in ((name, row) for name, row in told.items() if name in data):
        own, theirs = data[name]["own"], data[name]["peer"]
        shown = [f"{rate / unit:.2f} M" if unit > 1 else f"{rate:,.0f}" for rate in (own, theirs)]
        rows.append((what, f"{shown[0]} steps", f"{peer}, {shown[1]}", f"{own / theirs:.2f}"))
    tasks = data["tasks"]
    times = " and ".join(f"{task} {tasks['SimpleDoorKey'] / rate:.2f}" for task, rate in list(tasks.items())[1:])
    sizes = f"A step takes, in times of SimpleDoorKey's: {times}."
    return "\n\n".join([table(("what", "a second", "its peer", "ratio"), rows), sizes])


def measure_costs(folder: Path, before: Any) -> Any:
    rows = scaling.measure(scaling.Options())["rows"]
    scaling.draw(rows, ROOT / "docs" / "costs.png")
    return rows


def costs_text(data: Any) -> str:
    return "![Nanoseconds of a step against environments, size, agents and seeds](costs.png)"


# Compilation

VIEWS = (3, 9, 15)


def measure_compiling(folder: Path, before: Any) -> Any:
    return {str(view): round(_compile_s("TwoDoor", view, folder / str(view)), 1) for view in VIEWS}


def _compile_s(task: str, view: int, cache: Path) -> float:
    """Seconds to compile training, with nothing compiled before."""
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    steps = ["--n_itr", 1, "--final_eval", 0, "--logdir", cache, "--view_size", view]
    said = call("jaxteach.train", "--task", task, *steps, environment=environment)
    (seconds,) = re.findall(r"compiled ([0-9.]+) s after", said)
    return float(seconds)


def compiling_text(data: Any) -> str:
    parts = [f"{seconds:.0f} s with a view of {view} x {view}" for view, seconds in data.items()]
    return (
        "Compilation takes longer with a larger view, and the command says so before it begins: in TwoDoor "
        f"{', '.join(parts)}."
    )


# What the teacher's labels cost


def measure_labels(folder: Path, before: Any) -> Any:
    profile = training.profile_update("SimpleDoorKey", training.Options())
    return {"per_s": 1e3 * profile["env_steps"] / profile["ms"]["labels"], "share": profile["label_share"]}


def labels_text(data: Any) -> str:
    return (
        f"The teacher labels {data['per_s'] / 1e6:.2f} M steps a second, and most of that is the search for shortest "
        f"paths. It labels finished trajectories only, which takes {data['share']:.0%} of an update."
    )


# A long run


def measure_long_run(folder: Path, before: Any) -> Any:
    options = ["--total_steps", "1e7", "--num_envs", "512", "--logdir", str(folder), "--savedir", "long"]
    command = [sys.executable, "-m", "jaxteach.train", "--task", "SimpleDoorKey", *options]
    resident: list[int] = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            time.sleep(1)
            resident += map(int, re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text()))
    if process.returncode:
        raise UserError(f"{' '.join(command[1:])} failed; its error stands above")
    run = folder / "ppo" / "SimpleDoorKey" / "long"
    size = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    half, end = (resident[int(len(resident) * share) - 1] for share in (0.5, 1))
    return {"disk": size, "most": max(resident), "half": half, "end": end}


def long_run_text(data: Any) -> str:
    most, half, end = (data[name] / 2**20 for name in ("most", "half", "end"))
    return (
        f"A run of 10 million steps takes {data['disk'] / 1e6:.1f} MB on the disk, checkpoints included. Its memory is "
        f"{most:.2f} GiB at most, {half:.2f} GiB after half of the time and {end:.2f} GiB at the end."
    )


# Two devices on one CPU


def measure_devices(folder: Path, before: Any) -> Any:
    data: dict[str, Any] = {}
    for envs, batch in ((1024, 8192), (64, 256)):
        for devices in (1, 2):
            environment = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
            name = f"{envs}-{devices}"
            options = ["--num_envs", envs, "--batch_size", batch, "--devices", devices, "--total_steps", 40 * 32 * envs]
            options += ["--logdir", folder, "--savedir", name, "--final_eval", 0]
            call("jaxteach.train", "--task", "SimpleDoorKey", *options, environment=environment)
            points = (folder / "ppo" / "SimpleDoorKey" / name / "metrics.jsonl").read_text("utf-8").splitlines()
            rates = [json.loads(point)["steps_per_s"] for point in points]
            data.setdefault(str(envs), {})[str(devices)] = round(statistics.median(rates))
    return data


def devices_text(data: Any) -> str:
    parts = [
        f"with {int(envs):,} environments {rates['2'] / rates['1']:.2f} times as fast as one device on the same cores "
        f"({rates['2']:,} against {rates['1']:,} steps a second)"
        for envs, rates in data.items()
    ]
    return f"Two devices on 2 cores train SimpleDoorKey {', '.join(parts)}: with few, the devices wait for each other."


FIGURES = {
    "teacher_alone": Figure(
        "`eval --eval_teacher`, 1,000 episodes, no random actions, seed 0",
        measure_teacher_alone,
        {"teacher-alone": teacher_alone_text, "teams-alone": teams_alone_text},
    ),
    "training": Figure("`train`, seeds 0 to 2, 1,000 episodes", measure_training, {"training": training_text}),
    "minigrid": Figure(
        "`train`, seeds 0 to 2, and `eval --eval_teacher`, 1,000 episodes each",
        measure_minigrid,
        {"minigrid": minigrid_text},
    ),
    "cold": Figure("`train`, seed 0, empty cache, a process each", measure_cold, {"cold": cold_text}),
    "screen": Figure("the main job, empty cache", measure_screen, {"screen": screen_text}),
    "sweep": Figure("the sweep of docs/sweeps.md", measure_sweep, {"sweep": sweep_text}),
    "teachers": Figure("`train`, seeds 0 to 7, 3 M steps", measure_teachers, {"teachers": teachers_text}),
    "guidance": Figure("`train`, SimpleDoorKey, seeds 0 to 2", measure_guidance, {"guidance": guidance_text}),
    "asking": Figure(
        "`train --guidance ask`, 220,000 steps, seeds 0 to 4, 1,000 episodes each",
        measure_asking,
        {"asking": asking_text},
    ),
    "comparison": Figure(
        "the sweep benchmarks/guidance.toml, seeds 0 to 3", measure_comparison, {"comparison": comparison_text}
    ),
    "agents": Figure("`train`, seeds 0 to 7 and 0 to 2", measure_agents, {"agents": agents_text}),
    "mappo": Figure("`benchmarks.mappo`, seed 0, 1 M steps", measure_mappo, {"mappo": mappo_text}),
    "answers": Figure("`benchmarks.teaching`, medians of 3", measure_answers, {"answers": answers_text}),
    "speed": Figure("`benchmarks.throughput`, `.students`, medians of 7", measure_speed, {"speed": speed_text}),
    "costs": Figure("`benchmarks.scaling`, medians of 5", measure_costs, {"costs": costs_text}),
    "compiling": Figure(
        "`train --n_itr 1`, empty cache, from the command's start", measure_compiling, {"compiling": compiling_text}
    ),
    "labels": Figure("`benchmarks.training`, medians", measure_labels, {"labels": labels_text}),
    "long_run": Figure("`train`, 512 environments, 10 M steps, seed 0", measure_long_run, {"long-run": long_run_text}),
    "devices": Figure("`train`, 40 iterations, medians", measure_devices, {"devices": devices_text}),
}

if __name__ == "__main__":
    run_command(main)
