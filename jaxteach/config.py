"""Every option of training and evaluation, with its default and its help; the commands are made from it."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import jax
import jax.numpy as jnp
import tyro

from jaxteach.errors import UserError, did_you_mean
from jaxteach.options.legacy import current_options
from jaxteach.options.markers import (
    NOT_LEARNT,
    ON_RESUME,
    Bounds,
    OnlyWith,
    check_values,
    from_plain,
    to_plain,
    values_of,
)
from jaxteach.tasks import TASKS, canonical_task

Flag = tyro.conf.FlagCreatePairsOff[bool]

# No machine holds arrays of larger sizes.
Count = Annotated[int, Bounds(1, 2**24)]
Length = Annotated[int, Bounds(1, 2**20)]
Few = Annotated[int, Bounds(1, 2**8)]
Positive = Annotated[float, Bounds(1e-12)]
Limit = Annotated[float, Bounds(1e-12, math.inf)]
Weight = Annotated[float, Bounds(0)]
Share = Annotated[float, Bounds(0, 1)]
Seeds = Annotated[tuple[int, ...], Bounds(0, 2**32 - 1)]
MOST_ITERATIONS = 2**31 - 1
"""The programs count them in int32."""

TAUGHT = OnlyWith("taught", why="without a teacher")
EXPONENTIAL, LINEAR = OnlyWith("distill_schedule", ("exponential",)), OnlyWith("distill_schedule", ("linear",))
IMITATES, AGREES, SHAPES, JOINS, CLONES, GATED = (
    OnlyWith("methods", names, why=f"without --guidance {' or '.join(names)}")
    for names in (("kickstart", "dagger", "clone"), ("agreement",), ("potential",), ("prior",), ("clone",), ("gate",))
)
LABELLING = ("kickstart", "agreement", "potential", "prior", "guide", "dagger", "clone", "hint", "gate")
"""The ways of guidance in which the teacher says what it would do in each of the student's steps."""
GUIDANCE = (*LABELLING, "ask")
FADES = OnlyWith("methods", tuple(name for name in LABELLING if name != "potential"), why="without a method that fades")
ASKED = OnlyWith("asks", why="without --guidance ask")
MODEL, SERVER, GGUF = (OnlyWith("backend", names) for names in (("llama-cpp", "openai"), ("openai",), ("llama-cpp",)))
SAMPLED = OnlyWith("score", (False,))
STUDENT = OnlyWith("eval_teacher", (False,))
PLAYS = OnlyWith("plays", why="without --show or --card")
ASKS = OnlyWith("plays", (False,), why="with --show or --card")
ON_CLUSTER, LOCAL = OnlyWith("engine", ("slurm",)), OnlyWith("engine", ("local",))


