"""Training on several devices: the environments are spread, the student is one device's."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxteach.config import default_config
from jaxteach.distributed.sharding import select_devices
from jaxteach.errors import UserError
from jaxteach.training.programs import Experiment
from tests.command_line import last_counts

UPDATES = 50
EIGHT = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
SMALL = ["--num_envs", "16", "--rollout_length", "8", "--batch_size", "64"]
SMALL += ["--eval_interval", "4", "--num_eval", "10", "--final_eval", "0"]


def trained(devices):
    """The state after `UPDATES` updates of 128 steps, their metrics, and the program."""
    config = default_config("SimpleDoorKey")
    # With the default rate Adam makes much of a rounding where a gradient is near 0.
    ppo = replace(config.ppo, rollout_length=8, batch_size=64, learning_rate=1e-4)
    experiment = Experiment(replace(config, num_envs=16, devices=devices, eval_interval=UPDATES, ppo=ppo))
    chunk, inputs = experiment.compile_updates(), (experiment.table, experiment.hparams)
    return *chunk(experiment.init(), *inputs, jnp.int32(0), jnp.int32(UPDATES)), chunk


def compare():
    """Run on eight devices: prints what there is to judge."""
    (one, _, program), (eight, _, part) = trained(1), trained(8)
    parts = [leaf for leaf in jax.tree.leaves((eight.actor, eight.memory)) if leaf.size]
    pairs = zip(jax.tree.leaves(one.params), jax.tree.leaves(eight.params))
    return {
        "difference": max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs),
        "share of the work": part.cost_analysis()["flops"] / program.cost_analysis()["flops"],
        "exchanges": {kind: part.as_text().count(f" {kind}(") for kind in ("all-gather", "all-to-all")},
        "learned": float(np.abs(jax.tree.leaves(one.params)[0]).max()),
        "environments on a device": sorted({leaf.addressable_shards[0].data.shape[1] for leaf in parts}),
        "copies": all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves((eight.params, eight.opt_state))),
    }


@pytest.mark.slow
def test_eight_devices_train_the_student_of_one():
    """Catches draws or minibatches that depend on the devices, and work that each of them does whole."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.test_sharding"],
        env=os.environ | EIGHT,
        cwd=Path(__file__).parents[1],
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["difference"] < 1e-5
    assert found["share of the work"] < 0.25
    assert found["exchanges"] == {"all-gather": 8, "all-to-all": 0}, "the samples of an update, array by array"
    assert found["environments on a device"] == [2]
    assert found["copies"]


@pytest.mark.slow
def test_a_checkpoint_of_eight_devices_goes_on_on_one(tmp_path):
    """The run's folder does not tell how many devices wrote it."""
    command = [sys.executable, "-m", "jaxteach.train", "--task", "SimpleDoorKey", *SMALL, "--savedir", "run"]
    eight = os.environ | EIGHT
    subprocess.run(
        [*command, "--devices", "0", "--n_itr", "4"], env=eight, cwd=tmp_path, check=True, capture_output=True
    )
    more = [*command, "--n_itr", "8", "--resume"]
    subprocess.run(more, cwd=tmp_path, check=True, capture_output=True)
    lines = (tmp_path / "log" / "ppo" / "SimpleDoorKey" / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["iteration"] for line in lines] == [4, 8]


def test_a_minibatch_that_cannot_be_dealt_out_is_told(tmp_path):
    """Catches a traceback out of XLA for a batch that is no multiple of the devices."""
    options = last_counts([*SMALL, "--devices", "0", "--batch_size", "60"])
    command = [sys.executable, "-m", "jaxteach.train", "--task", "SimpleDoorKey", *options]
    done = subprocess.run(command, env=os.environ | EIGHT, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    told = "error: a minibatch of 60 samples can't be dealt out evenly to 8 devices; take another --batch_size\n"
    assert done.stderr == told
    assert os.listdir(tmp_path) == []


def test_devices_that_are_not_there():
    count = len(jax.devices()) + 1
    with pytest.raises(UserError, match=f"--devices {count} is more than there are here"):
        select_devices(count, 8 * count)


if __name__ == "__main__":
    print(json.dumps(compare()))
