"""`import jaxteach as jt`: training, evaluation, policies and sweeps as functions, with objects beside names."""

import importlib
import json
import subprocess
import sys
from dataclasses import replace
from types import FunctionType, SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs_jax
import jaxteach as jt
from jaxteach.api import objects
from jaxteach.config import EvalConfig
from jaxteach.errors import UserError
from jaxteach.evaluation import command
from jaxteach.networks.registry import REGISTERED
from jaxteach.tasks import TASKS
from jaxteach.teacher.loading import GIVEN
from jaxteach.teacher.plans import load_plans
from tests.test_guide import blocks, write_files

TINY = {"num_envs": 8, "rollout_length": 8, "batch_size": 32, "num_eval": 4, "final_eval": 4, "total_steps": 128}


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


@pytest.fixture(scope="module")
def run(guide):
    """Two seeds of the guide's task, taught."""
    return jt.train("Switches", seeds=[3, 5], teacher=guide.plans, progress=False, **TINY)


@pytest.fixture(scope="module")
def of_objects(guide):
    """A run in an environment, with a network and a teacher that have no names."""
    env, network = guide.Env(), guide.Net(4)
    return jt.train(env, network=network, teacher=guide.domain, plans=guide.plans, progress=False, **TINY)


def observations(env, count=3):
    return jax.vmap(lambda key: env.reset(key)[1].observation)(jax.random.split(jax.random.key(1), count))


def test_the_first_lines_of_the_guide_run(guide, monkeypatch):
    """Catches an API that is not what the guide begins with; in a small task that a small number of steps do for."""
    spec = replace(TASKS["Switches"], options=TASKS["Switches"].options | TINY, total_steps=128)
    del spec.options["total_steps"]
    monkeypatch.setitem(TASKS, "Switches", spec)
    monkeypatch.setattr(objects, "STEPS", 2048)
    monkeypatch.setattr("jaxteach.teacher.plans.shipped_plans", lambda task: load_plans(guide.plans, task))
    text = blocks("python")[0].replace("SimpleDoorKey", "Switches").replace("50_000", "128").replace("1000", "10")
    names = {}
    exec(text, names)
    assert names["outcomes"].returns.shape == (3, 10)
    assert names["alone"].config.no_teacher
    assert [run.config.ppo.distill_coef for run in names["grid"]] == [1, 10]
    assert sorted(set(names["run"].metrics["seed"])) == [0, 1, 2]


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
    assert {3, 5} == set(run.summary)


def test_metrics_without_pandas(run, monkeypatch):
    monkeypatch.setattr("jaxteach.api.run.find_spec", lambda name: None)
    assert isinstance(run.metrics, dict)
    assert run.metrics["iteration"].tolist() == [2, 2]


def test_evaluations_are_those_of_the_command(run):
    """Catches other episodes, another order of seeds, or sampled actions."""
    outcomes = run.evaluate(episodes=6)
    assert outcomes.returns.shape == outcomes.lengths.shape == outcomes.success.shape == (2, 6)
    options = EvalConfig(loaddir=str(run.folder), seed_list=(3, 5), num_eval=6, greedy=True, num_videos=0)
    result = json.loads((command.evaluate(replace(options, logdir=str(run.folder))) / "eval.json").read_text())
    np.testing.assert_array_equal(outcomes.returns.ravel(), np.float32(result["returns"]))
    np.testing.assert_array_equal(outcomes.lengths.ravel(), result["lengths"])
    np.testing.assert_array_equal(jt.evaluate(run.folder, episodes=6, seeds=5).lengths, outcomes.lengths[1:])


def test_a_policy_acts_on_one_observation_and_on_many(guide, run):
    """Catches an axis too many or too few, and a policy that `jit` does not take as an argument."""
    policy = jt.load_policy(run.folder, seed=5)
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
    with pytest.raises(UserError, match="the run has no seed 0; it has 3, 5"):
        jt.load_policy(run, seed=0)


def test_a_policy_with_a_memory(guide):
    """Catches a carry that is not kept, or not cleared where an episode begins; and agents without their axis."""
    run = jt.train("simple_speaker_listener", recurrent=True, progress=False, **TINY)
    env = envs_jax.make("simple_speaker_listener")
    policy, (obs, late) = run.policy(), (observations(env, 4), observations(env, 4) * 2)
    action, carry = policy(obs)
    assert action.shape == (4, 2)
    one, one_carry = policy(obs[1])
    np.testing.assert_array_equal(one, action[1])
    _, after = policy(late, carry)
    _, one_after = policy(late[1], one_carry)
    chex.assert_trees_all_close(jax.tree.map(lambda leaf: leaf[1:2], after), one_after, atol=1e-6)
    _, mixed = policy(late, carry, first=np.array([True, False, False, False]))
    fresh = policy(late)[1]
    for a, b, c in zip(*map(jax.tree.leaves, (fresh, after, mixed))):
        np.testing.assert_allclose(c, np.append(a[:1], b[1:], 0), atol=1e-6)
        assert np.abs(a - b).max() > 1e-4