@dataclass(frozen=True)
class PPOConfig:
    """The hyper-parameters of PPO and of the distillation."""

    rollout_length: Length = 32
    """steps of every environment in an iteration"""
    epochs: Length = 3
    """passes over the samples of an iteration"""
    batch_size: Annotated[int, Bounds(1)] = 256
    """samples in a gradient step; a sample is a step of an environment, with all its agents"""
    learning_rate: Positive = 1e-3
    """of Adam, at first"""
    final_learning_rate: Weight = 0.0
    """of Adam at the end of the run; it falls linearly. The reference keeps 1e-3"""
    adam_eps: Positive = 1e-8
    """of Adam"""
    max_grad_norm: Limit = 0.5
    """gradients are clipped to this norm; inf leaves them as they are"""
    gamma: Share = 0.99
    """discount of one step"""
    lam: Share = 0.95
    """lambda of generalized advantage estimation; 1 gives plain returns to go, as the reference has"""
    clip: Limit = 0.2
    """clipping range of the policy's ratio and of the value; inf does not clip"""
    min_advantage_std: Positive = 0.03
    """least standard deviation that advantages are divided by, in units of the returns, so that no noise is learnt
    where there are no rewards"""
    value_coef: Weight = 0.5
    """weight of the value loss, the mean squared error that the curves show"""
    entropy_coef: Weight = 0.001
    """weight of the entropy bonus"""
    normalize_values: bool = False
    """the critic learns returns in units of their spread"""
    guidance: Annotated[str, TAUGHT] = "kickstart"
    """how the teacher guides the student, see docs/guidance.md: kickstart, agreement, potential, prior, guide, dagger,
    clone, hint, or several, such as kickstart+potential; gate beside one of them, such as kickstart+gate; or ask
    alone, with which the student learns when to ask for a plan, see docs/asking.md"""
    ask_lambda: Annotated[Weight, TAUGHT, ASKED] = 0.01
    """ask: the price of a question, in units of the reward"""
    agreement_coef: Annotated[Weight, TAUGHT, AGREES] = 0.5
    """agreement: the reward at first for an action that the teacher is certain of, less what the student expects"""
    potential_coef: Annotated[Weight, TAUGHT, SHAPES] = 1.0
    """potential: the weight of the shaping rewards; it does not fade"""
    prior_beta: Annotated[Weight, TAUGHT, JOINS] = 1.0
    """prior: the exponent of the teacher's probabilities at first"""
    clone_until: Annotated[Share, TAUGHT, CLONES] = 0.5
    """clone: the teacher acts and is imitated until the schedule, which begins at 1, falls to this"""
    label_budget: Annotated[Limit, TAUGHT, GATED] = math.inf
    """gate: environment steps after which the teacher's labels count no more; by default they always count"""
    distill_schedule: Annotated[Literal["exponential", "linear"], TAUGHT, FADES] = "exponential"
    """how the weights of the teacher fade, of all methods but potential: exponentially, halved every
    --distill_half_life steps, 0 after twelve halvings; or linearly, as in the reference: less --distill_decay an
    iteration, not under --distill_floor before iteration --distill_end, then 0"""
    distill_coef: Annotated[Weight, TAUGHT, IMITATES] = 10.0
    """kickstart, dagger, clone: weight of the teacher at first"""
    distill_half_life: Annotated[int, Bounds(1), TAUGHT, FADES, EXPONENTIAL] = 20_000
    """environment steps in which the weight halves"""
    distill_decay: Annotated[Weight, TAUGHT, FADES, LINEAR] = 0.005
    """what the line loses in an iteration"""
    distill_floor: Annotated[Weight, TAUGHT, FADES, LINEAR] = 0.1
    """the least the line comes to"""
    distill_end: Annotated[int, Bounds(0), TAUGHT, FADES, LINEAR] = 3000
    """iteration from which on the line is 0"""

    @property
    def methods(self) -> tuple[str, ...]:
        """The ways in which the teacher guides the student."""
        return tuple(self.guidance.split("+"))

    @property
    def asks(self) -> bool:
        """Whether the student decides when to ask the teacher for a plan, in an `AskWorld`."""
        return self.methods == ("ask",)

    @property
    def hparams(self) -> dict[str, float]:
        """The options that are inputs of the compiled program: runs that differ in them alone share one."""
        return {name: value for name, value in asdict(self).items() if name not in STATIC_HPARAMS}

    def fade(self, iteration: jax.Array, steps: int) -> jax.Array:
        """float32[], the share that is left of the teacher's weights in an iteration of `steps` environment steps."""
        if self.distill_schedule == "linear":
            # A coefficient of 0 leaves nothing, and 0 / 0 is NaN.
            whole = jnp.maximum(jnp.float32(self.distill_coef), 1e-6)
            return jnp.minimum(self.coefficient(iteration, steps) / whole, 1)
        halvings = iteration.astype(jnp.float32) * (steps / self.distill_half_life)
        return jnp.where(halvings < 12, 0.5**halvings, 0.0).astype(jnp.float32)

    def coefficient(self, iteration: jax.Array, steps: int) -> jax.Array:
        """float32[], the weight of imitation in an iteration of `steps` environment steps."""
        if self.distill_schedule == "linear":
            count = iteration.astype(jnp.float32)
            line = jnp.maximum(self.distill_coef - self.distill_decay * count, self.distill_floor)
            return jnp.where(count < self.distill_end, line, 0.0).astype(jnp.float32)
        return (self.distill_coef * self.fade(iteration, steps)).astype(jnp.float32)


STATIC_HPARAMS = {
    *("rollout_length", "epochs", "batch_size", "normalize_values"),
    *("distill_schedule", "guidance", "ask_lambda"),
}
"""The options of `PPOConfig` that shape the compiled program."""
OTHER_NAMES = {"max_steps": ("max_cycles",), "view_size": ("agent_view_size",), "num_agents": ("N",)}
"""Other names of the world's options, in worlds that keep those of their references."""


