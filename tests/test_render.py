"""Pictures: colours at known places, MiniGrid's and MPE's own pictures, films."""

import gc
import itertools
import sys

import imageio.v3 as iio
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from minigrid.core.grid import Grid
from minigrid.core.world_object import Ball, Box, Door, Floor, Goal, Key, Lava, Wall
from PIL import Image, ImageSequence

import envs_jax
from envs_jax.animation import animate, draw
from envs_jax.grid.cells import cell_word
from envs_jax.grid.constants import COLOR_TO_IDX, DOOR, EMPTY, KEY, NO_DIRECTION, OBJECT_TO_IDX, OPEN, WALL
from envs_jax.grid.render import COLORS, render_observation, render_tile, render_views, render_world
from envs_jax.minigrid import DirectionObsWrapper, FullyObsWrapper, RGBImgObsWrapper
from envs_jax.mpe import SCENARIOS
from envs_jax.mpe.render import messages, render_particles
from envs_jax.vector import VectorState
from jaxteach.config import WorldConfig
from jaxteach.ppo.episodes import frame_of
from tests.minigrid_reference import make_reference, state_of
from tests.test_mpe import Reference

TILE = 24
UNSEEN_RGB, WALL_RGB, EMPTY_RGB = (36, 36, 44), (100, 100, 100), (0, 0, 0)
NOBODY = np.zeros((0, 2), int)


