"""`import jaxteach as jt`: training, evaluation, policies and sweeps as functions, with objects beside names."""

import importlib
import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from types import FunctionType, SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs_jax
import jaxteach as jt
from envs_jax.grid.constants import Actions
from envs_jax.minigrid.environment import Observation
from envs_jax.wrappers import AgentAxisWrapper
from jaxteach import Policy
from jaxteach.api import objects
from jaxteach.api.options import configured, named_options
from jaxteach.config import EvalConfig, WorldConfig
from jaxteach.errors import UserError
from jaxteach.evaluation import command
from jaxteach.networks.mlp import MLPNet
from jaxteach.networks.registry import REGISTERED, make_network
from jaxteach.ppo.episodes import student_policy
from jaxteach.tasks import TASKS
from jaxteach.teacher.loading import GIVEN, load_teacher
from jaxteach.teacher.plans import load_plans
from tests.test_guide import blocks, write_files

TINY_SHAPE = {"num_envs": 8, "rollout_length": 8, "batch_size": 32}
TINY = TINY_SHAPE | {"num_eval": 4, "final_eval": 4}


@pytest.fixture(scope="module")
def guide(tmp_path_factory):
    """The guide's task and network, imported from the files that it shows."""
    folder = tmp_path_factory.mktemp("guide")
    write_files(folder)
    registries = [envs_jax._TASKS, TASKS, REGISTERED]
    before = [dict(registry) for registry in registries]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.chdir(folder)
        import switches  # noqa: PLC0415
        import wide  # noqa: PLC0415

        yield SimpleNamespace(
            folder=folder, plans=folder / "switches.json", domain=switches.domain, Env=switches.Switches, Net=wide.Wide
        )
    for name in ("switches", "wide"):
        del sys.modules[name]
    for registry, kept in zip(registries, before):
        registry.clear()
        registry.update(kept)


@contextmanager
def small(guide):
    """Inside the block the guide's task is one that a small number of steps do for, and has its plans."""
    spec = TASKS["Switches"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TASKS, "Switches", replace(spec, options=spec.options | TINY, total_steps=128))
        patch.setattr(objects, "STEPS", 2048)
        patch.setattr("jaxteach.teacher.plans.shipped_plans", lambda task: load_plans(guide.plans, task))
        yield


@pytest.fixture(scope="module")
def lines(guide):
    """What the guide's first lines make."""
    text = blocks("python")[0].replace("SimpleDoorKey", "Switches").replace("50_000", "128").replace("1000", "6")
    names = {}
    with small(guide):
        exec(text, names)
    return SimpleNamespace(**names)


@pytest.fixture(scope="module")
def run(lines):
    """Three seeds of the guide's task, taught."""
    return lines.run


@pytest.fixture(scope="module")
def pure(guide):
    """`make_train`'s functions with the options of `run`."""
    init, update = jt.make_train("Switches", teacher=guide.plans, distill_coef=5.0, total_steps=128, **TINY_SHAPE)
    return jax.jit(init), update, jax.jit(update)


def observations(env, count=3):
    return jax.vmap(lambda key: env.reset(key)[1].observation)(jax.random.split(jax.random.key(1), count))


def test_the_first_lines_of_the_guide_run(lines):
    """Catches an API that is not what the guide begins with."""
    assert lines.outcomes.returns.shape == (3, 6)
    assert lines.alone.config.no_teacher
    assert [run.config.ppo.distill_coef for run in lines.grid] == [1, 10]
    assert sorted(set(lines.run.metrics["seed"])) == [0, 1, 2]