@dataclass(frozen=True)
class WorldConfig:
    """The task's world; what is not given is the task's own default."""

    view_size: Few | None = None
    """side of the square that the agent sees, odd"""
    num_keys: Few | None = None
    """keys in the room (ColoredDoorKey)"""
    max_steps: Length | None = None
    """steps until an episode is truncated"""
    num_agents: Few | None = None
    """agents (LockedHallway, simple_spread)"""
    frame_stack: Few | None = None
    """how many observations are stacked"""

    def make(self, task: str) -> Any:
        """The environment of a task, as an `AgentAxisWrapper`.

        Raises:
            UserError: as `make_env`, or the world lacks what training needs.
        """
        from envs_jax.minigrid.map_memory import MapWrapper, has_minigrid_observation  # noqa: PLC0415 - as in `make_env`
        from envs_jax.wrappers import AgentAxisWrapper  # noqa: PLC0415

        env = self.make_env(task)
        env = MapWrapper(env) if has_minigrid_observation(env) else env
        try:
            return AgentAxisWrapper(env)
        except ValueError as error:
            raise UserError(f"{task}: {as_typed(str(error), task)}") from None

    def make_env(self, task: str) -> Any:
        """The environment of a task.

        Raises:
            UserError: the task's world has no such option, or not with this value.
        """
        import envs_jax  # noqa: PLC0415 - options are read before Jumanji, which computes as it is imported

        overrides = self.overrides(task)
        try:
            return envs_jax.make(task, **overrides)
        except ValueError as error:
            raise UserError(f"{task}: {as_typed(str(error), task)}") from None

    def overrides(self, task: str) -> dict[str, int]:
        """The parameters that were given, by the names that the task's world has for them.

        Raises:
            UserError: the task's world has no such option.
        """
        given = {name: value for name, value in asdict(self).items() if value is not None}
        names = _world_names(task)
        unknown = [name for name in given if name not in names]
        if unknown:
            options = ", ".join(f"--{name}" for name in names)
            known = f"its world's options are {options}" if options else "its world has no options"
            raise UserError(f"{task} has no --{unknown[0]}; {known}")
        return {names[name]: value for name, value in given.items()}

    @property
    def arguments(self) -> str:
        """The options that are given, as on a command line: " with --view_size 5"."""
        given = [f"--{name} {value}" for name, value in asdict(self).items() if value is not None]
        return f" with {' '.join(given)}" if given else ""

    def updated(self, other: "WorldConfig") -> "WorldConfig":
        """This world with what the other one gives."""
        return replace(self, **{name: value for name, value in asdict(other).items() if value is not None})


def _world_names(task: str) -> dict[str, str]:
    """The options that a task's world has, with its own names for them."""
    import envs_jax  # noqa: PLC0415 - as in `WorldConfig.make`

    known = envs_jax.parameters(task)
    names = {option.name: (option.name, *OTHER_NAMES.get(option.name, ())) for option in fields(WorldConfig)}
    return {name: own for name, others in names.items() for own in others if own in known}


def as_typed(message: str, task: str) -> str:
    """A message of a world in which the options are called as on the command line."""
    for name, own in _world_names(task).items():
        message = re.sub(rf"\b{own}\b", f"--{name}", message)
    return message


@dataclass(frozen=True)
class TeacherConfig:
    """Which teacher."""

    plans: str = "shipped"
    """a plan file or a folder that shares one, or what ships with jaxteach: "recorded" answers of a model, or a
    "scripted" file written by hand; "none" for no plans, in training until it has asked for them"""
    hard_planner: Annotated[Flag, OnlyWith("labels", why="with --guidance ask, which takes the likeliest plan")] = False
    """sample one plan at every step, instead of mixing all plans"""


@dataclass(frozen=True)
class LLMConfig:
    """Which language model is asked, and how."""

    backend: Literal["llama-cpp", "openai", "random"] = "llama-cpp"
    """a GGUF file on this machine, an OpenAI-compatible server, or uniformly random plans without a model"""
    model: Annotated[str | None, MODEL] = None
    """the GGUF file, or the server's name for the model"""
    base_url: Annotated[str | None, SERVER] = None
    """the server, such as http://localhost:8000/v1"""
    api_key_env: Annotated[str, SERVER, ON_RESUME, NOT_LEARNT] = "OPENAI_API_KEY"
    """the environment variable with the server's key; the key is written nowhere"""
    headers: Annotated[str | None, SERVER, ON_RESUME, NOT_LEARNT] = None
    """more HTTP headers of each request, as a JSON object"""
    extra_body: Annotated[str | None, SERVER] = None
    """more fields of each request, as a JSON object, such as {"chat_template_kwargs": {"enable_thinking": false}}"""
    reasoning_effort: Annotated[str | None, SERVER, SAMPLED] = None
    """how much a reasoning model thinks, such as low, medium or high"""
    samples: Annotated[Length, SAMPLED] = 10
    """answers to each caption"""
    temperature: Annotated[Weight, MODEL, SAMPLED] = 0.7
    """of sampling; 0 takes the likeliest words"""
    top_p: Annotated[Share | None, SERVER, SAMPLED] = None
    """nucleus sampling; the server's default when left out"""
    max_tokens: Annotated[Length | None, MODEL, SAMPLED] = None
    """the longest answer, thoughts included; 4096 with a server and 128 with a GGUF file when left out"""
    llm_seed: Annotated[int, Bounds(0), SAMPLED] = 0
    """of the model's draws"""
    prices: Annotated[tuple[float, float] | None, Bounds(0), SERVER, SAMPLED] = None
    """the server's prices of a million tokens of prompts and of answers: the cost is written into the plan file"""
    structured: Annotated[Flag, MODEL] = False
    """the model can answer nothing but plans; a server is tried first, since many ignore such constraints"""
    parallel: Annotated[int, Bounds(1, 2**16), MODEL, ON_RESUME, NOT_LEARNT] = 64
    """answers decoded side by side, or requests in flight"""
    context: Annotated[Count, GGUF, ON_RESUME, NOT_LEARNT] = 8192
    """tokens in the cache of a GGUF model, all answers together"""
    threads: Annotated[Length | None, GGUF, ON_RESUME, NOT_LEARNT] = None
    """cores that a GGUF model uses; all when left out"""
    timeout: Annotated[float, Bounds(1e-3, 1e6), SERVER, ON_RESUME, NOT_LEARNT] = 60.0
    """seconds to wait for an answer of a server"""
    retries: Annotated[int, Bounds(0, 1000), SERVER, ON_RESUME, NOT_LEARNT] = 6
    """how often a failed request is sent again, after growing pauses"""

    @property
    def answers_per_caption(self) -> int:
        """How often a caption is asked about: at temperature 0 every answer would be the same."""
        return 1 if self.temperature == 0 and self.backend != "random" else self.samples

    @property
    def longest_answer(self) -> int:
        """`max_tokens`, or its default."""
        return self.max_tokens or (4096 if self.backend == "openai" else 128)