def middle(picture, x, y, tile=TILE):
    """The colour in the middle of a cell."""
    return tuple(picture[y * tile + tile // 2, x * tile + tile // 2].tolist())


def rgb(color):
    return tuple(COLORS[color].astype(int).tolist())


def tile_of(kind, color=0, status=0):
    return np.array([[[kind, color, status]]], np.uint8)


THINGS = {
    "nothing": [None],
    "wall": [Wall(color) for color in COLOR_TO_IDX],
    "floor": [Floor(color) for color in COLOR_TO_IDX],
    "open door": [Door(color, is_open=True) for color in COLOR_TO_IDX],
    "closed door": [Door(color) for color in COLOR_TO_IDX],
    "locked door": [Door(color, is_locked=True) for color in COLOR_TO_IDX],
    "key": [Key(color) for color in COLOR_TO_IDX],
    "ball": [Ball(color) for color in COLOR_TO_IDX],
    "box": [Box(color) for color in COLOR_TO_IDX],
    "goal": [Goal()],
    "lava": [Lava()],
}


@pytest.mark.parametrize("kind", THINGS)
def test_tiles_are_minigrid_s(kind):
    """Each object in each colour, with and without an agent above it, in the dark and in the light."""
    for thing in THINGS[kind]:
        numbers = (EMPTY, 0, 0) if thing is None else thing.encode()
        for direction, highlight in itertools.product((None, 0, 1, 2, 3), (False, True)):
            ours = render_tile(*numbers, 8, direction, highlight)
            np.testing.assert_array_equal(ours, minigrid_tile(thing, 8, direction, highlight))
    np.testing.assert_array_equal(render_tile(*numbers, TILE), minigrid_tile(thing, TILE))


def minigrid_tile(thing, tile_size, direction=None, highlight=False):
    """MiniGrid cuts off fractions where it puts tiles together."""
    return Grid.render_tile(thing, direction, highlight, tile_size).astype(np.uint8)


@pytest.mark.parametrize("direction", range(4))
def test_agents_look_like_minigrid_s(direction):
    ours = render_world(tile_of(EMPTY), [0, 0], direction, tile_size=32)
    np.testing.assert_array_equal(ours, minigrid_tile(None, 32, direction))


@pytest.mark.parametrize("name", ["MiniGrid-LavaGapS5-v0", "MiniGrid-Unlock-v0", "MiniGrid-Fetch-6x6-N2-v0"])
def test_worlds_look_like_minigrid_s(name):
    """Catches an agent that is drawn with what it carries, which MiniGrid's is not."""
    env, reference = envs_jax.make(name), make_reference(name)
    reference.reset(seed=0)
    for hand in (None, Key("yellow")):
        reference.carrying = hand
        theirs = reference.grid.render(TILE, reference.agent_pos, reference.agent_dir)
        np.testing.assert_array_equal(env.render(state_of(env, reference)), theirs)


def test_what_is_carried_is_shown_where_minigrid_has_no_picture():
    env = envs_jax.make("KeyInBox")
    state, _ = jax.jit(env.reset)(jax.random.key(0))
    holding = state._replace(carrying=jnp.uint32(cell_word(KEY, COLOR_TO_IDX["yellow"])))
    x, y = np.asarray(env.to_arrays(state)["agent_pos"])
    assert [middle(env.render(s), x, y) for s in (state, holding)] == [rgb(0), rgb(COLOR_TO_IDX["yellow"])]


def difference(ours, theirs):
    """The mean difference of pixels, 0 to 255."""
    return np.abs(np.asarray(ours, float) - theirs).mean()


def test_a_doorkey_world():
    env = envs_jax.make("SimpleDoorKey")
    state, _ = jax.jit(env.reset)(jax.random.key(0))
    facts = {name: np.asarray(value) for name, value in env.to_arrays(state).items()}
    picture = env.render(state)
    assert picture.shape == (10 * TILE, 10 * TILE, 3)
    assert picture.dtype == np.uint8
    for x, y in np.ndindex(10, 10):
        if (x, y) == tuple(facts["agent_pos"]):
            assert middle(picture, x, y) == (255, 0, 0)
        elif facts["grid"][x, y, 0] in (WALL, EMPTY):
            assert middle(picture, x, y) == (WALL_RGB if facts["grid"][x, y, 0] == WALL else EMPTY_RGB)


def test_an_observation_hides_what_was_not_seen():
    env = envs_jax.make("SimpleDoorKey")
    state, timestep = jax.jit(env.reset)(jax.random.key(0))
    seen = np.asarray(env.to_arrays(state)["seen"])
    picture = draw(env, timestep.observation)
    unseen = [(x, y) for x, y in np.argwhere(~seen)]
    assert 0 < len(unseen) < 100
    assert {middle(picture, x, y) for x, y in unseen} == {UNSEEN_RGB}
    assert UNSEEN_RGB not in {middle(picture, x, y) for x, y in np.argwhere(seen)}


def test_what_an_agent_carries_is_a_disc_in_its_hands():
    obs = np.zeros((5, 5, 4), np.uint8)
    obs[..., 3] = NO_DIRECTION
    obs[2, 1] = KEY, COLOR_TO_IDX["yellow"], 0, 0
    assert middle(render_observation(obs), 2, 1) == rgb(COLOR_TO_IDX["yellow"])
    holding = render_world(tile_of(EMPTY), [0, 0], 0, carrying=(KEY, COLOR_TO_IDX["yellow"]))
    np.testing.assert_array_equal(render_observation(obs)[TILE : 2 * TILE, 2 * TILE : 3 * TILE], holding)
    obs[2, 1, :3] = EMPTY, 0, 0
    assert middle(render_observation(obs), 2, 1) == rgb(COLOR_TO_IDX["red"])
    door = tile_of(DOOR, COLOR_TO_IDX["blue"], OPEN)
    assert middle(render_world(door, [0, 0], 0), 0, 0) == rgb(COLOR_TO_IDX["red"])
    green_key = KEY, COLOR_TO_IDX["green"]
    assert middle(render_world(door, [0, 0], 0, carrying=green_key), 0, 0) == rgb(COLOR_TO_IDX["green"])


def test_a_hallway_s_agents_differ_in_colour():
    env = envs_jax.make("LockedHallway-4Rooms", num_agents=4)
    state, timestep = jax.jit(env.reset)(jax.random.key(3))
    picture = env.render(state)
    positions = np.asarray(env.to_arrays(state)["agent_pos"])
    assert [middle(picture, x, y) for x, y in positions] == [rgb(color) for color in range(4)]
    views = draw(env, timestep.observation)
    side = 7 * TILE + 4
    assert views.shape == (side, 4 * side, 3)
    for agent in range(4):
        assert middle(views[2:, agent * side + 2 :], 3, 6) == rgb(agent)


def test_views_show_other_agents():
    views = np.zeros((1, 3, 3, 3), np.uint8)
    views[0, 0, 0] = OBJECT_TO_IDX["agent"], COLOR_TO_IDX["purple"], 2
    picture = render_views(views)[2:-2, 2:-2]
    assert middle(picture, 0, 0) == rgb(COLOR_TO_IDX["purple"])
    assert middle(picture, 1, 0) == UNSEEN_RGB


@pytest.mark.parametrize("name", SCENARIOS)
def test_particle_worlds_have_mpe_s_colours(name):
    reference, env = Reference(name, {}), envs_jax.make(name)
    for seed in range(4):
        reference.reset(seed)
        theirs = [entity.color[:3] for entity in reference.env.world.entities]
        np.testing.assert_allclose(env.entity_colors(np.array(reference.goals(), np.int32)), theirs, atol=1e-6)


@pytest.mark.parametrize("name", SCENARIOS)
def test_particle_worlds_look_like_mpe_s(name):
    """Above the text, whose letters differ, without forests, which lie below, and with discs of fixed size.

    The reference cuts positions and radii to whole pixels, so means over blocks are compared.
    """
    options = {"dynamic_rescaling": False, **({"num_forests": 0} if name == "simple_world_comm" else {})}
    reference = Reference(name, {**options, "render_mode": "rgb_array"})
    env = envs_jax.make(name, **options)
    text = 588 if env.world.speaks.any() else 700
    for seed in range(3):
        reference.reset(seed)
        theirs = coarse(reference.env.render()[:text])
        ours = coarse(env.render(env.make_state(**reference.state()))[:text])
        assert difference(ours, theirs) < 0.15 * difference(255, theirs)


def coarse(picture):
    """The means over blocks of 14 x 14 pixels."""
    height, width, _ = picture.shape
    return picture.reshape(height // 14, 14, width // 14, 14, 3).mean((1, 3))


def test_discs_scale_with_the_camera():
    """Two discs that touch in the world touch in the picture, however far away a third one is."""
    env = envs_jax.make("simple_spread", N=2)
    for far in (1.0, 3.0):
        p_pos = np.array([(-0.15, 0), (0.15, 0), (far, 0), (0, 0.5)])
        picture = render_particles(env, env.make_state(p_pos, np.zeros((2, 2))), 900)
        row = picture[450, :, 2] < 250
        left, right = (int(450 + 0.9 * 450 * x / far) for x in (-0.3, 0.3))
        assert row[left + 2 : right - 1].all()
        assert not row[left - 20 : left - 1].any()
        assert not row[right + 2 : right + 20].any()


def test_agents_in_forests_are_seen():
    env = envs_jax.make("simple_world_comm")
    p_pos = np.random.default_rng(0).uniform(0.6, 0.9, (len(env.world.size), 2))
    p_pos[1] = p_pos[env.forests][0] = (0.0, 0.0)
    picture = render_particles(env, env.make_state(p_pos, np.zeros((env.num_agents, 2))), 700)
    assert picture[350, 350].tolist() == [190, 90, 90]


def test_what_agents_say():
    p_pos, p_vel, goals = np.ones((5, 2)), np.zeros((3, 2)), [0, 1]
    said = np.zeros((3, 4))
    said[1, 2] = said[2, 3] = 0.75
    words = envs_jax.make("simple_crypto")
    numbers = envs_jax.make("simple_crypto", continuous_actions=True)
    silent, spoken = (words.make_state(p_pos, p_vel, goals, c=c) for c in (None, said))
    assert messages(words, silent) == ["eve_0 sends _", "bob_0 sends _", "alice_0 sends _"]
    assert messages(words, spoken) == ["eve_0 sends _", "bob_0 sends C", "alice_0 sends D"]
    assert messages(numbers, spoken)[2] == "alice_0 sends [0.00,0.00,0.00,0.75]"
    changed = np.argwhere((words.render(silent) != words.render(spoken)).any(-1))
    assert (changed[:, 0] > 588).all()
    assert len(changed) > 20


def test_pictures_are_compiled_once(monkeypatch):
    env, traces = envs_jax.make("LockedHallway-2Rooms"), []
    to_arrays = env.to_arrays
    monkeypatch.setattr(env, "to_arrays", lambda state: traces.append(state) or to_arrays(state))
    state, _ = jax.jit(env.reset)(jax.random.key(0))
    for step_count in range(3):
        env.render(state._replace(step_count=jnp.int32(step_count)))
    assert len(traces) == 1


@pytest.mark.parametrize(
    "task", ["SimpleDoorKey", "LockedHallway-2Rooms", "simple", "MiniGrid-Empty-5x5-v0", "RandomBoxKey"]
)
def test_films(task, tmp_path):
    env = envs_jax.make(task)
    states, observations = walk(env)
    animate(env, states, tmp_path / "listed.gif")
    animate(env, jax.tree.map(lambda *leaves: jnp.stack(leaves), *states), str(tmp_path / "stacked.gif"))
    pictures = iio.imread(tmp_path / "listed.gif")
    assert pictures.shape == (len(states), *env.render(states[0]).shape)
    np.testing.assert_array_equal(iio.imread(tmp_path / "stacked.gif"), pictures)
    assert difference(pictures[-1], env.render(states[-1])) < 5
    if task != "simple":
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *observations)
        animate(env, stacked, tmp_path / "seen.gif")
        assert difference(iio.imread(tmp_path / "seen.gif")[-1], draw(env, observations[-1])) < 5


def test_films_of_wrapped_worlds(tmp_path):
    """Catches observations that are drawn as the world's own: a whole grid, a picture."""
    env = envs_jax.make("MiniGrid-Empty-5x5-v0")
    fully, pictures = FullyObsWrapper(env), DirectionObsWrapper(RGBImgObsWrapper(env, TILE))
    states, observations = walk(fully)
    animate(fully, observations, tmp_path / "seen.gif")
    assert iio.imread(tmp_path / "seen.gif").shape == (4, 5 * TILE, 5 * TILE, 3)
    np.testing.assert_array_equal(draw(fully, observations[-1]), env.render(states[-1]))
    seen = jax.jit(pictures.observe)(states[-1])
    np.testing.assert_array_equal(draw(pictures, seen), seen.image)
    for given, told in ((seen, "needs several"), ([seen.image], "observations of DirectionObsWrapper")):
        with pytest.raises(ValueError, match=told):
            animate(pictures, given, tmp_path / "film.gif")


def walk(env):
    """Four states and observations that all look different; particles start to move with the second step."""
    state, _ = jax.jit(env.reset)(jax.random.key(1))
    step, action = jax.jit(env.step), jnp.ones(env.action_spec.shape, jnp.int32)
    state, timestep = step(state, action)
    states, observations = [state], [timestep.observation]
    for _ in range(3):
        state, timestep = step(state, action)
        states.append(state)
        observations.append(timestep.observation)
    return states, observations


def test_a_film_s_camera_stands_still(tmp_path, monkeypatch):
    """Catches pictures each of its own scale, in which what rests seems to move."""
    env, cameras = envs_jax.make("simple"), []
    monkeypatch.setattr("envs_jax.animation.render_particles", lambda env, state, camera: cameras.append(camera) or RED)
    places = [((x, 0), (0.2, 0.2)) for x in (0.5, 2.0, 1.0)]
    states = [env.make_state(p_pos, np.zeros((1, 2)), step_count=i) for i, p_pos in enumerate(places)]
    animate(env, states, tmp_path / "film.gif")
    assert cameras == [2.0] * 3
    monkeypatch.undo()
    landmark = [render_particles(env, state, 100, camera=2.0)[40:51, 50:60] for state in states[1:]]
    np.testing.assert_array_equal(*landmark)


RED = np.full((8, 8, 3), (200, 0, 0), np.uint8)


@pytest.mark.parametrize(("fps", "last"), [(5, 1000), (0.5, 2000)])
def test_the_last_picture_stays(fps, last, tmp_path):
    env = envs_jax.make("SimpleDoorKey")
    states, _ = walk(env)
    animate(env, states, tmp_path / "film.gif", fps=fps)
    with Image.open(tmp_path / "film.gif") as film:
        durations = [frame.info["duration"] for frame in ImageSequence.Iterator(film)]
    assert durations == [1000 / fps] * 3 + [last]


def test_one_picture_is_a_film(tmp_path):
    """Catches Pillow's own message for a list of one duration."""
    env = envs_jax.make("SimpleDoorKey")
    states, _ = walk(env)
    for frames in (states[:1], jax.tree.map(lambda leaf: leaf[None], states[0])):
        animate(env, frames, tmp_path / "film.gif")
        with Image.open(tmp_path / "film.gif") as film:
            assert (film.n_frames, film.info["duration"]) == (1, 1000)
            assert difference(np.asarray(film.convert("RGB")), env.render(states[0])) < 5


def test_many_worlds_are_no_film(tmp_path):
    """Catches a batch of worlds that is filmed as if one followed the other."""
    env = envs_jax.make("SimpleDoorKey")
    states, observations = walk(env)
    state, obs = states[0], observations[0]
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), state)
    several = jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), batch)
    frames = {
        "of one moment": batch,
        "one world": several,
        "a film shows one world": [batch],
        "and these are many": jnp.stack([obs] * 4).reshape(2, 2, *obs.shape),
        "needs several states or": state,
        "observations of DoorKey, not ": obs,
        "not VectorState": [VectorState(state, jnp.float32(0), jnp.int32(0))],
    }
    for told, given in frames.items():
        with pytest.raises(ValueError, match=told):
            animate(env, given, tmp_path / "film.gif")
    assert not list(tmp_path.iterdir())


