"""The skills of MiniGrid's worlds in drawn states, of which the agent knows all but what is drawn as unknown."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs_jax.grid.cells import EMPTY_WORD
from envs_jax.grid.constants import (
    BALL,
    BOX,
    CLOSED,
    COLOR_TO_IDX,
    DOOR,
    EMPTY,
    GOAL,
    KEY,
    LAVA,
    LOCKED,
    NUM_COLORS,
    OPEN,
    WALL,
    Actions,
)
from envs_jax.minigrid import COLORS, MiniGridEnv
from envs_jax.minigrid.environment import object_types
from envs_jax.minigrid.map_memory import map_size
from jaxteach.teacher.navigation import FINISHED
from jaxteach.teacher.table import EXPLORE, FIRST_OBJECT_SKILL, OBJECT_SKILLS
from jaxteach.teacher.tasks.minigrid import MiniGridDomain
from jaxteach.teacher.tasks.minigrid_captions import MiniGridCaptions
from jaxteach.teacher.tasks.minigrid_worlds import (
    BLOCKING_BALL,
    CLOSED_BOX,
    GOAL_CELL,
    KEYS,
    LOCKED_DOOR,
    TARGET,
    UNOPENED_DOOR,
)

RED, GREEN, BLUE = (COLOR_TO_IDX[color] for color in ("red", "green", "blue"))
CELLS = {
    "#": (WALL, 5, 0),
    ".": (EMPTY, 0, 0),
    "G": (GOAL, GREEN, 0),
    "~": (LAVA, 0, 0),
    "+": (DOOR, BLUE, CLOSED),
    "-": (DOOR, BLUE, OPEN),
    "L": (DOOR, RED, LOCKED),
    "k": (KEY, RED, 0),
    "b": (BALL, GREEN, 0),
    "t": (BALL, BLUE, 0),
    "x": (BOX, GREEN, 0),
    "?": (EMPTY, 0, 0),
}
"""What is drawn; `t` is the mission's target, `?` an empty cell that the agent does not know, and `>v<^` the agent."""
LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, DONE = Actions
WIDTH, HEIGHT = 15, 6


class Drawn(MiniGridEnv):
    mission_template = "find the {} {}"
    mission_placeholders = (COLORS, object_types(BALL))

    def __init__(self):
        super().__init__(WIDTH, HEIGHT, 1000)


ENV = Drawn()
WORDS = MiniGridCaptions((TARGET, *KEYS, LOCKED_DOOR, UNOPENED_DOOR, CLOSED_BOX, BLOCKING_BALL, GOAL_CELL))


@cache
def stepper(avoid_lava):
    """A skill's action int32[1] in a state, and what comes of it; one program for all tests."""
    domain = MiniGridDomain.of(ENV, WORDS, avoid_lava)

    def step(state, memory, skill):
        scene = domain.read(ENV.observe(state))
        memory = domain.remember(memory, scene)
        caption, context = domain.caption_id(memory, scene)
        (action,) = domain.skill_actions(memory, scene, context, skill[None])
        after, _ = ENV.step(state, jnp.maximum(action, 0))
        return after, domain.advance(memory, jnp.maximum(action, 0)), caption, action

    return domain, jax.jit(step)


def draw(picture, holds, unlocked=(), avoid_lava=True):
    """The state of a picture, filled up with walls, and what the agent knows of it."""
    lines = [line.ljust(WIDTH, "#") for line in picture]
    letters = np.array([list(line) for line in (*lines, *["#" * WIDTH] * (HEIGHT - len(lines)))]).T
    ((x, y),) = np.argwhere(np.isin(letters, list(">v<^")))
    grid = np.array([[CELLS.get(letter, CELLS["."]) for letter in column] for column in letters], np.uint8)
    state = ENV.make_state(
        grid, (x, y), ">v<^".index(letters[x, y]), CELLS[holds][:2] if holds else (0, 0), mission=(BLUE, BALL)
    )
    words = np.where(letters == "?", 0, grid.astype(np.uint32) @ np.array([1, 2**8, 2**16], np.uint32))
    memory = stepper(avoid_lava)[0].reset()
    seen = memory.seen._replace(
        words=jnp.asarray(np.roll(words, (-x, -y), (0, 1)).reshape(-1), jnp.uint32),
        low=jnp.array([-x, -y], jnp.int32),
        high=jnp.array([WIDTH - 1 - x, HEIGHT - 1 - y], jnp.int32),
    )
    assert map_size(ENV) == (WIDTH, HEIGHT)
    return state, memory._replace(seen=seen, unlocked=jnp.isin(jnp.arange(NUM_COLORS), jnp.array(unlocked, int)))


