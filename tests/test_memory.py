"""A long run takes no more memory than a short one."""

import ctypes
import gc
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import pytest

from jaxteach.config import default_config
from jaxteach.training.loop import TrainingLoop, train

CHUNKS = 400
MOST_MB = 16.0
"""Growth in 200 chunks with 20 checkpoints, of which each has 1.4 MB; 6 MB were seen."""
MOST_BLOCKS = 8000
"""Python's in 200 chunks: TensorStore loses 220 in each of 20 checkpoints; a chunk's metrics have 40."""


def resident_mb():
    """What the process holds, less what the allocator could give back."""
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def sampled(folder):
    """Trains with an evaluation in each chunk and a checkpoint after every tenth: the memory after each chunk."""
    samples, record = [], TrainingLoop._record

    def sampling(self, done, *arguments):
        record(self, done, *arguments)
        gc.collect()
        if not samples:
            gc.freeze()  # What was there before can't grow, and takes a quarter of a second to look through.
        samples.append((resident_mb(), len(jax.live_arrays()), sys.getallocatedblocks()))

    TrainingLoop._record = sampling
    config = default_config("SimpleDoorKey")
    ppo = replace(config.ppo, rollout_length=4, batch_size=64, epochs=1)
    small = {"num_envs": 16, "num_eval": 2, "final_eval": 0, "n_itr": CHUNKS, "logdir": folder}
    train(replace(config, eval_interval=1, save_interval=10, ppo=ppo, **small), time.perf_counter())
    return samples


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc on Linux tells it exactly")
def test_memory_is_flat(tmp_path):
    """Catches states, metrics or copies for the disk that are kept from chunk to chunk."""
    command = [sys.executable, "-m", "tests.test_memory", str(tmp_path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], check=True, capture_output=True, text=True)
    samples = json.loads(done.stdout.splitlines()[-1])
    assert len(samples) == CHUNKS
    half, end = zip(*samples[CHUNKS // 4 : CHUNKS // 2]), zip(*samples[-CHUNKS // 4 :])
    (memory, arrays, blocks), (later_memory, later_arrays, later_blocks) = map(list, half), map(list, end)
    assert min(later_memory) - min(memory) < MOST_MB
    assert max(later_arrays) <= max(arrays)
    assert min(later_blocks) - min(blocks) < MOST_BLOCKS


if __name__ == "__main__":
    print(json.dumps(sampled(sys.argv[1])))
