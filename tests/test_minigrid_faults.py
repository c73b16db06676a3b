"""Mistakes with MiniGrid's worlds, their teachers and their students each end in one sentence."""

import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs_jax
import jaxteach as jt
from envs_jax.grid.constants import GOAL, KEY
from envs_jax.minigrid import FullyObsWrapper
from envs_jax.minigrid.map_memory import MapWrapper
from envs_jax.vector import VectorEnv
from jaxteach.api.options import named_options
from jaxteach.api.run import Policy
from jaxteach.config import WorldConfig
from jaxteach.errors import UserError
from jaxteach.networks.registry import make_network
from jaxteach.tasks import canonical_task
from jaxteach.teacher.plans import PlanFile
from jaxteach.teacher.policy import Teacher
from jaxteach.teacher.table import compile_plans
from jaxteach.teacher.tasks.minigrid_captions import KnownWorld

EMPTY, UNLOCK, PICKUP = "MiniGrid-Empty-5x5-v0", "MiniGrid-Unlock-v0", "MiniGrid-UnlockPickup-v0"
NO_TEACHER = r"has no teacher; tasks with one are [\w, -]{1,170} and 52 of MiniGrid's worlds, see docs/teaching.md$"


def refuses(message):
    return pytest.raises(UserError, match=message)


def taught(task, teacher, **options):
    """Where a teacher is checked that is passed as an object."""
    with named_options(task, None, teacher, None, options) as (_, flat):
        return flat


def first_observation(task, **parameters):
    return jax.eval_shape(envs_jax.make(task, **parameters).reset, jax.random.key(0))[1].observation


@pytest.mark.parametrize(
    ("task", "taught_task", "told"),
    [
        ("MiniGrid-Empty-16x16-v0", EMPTY, "the teacher's map has 12 x 12 cells, and MiniGrid-Empty-16x16-v0 needs 23"),
        (PICKUP, UNLOCK, f"the teacher's plans name key, .*, and those of {PICKUP} .*; make it by make_teacher"),
        (PICKUP, "SimpleDoorKey", f"its domain is a DoorKeyDomain, and that of {PICKUP} a MiniGridDomain; make it by"),
        ("SimpleDoorKey", PICKUP, "its domain is a MiniGridDomain, and that of SimpleDoorKey a DoorKeyDomain; make it"),
    ],
)
def test_a_teacher_of_another_task_is_refused(task, taught_task, told):
    """Catches a map that is too small, silently, and errors of JAX after a while."""
    with refuses(told):
        taught(task, jt.make_teacher(taught_task))


def test_an_environment_takes_only_teachers_that_can_read_it():
    """Catches objects, for which there is no teacher to compare with; and a check of what fits."""
    env, teacher = envs_jax.make(EMPTY, size=9), jt.make_teacher(EMPTY, size=9)
    assert taught(env, teacher)["plans"].startswith("object.")
    assert taught(EMPTY, jt.make_teacher(EMPTY))["plans"].startswith("object.")
    with refuses("the teacher's map has 12 x 12 cells, and Empty needs 16 x 16"):
        taught(env, jt.make_teacher(EMPTY))
    with refuses("the teacher, a DoorKeyDomain, can't read the observations of Empty"):
        taught(env, jt.make_teacher("SimpleDoorKey"))
    with refuses(r"not for the observations of UnlockPickup: .* mission \[0\], not \[7, 7, 3\], \[\] and \[2\]"):
        taught(envs_jax.make(PICKUP), jt.make_teacher(UNLOCK))


def test_a_domain_of_one_s_own_may_have_other_words():
    """Catches a check that takes the task's own words for the only ones."""
    words = jt.MiniGridCaptions((jt.NamedObject("exit", lambda known: known.kind == GOAL, enter=True),))
    domain, plans = jt.MiniGridDomain.of(envs_jax.make(EMPTY), words), PlanFile((EMPTY,), (), {"source": "by hand"})
    own = Teacher(compile_plans(plans, words), domain, True, plans)
    with refuses("plans name exit, and those of MiniGrid-Empty-5x5-v0 goal; .* pass a Domain of your own"):
        taught(EMPTY, own)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxteach.api.options.find_plans", lambda *given: plans)
        assert taught(EMPTY, domain)["plans"].startswith("object.")
        with refuses("the teacher's map has 12 x 12 cells"):
            taught("MiniGrid-Empty-8x8-v0", domain)


@pytest.fixture(scope="module")
def student():
    """A policy whose carry is a map and the states of GRUs, without its program."""
    world = WorldConfig().make(EMPTY)
    network = make_network("mlp", world, True)
    policy = Policy.of(None, network, world)
    one = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), first_observation(EMPTY))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Policy, "_act", lambda self, carry, obs, first, key: (carry, first))
        yield SimpleNamespace(act=policy, carry=policy._initial_carry, one=one, three=jax.tree.map(triple, one))


def triple(leaf):
    return jnp.stack([leaf] * 3)


