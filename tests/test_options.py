"""Options: one declaration of what they may be, for the command line, `config.json` and sweeps."""

import json
import math
from dataclasses import fields, replace
from typing import get_args, get_type_hints

import pytest

from jaxteach.cli import parse, read_options
from jaxteach.config import (
    OPTION_NAMES,
    EvalConfig,
    PPOConfig,
    ReportConfig,
    SweepConfig,
    TeachConfig,
    TrainConfig,
    changes,
    default_config,
    from_json,
    to_json,
    with_options,
)
from jaxteach.errors import UserError
from jaxteach.options.integers import whole_number
from jaxteach.options.markers import MOST, Bounds, OnlyWith, options_of, values_of
from jaxteach.runs.run_folder import create_run, read_config
from jaxteach.system.command import run_command

TRAIN = TrainConfig("SimpleDoorKey")
PROPERTIES = ("taught", "plays", "methods", "asks", "labels")
"""What is made of several options, and can be a condition too."""
ALL = [TRAIN, EvalConfig("SimpleDoorKey"), TeachConfig(), SweepConfig(file="s.toml"), ReportConfig(runs=())]


def test_no_help_names_an_option_of_another_command(capsys):
    """Catches a part that commands share, and that speaks of an option which one of them lacks."""
    for kind in (EvalConfig, TeachConfig, SweepConfig, ReportConfig):
        with pytest.raises(SystemExit):
            parse(kind, "jaxteach", ["--help"])
        said = capsys.readouterr().out
        assert "--online" not in said
        assert len(said) > 500


def is_number(kind):
    return kind in (int, float) or any(is_number(part) for part in get_args(kind) if part is not Ellipsis)


def told_by(config):
    """How options are refused, None if they are not."""
    try:
        config.check()
    except UserError as error:
        return str(error)
    return None


@pytest.mark.parametrize("config", ALL, ids=lambda config: type(config).__name__)
def test_every_number_has_bounds_and_every_condition_an_option(config):
    """Catches an option whose absurd values nobody refuses, and one whose condition is misspelt."""
    known = {name for whole in ALL for option in options_of(whole) for name in (option.name, *PROPERTIES)}
    for option in options_of(config):
        bounded = any(isinstance(marker, Bounds) for marker in option.markers)
        hint = get_type_hints(type(option.part))[option.name]
        assert bounded or not is_number(hint) or option.name == "checkpoint", option.name
        assert {marker.other for marker in option.markers if isinstance(marker, OnlyWith)} <= known


NUMBERS = [option.name for option in options_of(TRAIN) if any(isinstance(mark, Bounds) for mark in option.markers)]
ODD = [math.nan, math.inf, -math.inf, 1e300, -1, 0, 10**10, 2**63, 10**30]


def with_option(config, name, value):
    """A configuration of training with another value of an option, wherever it stands."""
    if name in {option.name for option in fields(config)}:
        return replace(config, **{name: value})
    part = next(part.name for part in fields(config) if hasattr(getattr(config, part.name), name))
    return replace(config, **{part: replace(getattr(config, part), **{name: value})})


@pytest.mark.parametrize("name", NUMBERS)
def test_what_training_takes_a_run_s_folder_gives_back(name, tmp_path):
    """Catches a value that training begins with and every later command refuses, and one that JSON can't hold."""
    for value in [(0, 2**40), (3,)] if name == "seed_list" else ODD:
        config = with_option(TRAIN, name, value)
        refusal = told_by(config)
        (tmp_path / "config.json").write_text(json.dumps(to_json(config)))
        if refusal is None:
            json.dumps(to_json(config), allow_nan=False)
            assert read_config(tmp_path) == config
        else:
            assert f"--{name}" in refusal
            with pytest.raises(UserError, match="can't be used"):
                read_config(tmp_path)


def test_infinity_is_taken_where_it_means_no_limit():
    unlimited = PPOConfig(max_grad_norm=math.inf, clip=math.inf)
    assert told_by(replace(TRAIN, ppo=unlimited)) is None
    assert to_json(replace(TRAIN, ppo=unlimited))["ppo"]["clip"] == "inf"
    document = to_json(TRAIN) | {"ppo": {"clip": math.inf}}
    assert from_json(document).ppo.clip == math.inf, "as it was written before"
    assert told_by(replace(TRAIN, ppo=PPOConfig(gamma=math.inf))) == "--gamma must be within 0..1, not inf"


