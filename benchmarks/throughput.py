"""`python -m benchmarks.throughput`: environment steps a second, beside other implementations."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import jax
import jax.numpy as jnp
import tyro
from jumanji import specs
from rich.console import Console
from rich.table import Table

import envs_jax
from benchmarks.command import run_benchmark
from benchmarks.machine import describe_machine
from benchmarks.peers import PEERS, Load, MissingPeer, peer_id
from benchmarks.timing import Program, compile_program, time_in_turns
from envs_jax.vector import vectorize
from jaxteach.errors import UserError
from jaxteach.system.command import run_command
from jaxteach.system.machine import version_of
from jaxteach.teacher import make_teacher

DOORKEY: Final = ("SimpleDoorKey", "LavaDoorKey", "ColoredDoorKey", "TwoDoor")
FITTING: Final = {"simple_spread": ("jaxmarl",), "LockedHallway-2Rooms": ("multigrid",)}
LABEL_STEPS: Final = 32


@dataclass(frozen=True)
class Options:
    """Measures environment steps a second: random actions, automatic resets, every observation written."""

    task: str = "SimpleDoorKey"
    """a world that envs_jax.make knows, in any case"""
    num_envs: int = 4096
    """environments stepped as one"""
    steps: int = 64
    """steps of each environment in one repeat"""
    repeats: int = 7
    """repeats, of which the median counts"""
    keep: bool = False
    """keep every observation, as a learner does, instead of writing each over the last one"""
    peer: tuple[Literal["xland", "navix", "c", "jaxmarl", "multigrid", "none"], ...] | None = None
    """what to measure in the same run; those that fit the task by default"""
    teacher: bool = False
    """also measure the teacher's labels a second"""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """write the figures to this file"""


def main() -> None:
    run_benchmark("throughput", Options, measure, _print)


def measure(options: Options) -> dict[str, Any]:
    """All figures of a run, ready for JSON; times in seconds, sizes in bytes.

    Raises:
        UserError: an unknown task, or numbers that make no sense.
    """
    task = _known_task(options.task)
    if min(options.num_envs, options.steps, options.repeats) < 1:
        raise UserError("--num_envs, --steps and --repeats must be at least 1")
    if options.teacher and task not in DOORKEY:
        raise UserError(f"--teacher is for {', '.join(DOORKEY)}")
    programs = {"env": env_program(envs_jax.make(task), options.num_envs, options.steps, options.keep)}
    peers, missing = _peer_programs(options, task)
    programs |= peers
    if options.teacher:
        programs["teacher"] = teacher_program(task, options.num_envs)
    timed = time_in_turns(programs, options.repeats)
    own = timed["env"]
    figures: dict[str, Any] = {
        "task": task,
        "num_envs": options.num_envs,
        "steps": options.steps,
        "repeats": options.repeats,
        "observations_kept": options.keep,
        "steps_per_s": own["per_s"],
        "steps_per_s_of_repeats": own["per_s_of_repeats"],
        "ns_per_step": 1e9 / own["per_s"],
        "compile_s": own["compile_s"],
        **_sizes(task),
        "peers": {name: _peer_figures(name, task, timed[name], own["per_s"]) for name in peers} | missing,
        "machine": describe_machine(),
    }
    if options.teacher:
        labels = timed["teacher"]
        figures["teacher"] = {
            "labels_per_s": labels["per_s"],
            "compile_s": labels["compile_s"],
            "ratio_to_steps": labels["per_s"] / own["per_s"],
        }
    return figures


def env_program(env: Any, num_envs: int, steps: int, keep: bool = False) -> Program:
    """`steps` steps of `num_envs` environments; each writes the whole observation, over the last one if not to keep."""
    venv = vectorize(env, num_envs)
    state, timestep = jax.jit(venv.reset)(jax.random.key(0))
    state = state._replace(env=_spread_over_episodes(env, state.env))
    actions = random_actions(env, (steps, num_envs))

    def step(carry: Any, action: jax.Array) -> tuple[Any, Any]:
        state, timestep = venv.step(carry[0], action)
        kept = timestep.observation if keep else None
        sums = timestep.reward.sum(), timestep.discount.sum(), timestep.last().sum()
        return (state, timestep.observation), (sums, kept)

    def play(carry: Any, actions: jax.Array) -> tuple[Any, Any]:
        return jax.lax.scan(step, carry, actions)

    return compile_program(play, (state, timestep.observation), actions, work=num_envs * steps)


def teacher_program(task: str, num_envs: int) -> Program:
    """The teacher's labels of one random trajectory, observations uint8[32, num_envs, ...]."""
    env = envs_jax.make(task)
    venv = vectorize(env, num_envs)
    teacher = make_teacher(task)
    obs, first = random_trajectory(env, num_envs, LABEL_STEPS)
    action = random_actions(env, first.shape)
    memory = jnp.broadcast_to(teacher.reset(), (venv.num_envs, *teacher.reset().shape))

    def label(memory: jax.Array, obs: jax.Array, first: jax.Array) -> tuple[jax.Array, Any]:
        memory, probs, captions = teacher.label(memory, obs, action, first, jax.random.key(0))
        return memory, (probs, captions)

    return compile_program(label, memory, obs, first, work=LABEL_STEPS * num_envs)


