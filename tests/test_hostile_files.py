"""Files from strangers: whatever they hold, they get one sentence; they run no code, take no memory, lead nowhere."""

import copy
import json
import os
import pickle
import random
import sys
from contextlib import closing

import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
import tensorstore
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxteach.config import TeachConfig, TrainConfig, to_json
from jaxteach.errors import UserError
from jaxteach.llm.show import show
from jaxteach.reports.curves import load_run
from jaxteach.runs.checkpoints import Checkpoints
from jaxteach.runs.files import read_text, write_json
from jaxteach.runs.manifest import MANIFEST, write_manifest
from jaxteach.runs.metrics_log import read_metrics
from jaxteach.runs.run_folder import folder_of, fresh_folder, read_config
from jaxteach.system.command import run_command
from jaxteach.teacher import plans as plans_module
from jaxteach.teacher.plans import PlanFile, PlanFileError, save_plans
from jaxteach.train import main as train_main

PLANS = {
    "format": "jaxteach-plans",
    "version": 1,
    "tasks": ["SimpleDoorKey"],
    "provenance": {"source": "test", "rejects": {"Agent sees": {"no plan": ["x"]}}},
    "captions": [
        {"sees": ["key"], "holds": None, "plans": [{"p": 1.0, "skills": [["goto", "key"], ["pickup", "key"]]}]},
        {
            "sees": ["door", "key"],
            "holds": "key",
            "plans": [{"p": 0.75, "skills": [["toggle", "door"]]}, {"p": 0.25, "skills": [["explore", None]]}],
        },
    ],
}
ODD_VALUES = [
    None, True, False, 0, -1, 1, 2, 0.5, -0.0, 1e308, float("nan"), float("inf"), 10**30, 10**400, "", "key", "\ud800",
    "\x00", "\x1b[2J", "../x", "a\nb", [], {}, [[]], [None], ["goto", "key"], ["explore", None], {"p": 1.0}, [1] * 100,
]  # fmt: skip
ODD_TEXTS = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "9" * 5000,
    "[" * 2000,
    '"\\ud800"',
    "{",
    "}",
    ",",
    "\x00",
    "null",
]


def places(document):
    """Every container of a document with every key to something in it."""
    if isinstance(document, dict | list):
        for key in list(document) if isinstance(document, dict) else range(len(document)):
            yield document, key
            yield from places(document[key])


def mutated_document(document, rng):
    """A copy with one to three values replaced, removed or doubled."""
    document = copy.deepcopy(document)
    for _ in range(rng.randint(1, 3)):
        container, key = rng.choice(list(places(document)) or [([None], 0)])
        action = rng.random()
        if action < 0.7:
            container[key] = copy.deepcopy(rng.choice(ODD_VALUES))
        elif action < 0.85:
            del container[key]
        elif isinstance(container, list):
            container.insert(key, copy.deepcopy(container[key]))
    return document


def mutated_text(text, rng):
    """The text with a piece replaced, removed, moved or doubled."""
    start = rng.randrange(len(text))
    stop = min(len(text), start + rng.choice([1, 1, 1, 2, 5, 30]))
    odd = rng.choice(
        [rng.choice(ODD_TEXTS), chr(rng.randrange(0xD7FF)), text[stop : stop + 20], "", text[start:stop] * 2]
    )
    return text[:start] + odd + text[stop:]


def mutations(document, count, seed):
    """Texts near a valid one, half of them changed as documents, half as text."""
    rng, text = random.Random(seed), json.dumps(document)
    for i in range(count):
        yield json.dumps(mutated_document(document, rng)) if i % 2 else mutated_text(text, rng)


def parse_or_refuse(text):
    """What a plan file says, if it is one; anything but a `PlanFileError` is a failure."""
    try:
        plans = plans_module._parse(text, "plans.json")
    except PlanFileError:
        return None
    assert isinstance(plans, PlanFile)
    for entry in plans.captions:
        assert abs(sum(plan.probability for plan in entry.plans) - 1) < 2e-3
        assert all(0 < plan.probability <= 1 and plan.skills for plan in entry.plans)
    return plans


def fuzz_plans(count, seed):
    good = sum(parse_or_refuse(text) is not None for text in mutations(PLANS, count, seed))
    assert 0 < good < count, "the mutations reach both sides"


def test_mutated_plan_files():
    """Catches any value at any place of a plan file that ends in another error than its own."""
    fuzz_plans(10_000, 0)