def test_an_older_configuration_and_one_of_another_version():
    """Catches a run from before an option, and a sentence that does not say which version is needed."""
    assert from_json({"task": "SimpleDoorKey", "seed_list": [0]}) == TRAIN
    older = to_json(TRAIN)
    del older["ppo"]["min_advantage_std"]
    weights = from_json(older).ppo
    assert (weights.value_coef, weights.min_advantage_std) == (0.25, 1e-8), "its value loss was halved twice"
    with pytest.raises(UserError, match=r"written by jaxteach 9.1 .* does not know: wings, claws; use that version"):
        from_json(to_json(TRAIN) | {"jaxteach_version": "9.1", "wings": 2, "ppo": {"claws": 1}})


@pytest.mark.parametrize(
    ("text", "number"), [("1e5", 100_000), ("1_000", 1000), ("2.5e3", 2500), ("100000.0", 100_000), ("-3", -3)]
)
def test_whole_numbers(text, number):
    assert whole_number(text) == number


@pytest.mark.parametrize("text", ["1.5", "150k", "inf", "nan", "", "1e999999999", "9" * 5000])
def test_what_is_no_whole_number(text):
    with pytest.raises(ValueError, match="is not a whole number, such as 150000"):
        whole_number(text)


def test_integers_are_read_alike_wherever_they_stand():
    """Catches an option, of those that may be left out or are several, that has its own idea of a number."""
    line = "--task simple_spread --total_steps 1e5 --seed_list 1e1 2 --num_envs=1_6 --max_steps 1e1"
    config = parse(TrainConfig, "train", line.split(), default_config)
    assert (config.total_steps, config.seed_list, config.num_envs, config.world.max_steps) == (100_000, (10, 2), 16, 10)


IDLE = {
    "--no_teacher --plans shipped": "--plans has no effect with --no_teacher",
    "--no_teacher --hard_planner --distill_coef 1": "--hard_planner has no effect with --no_teacher; --distill_coef",
    "--task simple_tag --plans shipped": "--plans has no effect without a teacher",
    "--task simple_tag --distill-half-life=5": "--distill_half_life has no effect without a teacher",
    "--distill_floor 0.1": "--distill_floor has no effect with --distill_schedule exponential, only with linear",
    "--distill_schedule linear --distill_half_life 20000": "--distill_half_life has no effect with",
    "--no_teacher --guidance dagger": "--guidance has no effect without a teacher",
    "--task simple_tag --guidance dagger": "--guidance has no effect without a teacher",
    "--prior_beta 1": "--prior_beta has no effect without --guidance prior",
    "--guidance prior --agreement_coef 1": "--agreement_coef has no effect without --guidance agreement",
    "--guidance dagger+gate --potential_coef 1": "--potential_coef has no effect without --guidance potential",
    "--guidance dagger --label_budget 9": "--label_budget has no effect without --guidance gate",
    "--clone_until 0.5": "--clone_until has no effect without --guidance clone",
    "--guidance agreement --distill_coef 5": "--distill_coef has no effect without --guidance kickstart or dagger",
    "--guidance potential --distill_half_life 5": "--distill_half_life has no effect without a method that fades",
    "--samples 10": "--samples has no effect without --online",
    "--online --backend openai --context 1": "--context has no effect with --backend openai, only with llama-cpp",
    "--online --base_url http://x": "--base_url has no effect with --backend llama-cpp, only with openai",
    "--join_timeout 3": "--join_timeout has no effect without --coordinator",
}
IDLE_ELSEWHERE = [
    (EvalConfig, "--task simple_spread --eval_teacher --greedy", "--greedy has no effect with --eval_teacher"),
    (EvalConfig, "--task simple_spread --eval_teacher --seed 0", "--seed has no effect with --eval_teacher"),
    (EvalConfig, "--task simple_spread --loaddir x --plans shipped", "--plans has no effect without --eval_teacher"),
    (TeachConfig, "--show x --samples 3", "--samples has no effect with --show or --card"),
    (TeachConfig, "--card x --samples 3", "--samples has no effect with --show or --card"),
    (TeachConfig, "--card x --out y --import_batch z", "--import_batch has no effect with --show or --card"),
    (TeachConfig, "--task simple_spread --out x --episodes 3", "--episodes has no effect without --show"),
    (TeachConfig, "--task simple_spread --out x --model m --score --samples 3", "--samples has no effect with --score"),
    (TeachConfig, "--task simple_spread --out x --situations 3", "--situations has no effect without --debate_rounds"),
    (SweepConfig, "s.toml --partition x", "--partition has no effect with --engine local, only with slurm"),
    (SweepConfig, "s.toml --engine slurm --seeds_at_once 3", "--seeds_at_once has no effect with --engine slurm"),
]