def test_objects_need_no_names(guide, run, of_objects, capsys):
    """Catches an object that training takes and evaluation does not, or another process silently misses."""
    config = json.loads((of_objects.folder / "config.json").read_text())
    assert config["task"] == "object.Switches"
    assert config["network"].startswith("object.Wide-")
    assert config["teacher"]["plans"].startswith("object.")
    assert not {name for name in (*TASKS, *REGISTERED, *GIVEN) if name.startswith("object.")}
    assert jt.evaluate(of_objects, episodes=3).returns.shape == (1, 3)
    action, _ = jt.load_policy(of_objects)(observations(guide.Env())[0])
    with pytest.raises(UserError, match="can't be rebuilt by name; pass it again in Python, as env="):
        jt.Run(of_objects.folder)
    again = jt.load_policy(of_objects.folder, env=guide.Env(), network=lambda world: guide.Net(4))
    assert again(observations(guide.Env())[0])[0] == action
    with pytest.raises(UserError, match="was passed as an object; pass the same again in Python, as network="):
        jt.load_policy(of_objects.folder, env=guide.Env())
    with pytest.raises(UserError, match=r"the run has the network object\.Wide"):
        jt.load_policy(of_objects.folder, env=guide.Env(), network=guide.Net(5))
    with pytest.raises(UserError, match=r"is one of Switches, not of the object\.Switches given as env="):
        jt.Run(run.folder, env=guide.Env())
    assert capsys.readouterr().out == ""


def test_a_teacher_as_an_object_teaches_as_its_plans_do(guide, run):
    """Catches a domain or teacher that is given and not asked."""
    same = jt.train("Switches", seeds=[3, 5], teacher=guide.domain, plans=guide.plans, progress=False, **TINY)
    chex.assert_trees_all_equal(run.policy(3).params, same.policy(3).params)
    table = replace(jt.make_teacher("Switches", str(guide.plans)), soft=False)
    hard = jt.train("Switches", seeds=3, teacher=table, progress=False, **TINY)
    assert hard.config.teacher.hard_planner
    assert hard.config.teacher.plans == same.config.teacher.plans


def test_sweeps(guide, run):
    """Catches a list that is no axis, and a sweep that trains anew what it has trained."""
    options = {"teacher": guide.plans, "progress": False} | TINY
    runs = jt.sweep("Switches", distill_coef=np.array([1.0, 10.0]), gamma=(0.9,), seeds=[3, 5], **options)
    assert [run.config.ppo.distill_coef for run in runs] == [1, 10]
    stamps = [(run.folder / "summary.json").stat().st_mtime_ns for run in runs]
    again = jt.sweep("Switches", distill_coef=[1.0, 10.0], gamma=[0.9], seeds=[3, 5], **options)
    assert [(run.folder / "summary.json").stat().st_mtime_ns for run in again] == stamps


MISTAKES = {
    "unknown": ({"learning_rat": 1.0}, "training has no option learning_rat; did you mean learning_rate"),
    "bounds": ({"gamma": 1.5}, "gamma must be within 0..1, not 1.5"),
    "kind": ({"num_envs": "many"}, "num_envs can't be 'many'"),
    "half": ({"num_envs": 1.5}, "num_envs can't be 1.5"),
    "idle": ({"teacher": None, "distill_coef": 2.0}, "distill_coef has no effect"),
    "idle plans": ({"teacher": None, "plans": "x.json"}, "plans has no effect"),
    "twice": ({"seeds": 1, "seed_list": (1,)}, "seeds= and seed_list= say the same"),
    "seeds": ({"seeds": "one"}, "seeds are integers"),
    "negative": ({"seeds": -1}, "seed_list must be"),
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


def test_make_train_is_pure_and_maps_over_seeds_and_coefficients(guide):
    """Catches state outside of the arguments, and hparams that are constants of the program."""
    shape = {name: TINY[name] for name in ("num_envs", "rollout_length", "batch_size", "total_steps")}
    init, update = jt.make_train("Switches", teacher=guide.plans, **shape)
    keys, coefs = jax.random.split(jax.random.key(0), 4), jnp.array([0.5, 5.0])
    over_both = jax.vmap(jax.vmap(lambda state, coef: update(state, distill_coef=coef), (0, None)), (None, 0))

    @jax.jit
    def train(keys):
        states, _ = over_both(jax.vmap(init)(keys), coefs)
        each = jax.vmap(jax.vmap(lambda state, coef: update(state, distill_coef=coef), (0, None)), (0, 0))
        return each(states, coefs)

    states, metrics = train(keys)
    assert metrics["loss"].shape == (2, 4)
    step = jax.jit(update)
    for i, coef in enumerate(coefs):
        for j, key in enumerate(keys):
            state, _ = step(jax.jit(init)(key), distill_coef=coef)
            state, row = step(state, distill_coef=coef)
            mine = jax.tree.map(lambda leaf, i=i, j=j: leaf[i, j], (states.learner.params, metrics))
            chex.assert_trees_all_close(mine, (state.learner.params, row), rtol=1e-3, atol=1e-4)
    spread = np.ptp(np.asarray(metrics["kickstarting_coef"]), axis=0)
    assert (spread > 4).all()


def test_make_train_trains_as_train_does(guide, run):
    """Catches another program behind the same options: two updates end in the student of the run."""
    shape = {name: TINY[name] for name in ("num_envs", "rollout_length", "batch_size", "total_steps")}
    init, update = jt.make_train("Switches", teacher=guide.plans, **shape)
    step, state = jax.jit(update), init(jax.random.split(jax.random.key(3))[0])
    for _ in range(2):
        state, _ = step(state)
    chex.assert_trees_all_close(state.learner.params, run.policy(3).params, rtol=1e-3, atol=1e-4)


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
    ):
        with pytest.raises(UserError, match=told):
            update(state, **hparams)
