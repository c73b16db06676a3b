"""A teacher's card says what is so, whatever a plan file holds; its folder teaches, or says what is wrong."""

import json
import re
import shutil
import sys
from functools import partial

import imageio.v3 as iio
import numpy as np
import pytest
from jumanji.env import Environment
from markdown_it import MarkdownIt

import envs_jax
import jaxteach.eval
import jaxteach.teach
from jaxteach.api.registry import register_task
from jaxteach.config import TeacherConfig, TrainConfig
from jaxteach.evaluation.intervals import mean_interval
from jaxteach.reports.agreement import overlap
from jaxteach.system.command import run_command
from jaxteach.tasks import TASKS
from jaxteach.teacher import make_teacher
from jaxteach.teacher.plans import (
    CaptionPlans,
    Plan,
    PlanFile,
    PlanFileError,
    load_plans,
    save_plans,
    shipped_plans,
)
from jaxteach.teacher.tasks.plain import PlainDomain, Words
from jaxteach.train import main as train_main
from jaxteach.training.programs import Experiment
from tests.command_line import teach
from tests.test_own_worlds import Counter
from tests.test_report import HOSTILE, Page

WAIT, EXPLORE = ("wait", None), ("explore", None)
FETCH = (("goto", "key"), ("pickup", "key"))
REJECTS = {
    "Agent sees <key>, holds <nothing>.": {
        "cut off": ["Let me think", "Let me think", "x" * 300],
        "an empty plan": [""],
    },
    "Agent sees <door>, holds <nothing>.": {"cut off": ["Hm"]},
}
IDLE = PlanFile(
    ("SimpleDoorKey", "LavaDoorKey"),
    (
        CaptionPlans((), None, (Plan(1.0, (WAIT,)),)),
        CaptionPlans(("key",), None, (Plan(0.25, (WAIT,)), Plan(0.5, FETCH[1:]), Plan(0.25, FETCH))),
    ),
    {
        "model": "a-model",
        "prompt_tokens": 12345,
        "structured": None,
        "debate": {"rounds": 2},
        "rejected": 5,
        "rejects": REJECTS,
    },
)
"""Plans that never open a door. The recorded ones for a key alone: 0.98 go to it and pick it up, 0.02 pick it up."""
ANSWERS = '{"asked": "x"}\n'


def call(monkeypatch, main, *arguments):
    monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
    run_command(main)


def refuse(monkeypatch, capsys, main, *arguments):
    """The one sentence with which a command refuses."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        call(monkeypatch, main, *arguments)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A plan file with answers, and its card."""
    place = tmp_path_factory.mktemp("card")
    save_plans(IDLE, place / "plans.json")
    (place / "plans.json.answers.jsonl").write_text(ANSWERS)
    with pytest.MonkeyPatch.context() as patch:
        teach(patch, "--card", place / "plans.json", "--task", "SimpleDoorKey", "--episodes", 20)
    return place


@pytest.fixture
def folder(made, tmp_path):
    """A copy of the card's folder."""
    return shutil.copytree(made / "plans_card", tmp_path / "shared")


@pytest.fixture
def tiny(tmp_path):
    """The plan file of a small task, with what a stranger may write into one."""
    words, actions = Words([["key"]], ["key"]), {("goto", "key"): 1}
    domain = PlainDomain(words, 3, caption=lambda obs: 0, actions=lambda obs: actions)
    for task, end in (("Endless", 99), ("Short", 3)):
        register_task(partial(Counter, end=end), TrainConfig(task, total_steps=1, network="mlp"), domain)
    provenance = {HOSTILE: HOSTILE, "model": "\ud800\x1b]0;owned\x07", "deep": {HOSTILE: HOSTILE}, "list": [1]}
    provenance |= {"rejects": {HOSTILE: {HOSTILE: [HOSTILE, 3, None, {HOSTILE: 1}], "x" * 10**5: ["y" * 10**5]}}}
    plans = PlanFile(("Endless", "Short"), (CaptionPlans(("key",), None, (Plan(1.0, FETCH[:1]),)),), provenance)
    save_plans(plans, tmp_path / "tiny.json")
    yield tmp_path / "tiny.json"
    for task in ("Endless", "Short"):
        envs_jax._TASKS.pop(task)
        TASKS.pop(task)