def test_importing_it_imports_nothing_heavy():
    """Catches a name that is imported at once: JAX alone takes a second."""
    code = (
        "import sys, jaxteach; heavy = {'jax', 'numpy', 'flax', 'tyro', 'orbax', 'matplotlib', 'scipy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert {'train', 'Run', '__version__'} <= set(dir(jaxteach))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_functions_and_commands_of_one_name(monkeypatch):
    """Catches a submodule that takes the function's place, whichever is used first."""
    code = (
        "import jaxteach.train, jaxteach.sweep, sys, types\nfrom jaxteach.train import main\n"
        "assert sys.modules['jaxteach.train'].main is main\nassert 'jax' not in sys.modules\n"
        "from jaxteach import train, sweep\nimport jaxteach as jt\nassert train is jt.train and sweep is jt.sweep\n"
        "assert isinstance(train, types.FunctionType) and isinstance(sweep, types.FunctionType)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    for name in ("train", "sweep"):
        function = getattr(jt, name)
        monkeypatch.delitem(sys.modules, f"jaxteach.{name}", raising=False)
        assert callable(importlib.import_module(f"jaxteach.{name}").main)
        assert getattr(jt, name) is function
        assert isinstance(function, FunctionType)


def test_all_names_are_there():
    for name in jt.__all__:
        assert getattr(jt, name) is not None
    assert jt.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        jt.trian  # noqa: B018


def test_metrics_and_summary(run):
    """Catches figures that are not those of the run's files."""
    table = run.metrics
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert len(table["seed"]) == len(rows)
    for name in ("seed", "iteration", "loss", "policy_loss", "value_loss", "kickstarting_loss", "success_rate"):
        assert list(table[name]) == [row[name] for row in rows]
    assert np.isnan(np.asarray(table["train_return_mean"], float)).all(), "no episode has ended yet"
    assert {0, 1, 2} == set(run.summary)


def test_metrics_without_pandas(run, monkeypatch):
    monkeypatch.setattr("jaxteach.api.run.find_spec", lambda name: None)
    assert isinstance(run.metrics, dict)
    assert run.metrics["iteration"].tolist() == [2, 2, 2]


def test_evaluations_are_those_of_the_command(lines, run):
    """Catches other episodes, another order of seeds, or sampled actions."""
    options = EvalConfig(loaddir=str(run.folder), seed_list=(0, 1, 2), num_eval=6, greedy=True, num_videos=0)
    result = json.loads((command.evaluate(replace(options, logdir=str(run.folder))) / "eval.json").read_text())
    for name, array in lines.outcomes._asdict().items():
        np.testing.assert_array_equal(array.ravel(), np.asarray(result[name], array.dtype))
    np.testing.assert_array_equal(jt.evaluate(run.folder, episodes=6, seeds=2).lengths, lines.outcomes.lengths[2:])


def test_a_policy_acts_on_one_observation_and_on_many(guide, run):
    """Catches an axis too many or too few, and a policy that `jit` does not take as an argument."""
    policy = jt.load_policy(run.folder, seed=2)
    obs = observations(guide.Env())
    actions, carry = policy(obs)
    chex.assert_shape(actions, (3,))
    assert (actions.dtype, carry) == (jnp.int32, ())
    program = jax.jit(lambda policy, obs: policy(obs)[0])
    np.testing.assert_array_equal(program(policy, obs), actions)
    np.testing.assert_array_equal([program(policy, row) for row in obs], actions)
    np.testing.assert_array_equal([policy(np.asarray(row, np.float64))[0] for row in obs], actions)
    np.testing.assert_array_equal(jax.vmap(lambda row: policy(row)[0])(obs), actions)
    drawn = jax.vmap(lambda key: policy(obs[0], key=key)[0])(jax.random.split(jax.random.key(0), 64))
    assert len(np.unique(drawn)) > 1, "an untrained student is undecided"
    with pytest.raises(UserError, match=r"an observation of this student is float32\[22\], or a batch"):
        policy(obs[:, :5])
    with pytest.raises(UserError, match="the run has no seed 5; it has 0, 1, 2"):
        jt.load_policy(run, seed=5)


def test_a_policy_with_a_memory():
    """Catches a carry that is not kept, or not cleared where an episode begins; and agents without their axis."""
    env = envs_jax.make("simple_speaker_listener")
    init, _ = jt.make_train("simple_speaker_listener", network="mlp", recurrent=True, num_envs=4)
    params, world = jax.jit(init)(jax.random.key(0)).learner.params, AgentAxisWrapper(env)
    policy = jax.jit(Policy.of(params, MLPNet(world.action_counts, recurrent=True), world).__call__)
    obs, late = observations(env, 4), observations(env, 4) * 2
    action, carry = policy(obs)
    assert action.shape == (4, 2)
    one, one_carry = policy(obs[1])
    np.testing.assert_array_equal(one, action[1])
    _, after = policy(late, carry)
    chex.assert_trees_all_close(jax.tree.map(lambda leaf: leaf[1:2], after), policy(late[1], one_carry)[1], atol=1e-6)
    _, mixed = policy(late, carry, first=np.array([True, False, False, False]))
    for fresh, kept, found in zip(*map(jax.tree.leaves, (policy(late)[1], after, mixed))):
        np.testing.assert_allclose(found, np.append(fresh[:1], kept[1:], 0), atol=1e-6)
        assert np.abs(fresh - kept).max() > 1e-4


def test_objects_need_no_names(guide, lines, run):
    """Catches an object that training takes and evaluation does not, or another process silently misses."""
    folder = lines.alone.folder
    config = json.loads((folder / "config.json").read_text())
    assert config["task"] == "object.Switches"
    assert config["network"].startswith("object.Wide-")
    assert not {name for name in (*TASKS, *REGISTERED, *GIVEN) if name.startswith("object.")}
    assert jt.evaluate(lines.alone, episodes=3).returns.shape == (1, 3)
    obs = observations(guide.Env())
    again = jt.load_policy(folder, env=guide.Env(), network=lambda world: guide.Net(4))
    np.testing.assert_array_equal(again(obs)[0], jt.load_policy(lines.alone)(obs)[0])
    with pytest.raises(UserError, match="can't be rebuilt by name; pass it again in Python, as env="):
        jt.Run(folder)
    with pytest.raises(UserError, match="was passed as an object; pass the same again in Python, as network="):
        jt.load_policy(folder, env=guide.Env())
    with pytest.raises(UserError, match=r"the run has the network object\.Wide"):
        jt.load_policy(folder, env=guide.Env(), network=guide.Net(5))
    with pytest.raises(UserError, match=r"is one of Switches, not of the object\.Switches given as env="):
        jt.Run(run.folder, env=guide.Env())


def test_teachers_as_objects(guide):
    """Catches a domain or teacher that is given and not asked, or one that another run takes for its own."""
    env, plans = guide.Env(), {"plans": guide.plans}
    known = jt.make_teacher("Switches", str(guide.plans))
    for teacher, options in ((guide.domain, plans), (replace(known, soft=False), {}), (known, {})):
        with named_options(env, None, teacher, None, options) as (_, flat):
            config = configured(flat)
            assert config.taught
            assert (config.task, config.teacher.plans[:7]) == ("object.Switches", "object.")
            made = load_teacher(config.task, config.teacher, config.world)
            chex.assert_trees_all_equal(made.table, known.table)
            assert made.soft == (not config.teacher.hard_planner) == (not flat.get("hard_planner", False))
        assert not GIVEN
        with pytest.raises(UserError, match="was passed as an object; pass it again in Python, as teacher="):
            load_teacher("Switches", config.teacher, config.world)


def test_a_sweep_goes_on(guide, lines, monkeypatch):
    """Catches a sweep that trains anew what it has trained, and one that takes other options for its own."""
    monkeypatch.setattr("jaxteach.sweeps.scheduler.train_group", None)
    with small(guide):
        again = jt.sweep("Switches", distill_coef=np.array([1, 10]), seeds=range(5), progress=False)
        assert [run.folder for run in again] == [run.folder for run in lines.grid]
        with pytest.raises(UserError, match="2 of 2 runs failed"):
            jt.sweep("Switches", distill_coef=[1, 10], seeds=range(5), gamma=0.9, progress=False)
        with pytest.raises(UserError, match="gamma is an empty list"):
            jt.sweep("Switches", gamma=[])
        with pytest.raises(UserError, match="training has no option gama; did you mean gamma"):
            jt.sweep("Switches", gama=[0.9])


MISTAKES = {
    "unknown": ({"learning_rat": 1.0}, "training has no option learning_rat; did you mean learning_rate"),
    "bounds": ({"gamma": 1.5}, "^gamma must be within 0..1, not 1.5"),
    "kind": ({"num_envs": "many"}, "num_envs can't be 'many'"),
    "half": ({"num_envs": 1.5}, "num_envs can't be 1.5"),
    "kind before a network is made": ({"guidance": 3, "network": lambda world: None}, "guidance can't be 3"),
    "idle": ({"teacher": None, "distill_coef": 2.0}, "distill_coef has no effect"),
    "idle plans": ({"teacher": None, "plans": "x.json"}, "plans has no effect"),
    "twice": ({"seeds": 1, "seed_list": (1,)}, "seeds= and seed_list= say the same"),
    "seeds": ({"seeds": "one"}, "seeds are integers"),
    "negative": ({"seeds": -1}, "^seeds must be"),
    "no network": ({"network": 3}, "a network is a flax module"),
    "no teacher": ({"teacher": 3}, "a teacher is None, the path of a plan file, a Teacher or a Domain"),
    "plans": ({"teacher": "none.json"}, "can't read the plan file none.json"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_in_one_sentence(guide, name):
    options, told = MISTAKES[name]
    with pytest.raises(UserError, match=told.replace(".", r"\.")):
        jt.train("Switches", progress=False, **options)


def test_environments_that_are_none(guide):
    with pytest.raises(UserError, match="an environment is an object with reset and step, or a task's name"):
        jt.train(guide.Env)
    with pytest.raises(UserError, match="unknown task 'Switch'; did you mean Switches"):
        jt.train("Switch")
    teacher = jt.make_teacher("SimpleDoorKey")
    with pytest.raises(UserError, match="the teacher is of 1 agents with 7 actions, and the environment has 1 with 4"):
        jt.train("Switches", teacher=teacher)
    with pytest.raises(UserError, match="plans has no effect with a Teacher"):
        jt.train("SimpleDoorKey", teacher=teacher, plans="recorded")


def test_whole_numbers_may_be_floats(guide):
    init, _ = jt.make_train("Switches", teacher=None, num_envs=np.int64(4), total_steps=1e4)
    assert init(jax.random.key(0)).learner.actor.first.shape == (4,)


@pytest.mark.slow
def test_a_minigrid_student_keeps_its_map_in_the_carry():
    """Catches a policy whose map is not the one that it was trained with, also in a batch and in a new episode."""
    task = "MiniGrid-Fetch-5x5-N2-v0"
    world = WorldConfig().make(task)
    assert objects._default_network(envs_jax.make(task)) == "egocentric"
    network = make_network("egocentric", world, recurrent=False)
    prepared = network.prepare(world.env.reset(jax.random.key(0))[1].observation)[None, None, None]
    params = jax.jit(network.init)(jax.random.key(1), prepared, jnp.ones((1, 1), bool), ())
    params = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(2), leaf.shape), params)
    act, with_map = jax.jit(Policy.of(params, network, world)), student_policy(network, params, greedy=False)
    wanted = jax.jit(lambda obs, first, key: with_map((), jax.tree.map(lambda leaf: leaf[:, None], obs), first, key)[1])
    reset, step = jax.jit(jax.vmap(world.env.reset)), jax.jit(jax.vmap(world.env.step))
    carry, actions = None, []
    for episode in range(2):
        state, timestep = reset(jax.random.split(jax.random.key(episode), 2))
        for i in range(20):
            image, direction, mission, _ = timestep.observation
            first, key = jnp.full(2, i == 0), jax.random.key(20 * episode + i)
            action, carry = act(Observation(image, direction, mission), carry, first=first, key=key)
            assert action.tolist() == wanted(timestep.observation, first, key)[:, 0].tolist()
            actions += action.tolist()
            state, timestep = step(state, action)
    assert {Actions.forward, Actions.left} <= set(actions)


def test_make_train_maps_over_seeds_and_coefficients(pure):
    """Catches state outside of the arguments, and hparams that are constants of the program."""
    init, update, step = pure
    keys, coefs = jax.random.split(jax.random.key(0), 4), jnp.array([0.5, 5.0])
    states = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), jax.vmap(init)(keys))
    each = jax.vmap(lambda state, coef: update(state, distill_coef=coef), (0, None))
    over_both = jax.jit(jax.vmap(each))
    for _ in range(2):
        states, metrics = over_both(states, coefs)
    assert metrics["loss"].shape == (2, 4)
    for i, coef in enumerate(coefs):
        for j, key in enumerate(keys):
            state, _ = step(init(key), distill_coef=coef)
            state, row = step(state, distill_coef=coef)
            mapped = jax.tree.map(lambda leaf, i=i, j=j: leaf[i, j], (states.learner.params, metrics))
            chex.assert_trees_all_close(mapped, (state.learner.params, row), rtol=1e-3, atol=1e-4)
    assert (np.ptp(np.asarray(metrics["kickstarting_coef"]), axis=0) > 4).all()