@pytest.mark.slow
def test_many_mutated_plan_files():
    """As the small one, 10^5 of them."""
    fuzz_plans(100_000, 1)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5) | st.sampled_from(["goto", "key"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["p", "skills", "sees", "holds", "plans"]), inner)
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(captions=JSON_VALUES, tasks=JSON_VALUES)
def test_plan_files_of_any_shape(captions, tasks):
    """Catches a check that trusts the kind of a value."""
    parse_or_refuse(json.dumps(PLANS | {"captions": captions, "tasks": tasks}))
    parse_or_refuse(json.dumps(PLANS | {"captions": [captions]}))
    parse_or_refuse(json.dumps(captions))


HOSTILE_TEXTS = {
    "a million brackets": "[" * 10**6,
    "a million objects": '{"captions":' * 10**6,
    "a number of 10^6 digits": json.dumps(PLANS).replace("0.75", "1" * 10**6),
    "a probability beyond floats": json.dumps(PLANS).replace("0.75", "1e9999"),
    "a probability that is no number": json.dumps(PLANS).replace("0.75", "NaN"),
    "a negative probability": json.dumps(PLANS).replace("0.75", "-0.75"),
    "doubled keys": json.dumps(PLANS)[:-1] + ', "captions": 3}',
    "a lone surrogate for a skill": json.dumps(PLANS).replace('"toggle"', '"\\ud800\\n\\u001b[2J"'),
    "a task's name of megabytes": json.dumps(PLANS | {"tasks": ["\n\x1b]0;x\x07" * 10**6]}),
}


@pytest.mark.parametrize("text", HOSTILE_TEXTS.values(), ids=HOSTILE_TEXTS.keys())
def test_hostile_plan_files_get_one_printable_line(text, tmp_path, monkeypatch, capsys):
    """Catches tracebacks, and sentences that carry a stranger's line ends, escapes or megabytes to the terminal."""
    path = tmp_path / "plans.json"
    path.write_text(text)
    arguments = ["train", "--task", "SimpleDoorKey", "--plans", str(path), "--logdir", str(tmp_path)]
    line = refuse(monkeypatch, capsys, train_main, arguments)
    assert "plans.json" in line
    assert os.listdir(tmp_path) == ["plans.json"]


def refuse(monkeypatch, capsys, main, arguments):
    """The one printable line with which a command refuses."""
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as end:
        run_command(main)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.split("\n")[:-1]
    assert line.isprintable()
    assert len(line) < 3000
    return line