def test_a_policy_takes_what_it_returned(student):
    """Catches a check that refuses what fits."""
    for obs, count in ((student.one, 1), (student.three, 3)):
        first, carry = student.act(obs)
        assert np.all(first)
        first, _ = student.act(obs, jax.device_get(carry), key=jax.random.key(0))
        assert not np.any(first)
        first, _ = student.act(obs, carry, first=np.arange(count) == 0, key=jax.random.PRNGKey(0))
        assert np.sum(first) == 1
        assert np.all(student.act(obs, carry, first=True)[0])


@pytest.mark.parametrize(
    ("make_carry", "told"),
    [
        (lambda carry: carry(1), "carry= must be for as many observations as obs, here 3, not for 1"),
        (lambda carry: carry(2), "carry= must be for as many observations as obs, here 3, not for 2"),
        (lambda carry: (carry(3)[0], carry(2)[1]), "carry= must be for as many observations as obs, here 3; give"),
        (lambda carry: carry(3)[1], "carry= is not one of this student; give what it returned"),
        (lambda carry: "carry", "carry= is not one of this student"),
        (lambda carry: (), "carry= is not one of this student"),
    ],
)
def test_a_carry_that_does_not_fit_the_observations(student, make_carry, told):
    with refuses(told):
        student.act(student.three, make_carry(student.carry))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"first": [True, False]}, r"first= must be bool\[3\], one for each observation, not \[True, False\]"),
        ({"first": [[True]] * 3}, r"first= must be bool\[3\]"),
        ({"first": "no"}, r"first= must be bool\[3\]"),
        ({"key": 3}, r"key= is a PRNG key, such as jax.random.key\(0\), not 3"),
        ({"key": jax.random.split(jax.random.key(0))}, "key= is a PRNG key"),
        ({"key": np.zeros(2)}, "key= is a PRNG key"),
    ],
)
def test_flags_and_keys_that_are_none(student, options, told):
    with refuses(told):
        student.act(student.three, student.carry(3), **options)


@pytest.mark.parametrize("mission", ["get to the green goal square", ("get to the green goal square",) * 2])
def test_the_package_minigrid_s_observations_are_converted_first(student, mission):
    raw = {"image": np.zeros((7, 7, 3), np.uint8), "direction": 0, "mission": mission}
    with refuses(r"give the policy world\.from_minigrid\(obs\)"):
        student.act(raw)
    with refuses("an observation of this student is uint8"):
        student.act((raw["image"], 0, "text"))


def goals(known):
    return known.kind == GOAL


def known_world(size=(5, 5)):
    cells, flag, number = np.zeros(size, np.int32), np.zeros(size, bool), np.int32(0)
    return KnownWorld(cells, cells, cells, number, number, np.zeros(0, np.int32), np.zeros(6, bool), flag, flag)


@pytest.mark.parametrize(
    ("returned", "found"),
    [
        (None, "NoneType"),
        (np.zeros((5, 5), np.int32), r"int32\[5, 5\]"),
        (np.zeros((4, 5), bool), r"bool\[4, 5\]"),
        (np.bool_(True), r"bool\[\]"),
        ([[True]], "list"),
        (True, r"bool\[\]"),
    ],
)
def test_cells_must_be_a_set_of_cells(returned, found):
    """Catches a result that is broadcast, or read as other cells."""
    told = rf"cells of the object 'door' must return bool\[W, H\], here bool\[5, 5\], not {found}$"
    with refuses(told):
        jt.MiniGridCaptions((jt.NamedObject("door", lambda known: returned),)).cells(known_world())

    class Odd(jt.MiniGridDomain):
        def drop_cells(self, known):
            return returned

    domain = Odd(WORDS, (5, 5))
    with refuses(told.replace("cells of the object 'door'", "drop_cells of Odd")):
        domain._checked_drop_cells(known_world())


@pytest.mark.parametrize("returned", [None, 1, np.zeros((5, 5), bool), np.int32(1), "yes"])
def test_held_must_be_a_flag(returned):
    key = jt.NamedObject("key", held=lambda known: returned)
    with refuses(r"held of the object 'key' must return bool\[\], not "):
        jt.MiniGridCaptions((key,)).held_object(known_world())


def test_flags_may_be_python_s():
    """Catches a check that refuses a constant."""
    assert jt.MiniGridCaptions((jt.NamedObject("key", held=lambda known: True),)).held_object(known_world()) == 1