def markdown_rows(text, heading):
    """The cells of the table under a heading, without its head."""
    part = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [re.split(r" ?(?<!\\)\| ?", line)[1:-1] for line in part.splitlines() if line.startswith("|")]
    return [[cell.replace("\\", "").replace("&lt;", "<").replace("&gt;", ">") for cell in row] for row in rows[2:]]


def test_an_interval_of_a_mean_stays_within_the_values():
    """Catches a mean return whose interval exceeds the largest return there is."""
    values = np.array([0.9] * 19 + [0.0])
    low, high = mean_interval(values)
    assert 0 <= low < values.mean() < high <= 0.9
    assert mean_interval(values) == (low, high)
    normal = np.random.default_rng(0).normal(size=400)
    reach = 1.96 * normal.std() / 20
    assert mean_interval(normal) == pytest.approx((normal.mean() - reach, normal.mean() + reach), abs=0.01)
    assert mean_interval(np.ones(5)) is None


def test_an_overlap_by_hand():
    """Catches probabilities that are not normalised, a plan that is there twice, and a maximum for a minimum."""
    one = CaptionPlans((), None, (Plan(0.5, (WAIT,)), Plan(0.3, FETCH), Plan(0.2, FETCH)))
    other = CaptionPlans((), None, (Plan(0.9, FETCH), Plan(0.1, (EXPLORE,))))
    assert overlap(one, other) == overlap(other, one) == pytest.approx(0.5)
    assert overlap(one, one) == pytest.approx(1)
    assert overlap(one, CaptionPlans((), None, (Plan(1.0, (EXPLORE,)),))) == 0


def test_a_card_says_what_the_plan_file_holds(made):
    """Catches figures of other plans, other episodes, or other recorded plans."""
    text = (made / "plans_card" / "card.md").read_text("utf-8")
    origin = dict(markdown_rows(text, "Where the plans come from"))
    assert origin == {
        "model": "a-model",
        "prompt tokens": "12,345",
        "structured": "none",
        "debate: rounds": "2",
        "rejected": "5",
    }
    assert IDLE.digest in text
    alone = markdown_rows(text, "The teacher alone")
    wilson = 1.959964**2 / (20 + 1.959964**2)
    assert [row[:2] for row in alone] == [["SimpleDoorKey", f"0.000 [0.000, {wilson:.3f}]"]]
    agreement = markdown_rows(text, "Agreement with the recorded plans")
    assert len(agreement) == len(shipped_plans("SimpleDoorKey").captions) == 6
    assert {row[0]: row[1] for row in agreement if row[1] != "0.000"} == {"Agent sees <key>, holds <nothing>.": "0.270"}
    assert f"Mean overlap over the 6 recorded captions: {0.27 / 6:.3f}." in text
    assert "The recorded plans of SimpleDoorKey come with jaxteach" in text
    assert markdown_rows(text, "Plans by caption") == [
        ["Agent sees <nothing>, holds <nothing>.", "1.000", "wait"],
        ["Agent sees <key>, holds <nothing>.", "0.500", "pick up <key>"],
        ["", "0.250", "wait"],
        ["", "0.250", "go to <key>, pick up <key>"],
    ]
    assert "2 of the 6 captions" in text
    cut_off, empty = markdown_rows(text, "Rejected answers")
    assert cut_off[:3] == ["cut off", "4", "2"]
    assert "“Let me think” / “" in cut_off[3]
    assert len(cut_off[3]) < 300
    assert empty == ["an empty plan", "1", "1", "“”"]


