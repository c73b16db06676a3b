"""The figures in README and docs are those of docs/figures.json."""

import json
import sys

import pytest

from benchmarks import readme_figures
from benchmarks.readme_figures import BLOCK, FIGURES, FIGURES_JSON, ROOT, outcome, written
from jaxteach.system.command import run_command

RUN = {"env_steps": 100, "wall_s": 9.0, "final": [1.0, 0.5], "steps_to": [20480, None], "seconds_to": [5.0, None]}
TEAM = RUN | {"measure": "return_mean", "threshold": -13.0, "success": [0.9, 0.2]}
RATE = {"own": 2e6, "peer": 1e6}
DATA = {
    "training": {"TwoDoor": {"taught": RUN, "alone": RUN}},
    "cold": {"TwoDoor": {"wall_s": 57.2, "seconds_to": 44.8}},
    "screen": ["run x", "  ..."],
    "sweep": [
        {"task": "T", "run": "distill-distill_coef-1.0", "seeds": "5"}
        | dict.fromkeys(("final success", "normalised AULC", "steps to 0.95"), "0.9 [0.8, 1.0]")
    ],
    "teachers": {name: RUN | {"alone": 0.125} for name in ("recorded", "random", "smollm2")}
    | {"none": RUN | {"alone": None}},
    "agents": {"simple_spread": {"taught": TEAM, "alone": TEAM}},
    "mappo": {who: {"return": -12.94, "error": 0.2} for who in ("jaxteach", "JaxMARL")},
    "answers": {"answers": 60} | {name: {"together": 1.0, "one_by_one": 2.0} for name in ("grammar", "free")},
    "speed": {name: RATE for name in (*readme_figures.SPEEDS, "ppo", "taught", "cnn")}
    | {"tasks": {"SimpleDoorKey": 2.0, "TwoDoor": 1.0}},
    "costs": [],
    "compiling": {"3": 24.0, "9": 39.4},
    "devices": {"1024": {"1": 50, "2": 60}},
}
SAYS = {
    "training": "| TwoDoor | 100 | 1.000, 0.500 | 1.000, 0.500 | 20k, not reached |",
    "cold": "TwoDoor 57 s and 45 s",
    "screen": "```\nrun x\n",
    "sweep": "| T | `distill_coef` 1.0 | 0.9 [0.8, 1.0] |",
    "teachers": "| none (`--no_teacher`) |  | 20k, 1 of 2 seeds not | 1.00, 0.50 |",
    "agents": "| return -13: 20k, 1 of 2 seeds not | 1.00, 0.50; success 0.90, 0.20 |",
    "mappo": "-12.9 ± 0.2",
    "answers": "60 answers",
    "speed": "| the C loop, 1.00 M | 2.00 |",
    "costs": "costs.png",
    "compiling": "24 s with a view of 3 x 3, 39 s with a view of 9 x 9.",
    "devices": "1.20 times",
}


def test_the_texts_say_what_was_measured():
    """Catches a figure that was changed by hand, in README, docs or docs/figures.json."""
    kept = json.loads(FIGURES_JSON.read_text("utf-8"))
    assert set(kept) == set(FIGURES)
    for path, text in written(kept).items():
        assert path.read_text("utf-8") == text, "run python -m benchmarks.readme_figures --write"


def test_a_changed_figure_is_found(monkeypatch, tmp_path, capsys):
    """Catches a check that passes whatever the README says."""
    (tmp_path / "docs").mkdir()
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        (tmp_path / path.relative_to(ROOT)).write_text(path.read_text("utf-8").replace("0.998", "0.999"), "utf-8")
    monkeypatch.setattr(readme_figures, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["readme_figures", "--check"])
    with pytest.raises(SystemExit) as end:
        run_command(readme_figures.main)
    assert end.value.code == 2
    assert "README.md differs from docs/figures.json" in capsys.readouterr().err


@pytest.mark.parametrize("name", DATA)
def test_what_is_measured_becomes_text(name):
    """Catches a text that what is measured anew does not fit."""
    assert SAYS[name] in "\n".join(text(DATA[name]) for text in FIGURES[name].texts.values())


def test_every_figure_has_its_place_once():
    texts = [path.read_text("utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))]
    names = [match[2] for text in texts for match in BLOCK.finditer(text)]
    assert sorted(names) == sorted(["provenance", *(block for figure in FIGURES.values() for block in figure.texts)])


def test_the_first_point_at_a_threshold_counts(tmp_path):
    """Catches a last point, or one of another seed."""
    rows = [
        {"seed": seed, "env_steps": 10 * i, "wall_s": i / 2, "success_rate": success}
        for i, successes in enumerate([(0.5, 0.1), (0.96, 0.2), (0.9, 0.94), (1.0, 0.94)])
        for seed, success in enumerate(successes)
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "summary.json").write_text(json.dumps([row | {"env_steps": 30} for row in rows[-2:]]))
    found = outcome(tmp_path)
    assert (found["steps_to"], found["seconds_to"], found["final"]) == ([10, None], [0.5, None], [1.0, 0.94])
