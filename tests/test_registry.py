"""Tasks and networks of users: names that every part reads alike, modules that fail, registering again."""

import re
import unicodedata
from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jumanji import specs
from jumanji.env import Environment

import envs_jax
from envs_jax.grid.constants import GOAL, KEY, Actions
from envs_jax.minigrid.empty import Empty as Room
from jaxteach.api.plans import write_plans
from jaxteach.api.registry import register_network, register_task
from jaxteach.config import TrainConfig, WorldConfig
from jaxteach.errors import UserError
from jaxteach.llm.grammar import candidate_plans, plan_grammar
from jaxteach.llm.grammar_mask import Grammar
from jaxteach.llm.parse import answer_text, parse_answer
from jaxteach.llm.prompts import task_prompt
from jaxteach.llm.query import AnswerCounts
from jaxteach.llm.tree_decoding import Model
from jaxteach.networks.registry import REGISTERED
from jaxteach.system.plugins import import_plugins
from jaxteach.tasks import TASKS, canonical_task
from jaxteach.teacher.domain import Vocabulary
from jaxteach.teacher.plans import SKILLS, PlanFile, load_plans, save_plans
from jaxteach.teacher.policy import make_teacher, task_domain
from jaxteach.teacher.table import FIRST_OBJECT_SKILL, OBJECT_SKILLS, compile_plans
from jaxteach.teacher.tasks.minigrid import MiniGridDomain
from jaxteach.teacher.tasks.minigrid_captions import MiniGridCaptions, NamedObject
from jaxteach.teacher.tasks.plain import PlainDomain, Words
from tests.language_model import MODEL


class Empty(Environment):
    max_steps = 5
    action_spec = specs.DiscreteArray(2)
    observation_spec = specs.Array((1,), jnp.float32)

    def reset(self, key):
        raise NotImplementedError

    def step(self, state, action):
        raise NotImplementedError


@pytest.fixture(autouse=True)
def registered():
    """Forgets what a test registers."""
    registries = [envs_jax._TASKS, TASKS, REGISTERED]
    before = [dict(registry) for registry in registries]
    yield
    for registry, kept in zip(registries, before):
        registry.clear()
        registry.update(kept)


def words(*names):
    return Words([list(names)], list(names), SKILLS)


def domain_of(vocabulary):
    return PlainDomain(vocabulary, 2, caption=lambda obs: obs, actions=lambda obs: {})


letters = st.characters(categories=["L", "N"], include_characters="-_")
written = st.lists(st.text(letters, min_size=1, max_size=6), min_size=1, max_size=3).map(" ".join)
anything = st.text(max_size=8) | st.sampled_from(
    ["the key", "go to", "Key", "KEY", "a, b", "{a}", "<a>", "Nothing", "ß", "ss"]
)


@settings(max_examples=300, deadline=None)
@given(names=st.lists(written | anything, min_size=1, max_size=3))
def test_every_legal_name_comes_back_from_an_answer(names, tmp_path_factory):
    """Catches names that prompts, grammars, answers, plan files and tables don't read alike."""
    try:
        vocabulary = words(*names)
    except UserError:
        return
    register_task(Empty, TrainConfig("Names", total_steps=1), domain_of(vocabulary))
    grammar = plan_grammar(vocabulary)
    quoted = re.findall(r'"<((?:[^"\\]|\\.)*)>"', grammar)
    assert [re.sub(r"\\(.)", r"\1", name) for name in quoted] == names
    tally = AnswerCounts(0)
    for plan in candidate_plans(vocabulary):
        text = answer_text(plan)
        loose = text.replace("<", "the  ").replace(">", "")
        for answer in (
            text,
            text.casefold(),
            f"Of course!\n{text}\nGood luck.",
            loose,
            unicodedata.normalize("NFD", text),
        ):
            assert parse_answer(answer, vocabulary) == plan
        tally.add(text, vocabulary)
    entry = tally.entry(vocabulary)
    path = tmp_path_factory.mktemp("names") / "plans.json"
    plans = PlanFile(("Names",), (entry,))
    save_plans(plans, path)
    assert load_plans(path, "Names") == plans
    assert compile_plans(plans, vocabulary).probabilities.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    "name",
    ["rote Tür", "Schlüssel-2", "KEY", "_", "goto", "pick up", "鍵", "the", "ключ", "x" * 100, "nothing else"],
)
def test_what_names_may_be(name):
    assert words(name).object_names == [name]