BAD_NAMES = [
    "../x",
    "../../x",
    "/etc/x",
    "a/b",
    "a\\b",
    ".",
    "..",
    ".hidden",
    "",
    "a\x00b",
    "a\nb",
    "x" * 300,
    "ä" * 150,
    "\ud800",
    "-x",
    "~",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_stay_in_their_folder(name, tmp_path):
    """Catches names that lead out of <logdir>/ppo/<task>, or that no file system takes."""
    with pytest.raises(UserError, match="can't name a run's folder"):
        folder_of(str(tmp_path), "SimpleDoorKey", name)
    if name:
        with pytest.raises(UserError, match="can't name a run's folder"):
            fresh_folder(str(tmp_path), "SimpleDoorKey", name)
    assert os.listdir(tmp_path) == []


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(name=st.text(max_size=260))
def test_names_of_any_kind_stay_in_their_folder(name):
    """Catches an accepted name that is more than one part of a path."""
    try:
        folder = folder_of("/logs", "SimpleDoorKey", name)
    except UserError:
        return
    assert folder.parent.as_posix() == "/logs/ppo/SimpleDoorKey"
    assert os.fsencode(folder.name)
    assert folder.name.isprintable()


@pytest.mark.parametrize("task", ["../x", "/etc", "SimpleDoorKey/../..", "\ud800", "x\ny"])
def test_tasks_are_no_paths(task, tmp_path, monkeypatch, capsys):
    """Catches a task's name that becomes a part of a path."""
    assert "unknown task" in refuse(monkeypatch, capsys, train_main, ["train", "--task", task])


def test_a_logdir_that_cannot_be_printed_is_refused():
    """Catches a traceback from printing the run's folder: bytes of no character, escapes."""
    for logdir in ("\ud8ff", "a\x1b[2Jb", "a\nb"):
        with pytest.raises(UserError, match="can't be printed"):
            folder_of(logdir, "SimpleDoorKey", "x")


CONFIG = to_json(TrainConfig(task="SimpleDoorKey"))


def read_config_or_refuse(folder, text):
    (folder / "config.json").write_text(text, "utf-8", "surrogatepass")
    try:
        config = read_config(folder)
    except UserError:
        return None
    assert isinstance(config.task, str)
    assert all(type(seed) is int for seed in config.seed_list)
    assert max(config.num_envs, config.ppo.rollout_length, config.world.frame_stack or 0) <= 2**24
    hash(config)
    return config


def fuzz_configs(folder, count, seed):
    good = sum(read_config_or_refuse(folder, text) is not None for text in mutations(CONFIG, count, seed))
    assert 0 < good < count, "the mutations reach both sides"


def test_mutated_configurations(tmp_path):
    """Catches options of a wrong type or of absurd size let in, and errors that are no sentence."""
    fuzz_configs(tmp_path, 2000, 0)
    for change in (
        {"task": "../x"},
        {"seed_list": [True]},
        {"seed_list": "01"},
        {"num_envs": 2**40},
        {"num_envs": 8.0},
    ):
        assert read_config_or_refuse(tmp_path, json.dumps(CONFIG | change)) is None, change
    assert read_config_or_refuse(tmp_path, json.dumps(CONFIG)) is not None


@pytest.mark.slow
def test_many_mutated_configurations(tmp_path):
    """As the small one, 30,000 of them."""
    fuzz_configs(tmp_path, 30_000, 1)


def test_files_that_never_end_are_not_read(tmp_path):
    """Catches a link to a device, a pipe nobody writes to, or a giant file, read whole or waited for."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    with (tmp_path / "giant").open("wb") as file:
        file.truncate(2**40)
    for name in ("pipe", "zero", "giant"):
        with pytest.raises(OSError, match=name):
            read_text(tmp_path / name, 1000)
        run = tmp_path / f"run_{name}"
        run.mkdir()
        (run / "config.json").symlink_to(tmp_path / name)
        with pytest.raises(UserError, match="has no readable"):
            read_config(run)


def test_mutated_metrics(tmp_path):
    """Catches points of a wrong kind that reach the report's arithmetic."""
    write_json(tmp_path / "config.json", CONFIG)
    row = {"iteration": 5, "env_steps": 100, "wall_s": 1.5, "seed": 0, "success_rate": 0.5, "return_mean": 0.25}
    good = 0
    for text in mutations(row, 2000, 0):
        (tmp_path / "metrics.jsonl").write_text(f"{json.dumps(row)}\n{text}\n", "utf-8", "surrogatepass")
        try:
            read_metrics(tmp_path)
            load_run(tmp_path)
            good += 1
        except UserError:
            pass
    assert 0 < good < 2000


STATE = {"w": jnp.arange(600.0).reshape(20, 30), "n": jnp.int32(3)}


@pytest.fixture
def checkpoint(tmp_path):
    """The folder of a checkpoint of `STATE`."""
    with closing(Checkpoints(tmp_path)) as checkpoints:
        checkpoints.save(1, STATE)
    return tmp_path / "checkpoints" / "1"


def restore(checkpoint):
    with closing(Checkpoints(checkpoint.parent.parent)) as checkpoints:
        return checkpoints.restore(STATE)[1]


@pytest.fixture
def no_pickle(monkeypatch):
    def refuse_to_load(*_arguments, **_options):
        raise AssertionError("a pickle was read")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse_to_load)


def rewrite(checkpoint, **changes):
    """Changes what the stored array w says of itself, with a manifest that is right, as a stranger can."""
    store = tensorstore.KvStore.open({"driver": "ocdbt", "base": f"file://{checkpoint / 'default'}/"}).result()
    (name,) = [key for key in store.list().result() if key.endswith(b".zarray") and b"w" in key]
    facts = json.loads(store.read(name).result().value)
    store.write(name, json.dumps(facts | changes).encode()).result()
    write_manifest(checkpoint)


GIANTS = [
    {"shape": [10**9, 10**6], "chunks": [10**9, 10**6]},
    {"shape": [20, 10**15]},
    {"chunks": [10**9, 10**6]},
    {"dtype": "<f8"},
    {"shape": [20]},
]