# Reading, imageio leaves its pipes to ffmpeg for Python to close.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_mp4(tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    env = envs_jax.make("simple")
    states, _ = walk(env)
    animate(env, states, tmp_path / "film.mp4")
    assert iio.imread(tmp_path / "film.mp4", plugin="FFMPEG").shape == (8, 700, 700, 3)
    gc.collect()


def test_films_that_can_t_be_made(tmp_path, monkeypatch):
    env = envs_jax.make("simple")
    state, timestep = jax.jit(env.reset)(jax.random.key(0))
    with pytest.raises(ValueError, match=r"a \.gif or an \.mp4, not film\.avi"):
        animate(env, [state], tmp_path / "film.avi")
    with pytest.raises(ValueError, match="at least one"):
        animate(env, [], tmp_path / "film.gif")
    with pytest.raises(ValueError, match="give states"):
        animate(env, [timestep.observation], tmp_path / "film.gif")
    monkeypatch.delitem(sys.modules, "imageio.plugins.ffmpeg", raising=False)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ImportError, match="writing MP4 needs imageio-ffmpeg"):
        animate(env, [state], tmp_path / "film.mp4")


def test_a_state_with_a_map_is_drawn_as_its_world(tmp_path):
    """Catches films of MiniGrid's students that can't be drawn, because the states have the agent's map with them."""
    world = WorldConfig().make("MiniGrid-Empty-5x5-v0")
    state, timestep = world.env.reset(jax.random.key(0))
    frame = frame_of(world, state, timestep)
    np.testing.assert_array_equal(draw(world.env, frame), world.env.unwrapped.render(state.world))
    animate(world.env, [frame], tmp_path / "film.gif")
    with pytest.raises(ValueError, match="a film shows one world"):
        draw(world.env, jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), frame))