GOAL_CELL = jt.NamedObject("goal", goals)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            lambda: jt.MiniGridCaptions((GOAL_CELL, "key")),
            "the objects of MiniGridCaptions must be a tuple of Named",
        ),
        (lambda: jt.MiniGridCaptions(GOAL_CELL), "the objects of MiniGridCaptions must be a tuple of NamedObjects"),
        (lambda: jt.MiniGridCaptions(()), "at least one object"),
        (lambda: jt.MiniGridCaptions((GOAL_CELL, jt.NamedObject("goal"))), "the object 'goal' appears twice"),
        (lambda: jt.NamedObject(3), "an object's name must be a string, not 3"),
        (lambda: jt.NamedObject("key", cells=KEY), "cells of the object 'key' must be a function or None, not 5"),
        (
            lambda: jt.MiniGridDomain.of(envs_jax.make("SimpleDoorKey"), WORDS),
            "takes a MiniGridEnv with MiniGr",
        ),
        (lambda: jt.MiniGridDomain.of(FullyObsWrapper(envs_jax.make(EMPTY)), WORDS), "takes a MiniGridEnv with MiniGr"),
        (lambda: jt.MiniGridDomain.of(3, WORDS), "takes a MiniGridEnv with MiniGrid's own observation, not 3"),
        (lambda: jt.MiniGridDomain.of(envs_jax.make(EMPTY), [GOAL_CELL]), "must be MiniGridCaptions, not"),
        (lambda: jt.MiniGridDomain.of(envs_jax.make(EMPTY, size=26), WORDS), "at most 32 rows, and Empty needs 33"),
    ],
)
def test_captions_and_domains_that_can_t_be_made(make, told):
    with refuses(told):
        make()


WORDS = jt.MiniGridCaptions((GOAL_CELL,))


def test_a_domain_fits_a_world_with_a_map_too():
    env = envs_jax.make(PICKUP)
    assert jt.MiniGridDomain.of(MapWrapper(env), WORDS) == jt.MiniGridDomain.of(env, WORDS)


def things(seen, held=0, names="object"):
    return tuple(jt.NamedObject(f"a{i} {names}", goals, goals if i < held else None) for i in range(seen))


@pytest.mark.parametrize(
    ("objects", "unique", "told"),
    [
        (things(13), False, "these objects make 8,192 captions, more than 4,096; give fewer objects, or unique=True"),
        (things(60, 9), False, "make 11,529,215,046,068,469,760 captions"),
        (things(13), True, "these objects make 8,192 captions, more than 4,096; give fewer objects$"),
        ((jt.NamedObject("key", goals), *things(40, names="key")), True, "combinations, more than 1,048,576; give few"),
    ],
)
def test_too_many_captions_are_counted_and_not_made(objects, unique, told):
    """Catches captions that fill the memory before they are counted."""
    with refuses(told):
        jt.MiniGridCaptions(objects, unique=unique)


def test_as_many_captions_as_are_allowed():
    """Catches a count that is not that of the captions."""
    assert len(jt.MiniGridCaptions(things(12)).texts) == 4096
    keys = tuple(jt.NamedObject(f"{word}key", goals, goals) for word in ("", "used ", "new "))
    others = (jt.NamedObject("box", None, goals), jt.NamedObject("door", goals), jt.NamedObject("open door", goals))
    mixed = jt.MiniGridCaptions((*keys, *others), unique=True)
    assert mixed._count_unique() == len(mixed.texts) == 12 + 3 * 3 + 12


def test_a_teacher_s_task_in_lower_case():
    assert jt.make_teacher("minigrid-unlock-v0").captions == jt.make_teacher(UNLOCK).captions


@pytest.mark.parametrize("task", ["simple", "MiniGrid-MemoryS7-v0"])
def test_tasks_with_a_teacher_are_not_all_listed(task):
    with pytest.raises(ValueError, match=NO_TEACHER):
        jt.make_teacher(task)


@pytest.mark.parametrize("name", ["MiniGrid-Unlock-v1", "Unlock", "unlock-v0"])
def test_a_world_s_id_may_be_half_known(name):
    """Catches advice that only the command line gives, and ids that are unknown without their beginning."""
    told = re.escape(f"unknown task '{name}'; did you mean {UNLOCK}?")
    for make in (envs_jax.make, envs_jax.parameters, jt.make_teacher, canonical_task):
        with pytest.raises(ValueError, match=told):
            make(name)
    with pytest.raises(ValueError, match=r"did you mean MiniGrid-\w"):
        jt.make_teacher("MiniGrid-Foo-v0")


def test_a_teacher_takes_one_observation_of_its_task():
    teacher, key = jt.make_teacher(PICKUP), jax.random.key(0)
    venv = VectorEnv(envs_jax.make(PICKUP), 3)
    batch = jax.eval_shape(venv.reset, key)[1].observation
    for obs, told in (
        (batch, r"a MiniGrid teacher takes one observation; for a batch use jax\.vmap\(teacher\)"),
        (first_observation(EMPTY), r"mission \[2\], not \[7, 7, 3\], \[\] and \[0\]; make it for the world"),
        (first_observation("SimpleDoorKey"), "reads observations with image, direction and mission, not"),
        (first_observation(PICKUP).image, "reads observations with image, direction and mission, not"),
        (None, "reads observations with image, direction and mission, not NoneType"),
    ):
        with refuses(told):
            jax.eval_shape(teacher, teacher.reset(), obs, key)