BAD_NAMES = [
    "",
    " key",
    "key ",
    "red  key",
    "a,b",
    "{key}",
    "<key>",
    "key\n",
    "a\tb",
    'a"b',
    "a\\b",
    "the key",
    "Nothing",
]
BAD_NAMES += ["x" * 101, "u\u0308", "\ud800", None, 3]


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_what_names_may_not_be(name):
    with pytest.raises(UserError, match=r"name") as refusal:
        words(name)
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize(
    ("sees", "names", "skills", "told"),
    [
        ([["key"], ["key"]], ["key"], ("goto",), "the caption 'Agent sees <key>.' appears twice"),
        ([["key"], ["KEY"]], ["key"], ("goto",), "appears twice, also as"),
        ([["key"]], ["key", "Key"], ("goto",), "the object 'Key' appears twice, also as 'key'"),
        (["key"], ["key"], ("goto",), "caption 0 must be a list"),
        ([[3]], ["key"], ("goto",), "an object's name must be a string, not 3"),
        ([["door"]], ["key"], ("goto",), "caption 0 names 'door', and the objects are key"),
        ([["keyhole"]], ["hole"], ("goto",), "caption 0 names 'keyhole'"),
        ([], ["key"], ("goto",), "give at least one caption"),
        ([[]], [], ("goto",), "no plan can be made"),
        ([["key"]], ["key"], ("fly",), "skills are some of explore"),
        ([["key"]], ["key"], (), "no plan can be made"),
    ],
)
def test_words_are_checked(sees, names, skills, told):
    with pytest.raises(UserError, match=re.escape(told)):
        Words(sees, names, skills)


def test_captions_may_say_more_of_an_object():
    assert Words([["lit red switch"], []], ["red switch"]).texts[0] == "Agent sees <lit red switch>."


def test_the_words_of_a_domain_of_one_s_own_are_checked():
    """Catches a `Domain` with a vocabulary that is not `Words`, of which nothing is checked."""

    class Loose(Vocabulary):
        texts, sees, holds, object_names, skills = ["sees a, b"], [["a, b"]], [None], ["a, b"], ("goto",)

    with pytest.raises(UserError, match="'a, b' can't name an object"):
        register_task(Empty, TrainConfig("Loose", total_steps=1), domain_of(Loose()))
    assert "Loose" not in envs_jax.tasks()


@pytest.mark.parametrize(
    "task", ["SimpleDoorKey", "ColoredDoorKey", "TwoDoor", "LockedHallway-2Rooms", "simple_spread"]
)
def test_our_own_words_are_legal(task):
    names = task_domain(envs_jax.make(task), task).vocabulary.object_names
    assert words(*names).object_names == names


def test_plans_without_objects_have_a_grammar():
    vocabulary = Words([[]], [], ("explore", "wait"))
    assert plan_grammar(vocabulary).endswith('step ::= "explore" | "wait"')


def test_a_grammar_with_letters_of_several_bytes():
    """Catches a run of forced bytes that ends within a letter: ä and ö begin with the same byte."""
    vocabulary = Words([["ä", "ö"]], ["ä", "ö"], ("goto",))
    model = Model(str(MODEL))
    grammar = Grammar(model, plan_grammar(vocabulary))
    tokens, text = [], ""
    while not text.endswith("}"):
        forced = grammar.forced(tokens)
        tokens += forced or [int(grammar.allowed(tokens).nonzero()[0][-1])]
        text = model.detokenize(tokens).decode("utf-8", "ignore")
    assert {name for _, name in parse_answer(text, vocabulary)} <= {"ä", "ö"}


