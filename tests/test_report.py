"""Reports: what their intervals say, which runs they put together, and strangers' texts on their pages."""

import base64
import json
import re
import sys
from html.parser import HTMLParser

import imageio.v3 as iio
import matplotlib.pyplot
import numpy as np
import pytest
from markdown_it import MarkdownIt

import jaxteach.report
from jaxteach.config import default_config, to_json
from jaxteach.errors import UserError
from jaxteach.reports import plots
from jaxteach.reports.aggregate import aggregate, aggregate_tasks, group_runs
from jaxteach.reports.curves import load_run
from jaxteach.reports.statistics import interval
from jaxteach.system.command import run_command
from jaxteach.teacher.plans import find_plans

HOSTILE = "<script>alert(1)</script>|\"'><img src=http://x.y/z>`*[a](b)$x$\n\x1b[31m"


def make_run(folder, seeds=(0,), task="SimpleDoorKey", successes=(0.25, 0.5, 1.0), plans="shipped", **options):
    """A run's folder without checkpoints; the success of a seed is less by a hundredth of its number."""
    folder.mkdir(parents=True)
    document = to_json(default_config(task)) | {"seed_list": seeds} | options
    document["teacher"]["plans"] = plans
    (folder / "config.json").write_text(json.dumps(document))
    rows = [
        {
            "iteration": 5 * i,
            "env_steps": 100 * i,
            "wall_s": 1.5 * i,
            "seed": seed,
            "success_rate": success - seed / 100,
        }
        for i, success in enumerate(successes, 1)
        for seed in seeds
    ]
    text = "".join(json.dumps(row | {"return_mean": row["success_rate"] / 2}) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(text)
    return folder


def call(*arguments, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["report", *map(str, arguments)])
    run_command(jaxteach.report.main)


def test_an_interval_by_hand():
    """Catches another mean than that of the middle half, and ends that are not those of the percentile bootstrap."""
    found = interval(np.array([0.0, 0.4, 0.5, 0.6, 0.7, 1.0, 1.1, 100.0]))
    assert found.estimate == pytest.approx(0.7)
    found = interval(np.array([[0.0, 1.0, 0.5], [0.3, 0.3, 0.3]]))
    assert found.estimate == pytest.approx([0.5, 0.3])
    low, high = np.percentile(np.random.default_rng(1).choice([0.0, 1.0, 0.5], (100_000, 3)).mean(-1), [2.5, 97.5])
    assert (found.low, found.high) == (pytest.approx([low, 0.3]), pytest.approx([high, 0.3]))


def test_strata_are_drawn_each_from_itself():
    """Catches draws over all values together: tasks whose seeds agree leave nothing to be unsure of."""
    found = interval(np.full(4, 0.1), np.full(6, 0.9))
    assert found.low == found.high == found.estimate == pytest.approx((2 * 0.1 + 4 * 0.9) / 6, abs=0.1)


def test_one_seed_has_no_interval():
    """Catches an interval made of nothing."""
    assert interval(np.array([0.5])) == (0.5, None, None)
    assert interval(np.array([0.5, 0.6]), np.array([0.5])).low is None


def test_runs_that_differ_only_in_seeds_are_one_line(tmp_path):
    """Catches seeds of one setting told apart, those of two settings mixed, and a seed that counts twice."""
    runs = [
        make_run(tmp_path / "s-gamma-0.5-seeds-0..1", (0, 1)),
        make_run(tmp_path / "s-gamma-0.5-seed-2", (2,), save_interval=7),
        make_run(tmp_path / "again", (1,), successes=(0.0, 0.0, 0.0)),
        make_run(tmp_path / "alone", (0,), no_teacher=True),
    ]
    lines, left_out = group_runs([load_run(run) for run in runs[:2]])
    assert [(line.label, line.seeds, line.settings) for line in lines] == [("s-gamma-0.5", 3, "default")]
    figures = aggregate(lines[0], 0.95)
    assert figures["seeds"] == "3"
    assert figures["final success"].startswith("0.990 [0.9")
    assert figures["steps to 0.95"] == "300 [300,\N{NO-BREAK SPACE}300]"
    assert aggregate(lines[0], 0.995)["steps to 0.995"] == "300 (1 of 3 seeds)"
    assert not left_out
    lines, left_out = group_runs([load_run(run) for run in runs])
    assert [(line.seeds, line.settings) for line in lines] == [(3, "default"), (1, "no_teacher True")]
    assert lines[0].curves[1].final_success == 0.99
    assert left_out == ["seed 1 of again, as a run of the same options has it; --no_merge keeps both"]
    lines, left_out = group_runs([load_run(run) for run in runs], no_merge=True)
    assert [line.label for line in lines] == [run.name for run in runs]
    assert not left_out


def with_plans(run, letter):
    (run / "sessions.json").write_text(json.dumps([{"plans_sha256": 64 * letter}]))
    return run


def test_runs_of_different_plans_are_different_lines(tmp_path):
    """Catches two files of one name taken for one, and one file under two names for two."""
    runs = [
        with_plans(make_run(tmp_path / "a", (0,), plans="plans.json"), "a"),
        with_plans(make_run(tmp_path / "b", (1,), plans="other.json"), "a"),
        with_plans(make_run(tmp_path / "c", (2,), plans="plans.json"), "c"),
        make_run(tmp_path / "d", (3,), plans="plans.json"),
    ]
    lines, left_out = group_runs([load_run(run) for run in runs])
    assert [(line.label, line.seeds, line.settings) for line in lines] == [
        ("a and 1 more", 2, "plans plans.json, plans with SHA-256 aaaaaaaa"),
        ("c", 1, "plans plans.json, plans with SHA-256 cccccccc"),
        ("d", 1, "plans plans.json, plans not known"),
    ]
    assert not left_out
    shipped = find_plans("shipped", "SimpleDoorKey").digest
    known = make_run(tmp_path / "e", (4,), plans="recorded")
    (known / "sessions.json").write_text(json.dumps([{"plans_sha256": shipped}]))
    lines, _ = group_runs([load_run(known), load_run(make_run(tmp_path / "f", (5,)))])
    assert [line.seeds for line in lines] == [2], "an older run with the plans that ship"
    (known / "sessions.json").write_text('[{"plans_sha256": "x"}]')
    with pytest.raises(UserError, match="is damaged"):
        load_run(known)


def test_runs_of_different_lengths_are_different_lines(tmp_path):
    """Catches a long and a short run in one line, also one whose config.json has the length that it had at first."""
    longer, successes = (0.25, 0.5, 0.75, 1.0), (0.25, 0.5, 1.0)
    runs = [
        make_run(tmp_path / "short", (0,), n_itr=15),
        make_run(tmp_path / "the_same", (1,), total_steps=15 * 2048),
        make_run(tmp_path / "long", (2,), successes=longer, n_itr=20),
        make_run(tmp_path / "older", (3,), successes=longer, n_itr=15),
        make_run(tmp_path / "not_yet", (4,), successes=successes, n_itr=20),
    ]
    lines, left_out = group_runs([load_run(run) for run in runs])
    assert [(line.label, line.settings) for line in lines] == [
        ("short and 1 more", "n_itr 15"),
        ("long and 1 more", "n_itr 20, 40,960 steps"),
        ("not_yet", "n_itr 20, 30,720 of 40,960 steps"),
    ]
    assert not left_out


def test_an_area_is_normalised_where_there_is_a_maximum(tmp_path):
    """Catches a share of a maximum that there is not: the returns of particle worlds are negative."""
    tasks = {"SimpleDoorKey": 1, "LockedHallway-4Rooms": 4, "simple_spread": None}
    for task, maximum in tasks.items():
        (line,) = group_runs([load_run(make_run(tmp_path / task, task=task))])[0]
        wanted = "\N{EN DASH}" if maximum is None else f"{(0.125 / 2 + 0.25 + 0.5 / 2) / 2 / maximum:.3f}"
        assert aggregate(line, 0.95)["normalised AULC"] == wanted


def summary_of(run, env_steps, successes):
    rows = [
        {"seed": seed, "env_steps": env_steps, "wall_s": 9.0, "success_rate": success, "return_mean": 0.75}
        for seed, success in successes.items()
    ]
    (run / "summary.json").write_text(json.dumps(rows))
    return run


def test_final_figures_are_those_of_the_finished_student(tmp_path):
    """Catches the few episodes of the last point taken for the final ones, and an old summary of a run that went on."""
    done = summary_of(make_run(tmp_path / "done", (0, 1)), 300, {0: 0.5, 1: 0.7})
    older = summary_of(make_run(tmp_path / "older", (0, 1), no_teacher=True), 200, {0: 0.5, 1: 0.7})
    lines = group_runs([load_run(done), load_run(older)])[0]
    finals = [(aggregate(line, 0.95)["final success"], aggregate(line, 0.95)["final return"]) for line in lines]
    assert [success[:5] for success, _ in finals] == ["0.600", "0.995"]
    assert [value[:5] for _, value in finals] == ["0.750", "0.497"]
    assert [curve.judged for line in lines for curve in line.curves.values()] == [True, True, False, False]


@pytest.mark.parametrize(
    "text",
    [
        "[{",
        "[" * 10**5,
        "{}",
        "[1]",
        '[{"seed": 0, "env_steps": 300, "wall_s": 1, "success_rate": NaN, "return_mean": 1}]',
        '[{"seed": [], "env_steps": 300, "wall_s": 1, "success_rate": 1, "return_mean": 1}]',
    ],
)
def test_a_summary_that_is_none_is_told_in_one_sentence(text, tmp_path):
    """Catches a traceback, and a figure that is no number, from a stranger's file."""
    run = make_run(tmp_path / "run")
    (run / "summary.json").write_text(text)
    with pytest.raises(UserError, match="is damaged; remove it"):
        load_run(run)


def test_settings_are_compared_over_the_tasks_that_they_share(tmp_path):
    """Catches tasks that weigh by their names, and settings of one task among those of several."""
    runs = [
        make_run(tmp_path / "a", (0, 2), "SimpleDoorKey", no_teacher=True),
        make_run(tmp_path / "b", (0, 2), "simple_spread", (0.0, 0.5, 0.5), no_teacher=True),
        make_run(tmp_path / "c", (0, 2), "SimpleDoorKey"),
    ]
    (row,) = aggregate_tasks(group_runs([load_run(run) for run in runs])[0])
    assert (row["options"], row["tasks"]) == ("no_teacher True", "SimpleDoorKey, simple_spread")
    assert row["final success"].startswith("0.740 [")


def test_worlds_that_no_machine_holds_are_not_made(tmp_path, monkeypatch, capsys):
    """Catches a stranger's options that take all memory, or end the report."""
    world = to_json(default_config("SimpleDoorKey"))["world"]
    runs = [
        make_run(tmp_path / "long", world=world | {"max_steps": 2**20}),
        make_run(tmp_path / "large", task="simple_spread", world=world | {"num_agents": 2**61}),
    ]
    call(*runs, "--out", tmp_path / "r", monkeypatch=monkeypatch)
    assert capsys.readouterr().err.splitlines() == [
        f"left out: {runs[1]}/config.json can't be used: --num_agents must be within 1..256, not {2**61}",
        "no film of long: its episodes may have more than 10,000 steps",
    ]


class Page(HTMLParser):
    """The tags of a page, with all addresses in it, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data):
        self.text += data


def test_strangers_texts_stay_texts(tmp_path, monkeypatch, capsys):
    """Catches a run's name or option that acts on a page, breaks a table, or colours the terminal."""
    name = HOSTILE.replace("/", "\N{DIVISION SLASH}")
    runs = [
        make_run(tmp_path / name, plans=HOSTILE),
        make_run(tmp_path / "名前"),
        make_run(tmp_path / "_x", no_teacher=True),
    ]
    call(*runs, "--out", tmp_path / "r", monkeypatch=monkeypatch)
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    page = Page((tmp_path / "r" / "report.html").read_text("utf-8"))
    assert "script" not in page.tags
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    shown = HOSTILE.replace("\n", " ").replace("\x1b", r"\x1b")
    assert f"plans {shown}" in page.text
    assert shown.replace("/", "\N{DIVISION SLASH}") in page.text
    text = (tmp_path / "r" / "report.md").read_text("utf-8")
    html = MarkdownIt("commonmark").enable("table").render(text)
    tags = Page(html).tags
    assert set(tags) <= {"h1", "h2", "ul", "li", "p", "img", "table", "thead", "tbody", "tr", "th", "td"}
    assert tags.count("td") == 3 * tags.count("th") == 30
    assert Page(html).addresses == ["report.png"]
    assert f"plans {shown}" in Page(html).text


def test_runs_that_cannot_be_read_are_told_and_left_out(tmp_path, monkeypatch, capsys):
    """Catches one bad run among many that ends the report, or is passed over in silence."""
    good = make_run(tmp_path / "good", (0, 3))
    (tmp_path / "bad").mkdir()
    foreign = make_run(tmp_path / "foreign", (5,))
    (foreign / "config.json").write_text(json.dumps({"task": "SimpleDoorKey", "seed_list": [6]}))
    call(good, tmp_path / "bad", foreign, tmp_path / "none", "--out", tmp_path / "r", monkeypatch=monkeypatch)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert ["is not a jaxteach run" in lines[0], "has no points" in lines[1], "there is no run" in lines[2]] == [
        True
    ] * 3
    assert lines[3].startswith("no film of good: ")
    page = Page((tmp_path / "r" / "report.html").read_text("utf-8"))
    assert all(line in page.text for line in lines)
    assert "Few seeds (the fewest: 2)" in page.text
    assert "AULC is the area under the learning curve" in page.text


def test_a_label_stands_once_in_a_row_of_pictures(tmp_path, monkeypatch):
    """Catches a legend with each label twice, where tasks have other numbers of seeds."""
    figures = []
    monkeypatch.setattr(plots.plt, "close", figures.append)
    runs = [make_run(tmp_path / name / "taught", seeds) for name, seeds in (("a", (0,)), ("b", (0, 1)))]
    one, two = (group_runs([load_run(run)])[0] for run in runs)
    plots.compact_curves({"SimpleDoorKey": one, "TwoDoor": two}, 0.95)
    (figure,) = figures
    assert [text.get_text() for text in figure.legends[0].texts] == ["taught"]
    assert [axis.get_title("left") for axis in figure.axes] == ["SimpleDoorKey, n = 1", "TwoDoor, n = 2"]


@pytest.mark.parametrize("columns", [3, 1])
@pytest.mark.parametrize("runs", [2, 12])
def test_the_legend_covers_no_curve(columns, runs, tmp_path, monkeypatch):
    """Catches a legend over the lines, and one that is cut off at the edge of the picture."""
    made = [make_run(tmp_path / f"a-run-with-a-rather-long-name-{i}") for i in range(runs)]
    lines, _ = group_runs([load_run(run) for run in made], no_merge=True)
    figures = []
    monkeypatch.setattr(plots.plt, "close", figures.append)
    plots.learning_curves({"SimpleDoorKey": lines, "again": lines[:1]}, 0.95, columns)
    (figure,) = figures
    for part in figure.subfigs:
        (legend,) = part.legends
        box = legend.get_window_extent()
        assert not any(box.overlaps(axis.get_tightbbox()) for axis in part.axes)
        assert figure.bbox.containsx(box.x0)
        assert figure.bbox.containsx(box.x1)
        assert figure.bbox.containsy(box.y0)
    matplotlib.pyplot.close("all")


def test_the_page_has_its_pictures_inside(tmp_path, monkeypatch):
    """Catches a page that needs a network or a file beside it, and pictures that are none."""
    runs = [make_run(tmp_path / task, task=task) for task in ("SimpleDoorKey", "simple_spread")]
    call(*runs, "--out", tmp_path / "r", "--films", 0, monkeypatch=monkeypatch)
    text = (tmp_path / "r" / "report.html").read_text("utf-8")
    assert "://" not in re.sub(r"data:image/[^\"]*", "", text)
    pictures = re.findall(r"src=\"data:image/png;base64,([^\"]*)\"", text)
    assert [iio.imread(base64.b64decode(picture)).shape[1] > 1000 for picture in pictures] == [True, True]
    narrow = re.findall(r"srcset=\"data:image/png;base64,([^\"]*)\"", text)
    assert [iio.imread(base64.b64decode(picture)).shape[1] < 700 for picture in narrow] == [True, True]
    assert "prefers-color-scheme: dark" in text
    assert iio.imread(tmp_path / "r" / "report.png").shape[0] > 1.5 * iio.imread(base64.b64decode(pictures[0])).shape[0]