def test_make_train_trains_as_train_does(pure, run):
    """Catches another program behind the same options: two updates end in the student of the run."""
    init, _, step = pure
    state = init(jax.random.split(jax.random.key(1))[0])
    for _ in range(2):
        state, _ = step(state, distill_coef=jnp.float32(5))
    chex.assert_trees_all_close(state.learner.params, run.policy(1).params, rtol=1e-3, atol=1e-4)


def test_what_make_train_refuses(guide):
    with pytest.raises(UserError, match="make_train has no use for savedir"):
        jt.make_train("Switches", savedir="x")
    with pytest.raises(UserError, match="make_train has no use for seeds"):
        jt.make_train("Switches", seeds=3)
    init, update = jt.make_train("Switches", teacher=None, num_envs=4)
    state = jax.eval_shape(init, jax.random.key(0))
    for hparams, told in (
        ({"learning_rat": 1}, "no hparam is learning_rat; did you mean learning_rate"),
        ({"batch_size": 1}, "batch_size shapes the program; give it to make_train"),
        ({"distill_coef": 1}, "distill_coef has no effect"),
        ({"gamma": 2.0}, "^gamma must be within 0..1"),
        ({"entropy_coef": float("nan")}, "^entropy_coef"),
        ({"gamma": None}, "gamma must be a scalar, not None"),
        ({"learning_rate": jnp.ones(3)}, "learning_rate must be a scalar, .* for jax.vmap"),
    ):
        with pytest.raises(UserError, match=told):
            update(state, **hparams)