def skill_of(name, target=None):
    if target is None:
        return jnp.int32(EXPLORE)
    place = WORDS.object_names.index(target)
    return jnp.int32(FIRST_OBJECT_SKILL + len(OBJECT_SKILLS) * place + OBJECT_SKILLS.index(name))


def carry_out(picture, *skill, holds=None, most=30, avoid_lava=True):
    """The actions of a skill, until it is finished, waits, drops something or enters a goal; and the last state."""
    state, memory = draw(picture, holds, avoid_lava=avoid_lava)
    actions, step = [], stepper(avoid_lava)[1]
    while len(actions) < most:
        state, memory, _, action = step(state, memory, skill_of(*skill))
        if action == FINISHED:
            break
        actions.append(int(action))
        if action in (DONE, DROP) or grid_of(state)[position(state)][0] == GOAL:
            break
    return actions, state


def grid_of(state):
    return np.asarray(ENV.to_arrays(state)["grid"])


def position(state):
    return tuple(ENV.to_arrays(state)["agent_pos"].tolist())


def caption_of(picture, holds=None, unlocked=()):
    state, memory = draw(picture, holds, unlocked)
    number = stepper(True)[1](state, memory, skill_of("explore"))[2]
    return WORDS.sees[number], WORDS.holds[number]


def test_go_to_walks_around_lava_or_through_it():
    picture = [
        "###############",
        "#>~t..........#",
        "#.............#",
    ]
    around, state = carry_out(picture, "goto", "target")
    assert around == [RIGHT, FORWARD, LEFT, FORWARD, FORWARD, LEFT]
    assert position(state) == (3, 2)
    through, _ = carry_out(picture, "goto", "target", avoid_lava=False)
    assert through == [FORWARD]


def test_go_to_opens_a_door_in_its_way_that_was_seen_from_both_sides():
    way, _ = carry_out(["#####", "#>+..t", "####"], "goto", "target")
    assert way == [TOGGLE, FORWARD, FORWARD, FORWARD]
    assert carry_out(["#####", "#>+??t", "####"], "goto", "target")[0] == [DONE], "what is behind it is not known"
    assert caption_of(["#####", "#>+??t", "####"])[0] == ["closed door"]
    assert caption_of(["#####", "#>+..t", "####"])[0] == ["target"]


def test_go_to_the_nearest_of_several():
    way, state = carry_out(["###############", "#k...>......k.#"], "goto", "key")
    assert (way, position(state)) == ([LEFT, LEFT, FORWARD, FORWARD, FORWARD], (2, 1))


def test_a_goal_is_entered():
    way, state = carry_out(["####", "#>.G", "####"], "goto", "goal")
    assert (way, position(state)) == ([FORWARD, FORWARD], (3, 1))


@pytest.mark.parametrize(
    ("corridor", "way"),
    [
        ("#?....^.......?", [LEFT]),
        ("#?......^....?#", [RIGHT]),
    ],
)
def test_explore_goes_to_the_nearest_frontier(corridor, way):
    """In a corridor the agent sees three cells to its sides."""
    assert carry_out(["#" * WIDTH, corridor], "explore", most=1)[0] == way


def test_explore_sees_all_that_can_be_reached():
    """Nothing is known at first; then it is finished, and has not opened the door."""
    picture = ["#" * WIDTH, "#.....#......##", "#.....#.####.##", "#..>.......#.+.", "#.....######.##"]
    state, _ = draw(picture, None)
    domain, step = stepper(True)
    memory, actions = domain.reset(), []
    while not actions or actions[-1] != FINISHED:
        state, memory, _, action = step(state, memory, skill_of("explore"))
        actions.append(int(action))
        assert len(actions) < 60
    seen = np.roll(np.asarray(memory.seen.words).reshape(WIDTH, HEIGHT), (3, 3), (0, 1))
    free = np.array([list(line) for line in picture]).T == "."
    free[14, 3] = False
    assert (seen[:, : len(picture)][free] != 0).all()
    assert set(actions[:-1]) <= {LEFT, RIGHT, FORWARD}


