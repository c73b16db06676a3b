"""Every option of training and evaluation, with its default and its help; the commands are made from it."""

from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import tyro

import envs_jax
from jaxteach.errors import UserError
from jaxteach.hosts import HostsConfig
from jaxteach.teacher.doorkey import COLORED_CAPTIONS
from jaxteach.teacher.policy import DOMAINS

Flag = tyro.conf.FlagCreatePairsOff[bool]

TASK_STEPS: dict[str, int] = {
    "SimpleDoorKey": 150_000,
    "LavaDoorKey": 400_000,
    "ColoredDoorKey": 500_000,
    "TwoDoor": 600_000,
    "LockedHallway-2Rooms": 500_000,
    "LockedHallway-4Rooms": 1_000_000,
    "LockedHallway-6Rooms": 1_000_000,
    "simple": 500_000,
    "simple_adversary": 1_000_000,
    "simple_crypto": 1_000_000,
    "simple_push": 1_000_000,
    "simple_reference": 1_000_000,
    "simple_speaker_listener": 1_000_000,
    "simple_spread": 1_000_000,
    "simple_tag": 1_000_000,
    "simple_world_comm": 1_000_000,
}
"""The tasks that can be trained, and how many environment steps a run takes unless told otherwise."""


@dataclass(frozen=True)
class PPOConfig:
    """The numbers of PPO and of the distillation."""

    rollout_length: int = 32
    """steps of every environment in an iteration"""
    epochs: int = 3
    """passes over the samples of an iteration"""
    batch_size: int = 256
    """samples in a gradient step; a sample is a step of an environment, with all its agents"""
    learning_rate: float = 1e-3
    """of Adam, at first"""
    final_learning_rate: float = 0.0
    """of Adam at the end of the run; between, it falls in a line. The reference keeps 1e-3"""
    adam_eps: float = 1e-8
    """of Adam"""
    max_grad_norm: float = 0.5
    """gradients are clipped to this norm"""
    gamma: float = 0.99
    """discount of one step"""
    lam: float = 0.95
    """lambda of generalized advantage estimation; 1 gives plain returns to go, as the reference has"""
    clip: float = 0.2
    """how far PPO lets the policy's ratio, and the value, move"""
    min_advantage_std: float = 0.03
    """advantages are divided by their standard deviation, but at least by this, in units of the returns: where
    nothing is rewarded, no noise is learnt"""
    value_coef: float = 0.5
    """weight of the value loss, the mean squared error that the curves show"""
    entropy_coef: float = 0.001
    """weight of the entropy bonus"""
    normalize_values: bool = False
    """the critic learns returns in units of their spread"""
    distill_schedule: Literal["halving", "linear"] = "halving"
    """how the weight of the teacher fades: halved every --distill_half_life steps, 0 after twelve
    halvings, or the reference's line: less --distill_decay an iteration, not under --distill_floor
    before --distill_end iterations, then 0"""
    distill_coef: float = 10.0
    """weight of the teacher at first"""
    distill_half_life: int = 20_000
    """environment steps in which the weight halves"""
    distill_decay: float = 0.005
    """what the line loses in an iteration"""
    distill_floor: float = 0.1
    """the least the line comes to"""
    distill_end: int = 3000
    """iteration from which on the line is 0"""

    @property
    def numbers(self) -> dict[str, float]:
        """The options that are inputs of the compiled program: runs that differ in them alone share one."""
        return {name: value for name, value in asdict(self).items() if name not in PPO_CONSTANTS}

    def coefficient(self, iteration: jax.Array, steps: int) -> jax.Array:
        """float32[], the weight of the teacher in an iteration of `steps` environment steps."""
        count = iteration.astype(jnp.float32)
        if self.distill_schedule == "linear":
            line = jnp.maximum(self.distill_coef - self.distill_decay * count, self.distill_floor)
            return jnp.where(iteration < self.distill_end, line, 0.0).astype(jnp.float32)
        halvings = count * (steps / self.distill_half_life)
        return jnp.where(halvings < 12, self.distill_coef * 0.5**halvings, 0.0).astype(jnp.float32)


PPO_CONSTANTS = {"rollout_length", "epochs", "batch_size", "normalize_values", "distill_schedule"}
"""The options of `PPOConfig` that shape the compiled program."""
OTHER_NAMES = {"max_steps": ("max_cycles",), "view_size": ("agent_view_size",), "num_agents": ("N",)}
"""What options of the world are called in some of the worlds, exact to their references."""