@pytest.mark.parametrize(("line", "told"), IDLE.items())
def test_options_of_training_without_effect_are_refused(line, told):
    """Catches an option that is given, be it with its default's value, and ignored."""
    with pytest.raises(UserError, match="leave") as refusal:
        parse(
            TrainConfig, "train", (line if "--task" in line else f"--task SimpleDoorKey {line}").split(), default_config
        )
    assert told in str(refusal.value)


@pytest.mark.parametrize(("kind", "line", "told"), IDLE_ELSEWHERE)
def test_options_of_other_commands_without_effect_are_refused(kind, line, told):
    with pytest.raises(UserError, match="leave") as refusal:
        parse(kind, "command", line.split())
    assert told in str(refusal.value)


@pytest.mark.parametrize(
    "line",
    ["--distill_schedule linear --distill_floor 0.1", "--online --samples 3", "--hard_planner --distill_coef 2"],
)
def test_options_with_an_effect_are_taken(line):
    assert not read_options(TrainConfig, "train", ["--task", "TwoDoor", *line.split()], default_config)[1]


def test_a_run_that_came_to_nothing_begins_anew(tmp_path):
    """Catches a start that failed, and blocks its name; and one that has a point, written over."""
    config = replace(TRAIN, logdir=str(tmp_path), savedir="mine")
    folder = create_run(config)
    (folder / "metrics.jsonl").touch()
    assert create_run(replace(config, num_envs=8)) == folder
    assert read_config(folder).num_envs == 8
    (folder / "metrics.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match="exists; choose another --savedir"):
        create_run(config)


def test_a_platform_that_jax_lacks_is_told_in_one_sentence(monkeypatch, capsys):
    """Catches the pages of JAX, which fails in one of several ways where it is used first."""

    def failing():
        raise AssertionError

    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    with pytest.raises(AssertionError):
        run_command(failing)
    monkeypatch.setattr("jax.devices", failing)
    with pytest.raises(SystemExit) as end:
        run_command(failing)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "JAX_PLATFORMS=cuda" in line


def test_a_preset_changes_defaults():
    """Catches a preset that overrides what is given, and one that the command line has and Python lacks."""
    config = parse(TrainConfig, "train", ["--preset", "reference", "--task", "LavaDoorKey"], default_config)
    assert (config.network, config.ppo.lam, config.ppo.distill_schedule) == ("reference", 1, "linear")
    other = parse(TrainConfig, "train", ["--task", "LavaDoorKey", "--preset=reference", "--lam=0.9"], default_config)
    assert other == replace(config, ppo=replace(config.ppo, lam=0.9))
    assert with_options(default_config("LavaDoorKey"), {"lam": 0.9, "preset": "reference"}) == other
    assert config.steps_per_iteration % config.ppo.batch_size == 0, "no sample is left out"
    with pytest.raises(UserError, match="--preset takes reference, not 'paper'"):
        parse(TrainConfig, "train", ["--task", "LavaDoorKey", "--preset", "paper"], default_config)
    with pytest.raises(UserError, match="no preset paper; known are reference"):
        with_options(default_config("LavaDoorKey"), {"preset": "paper"})


def test_bounds_are_told():
    assert told_by(replace(TRAIN, save_interval=MOST + 1)) == (
        "--save_interval must be at most 4.611686018e+18, not 4611686018427387905"
    )
    assert told_by(replace(TRAIN, num_envs=2**30)) == "--num_envs must be within 1..16777216, not 1073741824"
    assert "--total_steps must be at most 4,398,046,509,056" in str(told_by(replace(TRAIN, total_steps=10**13)))


def test_all_options_lie_side_by_side_by_their_names():
    """Catches an option of a part that a comparison of runs, or of processes, leaves out."""
    config = default_config("SimpleDoorKey")
    assert tuple(values_of(config)) == OPTION_NAMES
    other = with_options(config, {"num_envs": 3, "gamma": 0.5, "view_size": 7})
    assert list(changes(other, config).items()) == [
        ("num_envs", (3, config.num_envs)),
        ("view_size", (7, None)),
        ("gamma", (0.5, 0.99)),
    ]