def test_explore_looks_past_an_object():
    picture = ["#" * WIDTH, "#>.......b????#"]
    way, _ = carry_out(picture, "explore", most=40)
    assert way == [FORWARD] * 3, "until the cell behind the object is in view"
    assert carry_out(["#" * WIDTH, "#>.......b....#"], "explore")[0] == []


def test_things_are_dropped_in_the_nearest_dead_end_of_a_corridor():
    """Elsewhere they would be in the way."""
    way, state = carry_out(["#" * WIDTH, "#.......>.....#"], "drop", "key", holds="k")
    assert way == [*[FORWARD] * 4, DROP]
    assert grid_of(state)[13, 1, 0] == KEY


def test_things_are_dropped_in_the_open_and_not_before_a_door():
    """Of the room, only the northern two rows are known."""
    picture = ["######", "#....L", "#b..^#", "#????#", "#????#"]
    way, state = carry_out(picture, "drop", "ball", holds="b")
    (x, y) = np.argwhere(grid_of(state)[:, :, 0] == BALL)[-1]
    assert (x, y) == (3, 1)
    assert way == [FORWARD, LEFT, DROP]


def test_drop_is_finished_with_something_else_in_hand():
    assert carry_out(["###", "#>.#"], "drop", "ball", holds="k")[0] == []
    assert carry_out(["###", "#>.#"], "drop", "key")[0] == []


@pytest.mark.parametrize(
    ("row", "unlocked", "seen"),
    [
        ("#.>...k...t#", (RED,), ["used key"]),
        ("#k..>......#", (RED,), []),
        ("#.>...k...t#", (), ["key"]),
        ("#k..>..L...#", (RED,), ["key", "locked door"]),
        ("#.>...b...t#", (), ["ball"]),
        ("#b..>......#", (), []),
        ("#..>......t#", (), ["target"]),
    ],
)
def test_what_is_of_no_use_is_named_while_it_is_in_the_way(row, unlocked, seen):
    """A used key, as soon as another of its doors is seen, is a key again."""
    assert caption_of(["#" * WIDTH, row], unlocked=unlocked)[0] == seen


def test_a_key_is_used_once_its_door_was_seen_to_open():
    state, memory = draw(["#####", "#>L.#", "#####"], "k")
    step, told = stepper(True)[1], []
    for _ in range(2):
        state, memory, caption, action = step(state, memory, skill_of("toggle", "locked door"))
        told.append((WORDS.sees[caption], WORDS.holds[caption], int(action)))
    assert told == [(["locked door"], "key", TOGGLE), ([], "used key", DONE)]
    assert memory.unlocked.tolist() == [color == RED for color in range(NUM_COLORS)]


def test_put_next_to_drops_a_thing_beside_the_object():
    picture = ["#" * WIDTH, "#>...........t#", "#.............#"]
    way, state = carry_out(picture, "putnext", "target", holds="k")
    ((x, y),) = np.argwhere(grid_of(state)[:, :, 0] == KEY)
    assert max(abs(x - 13), abs(y - 1)) == 1
    assert len(way) == 11, "the shortest way, and the drop"
    assert carry_out(picture, "putnext", "target")[0] == [], "with empty hands it is finished"


def test_one_action_skills():
    assert carry_out(["###", "#>k"], "pickup", "key", most=1)[0] == [PICKUP]
    assert carry_out(["###", "#>k"], "pickup", "key", holds="k")[0] == [], "it is in hand"
    assert carry_out(["###", "#>x"], "toggle", "box", most=1)[0] == [TOGGLE]
    assert carry_out(["####", "#>.#"], "toggle", "box")[0] == [DONE], "there is none"
    assert carry_out(["####", "#>#k"], "goto", "key")[0] == [DONE], "there is no way"


def test_nothing_moves_through_objects():
    """The only way is past the box, which is not walked through."""
    assert carry_out(["#####", "#>x.t", "#####"], "goto", "target")[0] == [DONE]
    way, state = carry_out(["#####", "#>x.t", "#...#"], "goto", "target")
    assert position(state) == (3, 1)
    assert way[0] == RIGHT
    assert int(state.carrying) == EMPTY_WORD