@dataclass(frozen=True)
class WorldConfig:
    """The task's world; what is not given is the task's own default."""

    view_size: int | None = None
    """side of the square that the agent sees, odd"""
    num_keys: int | None = None
    """keys in the room (ColoredDoorKey)"""
    max_steps: int | None = None
    """steps until an episode is truncated"""
    num_agents: int | None = None
    """agents (LockedHallway, simple_spread)"""
    frame_stack: int | None = None
    """how many observations are stacked"""

    def make(self, task: str) -> Any:
        """The environment of a task."""
        try:
            return envs_jax.make(task, **self.overrides(task))
        except ValueError as error:
            raise UserError(str(error)) from None

    def overrides(self, task: str) -> dict[str, int]:
        """The parameters that were given, by the names that the task's world has for them."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        known = envs_jax.parameters(task)
        names = {name: next((other for other in OTHER_NAMES.get(name, ()) if other in known), name) for name in given}
        return {names[name]: value for name, value in given.items()}

    def updated(self, other: "WorldConfig") -> "WorldConfig":
        """This world with what the other one gives."""
        return replace(self, **{name: value for name, value in asdict(other).items() if value is not None})


@dataclass(frozen=True)
class TeacherConfig:
    """Which teacher."""

    plans: str = "shipped"
    """a plan file, or what ships with jaxteach: "recorded" answers of a model, or a "scripted" file written by
    hand; "none" to begin with nothing and --online"""
    hard_planner: Flag = False
    """the teacher draws one plan at every step, instead of mixing all plans"""


@dataclass(frozen=True)
class LLMConfig:
    """Which language model is asked, and how."""

    backend: Literal["llama-cpp", "openai", "random"] = "llama-cpp"
    """a GGUF file on this machine, an OpenAI-compatible server, or no model but plans drawn by chance"""
    model: str | None = None
    """the GGUF file, or the server's name for the model"""
    base_url: str | None = None
    """the server, such as http://localhost:8000/v1; its key, if it wants one, is read from the
    environment variable OPENAI_API_KEY"""
    samples: int = 10
    """answers to each caption"""
    temperature: float = 0.7
    """of sampling; 0 takes the likeliest words"""
    max_tokens: int = 128
    """the longest answer"""
    llm_seed: int = 0
    """of the model's draws"""
    grammar: Flag = False
    """every answer follows the grammar of plans (llama.cpp, here or as a server)"""
    parallel: int = 64
    """answers decoded side by side, or requests in flight"""
    context: int = 8192
    """tokens in the cache of a GGUF model, all answers together"""
    threads: int | None = None
    """cores that a GGUF model uses; all when left out"""
    timeout: float = 60.0
    """seconds to wait for an answer of a server"""
    retries: int = 6
    """how often a failed request is sent again, after growing pauses"""

    def check(self) -> None:
        """Raises `UserError` for numbers that make no sense."""
        _check_at_least(self, ["samples", "max_tokens", "context", "threads"], 1)
        _check_at_least(self, ["parallel"], 2)
        _check_at_least(self, ["temperature", "llm_seed", "retries"], 0)
        _check_at_least(self, ["timeout"], 1e-3)


@dataclass(frozen=True)
class TeachConfig:
    """Asks a language model about every caption of a task, and writes its plans to a file for training."""

    task: str | None = None
    """the task, see the README's table; with --show, that of the file when left out"""
    out: Path | None = None
    """the plan file to write; the answers are kept beside it as they come, in <out>.answers.jsonl"""
    show: Path | None = None
    """print the plans of a file, and how the teacher fares alone, instead of asking"""
    score: Flag = False
    """instead of sampling answers, take the model's exact probabilities of all plans of one or two moves"""
    debate_rounds: int = 0
    """for several agents: how often each is asked again, knowing what the others propose"""
    situations: int = 32
    """the situations debated about, those that the agents meet most often"""
    episodes: int = 500
    """episodes that the teacher plays alone for --show"""
    world: tyro.conf.OmitArgPrefixes[WorldConfig] = field(default_factory=WorldConfig)
    llm: tyro.conf.OmitArgPrefixes[LLMConfig] = field(default_factory=LLMConfig)

    def check(self) -> None:
        """Raises `UserError` for options that make no sense."""
        self.llm.check()
        _check_at_least(self, ["episodes", "situations"], 1)
        _check_at_least(self, ["debate_rounds"], 0)
        if self.score and self.debate_rounds:
            raise UserError("--score judges given plans, and a debate needs answers; leave one of them out")
        if (self.show is None) == (self.out is None):
            raise UserError("give --out for a plan file to write or --show for one to look at, one of them")
        if self.out is not None and self.task is None:
            raise UserError("--task says which task's captions to ask about")
        if self.score and self.llm.backend != "llama-cpp":
            raise UserError("--score needs --backend llama-cpp, which alone tells the likelihood of given answers")
        if self.score and self.llm.grammar:
            raise UserError("--score judges whole plans already; leave --grammar out")


