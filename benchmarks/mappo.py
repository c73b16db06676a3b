"""`python -m benchmarks.mappo`: our MAPPO on simple_spread beside JaxMARL's, both judged in `mpe2` itself."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from mpe2 import simple_spread_v3
from rich.console import Console
from rich.table import Table

from benchmarks.command import run_benchmark
from benchmarks.jaxmarl_mappo import Settings, Trained, train_jaxmarl
from benchmarks.machine import describe_machine
from benchmarks.peers import MissingPeer
from jaxteach.config import default_config
from jaxteach.errors import UserError
from jaxteach.ppo.episodes import Policy, student_policy
from jaxteach.system.command import run_command
from jaxteach.system.machine import version_of
from jaxteach.training.programs import Experiment

TASK: Final = "simple_spread"
PEER_TASK: Final = "MPE_simple_spread_v3"
NUM_AGENTS: Final = 3
GROUP: Final = 100
"""Episodes of `mpe2` that are played side by side."""


@dataclass(frozen=True)
class Options:
    """Trains both with the same budget of environment steps, then plays episodes of mpe2's simple_spread_v3."""

    total_steps: int = 2_000_000
    """environment steps of each training"""
    seeds: tuple[int, ...] = (0,)
    """trainings of each"""
    episodes: int = 500
    """episodes of mpe2 for each finished student"""
    peer: Literal["jaxmarl", "none"] = "jaxmarl"
    """whom to train beside ours"""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """write the figures to this file"""


def main() -> None:
    run_benchmark("mappo", Options, measure, _print)


def measure(options: Options) -> dict[str, Any]:
    """All figures, ready for JSON; returns are means over agents of an episode's summed rewards.

    Raises:
        UserError: numbers that make no sense.
    """
    if min(options.total_steps, options.episodes, len(options.seeds)) < 1:
        raise UserError("--total_steps and --episodes must be at least 1, and --seeds needs at least one")
    runs: list[dict[str, Any]] = []
    missing = None
    for seed in options.seeds:
        runs.append(train_ours(seed, options))
        if options.peer == "jaxmarl" and missing is None:
            try:
                runs.append(train_peer(seed, options))
            except MissingPeer as reason:
                missing = str(reason)
    versions = {name: version_of(name) for name in ("mpe2", "jaxmarl")}
    facts = {"task": TASK, "episodes": options.episodes, "runs": runs, "missing": missing}
    return facts | {"machine": describe_machine(), "peer_versions": versions}


def train_ours(seed: int, options: Options) -> dict[str, Any]:
    """Our defaults for the task, without evaluations on the way."""
    config = replace(default_config(TASK), total_steps=options.total_steps, seed_list=(seed,))
    config = replace(config, eval_interval=config.iterations)
    began = time.perf_counter()
    experiment = Experiment(config)
    state, program = experiment.init(), experiment.compile_updates()
    compiled = time.perf_counter()
    state, metrics = program(state, experiment.table, experiment.hparams, jnp.int32(0), jnp.int32(config.iterations))
    jax.block_until_ready(metrics)
    finished = time.perf_counter()
    params = jax.tree.map(lambda leaf: leaf[0], state.params)
    network, steps = experiment.network, config.iterations * config.steps_per_iteration
    figures = {"who": "jaxteach", "seed": seed, "env_steps": steps}
    figures |= {"compile_s": compiled - began, "train_s": finished - compiled}
    for name, greedy in (("sampled", False), ("greedy", True)):
        policy = student_policy(network, params, greedy)
        figures |= _outcome(name, play(policy, network.initial_carry(GROUP), options.episodes, seed))
    return figures


def train_peer(seed: int, options: Options) -> dict[str, Any]:
    """JaxMARL's MAPPO with its own numbers."""
    trained = train_jaxmarl(PEER_TASK, seed, options.total_steps, Settings())
    figures = {"who": "JaxMARL", "seed": seed, "env_steps": trained.env_steps}
    figures |= {"compile_s": trained.compile_s, "train_s": trained.train_s}
    for name, greedy in (("sampled", False), ("greedy", True)):
        carry = trained.initial_carry(NUM_AGENTS * GROUP)
        figures |= _outcome(name, play(_as_policy(trained, greedy), carry, options.episodes, seed))
    return figures


def _as_policy(trained: Trained, greedy: bool) -> Policy:
    def act(carry: Any, obs: Any, first: jax.Array, key: jax.Array) -> tuple[Any, jax.Array]:
        flat, first = obs.reshape(-1, obs.shape[-1]), jnp.repeat(first, obs.shape[1])
        logits, carry = trained.act(trained.params, carry, flat, first)
        action = jnp.argmax(logits, -1) if greedy else jax.random.categorical(key, logits)
        return carry, action.reshape(obs.shape[:2])

    return act


def _outcome(name: str, returns: np.ndarray) -> dict[str, float]:
    error = float(returns.std(ddof=1) / len(returns) ** 0.5) if len(returns) > 1 else 0.0
    return {f"return_{name}": float(returns.mean()), f"error_{name}": error}


def play(policy: Policy, carry: Any, episodes: int, seed: int) -> np.ndarray:
    """float64[episodes], the returns in `mpe2`, means over the agents; the worlds are seeded one by one.

    Args:
        policy: who acts.
        carry: its memory at the start of `GROUP` episodes.
        episodes: how many.
        seed: of the sampled actions; the layouts are the same for all.
    """
    worlds = [simple_spread_v3.parallel_env() for _ in range(GROUP)]
    act, key = jax.jit(policy), jax.random.key(seed)
    returns = np.concatenate([_play_group(worlds, act, carry, key, start) for start in range(0, episodes, GROUP)])
    for world in worlds:
        world.close()
    return returns[:episodes]


def _play_group(worlds: list[Any], act: Any, carry: Any, key: jax.Array, start: int) -> np.ndarray:
    key = jax.random.fold_in(key, start)
    seen = [world.reset(seed=start + i)[0] for i, world in enumerate(worlds)]
    returns, first = np.zeros(len(worlds)), jnp.ones(len(worlds), bool)
    while worlds[0].agents:
        agents = list(worlds[0].agents)
        key, act_key = jax.random.split(key)
        obs = np.array([[one[agent] for agent in agents] for one in seen], np.float32)
        carry, actions = act(carry, obs, first, act_key)
        stepped = [world.step(dict(zip(agents, row))) for world, row in zip(worlds, np.asarray(actions).tolist())]
        seen = [step[0] for step in stepped]
        returns += [np.mean(list(step[1].values())) for step in stepped]
        first = jnp.zeros(len(worlds), bool)
    return returns


def _print(figures: dict[str, Any]) -> None:
    table = Table("who", "seed", "steps", "return, sampled", "return, greedy", "compile s", "train s")
    for run in figures["runs"]:
        outcomes = [f"{run[f'return_{name}']:.2f} ± {run[f'error_{name}']:.2f}" for name in ("sampled", "greedy")]
        seconds = [f"{run[name]:.1f}" for name in ("compile_s", "train_s")]
        table.add_row(run["who"], str(run["seed"]), f"{run['env_steps']:,}", *outcomes, *seconds)
    console = Console(width=120)
    console.print(table)
    if figures["missing"]:
        console.print(figures["missing"])


if __name__ == "__main__":
    run_command(main)