def test_registering_again_replaces(tmp_path):
    """Catches a notebook's cell that can't run twice, and a domain or prompt of before that stays."""
    prompt = tmp_path / "p.md"
    prompt.write_text("{caption}")
    register_task(Empty, TrainConfig("Mine", total_steps=1), domain_of(words("a")), prompt)
    register_task(Empty, TrainConfig("Mine", total_steps=2), domain_of(words("b")))
    assert (TASKS["Mine"].total_steps, task_domain(Empty(), "Mine").vocabulary.object_names) == (2, ["b"])
    with pytest.raises(UserError, match="Mine has no prompt"):
        task_prompt("Mine", Words([["b"]], ["b"]))
    register_task(Empty, TrainConfig("Mine", total_steps=2))
    assert not TrainConfig("Mine").taught
    register_network("mine", int)
    register_network("mine", float)
    assert REGISTERED["mine"] is float


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("simpledoorkey", "there is a task SimpleDoorKey already"),
        ("mine", "there is a task Mine already"),
        ("../up", "can't name a task"),
        ("", "^task is empty"),
        ("a b", "can't name a task"),
        ("object.Mine", "names that begin with object. stand for objects"),
    ],
)
def test_names_of_tasks(name, told):
    register_task(Empty, TrainConfig("Mine", total_steps=1))
    with pytest.raises(ValueError, match=told):
        register_task(Empty, TrainConfig(name, total_steps=1))


def test_mistakes_in_registering():
    with pytest.raises(UserError, match="there is a network mlp already"):
        register_network("mlp", float)
    with pytest.raises(ValueError, match="give total_steps"):
        register_task(Empty, TrainConfig("Mine"))
    with pytest.raises(ValueError, match="needs a function or class"):
        register_task(3, TrainConfig("Mine", total_steps=1))
    with pytest.raises(ValueError, match="total_steps must be at least 1"):
        register_task(Empty, TrainConfig("Mine", total_steps=0))
    wrong = PlainDomain(words("a"), 2, lambda obs: obs, lambda obs: {("goto", "b"): jnp.int32(0)})
    with pytest.raises(UserError, match="the domain's actions are of 'goto', 'b'"):
        wrong.skill_actions(jnp.zeros(0), 0, None, jnp.zeros(1, int))
    beyond = PlainDomain(words("a"), 2, lambda obs: obs, lambda obs: {("goto", "a"): 2})
    with pytest.raises(UserError, match="action of 'goto', 'a' is 2: it has 2"):
        beyond.skill_actions(jnp.zeros(0), 0, None, jnp.zeros(1, int))
    register_task(Empty, TrainConfig("Mine", total_steps=1), replace(beyond, num_actions=7))
    with pytest.raises(UserError, match="the teacher of Mine has 7 actions, but its world has 2"):
        make_teacher("Mine", "none")


def test_prompts_that_can_t_be_used(tmp_path):
    register_task(Empty, TrainConfig("Mine", total_steps=1), domain_of(words("a")), tmp_path / "none.md")
    with pytest.raises(UserError, match=r"can't read the prompt .*none\.md of Mine"):
        task_prompt("Mine", Words([["a"]], ["a"]))
    (tmp_path / "none.md").write_text("What now?")
    with pytest.raises(UserError, match=r"has no \{caption\}"):
        task_prompt("Mine", Words([["a"]], ["a"]))