@dataclass(frozen=True)
class TrainConfig:
    """Trains a student on a task, taught by a language model's recorded plans."""

    task: str
    """the task, see the README's table; upper and lower case are the same"""
    savedir: str | None = None
    """name of the run's folder, <logdir>/ppo/<task>/<savedir>; a fresh one when left out"""
    logdir: str = "log"
    """where runs are kept"""
    seed_list: tuple[int, ...] = (0,)
    """seeds; several train side by side in one program"""
    total_steps: int | None = None
    """environment steps of each seed; by default what the task needs"""
    n_itr: int | None = None
    """iterations, instead of --total_steps"""
    num_envs: int = 64
    """environments of each seed"""
    devices: int = 1
    """over how many devices of each process to spread the environments, 0 for all that there are; the student is the
    same but for rounding"""
    no_teacher: Flag = False
    """pure reinforcement learning"""
    network: str = "egocentric"
    """the student: egocentric, a small perceptron on egocentric features; reference, the reference's
    CNN; team, a perceptron for vectors or several agents, whose critic knows what all of them observe;
    or one of your own"""
    recurrent: Flag = False
    """with an LSTM (--network reference) or GRUs (--network team)"""
    online: Flag = False
    """ask a language model, between chunks, about captions that are met without plans"""
    resume: Flag = False
    """go on with the run in --savedir from its last checkpoint"""
    eval_interval: int = 5
    """iterations between evaluations, which are also the points that are logged"""
    num_eval: int = 125
    """episodes in an evaluation while training"""
    final_eval: int = 1000
    """episodes in the evaluation of the finished student, 0 for none"""
    save_interval: int = 25
    """iterations between checkpoints; the last iteration is always kept"""
    world: tyro.conf.OmitArgPrefixes[WorldConfig] = field(default_factory=WorldConfig)
    teacher: tyro.conf.OmitArgPrefixes[TeacherConfig] = field(default_factory=TeacherConfig)
    ppo: tyro.conf.OmitArgPrefixes[PPOConfig] = field(default_factory=PPOConfig)
    llm: tyro.conf.OmitArgPrefixes[LLMConfig] = field(default_factory=LLMConfig)
    hosts: tyro.conf.OmitArgPrefixes[HostsConfig] = field(default_factory=HostsConfig)

    @property
    def taught(self) -> bool:
        """Whether a teacher teaches: it does where there is one, unless it is switched off."""
        return not self.no_teacher and (self.task in DOMAINS or self.teacher != TeacherConfig())

    @property
    def steps_per_iteration(self) -> int:
        return self.num_envs * self.ppo.rollout_length

    @property
    def iterations(self) -> int:
        """How many iterations the run takes."""
        if self.n_itr is not None:
            return self.n_itr
        steps = TASK_STEPS[self.task] if self.total_steps is None else self.total_steps
        return max(1, steps // self.steps_per_iteration)

    def check(self) -> None:
        """Raises `UserError` for numbers that make no sense."""
        at_least_one = ["num_envs", "eval_interval", "save_interval", "num_eval", "n_itr", "total_steps"]
        _check_at_least(self, at_least_one, 1)
        _check_at_least(self, ["final_eval", "devices"], 0)
        _check_at_least(self.ppo, ["rollout_length", "epochs", "batch_size", "distill_half_life"], 1)
        _check_at_least(self.ppo, ["learning_rate", "adam_eps", "max_grad_norm", "clip", "min_advantage_std"], 1e-12)
        _check_at_least(
            self.ppo,
            ["final_learning_rate", "value_coef", "entropy_coef", "distill_coef", "distill_decay", "distill_floor"],
            0,
        )
        for name in ("gamma", "lam"):
            if not 0 <= getattr(self.ppo, name) <= 1:
                raise UserError(f"--{name} must be within 0..1, not {getattr(self.ppo, name)}")
        if not self.seed_list or len(set(self.seed_list)) < len(self.seed_list):
            raise UserError("--seed_list must name different seeds, and at least one")
        if any(not 0 <= seed < 2**32 for seed in self.seed_list):
            raise UserError("--seed_list must name seeds within 0..4294967295")
        if self.n_itr is not None and self.total_steps is not None:
            raise UserError("give --n_itr or --total_steps, not both")
        self.llm.check()
        self.hosts.check()
        if self.online and self.hosts.coordinator is not None:
            raise UserError("--online asks from one process; leave --coordinator out, or use jaxteach.teach before")
        if self.online and not self.taught:
            raise UserError("--online needs a teacher to teach; leave --no_teacher out, and take a task that has one")
        if self.recurrent and self.network == "egocentric":
            raise UserError("the egocentric network has no recurrence; add --network reference to --recurrent")


PARTS = {"world": WorldConfig, "teacher": TeacherConfig, "ppo": PPOConfig, "llm": LLMConfig, "hosts": HostsConfig}
"""The options of a run that are kept together."""


@dataclass(frozen=True)
class EvalConfig:
    """Plays episodes with a trained student, or with the teacher itself."""

    task: str
    """the task of the run"""
    loaddir: str | None = None
    """name of the run's folder, <logdir>/ppo/<task>/<loaddir>"""
    loadmodel: int | None = None
    """iteration of the checkpoint; the last one when left out"""
    savedir: str | None = None
    """name of the folder for the results, <logdir>/ppo/<task>/<savedir>; a fresh one when left out"""
    logdir: str = "log"
    """where runs are kept"""
    eval_teacher: Flag = False
    """play with the teacher instead of a student"""
    seed: int = 0
    """which of the run's seeds to evaluate, as listed in its --seed_list"""
    num_eval: int = 100
    """episodes for each environment seed"""
    env_seed_list: tuple[int, ...] = (0,)
    """seeds of the layouts"""
    greedy: Flag = False
    """take the likeliest action instead of a sampled one"""
    random_actions: float = 0.0
    """share of actions replaced by random ones"""
    num_videos: int = 4
    """episodes to film"""
    world: tyro.conf.OmitArgPrefixes[WorldConfig] = field(default_factory=WorldConfig)
    teacher: tyro.conf.OmitArgPrefixes[TeacherConfig] = field(default_factory=TeacherConfig)

    def check(self) -> None:
        """Raises `UserError` for numbers that make no sense."""
        _check_at_least(self, ["num_eval"], 1)
        _check_at_least(self, ["num_videos"], 0)
        if not self.env_seed_list or any(not 0 <= seed < 2**32 for seed in self.env_seed_list):
            raise UserError("--env_seed_list must name seeds within 0..4294967295")
        if not 0 <= self.random_actions <= 1:
            raise UserError(f"--random_actions must be within 0..1, not {self.random_actions}")
        if self.eval_teacher == (self.loaddir is not None):
            raise UserError("give --loaddir for a student or --eval_teacher for the teacher, one of them")


@dataclass(frozen=True)
class SweepConfig:
    """Trains the runs that a file describes: all combinations of lists of options."""

    file: tyro.conf.Positional[Path]
    """a TOML file: options of training in [fixed], lists of them in [grid]"""
    logdir: str = "log"
    """where runs are kept"""
    seeds_per_run: int | None = None
    """seeds of a run; all when left out"""
    seeds_at_once: int = 32
    """seeds that train side by side in one program, at most, of runs that differ in numbers of PPO alone; 1 trains
    each run alone"""
    show: Flag = False
    """list the runs, and how far they are, instead of training"""
    engine: Literal["here", "slurm"] = "here"
    """in this process, or as jobs of a SLURM cluster"""
    partition: str | None = None
    """of the cluster"""
    minutes: int = 60
    """after which the cluster ends a job; a run that needs longer goes on in another job"""
    gpus: int = 0
    """of a job"""
    cpus: int = 2
    """of a job"""
    memory: int = 8
    """gigabytes, of a job"""
    at_once: int = 16
    """jobs that run at the same time, at most"""

    def check(self) -> None:
        """Raises `UserError` for numbers that make no sense."""
        _check_at_least(self, ["seeds_per_run", "seeds_at_once", "minutes", "cpus", "memory", "at_once"], 1)
        _check_at_least(self, ["gpus"], 0)


@dataclass(frozen=True)
class ReportConfig:
    """Compares runs: curves, tables with confidence intervals, and films of the students, also as one page."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """folders of runs, <logdir>/ppo/<task>/<savedir>; runs of the same options with other seeds count as one"""
    out: str = "report"
    """folder for report.html, report.md and report.png"""
    threshold: float = 0.95
    """success rate for the columns `steps to` and `seconds to`"""
    apart: Flag = False
    """keep runs of the same options apart"""
    films: int = 12
    """students to film, one a run, 0 for none"""

    def check(self) -> None:
        """Raises `UserError` for options that make no sense."""
        _check_at_least(self, ["films"], 0)
        if not 0 < self.threshold <= 1:
            raise UserError(f"--threshold must be within 0..1, not {self.threshold}")
        if not self.runs:
            raise UserError("name the folders of the runs to report on, <logdir>/ppo/<task>/<savedir>")


def canonical_task(name: str) -> str:
    """The name of a task, as `envs_jax.make` spells it.

    Raises:
        UserError: an unknown task.
    """
    by_lower = {task.lower(): task for task in TASK_STEPS}
    if name.lower() not in by_lower:
        raise UserError(f"unknown task {name!r}; known are {', '.join(TASK_STEPS)}")
    return by_lower[name.lower()]


HALLWAY_PPO = PPOConfig(entropy_coef=0.01, normalize_values=True, value_coef=0.25)
# In particle worlds every step is rewarded for where the agents are: a short sight learns faster.
PARTICLE_PPO = PPOConfig(
    rollout_length=25,
    epochs=10,
    batch_size=800,
    learning_rate=3e-3,
    gamma=0.95,
    lam=0.9,
    entropy_coef=0.02,
    normalize_values=True,
)


OWN_DEFAULTS: dict[str, TrainConfig] = {}
"""The options of a run of the tasks that users have registered."""


def default_config(task: str) -> TrainConfig:
    """The options of a run of a task, unless told otherwise: `TrainConfig`'s own, tuned for the task.

    Raises:
        UserError: an unknown task.
    """
    task = canonical_task(task)
    if task in OWN_DEFAULTS:
        return OWN_DEFAULTS[task]
    if task in COLORED_CAPTIONS:
        return TrainConfig(task)
    ppo = HALLWAY_PPO if task.startswith("LockedHallway") else PARTICLE_PPO
    # Their episodes are long, or their iterations many: evaluations at DoorKey's pace would cost more than training.
    return TrainConfig(task, network="team", eval_interval=25, ppo=ppo)


def to_json(config: TrainConfig) -> dict[str, Any]:
    """A configuration as plain JSON."""
    return asdict(config)


def from_json(document: Any) -> TrainConfig:
    """The inverse of `to_json`.

    Raises:
        UserError: the document is no configuration of a run.
    """
    try:
        values = {name: PARTS[name](**value) if name in PARTS else value for name, value in document.items()}
        values["seed_list"] = tuple(values["seed_list"])
        return TrainConfig(**values)
    except (TypeError, KeyError, AttributeError) as error:
        raise UserError(f"config.json is not one of a jaxteach run: {error}") from None


def changes(one: TrainConfig, other: TrainConfig) -> dict[str, tuple[Any, Any]]:
    """The options in which two runs differ, by name, with the values of both."""
    found = {}
    for part_a, part_b in ((one, other), *((getattr(one, part), getattr(other, part)) for part in PARTS)):
        for option in fields(part_a):
            a, b = getattr(part_a, option.name), getattr(part_b, option.name)
            if option.name not in PARTS and a != b:
                found[option.name] = (a, b)
    return found


def differences(one: TrainConfig, other: TrainConfig) -> list[str]:
    """The options in which two runs differ, "name: a, not b" each."""
    return [f"{name}: {a}, not {b}" for name, (a, b) in changes(one, other).items()]


def _check_at_least(config: Any, names: list[str], least: float) -> None:
    for name in names:
        value = getattr(config, name)
        if value is not None and not value >= least:
            raise UserError(f"--{name} must be at least {least:g}, not {value}")