@pytest.mark.parametrize("changes", GIANTS, ids=str)
def test_claims_of_giant_arrays_are_refused_before_memory_is_taken(changes, checkpoint, monkeypatch, no_pickle):
    """Catches a restore that believes the file's own shapes, or pieces larger than the array."""
    np.testing.assert_array_equal(restore(checkpoint)["w"], STATE["w"])
    rewrite(checkpoint)
    np.testing.assert_array_equal(restore(checkpoint)["w"], STATE["w"])
    rewrite(checkpoint, **changes)

    def never(*_arguments, **_options):
        pytest.fail("the arrays were read")

    monkeypatch.setattr(ocp.Checkpointer, "restore", never)
    with pytest.raises(UserError):
        restore(checkpoint)


def test_a_bomb_is_not_unpacked(checkpoint, no_pickle):
    """Catches a piece of a few kilobytes that unpacks to gigabytes."""
    big = {"shape": [2**28], "chunks": [2**28], "dtype": "|u1", "compressor": {"id": "zstd", "level": 1}}
    array = tensorstore.open({"driver": "zarr", "kvstore": "memory://", "metadata": big}, create=True).result()
    array.write(np.ones(2**28, np.uint8)).result()
    bomb = array.kvstore.read(b"0").result().value
    store = tensorstore.KvStore.open({"driver": "ocdbt", "base": f"file://{checkpoint / 'default'}/"}).result()
    (name,) = [key for key in store.list().result() if not key.endswith(b".zarray") and b"w" in key]
    store.write(name, bomb).result()
    write_manifest(checkpoint)
    with pytest.raises(UserError, match="damaged"):
        restore(checkpoint)


def test_links_in_checkpoints_are_not_followed(checkpoint):
    """Catches a checkpoint that reads, or waits for, files elsewhere."""
    (checkpoint / "default" / "more").symlink_to("/dev/zero")
    with pytest.raises(UserError, match="damaged"):
        restore(checkpoint)


# Where one array can't be read, Orbax forsakes the reads of the others, which then complain to nobody.
FORSAKEN = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def fuzz_checkpoint(checkpoint, count, seed):
    """Random bytes changed in random files, under a right manifest: an error of ours, or arrays of the right kind."""
    rng = random.Random(seed)
    files = {path: path.read_bytes() for path in checkpoint.rglob("*") if path.is_file() and path.name != MANIFEST}
    read = 0
    for _ in range(count):
        path = rng.choice(sorted(files))
        content = bytearray(files[path] or b"\0")
        for _ in range(rng.randint(1, 4)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content[: rng.choice([len(content), rng.randrange(len(content))])])
        write_manifest(checkpoint)
        try:
            state = restore(checkpoint)
            read += 1
            assert (state["w"].shape, state["n"].dtype) == ((20, 30), jnp.int32)
        except UserError:
            pass
        path.write_bytes(files[path])
    assert read < count


@FORSAKEN
def test_mutated_checkpoints(checkpoint, no_pickle):
    """Catches crashes, foreign errors and pickles behind bytes that a stranger chose."""
    fuzz_checkpoint(checkpoint, 40, 0)


@FORSAKEN
@pytest.mark.slow
def test_many_mutated_checkpoints(checkpoint, no_pickle):
    """As the small one, 400 of them."""
    fuzz_checkpoint(checkpoint, 400, 1)


def test_hostile_plans_are_shown_without_their_tricks(tmp_path, capsys):
    """Catches escapes, markup and lone surrogates of a stranger on the way to the terminal, and tracebacks there."""
    name = "\ud800\x1b]0;owned\x07[/red][bold"
    caption = {"sees": [name], "holds": name, "plans": [{"p": 1.0, "skills": [["goto", name]]}]}
    provenance = {name: name, "rejects": {name: {name: [name]}}}
    write_json(tmp_path / "plans.json", PLANS | {"captions": [caption], "provenance": provenance})
    with pytest.raises(SystemExit):
        run_command(lambda: show(TeachConfig(show=str(tmp_path / "plans.json")), str(tmp_path / "plans.json")))
    captured = capsys.readouterr()
    assert "a caption that the task never shows" in captured.err
    shown = captured.out + captured.err
    assert "[/red][bold" in shown
    assert "\\ud800\\x1b]0;owned\\x07" in shown
    assert "\x1b" not in shown


def test_plans_survive_saving_whatever_they_hold(tmp_path):
    """Catches a plan file that is accepted but can't be written again: lone surrogates, huge numbers."""
    for text in mutations(PLANS, 200, 2):
        plans = parse_or_refuse(text)
        if plans is not None:
            save_plans(plans, tmp_path / "plans.json")
            assert repr(parse_or_refuse((tmp_path / "plans.json").read_text("utf-8"))) == repr(plans)