@dataclass(frozen=True)
class TeachConfig:
    """Asks a language model about every caption of a task, and writes its plans to a file for training."""

    task: str | None = None
    """the task, see the README's table; with --show or --card, those of the file when left out"""
    out: Path | None = None
    """the plan file to write; answers are kept as they arrive in <out>.answers.jsonl; with --card, the folder to
    write, <plans>_card when left out"""
    show: str | None = None
    """instead of asking, print the plans and the success of the teacher itself, of a plan file, a folder from --card,
    or the "recorded" or "scripted" plans of a task"""
    card: str | None = None
    """instead of asking, write a folder to share, with a page about the teacher, card.html, of the same as for --show;
    --plans takes the folder"""
    export_batch: Path | None = None
    """instead of asking, write the requests to this file, for OpenAI's Batch API or vllm run-batch"""
    import_batch: Annotated[Path | None, OnlyWith("out"), ASKS] = None
    """first take the answers of a batch from this file; give the other options as for --export_batch"""
    score: Annotated[Flag, ASKS] = False
    """instead of sampling answers, use the model's exact probabilities of all plans of one or two moves"""
    values: Annotated[Literal["scores", "preferences"] | None, ASKS] = None
    """also ask how close to success each situation is, for training with --guidance potential: for scores from 0 to
    10, or, once for each order of two, which of two situations is closer"""
    debate_rounds: Annotated[int, Bounds(0, 2**10), ASKS] = 0
    """for several agents: rounds in which each is asked again, with the others' proposals"""
    situations: Annotated[Length, OnlyWith("debate_rounds"), ASKS] = 32
    """how many situations to debate, the most frequent ones"""
    episodes: Annotated[Length, PLAYS] = 500
    """episodes in which --show and --card evaluate the teacher"""
    thoughts: Annotated[Flag, OnlyWith("show")] = False
    """--show also prints the model's thoughts before each answer, where <plans>.answers.jsonl has them"""
    world: tyro.conf.OmitArgPrefixes[WorldConfig] = field(default_factory=WorldConfig)
    llm: Annotated[tyro.conf.OmitArgPrefixes[LLMConfig], ASKS] = field(default_factory=LLMConfig)

    @property
    def plays(self) -> bool:
        """Whether --show or --card evaluates the teacher."""
        return self.show is not None or self.card is not None

    def check(self) -> None:
        """Raises `UserError` for options that make no sense."""
        check_values(self)
        batch = self.export_batch or self.import_batch
        if self.values and (self.score or batch is not None or self.llm.backend == "random"):
            raise UserError("--values needs free answers of a model; leave --score, batches and --backend random out")
        if self.score and self.debate_rounds:
            raise UserError("--score samples no answers, which a debate needs; leave one of them out")
        if sum(way is not None for way in (self.card or self.out, self.show, self.export_batch)) != 1:
            raise UserError(
                "give one of --out (the plan file to write), --show (a plan file to print), --card (plans to share) "
                "and --export_batch (a file for requests)"
            )
        if not self.plays and self.task is None:
            raise UserError("give --task, the task to ask about")
        if batch is not None and (self.llm.backend != "openai" or self.llm.model is None):
            raise UserError("batches need --backend openai and --model, the model that answers them")
        if batch is not None and self.llm.structured:
            raise UserError("--structured tries first what a server obeys, which a batch can't; leave --structured out")
        if batch is not None and self.debate_rounds:
            raise UserError("a debate asks in rounds, and a batch only once; leave --debate_rounds out")
        if batch is not None and self.score:
            raise UserError("batches hold answers, and --score asks for none; leave one of them out")
        if self.score and self.llm.backend == "random":
            raise UserError(
                "--score needs a model: --backend llama-cpp, or openai with a server that gives probabilities"
            )
        if self.score and self.llm.structured:
            raise UserError("--score considers only plans already; leave --structured out")