def random_trajectory(env: Any, num_envs: int, steps: int) -> tuple[jax.Array, jax.Array]:
    """Observations [steps, num_envs, ...] of random play, and bool[steps, num_envs]: an episode begins."""
    venv = vectorize(env, num_envs)
    state, timestep = jax.jit(venv.reset)(jax.random.key(0))
    state = state._replace(env=_spread_over_episodes(env, state.env))

    def step(carry: Any, action: jax.Array) -> tuple[Any, Any]:
        state, obs, first = carry
        state, timestep = venv.step(state, action)
        return (state, timestep.observation, timestep.last()), (obs, first)

    start = (state, timestep.observation, jnp.ones(num_envs, bool))
    return jax.jit(lambda start, actions: jax.lax.scan(step, start, actions)[1])(
        start, random_actions(env, (steps, num_envs))
    )


def random_actions(env: Any, shape: tuple[int, ...]) -> jax.Array:
    """Uniform actions of an environment, of `shape` and the action's own shape behind it."""
    spec = env.action_spec
    counts = spec.num_values if isinstance(spec, (specs.DiscreteArray, specs.MultiDiscreteArray)) else None
    if counts is None:
        return jax.random.uniform(jax.random.key(1), (*shape, *spec.shape))
    return jax.random.randint(jax.random.key(1), (*shape, *spec.shape), 0, counts)


def _spread_over_episodes(env: Any, states: Any) -> Any:
    """Counts the steps from different numbers, so that the episodes don't all end in one step."""
    limit = getattr(env, "max_steps", None) or getattr(env, "max_cycles", None)
    if limit is None:
        return states
    return states._replace(step_count=jax.random.randint(jax.random.key(2), states.step_count.shape, 0, limit))


def _known_task(name: str) -> str:
    known = {task.lower(): task for task in envs_jax.all_tasks()}
    if name.lower() not in known:
        raise UserError(f"unknown task {name!r}; known are {', '.join(known.values())}")
    return known[name.lower()]


def _peer_programs(options: Options, task: str) -> tuple[dict[str, Program], dict[str, Any]]:
    """The peers' programs, and for those that can't run a sentence."""
    fitting = FITTING.get(task, ("xland", "c") if task in DOORKEY else ("xland", "navix") if "MiniGrid" in task else ())
    names = fitting if options.peer is None else tuple(name for name in options.peer if name != "none")
    programs, missing = {}, {}
    for name in names:
        try:
            programs[name] = PEERS[name][2](Load(task, options.num_envs, options.steps, options.keep))
        except MissingPeer as reason:
            print(reason, file=sys.stderr)
            missing[name] = {"name": PEERS[name][0], "missing": str(reason)}
    return programs, missing


def _peer_figures(name: str, task: str, timed: dict[str, Any], own_per_s: float) -> dict[str, Any]:
    title, package, _ = PEERS[name]
    return {
        "name": f"{title} {peer_id(task, '')}" if name in ("xland", "navix") else title,
        "version": package and version_of(package),
        "steps_per_s": timed["per_s"],
        "steps_per_s_of_repeats": timed["per_s_of_repeats"],
        "compile_s": timed["compile_s"],
        "ratio": own_per_s / timed["per_s"],
    }


def _sizes(task: str) -> dict[str, int]:
    """Bytes of one environment's state and observation."""
    state, timestep = jax.eval_shape(envs_jax.make(task).reset, jax.random.key(0))
    state = state._replace(key=jax.eval_shape(jax.random.key_data, state.key))
    sizes = [sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(t)) for t in (state, timestep.observation)]
    return {"state_bytes_per_env": sizes[0], "observation_bytes_per_env": sizes[1]}


def _print(figures: dict[str, Any]) -> None:
    console = Console()
    sizes = f"{figures['state_bytes_per_env']} bytes of state, {figures['observation_bytes_per_env']} of observation"
    table = Table("", "per second", "ns each", "compile s", "ours / theirs")
    table.title = f"{figures['task']}, {figures['num_envs']} environments, {sizes}"
    table.add_row("steps", *_cells(figures["steps_per_s"], figures["compile_s"]), "")
    for peer in figures["peers"].values():
        if "missing" not in peer:
            table.add_row(peer["name"], *_cells(peer["steps_per_s"], peer["compile_s"]), f"{peer['ratio']:.2f}")
    if "teacher" in figures:
        labels = figures["teacher"]
        table.add_row("teacher's labels", *_cells(labels["labels_per_s"], labels["compile_s"]), "")
    console.print(table)
    machine = figures["machine"]
    console.print(f"{machine['processor']}, {machine['cores']} cores, load {machine['load_average']}", highlight=False)


def _cells(per_second: float, compile_s: float) -> tuple[str, str, str]:
    return f"{per_second:,.0f}", f"{1e9 / per_second:,.0f}", f"{compile_s:.1f}"


if __name__ == "__main__":
    run_command(main)