def test_the_page_says_the_same_and_shows_the_films(made):
    """Catches a page without its tables or films, and a film of another length than the episode."""
    folder = made / "plans_card"
    page = Page((folder / "card.html").read_text("utf-8"))
    for words in ("a-model", "0.270", "go to <key>, pick up <key>", "“Let me think”", "12,345"):
        assert words in page.text
    assert len(page.addresses) == 3
    assert all(address.startswith("data:image/gif;base64,") for address in page.addresses)
    text = (folder / "card.md").read_text("utf-8")
    films = re.findall(r"\]\((\w+_\d\.gif)\)\\\n\w+, episode \d: (\d+) steps", text)
    assert [name for name, _ in films] == [f"SimpleDoorKey_episode_{i}.gif" for i in range(1, 4)]
    for name, steps in films:
        assert len(iio.imread(folder / name)) <= int(steps) + 1


@pytest.mark.slow
def test_the_success_is_that_of_show(made, monkeypatch, capsys):
    """Catches a card that plays other episodes, or the teacher in another way."""
    teach(monkeypatch, "--card", "recorded", "--task", "lavadoorkey", "--episodes", 30, "--out", made / "recorded")
    capsys.readouterr()
    teach(monkeypatch, "--show", made / "recorded", "--task", "LavaDoorKey", "--episodes", 30)
    said = " ".join(capsys.readouterr().out.split())
    shown = re.search(r"succeeds in (0\.\d+) of 30 episodes of LavaDoorKey, mean return (\S+)", said)
    text = (made / "recorded" / "card.md").read_text("utf-8")
    ((task, success, mean_return, _),) = markdown_rows(text, "The teacher alone")
    assert (task, success[:5], mean_return[:5]) == ("LavaDoorKey", *shown.groups())
    assert 0 < float(shown[1]) < 1
    assert "These are the recorded plans of LavaDoorKey themselves." in text
    assert "no record of rejected answers" in text


def test_untrusted_text_is_escaped(tiny, monkeypatch, capsys):
    """Catches provenance or an answer that acts on a page, breaks a table, or colours the terminal."""
    teach(monkeypatch, "--card", tiny, "--episodes", 2)
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    folder = tiny.with_name("tiny_card")
    page = Page((folder / "card.html").read_text("utf-8"))
    assert "script" not in page.tags
    assert all(address.startswith("data:image/gif;base64,") for address in page.addresses)
    shown = HOSTILE.replace("\n", " ").replace("\x1b", r"\x1b")
    text = (folder / "card.md").read_text("utf-8")
    html = MarkdownIt("commonmark").enable("table").render(text)
    inside = Page(html)
    assert set(inside.tags) <= {"h1", "h2", "p", "br", "img", "table", "thead", "tbody", "tr", "th", "td"}
    assert inside.addresses == [f"{task}_episode_{i}.gif" for task in ("Endless", "Short") for i in (1, 2)]
    for whole in (page.text, inside.text):
        assert shown in whole
        assert f"deep: {shown}" in whole
        assert r"\ud800\x1b]0;owned\x07" in whole
        assert "\x1b" not in whole
    assert len(text) < 20_000
    assert load_plans(folder, "Endless").digest == load_plans(tiny, "Endless").digest


def test_unfinished_episodes_and_missing_videos_are_reported(tiny, monkeypatch):
    """Catches episodes that never end, and a task without recorded plans, passed over in silence."""
    monkeypatch.setattr(Counter, "render", Environment.render)
    teach(monkeypatch, "--card", tiny, "--episodes", 3, "--out", tiny.with_name("deep") / "card")
    text = (tiny.with_name("deep") / "card" / "card.md").read_text("utf-8")
    assert "3 of 3 episodes had not ended after max\\_steps 5 steps" in text
    assert "Endless can't be filmed" in text
    assert "No recorded answers of a language model ship with jaxteach for Endless, Short." in text
    assert [row[:2] for row in markdown_rows(text, "The teacher alone")] == [
        ["Endless", "0.000 [0.000, 0.561]"],
        ["Short", "1.000 [0.439, 1.000]"],
    ]