def test_options_are_told_as_they_are_typed():
    register_task(Empty, TrainConfig("Mine", total_steps=1))
    with pytest.raises(UserError, match=r": --view_size must be odd and within 3\.\.15, not 4$"):
        WorldConfig(view_size=4).make("LockedHallway-2Rooms")
    with pytest.raises(UserError, match=r": --num_agents must be at least 1, not 0$"):
        WorldConfig(num_agents=0).make("simple_spread")
    with pytest.raises(UserError, match=r": --max_steps must be at least 1, not 0$"):
        WorldConfig(max_steps=0).make("simple_tag")
    with pytest.raises(UserError, match=r"^simple_tag has no --view_size; its world's options are --max_steps$"):
        WorldConfig(view_size=3).make("simple_tag")
    with pytest.raises(UserError, match=r"^Mine has no --max_steps; its world has no options$"):
        WorldConfig(max_steps=3).make("Mine")
    with pytest.raises(ValueError, match=r"Mine has no parameter size; it has no parameters$"):
        envs_jax.make("mine", size=3)
    with pytest.raises(UserError, match=r"unknown task 'Mime'; did you mean .*JAXTEACH_IMPORT"):
        canonical_task("Mime")


FAILING = {
    "syntax": ("x = 1\ndef f(:\n", "invalid syntax", 2),
    "raises": ("import json\n\njson.loads('{')\n", "JSONDecodeError: Expecting", 3),
    "leaves": ("import sys\nsys.exit(3)\n", "SystemExit: 3", 2),
    "needs": ("import nowhere_at_all\n", "No module named 'nowhere_at_all'", 1),
    "taken": (
        "from jaxteach.config import TrainConfig\nfrom jaxteach.api.registry import register_task\n"
        "register_task(dict, TrainConfig('TwoDoor', total_steps=1))\n",
        "there is a task TwoDoor already",
        3,
    ),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_module_that_fails_is_told_in_one_sentence(name, tmp_path, monkeypatch):
    """Catches a traceback, and a sentence that does not say where."""
    text, told, line = FAILING[name]
    (tmp_path / f"own_{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("JAXTEACH_IMPORT", f"json, own_{name},")
    with pytest.raises(UserError, match=f"JAXTEACH_IMPORT names own_{name}, and it can't be imported") as refusal:
        import_plugins()
    assert told in str(refusal.value)
    assert str(refusal.value).endswith(f"({tmp_path / f'own_{name}.py'}, line {line})")


def test_blanks_and_empty_items_are_no_modules(monkeypatch):
    monkeypatch.setenv("JAXTEACH_IMPORT", " json , ,string,")
    import_plugins()
    monkeypatch.setenv("JAXTEACH_IMPORT", "..")
    with pytest.raises(UserError, match=r"JAXTEACH_IMPORT names \.\., and"):
        import_plugins()


EMPTY_HANDS = "Agent sees <nothing>, holds <nothing>."


def test_plans_by_hand_are_written_in_the_words_of_answers(tmp_path):
    """Catches a plan that is written otherwise than it is read, and probabilities that are lost."""
    path = tmp_path / "plans.json"
    seen = "Agent sees <key>, holds <nothing>."
    written = write_plans(
        path, "simpledoorkey", {EMPTY_HANDS: "explore", seen: {"go to <key>, pick up the key": 0.75, "Wait": 0.25}}
    )
    plans = load_plans(path, "SimpleDoorKey")
    assert plans == written
    assert plans.by_hand
    assert [(entry.sees, entry.holds) for entry in plans.captions] == [((), None), (("key",), None)]
    fetch, wait = plans.captions[1].plans
    assert (fetch.probability, fetch.skills) == (0.75, (("goto", "key"), ("pickup", "key")))
    assert (wait.probability, wait.skills) == (0.25, (("wait", None),))
    make_teacher("SimpleDoorKey", str(path))


@pytest.mark.parametrize(
    ("task", "plans", "told"),
    [
        ("simple", {}, "simple has no teacher"),
        ("SimpleDoorKye", {}, "did you mean SimpleDoorKey"),
        ("SimpleDoorKey", {"Agent sees <nothing>, holds <nothing>": "wait"}, r"did you mean Agent sees <nothing>"),
        ("SimpleDoorKey", {"what now": "wait"}, "has no caption 'what now'; one is 'Agent sees"),
        ("SimpleDoorKey", {EMPTY_HANDS: "fly"}, "the plan 'fly' for 'Agent .* can't be used: an unknown skill"),
        ("SimpleDoorKey", {EMPTY_HANDS: "go to <keys>"}, "an unknown object"),
        ("SimpleDoorKey", {EMPTY_HANDS: {"explore": 0.5}}, "sum to 0.5, not to 1"),
        ("SimpleDoorKey", {EMPTY_HANDS: {"explore": 1.5, "wait": -0.5}}, "Expected `float` <= 1"),
        ("SimpleDoorKey", {EMPTY_HANDS: {}}, "length >= 1"),
        ("SimpleDoorKey", {EMPTY_HANDS: ["explore"]}, "a plan, or plans with their probabilities, not"),
    ],
)
def test_plans_by_hand_that_can_t_be_used(task, plans, told, tmp_path):
    """Catches a file that is written although it can't be read."""
    with pytest.raises(ValueError, match=told):
        write_plans(tmp_path / "plans.json", task, plans)
    assert not (tmp_path / "plans.json").exists()


def goals(known):
    return known.kind == GOAL


class SelfOnly(MiniGridDomain):
    def drop_cells(self, known):
        return known.here


def test_a_domain_may_be_made_for_each_world(tmp_path):
    """Catches a domain of one size for all, an unchecked one, and a MiniGrid world without MiniGrid's prompt."""
    vocabulary = MiniGridCaptions((NamedObject("goal", goals, enter=True),), "Reach it.", skills=("explore", "goto"))
    register_task(Room, TrainConfig("Room", total_steps=1), lambda env: MiniGridDomain.of(env, vocabulary))
    small, large = (task_domain(envs_jax.make("Room", size=size), "Room").size for size in (5, 8))
    assert large == (small[0] + 3, small[1] + 3)
    assert "Reach it." in task_prompt("Room", vocabulary).text
    prompt = tmp_path / "p.md"
    prompt.write_text("{mission} {caption}")
    register_task(Room, TrainConfig("Room", total_steps=1), lambda env: SelfOnly.of(env, vocabulary), prompt)
    assert task_prompt("Room", vocabulary).text == "Reach it. {caption}"
    with pytest.raises(UserError, match=r"the domain of Room must be a Domain, such as PlainDomain, not 5"):
        register_task(Room, TrainConfig("Room", total_steps=1), lambda env: 5)
    bad = MiniGridCaptions((NamedObject("the goal", goals),))
    with pytest.raises(UserError, match="'the goal' can't name an object"):
        register_task(Room, TrainConfig("Room", total_steps=1), lambda env: MiniGridDomain.of(env, bad))


@pytest.mark.parametrize(("kind", "action"), [(MiniGridDomain, Actions.drop), (SelfOnly, Actions.done)])
def test_drop_may_mean_something_else(kind, action):
    """Catches a skill that asks no subclass, and one that drops where the agent stands."""
    key = NamedObject("key", lambda known: known.kind == KEY, lambda known: known.held_kind == KEY)
    env = Room(7)
    domain = kind.of(env, MiniGridCaptions((key,)))
    arrays = jax.device_get(env.to_arrays(env.reset(jax.random.key(0))[0]))
    state = env.make_state(**arrays | {"agent_pos": (3, 3), "agent_dir": 0, "carrying": (KEY, 0)})
    skill = FIRST_OBJECT_SKILL + OBJECT_SKILLS.index("drop")

    @jax.jit
    def act(obs):
        scene = domain.read(obs)
        memory = domain.remember(domain.reset(), scene)
        caption, context = domain.caption_id(memory, scene)
        return caption, domain.skill_actions(memory, scene, context, jnp.array([skill]))

    caption, actions = act(env.observe(state))
    assert domain.vocabulary.texts[caption] == "Agent sees <nothing>, holds <key>."
    assert actions.tolist() == [action]