@dataclass(frozen=True)
class HostsConfig:
    """Several processes that train one student, on one machine or many."""

    coordinator: str | None = None
    """host:port where the first of several processes waits for the others, the same for all; "auto" on SLURM,
    Open MPI or a TPU slice"""
    processes: Count | None = None
    """how many processes there are; "auto" knows"""
    process_id: Annotated[int, Bounds(0, 2**24 - 1)] | None = None
    """which of them this one is, from 0; "auto" knows"""
    join_timeout: Annotated[int, Bounds(1, 10**6), OnlyWith("coordinator")] = 300
    """seconds to wait for the others"""

    def check(self) -> None:
        """Raises `UserError` for options that make no sense."""
        check_values(self)
        if self.coordinator is None and (self.processes, self.process_id) != (None, None):
            raise UserError("--processes and --process_id need a --coordinator, host:port of the first process")
        if self.coordinator in (None, "auto"):
            return
        host, _, port = self.coordinator.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
            raise UserError(f"--coordinator must be host:port or auto, not {self.coordinator}")
        if self.processes is None or self.process_id is None:
            raise UserError("--coordinator host:port needs --processes and --process_id too")
        if self.process_id >= self.processes:
            raise UserError(f"--process_id must be within 0..{self.processes - 1}, not {self.process_id}")