@pytest.mark.slow
def test_several_agents_and_their_joint_captions(tmp_path, monkeypatch):
    """Catches a card that leaves out whom a plan depends on, or what a debate changes."""
    shipped = shipped_plans("simple_spread")
    own, *others = (entry.caption for entry in shipped.captions[:3])
    joint = CaptionPlans(own.sees, own.holds, (Plan(1.0, (WAIT,)),), tuple(others))
    save_plans(PlanFile(("simple_spread",), (*shipped.captions, joint)), tmp_path / "plans.json")
    teach(monkeypatch, "--card", tmp_path / "plans.json", "--episodes", 5)
    text = (tmp_path / "plans_card" / "card.md").read_text("utf-8")
    assert "| task | success | mean return | mean length | same object | same object without debate |" in text
    (row,) = markdown_rows(text, "The teacher alone")
    assert all(0 <= float(share) <= 1 for share in row[4:])
    *_, last = markdown_rows(text, "Plans by caption")
    assert last[0].count(" with: Agent sees") == 2
    assert last[1:] == ["1.000", "wait"]


def test_a_folder_teaches_as_its_plan_file(made, folder):
    """Catches a folder whose plans are others than those of the file that it was made of."""
    assert (folder / "plans.json").read_bytes() == (made / "plans.json").read_bytes()
    assert (folder / "plans.json.answers.jsonl").read_text() == ANSWERS
    file, shared = (
        Experiment(TrainConfig("SimpleDoorKey", teacher=TeacherConfig(plans=str(path)))).teacher
        for path in (made / "plans.json", folder)
    )
    assert file.plans.digest == shared.plans.digest == IDLE.digest
    for one, other in zip(file.table, shared.table, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(PlanFileError, match="is for SimpleDoorKey, LavaDoorKey, not for TwoDoor"):
        make_teacher("TwoDoor", plans=str(folder))


def change(path):
    path.write_bytes(path.read_bytes() + b" ")


def replace_by_link(path):
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


DAMAGES = {
    "changed plans": (lambda folder: change(folder / "plans.json"), "plans.json has changed"),
    "a changed film": (
        lambda folder: change(folder / "SimpleDoorKey_episode_2.gif"),
        "SimpleDoorKey_episode_2.gif has changed",
    ),
    "missing answers": (lambda folder: (folder / "plans.json.answers.jsonl").unlink(), "answers.jsonl is missing"),
    "missing plans": (lambda folder: (folder / "plans.json").unlink(), "plans.json is missing"),
    "an extra file": (lambda folder: (folder / "more.txt").touch(), "more.txt is not in its manifest.json"),
    "a link": (lambda folder: replace_by_link(folder / "plans.json"), "plans.json is neither a file nor a folder"),
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), "its manifest.json can't be read"),
    "a manifest of another kind": (
        lambda folder: (folder / "manifest.json").write_text('{"plans.json": 3}'),
        "its manifest.json can't be read",
    ),
    "a path that leads out": (
        lambda folder: (folder / "manifest.json").write_text(
            json.dumps(json.loads((folder / "manifest.json").read_text()) | {"../plans.json": [1, "x"]})
        ),
        "../plans.json is missing",
    ),
}


@pytest.mark.parametrize(("damage", "words"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_folder_is_refused_with_the_files_name(damage, words, folder):
    """Catches a file that somebody else has put there, or that was lost on the way."""
    load_plans(folder, "SimpleDoorKey")
    damage(folder)
    with pytest.raises(PlanFileError, match=re.escape(words)) as refusal:
        load_plans(folder, "SimpleDoorKey")
    assert str(folder) in str(refusal.value)


def test_a_folder_that_lists_no_plans_is_refused(folder):
    """Catches a traceback where a stranger's manifest fits, but there is nothing to teach."""
    (folder / "plans.json").unlink()
    listed = json.loads((folder / "manifest.json").read_text())
    listed.pop("plans.json")
    (folder / "manifest.json").write_text(json.dumps(listed))
    with pytest.raises(PlanFileError, match=r"can't read the plan file .*plans\.json: No such file"):
        load_plans(folder, "SimpleDoorKey")


def test_every_command_refuses_a_damaged_folder(folder, tmp_path, monkeypatch, capsys):
    """Catches a command that takes the plans of a folder as they stand."""
    change(folder / "card.html")
    logs = ("--task", "SimpleDoorKey", "--logdir", tmp_path / "log", "--plans", folder)
    for main, arguments in (
        (train_main, logs),
        (jaxteach.eval.main, ("--eval_teacher", *logs)),
        (jaxteach.teach.main, ("--show", folder)),
        (jaxteach.teach.main, ("--card", folder)),
    ):
        assert "card.html has changed" in refuse(monkeypatch, capsys, main, *arguments)


def test_a_folder_of_somebody_else_stays_as_it_is(made, tmp_path, monkeypatch, capsys):
    """Catches files of a user that a card replaces."""
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("years of work")
    file = tmp_path / "file"
    file.write_text("more of it")
    for out in (foreign, file):
        line = refuse(monkeypatch, capsys, jaxteach.teach.main, "--card", made / "plans.json", "--out", out)
        assert "exists and is not an earlier card of these plans; choose another --out" in line
    assert [path.name for path in foreign.iterdir()] == ["thesis.tex"]
    assert file.read_text() == "more of it"
    card = made / "plans_card"
    before = (card / "manifest.json").read_text()
    words = ("--card", "recorded", "--task", "SimpleDoorKey", "--out", card)
    assert "is not an earlier card of these plans" in refuse(monkeypatch, capsys, jaxteach.teach.main, *words)
    assert (card / "manifest.json").read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "foreign"]


def test_an_earlier_card_of_the_same_plans_is_renewed(tiny, monkeypatch):
    """Catches a card that can't be made anew, also of its own folder, and answers that are lost then."""
    (tiny.with_name("tiny.json.answers.jsonl")).write_text(ANSWERS)
    card = tiny.with_name("tiny_card")
    card.mkdir()
    for given, episodes in ((tiny, 2), (tiny, 3), (card, 4), (card / "plans.json", 5)):
        where = () if given == tiny else ("--out", card)
        teach(monkeypatch, "--card", given, "--episodes", episodes, *where)
        assert f"in {episodes} episodes" in (card / "card.md").read_text("utf-8")
        assert (card / "plans.json.answers.jsonl").read_text() == ANSWERS
        load_plans(card, "Endless")
    teach(monkeypatch, "--card", card / "plans.json", "--episodes", 2)
    load_plans(card, "Endless")
    names = {path.name for path in tiny.parent.iterdir()}
    assert names == {"tiny.json", "tiny.json.answers.jsonl", "tiny_card", "tiny_card_card"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--card", "recorded"], "--card recorded needs --task"),
        (["--card", "none", "--task", "SimpleDoorKey"], "--card none has no plans"),
        (["--card", "recorded", "--task", "simple_spread"], "no recorded plans ship for simple_spread"),
        (["--card", "none.json"], "can't read the plan file none.json"),
        (["--card", "x", "--show", "y"], "give one of --out"),
        (["--card", "recorded", "--task", "SimpleDoorKey", "--out", "/proc/x/card"], "can't write /proc/x/card"),
    ],
)
def test_mistakes_get_one_sentence(arguments, words, tmp_path, monkeypatch, capsys):
    """Catches a traceback, and files that are left of a card that can't be made."""
    monkeypatch.chdir(tmp_path)
    assert words in refuse(monkeypatch, capsys, jaxteach.teach.main, *arguments)
    assert list(tmp_path.iterdir()) == []