@dataclass(frozen=True)
class TrainConfig:
    """Trains a student on a task, taught by a language model's recorded plans."""

    task: str
    """the task, see the README's table; upper and lower case are the same"""
    preset: Annotated[Literal["reference"] | None, NOT_LEARNT] = None
    """take other defaults: reference for the network, the loss, the schedule and the batches of LLM4Teach's code"""
    savedir: Annotated[str | None, ON_RESUME, NOT_LEARNT] = None
    """name of the run's folder, <logdir>/ppo/<task>/<savedir>; a fresh one when left out"""
    logdir: Annotated[str, ON_RESUME, NOT_LEARNT] = "log"
    """where runs are kept"""
    seed_list: Annotated[Seeds, NOT_LEARNT] = (0,)
    """seeds; several train side by side in one program"""
    total_steps: Annotated[int | None, Bounds(1), ON_RESUME] = None
    """environment steps of each seed; by default what the task needs"""
    n_itr: Annotated[int | None, Bounds(1, MOST_ITERATIONS), ON_RESUME] = None
    """iterations, instead of --total_steps"""
    num_envs: Count = 64
    """environments of each seed"""
    devices: Annotated[int, Bounds(0, 2**16), ON_RESUME, NOT_LEARNT] = 1
    """devices of each process to shard the environments over, 0 for all; the student is the same up to rounding"""
    no_teacher: Flag = False
    """pure reinforcement learning"""
    network: str = "egocentric"
    """the student: egocentric, a small perceptron on egocentric features, in MiniGrid's worlds on a map of what was
    seen; reference, the reference's CNN; cnn, the smaller one of most MiniGrid baselines; mlp, a perceptron for
    vectors, MiniGrid's images or several agents, with a critic of all agents' observations; or one of your own"""
    recurrent: Flag = False
    """with an LSTM (--network reference) or GRUs (--network mlp); egocentric has no recurrence"""
    online: Flag = False
    """ask a language model, between updates, about captions that occur without plans"""
    resume: Annotated[Flag, ON_RESUME, NOT_LEARNT] = False
    """go on with the run in --savedir from its last checkpoint"""
    eval_interval: Annotated[int, Bounds(1)] = 5
    """iterations between evaluations, which are also the points that are logged"""
    num_eval: Count = 125
    """episodes in an evaluation while training"""
    final_eval: Annotated[int, Bounds(0, 2**24), ON_RESUME, NOT_LEARNT] = 1000
    """episodes in the evaluation of the finished student, 0 for none"""
    save_interval: Annotated[int, Bounds(1), ON_RESUME, NOT_LEARNT] = 25
    """iterations between checkpoints; the last iteration is always kept"""
    wandb: Annotated[Flag, ON_RESUME, NOT_LEARNT] = False
    """log to Weights & Biases too; the environment variable WANDB_MODE=offline keeps it on this machine"""
    wandb_project: Annotated[str, OnlyWith("wandb"), ON_RESUME, NOT_LEARNT] = "jaxteach"
    """the project there"""
    world: tyro.conf.OmitArgPrefixes[WorldConfig] = field(default_factory=WorldConfig)
    teacher: Annotated[tyro.conf.OmitArgPrefixes[TeacherConfig], OnlyWith("no_teacher", (False,)), TAUGHT] = field(
        default_factory=TeacherConfig
    )
    ppo: tyro.conf.OmitArgPrefixes[PPOConfig] = field(default_factory=PPOConfig)
    llm: Annotated[tyro.conf.OmitArgPrefixes[LLMConfig], OnlyWith("online")] = field(default_factory=LLMConfig)
    hosts: tyro.conf.OmitArgPrefixes[HostsConfig] = field(default_factory=HostsConfig)

    @property
    def taught(self) -> bool:
        """Whether a teacher teaches: it does where there is one, unless it is switched off."""
        # The name of an environment that was passed as an object is known only while it is made.
        task = TASKS.get(self.task)
        has_own = task is not None and task.domain is not None
        return not self.no_teacher and (has_own or self.teacher != TeacherConfig())

    @property
    def labels(self) -> bool:
        """Whether the teacher says what it would do in the student's steps."""
        return self.taught and not self.ppo.asks

    @property
    def steps_per_iteration(self) -> int:
        return self.num_envs * self.ppo.rollout_length

    @property
    def iterations(self) -> int:
        """How many iterations the run takes."""
        if self.n_itr is not None:
            return self.n_itr
        steps = TASKS[self.task].total_steps if self.total_steps is None else self.total_steps
        return max(1, steps // self.steps_per_iteration)

    def learning_rate_at(self, iteration: int) -> float:
        """Adam's learning rate in the first gradient step after an iteration."""
        share = min(1.0, iteration / self.iterations)
        return self.ppo.learning_rate + share * (self.ppo.final_learning_rate - self.ppo.learning_rate)

    def check(self) -> None:
        """Raises `UserError` for numbers that make no sense."""
        check_values(self)
        if not self.seed_list or len(set(self.seed_list)) < len(self.seed_list):
            raise UserError("--seed_list must name different seeds, and at least one")
        if self.n_itr is not None and self.total_steps is not None:
            raise UserError("give --n_itr or --total_steps, not both")
        if self.iterations > MOST_ITERATIONS:
            most = MOST_ITERATIONS * self.steps_per_iteration
            raise UserError(f"--total_steps must be at most {most:,} with these --num_envs and --rollout_length")
        self.hosts.check()
        if self.online and self.hosts.coordinator is not None:
            raise UserError("--online asks from one process; leave --coordinator out, or use jaxteach.teach before")
        if self.online and not self.taught:
            raise UserError("--online needs a teacher to teach; leave --no_teacher out, and take a task that has one")
        self._check_guidance()
        if self.recurrent and self.network == "egocentric":
            other = "mlp" if self.task.startswith("MiniGrid-") else "reference"
            raise UserError(f"the egocentric network has no recurrence; add --network {other} to --recurrent")

    def _check_guidance(self) -> None:
        methods = self.ppo.methods
        for method in methods:
            if method not in GUIDANCE:
                advice = did_you_mean(method, GUIDANCE, f"known are {', '.join(GUIDANCE)}")
                raise UserError(f"unknown --guidance {method!r}; {advice}")
        if "ask" in methods and len(methods) > 1:
            raise UserError("ask is a world of its own; give --guidance ask alone")
        if self.ppo.asks and self.online:
            raise UserError("--guidance ask takes the plans of a file; ask a model before, with jaxteach.teach")
        if self.ppo.asks and self.network == "egocentric":
            raise UserError(
                "the egocentric network reads maps, and with --guidance ask the student sees what changes in them; "
                "add --network cnn"
            )
        if len(set(methods)) < len(methods):
            raise UserError(f"--guidance {self.ppo.guidance} names a method twice")
        if "gate" in methods and set(methods).isdisjoint(("kickstart", "agreement", "dagger", "clone")):
            raise UserError("gate weights the labels of other methods; give it with one, as --guidance kickstart+gate")
        if self.recurrent and "hint" in methods:
            raise UserError("hint is for networks without recurrence; leave --recurrent out")


PRESETS: Final[dict[str, dict[str, Any]]] = {
    "reference": {
        "network": "reference",
        "num_envs": 8,
        "rollout_length": 48,
        "batch_size": 128,
        "final_learning_rate": 1e-3,
        "lam": 1.0,
        "min_advantage_std": 1e-8,
        "distill_schedule": "linear",
        "eval_interval": 10,
        "save_interval": 100,
    }
}
"""Defaults by the name of the preset. An iteration has about as many steps as the reference's ten episodes."""
PARTS = {"world": WorldConfig, "teacher": TeacherConfig, "ppo": PPOConfig, "llm": LLMConfig, "hosts": HostsConfig}
"""The options of a run that are kept together."""
OWN: Final = tuple(option.name for option in fields(TrainConfig) if option.name not in PARTS)
OPTION_NAMES: Final = (*OWN, *(option.name for kind in PARTS.values() for option in fields(kind)))
"""The options of training, by their names on the command line."""


@dataclass(frozen=True)
class EvalConfig:
    """Evaluates a trained student, or the teacher itself."""

    task: str | None = None
    """the task; that of the run when left out, if --loaddir is a path"""
    loaddir: str | None = None
    """name of the run's folder, <logdir>/ppo/<task>/<loaddir>, or its path"""
    checkpoint: Annotated[int | Literal["acmodel"] | None, STUDENT] = None
    """iteration of the checkpoint; the last one when left out, or for acmodel, as the reference calls it"""
    savedir: str | None = None
    """name of the folder for the results, <logdir>/ppo/<task>/<savedir>; a fresh one when left out"""
    logdir: str = "log"
    """where runs are kept"""
    eval_teacher: Flag = False
    """evaluate the teacher instead of a student"""
    seed: Annotated[int | None, Bounds(0, 2**32 - 1), STUDENT] = None
    """which of the run's seeds to evaluate, as listed in its --seed_list; the first when left out"""
    seed_list: Annotated[Seeds | None, STUDENT] = None
    """several of the run's seeds to evaluate, each in the same episodes"""
    num_eval: Count = 100
    """episodes for each environment seed"""
    env_seed_list: Seeds = (0,)
    """seeds of the layouts, which differ from those of training"""
    greedy: Annotated[Flag, STUDENT] = False
    """take the likeliest action instead of a sampled one"""
    random_actions: Share = 0.0
    """share of actions replaced by random ones"""
    num_videos: Annotated[int, Bounds(0)] = 4
    """episodes to film"""
    world: tyro.conf.OmitArgPrefixes[WorldConfig] = field(default_factory=WorldConfig)
    teacher: Annotated[tyro.conf.OmitArgPrefixes[TeacherConfig], OnlyWith("eval_teacher")] = field(
        default_factory=TeacherConfig
    )

    def check(self) -> None:
        """Raises `UserError` for numbers that make no sense."""
        check_values(self)
        if not self.env_seed_list or len(set(self.env_seed_list)) < len(self.env_seed_list):
            raise UserError("--env_seed_list must name different seeds, and at least one: no episode counts twice")
        if self.seed_list is not None and (not self.seed_list or len(set(self.seed_list)) < len(self.seed_list)):
            raise UserError("--seed_list must name different seeds of the run, and at least one")
        if self.seed_list is not None and self.seed is not None:
            raise UserError("give --seed or --seed_list, not both")
        if self.eval_teacher == (self.loaddir is not None):
            raise UserError("give --loaddir for a student or --eval_teacher for the teacher, one of them")
        if self.task is None and "/" not in str(self.loaddir):
            raise UserError("give --task, or the run's path, --loaddir log/ppo/TASK/NAME")


@dataclass(frozen=True)
class SweepConfig:
    """Trains the runs that a file describes: all combinations of lists of options."""

    file: tyro.conf.Positional[Path]
    """a TOML file: options of training in [fixed], lists of them in [grid]"""
    logdir: str = "log"
    """where runs are kept"""
    seeds_per_run: Length | None = None
    """seeds of a run; all when left out"""
    seeds_at_once: Annotated[Length, LOCAL] = 32
    """seeds that train side by side in one program, at most, of runs that differ in numbers of PPO alone; 1 trains
    each run alone"""
    show: Flag = False
    """list the runs and their progress instead of training"""
    engine: Literal["local", "slurm"] = "local"
    """in this process, or as jobs on a SLURM cluster"""
    partition: Annotated[str | None, ON_CLUSTER] = None
    """of the cluster"""
    minutes: Annotated[Length, ON_CLUSTER] = 60
    """after which the cluster ends a job; a run that needs longer goes on in another job"""
    gpus: Annotated[int, Bounds(0, 2**10), ON_CLUSTER] = 0
    """of a job"""
    cpus: Annotated[Length, ON_CLUSTER] = 2
    """of a job"""
    memory: Annotated[Length, ON_CLUSTER] = 8
    """gigabytes, of a job"""
    max_jobs: Annotated[Length, ON_CLUSTER] = 16
    """jobs that run at the same time, at most"""

    def check(self) -> None:
        """Raises `UserError` for numbers that make no sense."""
        check_values(self)


@dataclass(frozen=True)
class ReportConfig:
    """Compares runs: curves, tables with confidence intervals, and films of the students, also as one page."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """folders of runs, <logdir>/ppo/<task>/<savedir>; runs of the same options, plans and length with other seeds
    count as one"""
    out: str = "report"
    """folder for report.html, report.md and report.png"""
    threshold: Annotated[float, Bounds(1e-12, 1)] = 0.95
    """success rate for the columns `steps to` and `seconds to`"""
    no_merge: Flag = False
    """don't merge runs with the same options"""
    num_videos: Annotated[int, Bounds(0)] = 12
    """students to film, one a run, 0 for none"""

    def check(self) -> None:
        """Raises `UserError` for options that make no sense."""
        check_values(self)
        if not self.runs:
            raise UserError("name the folders of the runs to report on, <logdir>/ppo/<task>/<savedir>")


def default_config(task: str) -> TrainConfig:
    """The options of a run of a task, by default: `TrainConfig`'s own, tuned for the task.

    Raises:
        UserError: an unknown task.
    """
    task = canonical_task(task)
    return with_options(TrainConfig(task), TASKS[task].options)


def with_options(config: TrainConfig, options: Mapping[str, Any]) -> TrainConfig:
    """A configuration with some options changed, by their names on the command line; a preset changes others first.

    Raises:
        UserError: training has no such option or preset; the message names its nearest relative.
    """
    changed = current_options(options)
    preset = changed.get("preset")
    if preset is not None:
        if preset not in PRESETS:
            raise UserError(f"there is no preset {preset}; known are {', '.join(PRESETS)}")
        changed = PRESETS[preset] | changed
    parts = {part: replace(getattr(config, part), **_taken(changed, kind)) for part, kind in PARTS.items()}
    own = {name: changed.pop(name) for name in OWN if name in changed}
    for name in changed:
        advice = did_you_mean(name, OPTION_NAMES, f"known are {', '.join(OPTION_NAMES)}")
        raise UserError(f"training has no option {name}; {advice}")
    return replace(config, **parts, **own)


def _taken(options: dict[str, Any], kind: type[Any]) -> dict[str, Any]:
    return {option.name: options.pop(option.name) for option in fields(kind) if option.name in options}


VERSION_NAME: Final = "jaxteach_version"
"""What `config.json` calls the version that wrote it."""


def this_version() -> str:
    """The version of jaxteach."""
    try:
        return version("jaxteach")
    except PackageNotFoundError:
        return "unknown"


def to_json(config: TrainConfig) -> dict[str, Any]:
    """A configuration as plain JSON, with the version that wrote it."""
    return {VERSION_NAME: this_version()} | to_plain(config)


def from_json(document: Any) -> TrainConfig:
    """The inverse of `to_json`; what the document lacks has its default.

    Raises:
        UserError: the document is not a run's configuration, or has options of another version.
    """
    if not isinstance(document, dict):
        raise UserError("config.json is not a jaxteach run's: it is not an object")
    written_by = document.get(VERSION_NAME, "of an unknown version")
    values = current_options({name: value for name, value in document.items() if name != VERSION_NAME})
    parts = {name: values.get(name, {}) for name in PARTS}
    if not all(isinstance(part, dict) for part in parts.values()):
        raise UserError("config.json is not a jaxteach run's: a part of it is not an object")
    parts["llm"] = _with_todays_names(parts["llm"])
    parts["ppo"] = _with_todays_weights(current_options(parts["ppo"]))
    unknown = _unknown(TrainConfig, values) + [name for part in PARTS for name in _unknown(PARTS[part], parts[part])]
    if unknown:
        raise UserError(
            f"config.json was written by jaxteach {written_by} and has options that this one, {this_version()}, "
            f"does not know: {', '.join(unknown)}; use that version"
        )
    try:
        made = {name: from_plain(PARTS[name], part) for name, part in parts.items()}
        return from_plain(TrainConfig, values | made | {"seed_list": tuple(values["seed_list"])})
    except (TypeError, KeyError) as error:
        raise UserError(f"config.json is not a jaxteach run's: {error}") from None


def _with_todays_names(llm: dict[str, Any]) -> dict[str, Any]:
    """An older run's options for a model as they are today: what was the longest answer is now left to the default."""
    if "grammar" in llm and llm.get("max_tokens") == 128 and llm.get("backend") != "openai":
        llm = llm | {"max_tokens": None}
    return current_options(llm)


def _with_todays_weights(ppo: dict[str, Any]) -> dict[str, Any]:
    """An older run's options as they are today: its value loss was half of what it is, its advantages had no floor."""
    if not ppo or "min_advantage_std" in ppo or not isinstance(ppo.get("value_coef"), int | float):
        return ppo
    return ppo | {"value_coef": ppo["value_coef"] / 2, "min_advantage_std": 1e-8}


def _unknown(kind: type[Any], document: dict[str, Any]) -> list[str]:
    known = {option.name for option in fields(kind)}
    return [name for name in document if name not in known]


def changes(one: TrainConfig, other: TrainConfig) -> dict[str, tuple[Any, Any]]:
    """The options in which two runs differ, by name, with the values of both."""
    values = values_of(other)
    return {name: (value, values[name]) for name, value in values_of(one).items() if value != values[name]}
