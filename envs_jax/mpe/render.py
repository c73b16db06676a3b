"""Pictures of the particle worlds in the look of MPE, drawn on the host."""

from functools import singledispatch
from string import ascii_uppercase
from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from envs_jax.mpe.environment import ParticleWorld, WorldState
from envs_jax.mpe.simple import Simple
from envs_jax.mpe.simple_adversary import SimpleAdversary
from envs_jax.mpe.simple_crypto import BOB, EVE, SimpleCrypto
from envs_jax.mpe.simple_push import AGENT_COLORS, LANDMARK_COLORS, SimplePush
from envs_jax.mpe.simple_reference import COLORS as REFERENCE_COLORS
from envs_jax.mpe.simple_reference import SimpleReference
from envs_jax.mpe.simple_speaker_listener import COLORS as LISTENER_COLORS
from envs_jax.mpe.simple_speaker_listener import SimpleSpeakerListener
from envs_jax.mpe.simple_spread import SimpleSpread
from envs_jax.mpe.simple_tag import SimpleTag
from envs_jax.mpe.simple_world_comm import SimpleWorldComm

GREY: Final = (0.25, 0.25, 0.25)
RED: Final = (0.75, 0.25, 0.25)
BRIGHTNESS: Final = 200.0
MARGIN: Final = 0.9  # how far from the centre of the picture the centre of a disc may be
FIXED_SCALE: Final = 0.5  # of the picture a unit of a disc's radius, if it does not follow the camera


def camera_of(positions: np.ndarray) -> float:
    """How far from the origin a picture must reach on each axis to show places float[..., 2]."""
    return max(float(np.abs(positions).max()), 1e-6)


def render_particles(env: ParticleWorld, state: WorldState, size: int = 700, camera: float | None = None) -> np.ndarray:
    """A world as `mpe2` draws it, with two differences.

    Larger discs lie below smaller ones, so that an agent in a forest can be seen; and where discs
    scale with the camera, they touch in the picture when they touch in the world (`mpe2`'s scale
    depends on where the episode began).

    Args:
        env: the world, for its entities and colours.
        state: what to draw.
        size: pixels a side.
        camera: how far the picture reaches from the origin; by default as far as the state needs.

    Returns:
        uint8[size, size, 3], RGB.
    """
    positions = np.asarray(state.p_pos, np.float32)
    camera = camera_of(positions) if camera is None else camera
    centres = (1 + MARGIN * positions * (1, -1) / camera) * size / 2
    scale = MARGIN / camera / 2 if env.dynamic_rescaling else FIXED_SCALE
    pixels = np.full((size, size, 3), 255, np.float32)
    fills = BRIGHTNESS * entity_colors(env, np.asarray(state.goals))
    for entity in np.argsort(-env.world.size, kind="stable"):
        _draw_disc(pixels, centres[entity], float(env.world.size[entity]) * scale * size, fills[entity])
    return _write_lines(pixels.round().astype(np.uint8), messages(env, state))


def messages(env: ParticleWorld, state: WorldState) -> list[str]:
    """What each agent that can speak said last: a letter, numbers if actions are continuous, or _ for silence."""
    lines = []
    for name, said in zip(np.array(env.agents)[env.world.speaks], np.asarray(state.c)[env.world.speaks]):
        word = ascii_uppercase[int(said.argmax())]
        if env.continuous_actions:
            word = "[" + ",".join(f"{number:.2f}" for number in said) + "]"
        lines.append(f"{name} sends {word if said.any() else '_'}")
    return lines


def _draw_disc(pixels: np.ndarray, centre: np.ndarray, radius: float, fill: np.ndarray) -> None:
    """A disc with a black border one pixel wide, smooth at its edge."""
    left, top = np.maximum(centre - radius - 1, 0).astype(int)
    right, bottom = (centre + radius + 2).astype(int)
    window = pixels[top:bottom, left:right]
    rows, columns = np.indices(window.shape[:2]) + 0.5
    distance = np.hypot(left + columns - centre[0], top + rows - centre[1])[..., None]
    for edge, color in ((radius, np.zeros(3)), (radius - 1, fill)):
        window += np.clip(edge + 0.5 - distance, 0, 1) * (color - window)


def _write_lines(picture: np.ndarray, lines: list[str]) -> np.ndarray:
    """Lines of text in the lower left corner, the first one lowest, smaller if one is long."""
    if not lines:
        return picture
    image, size = Image.fromarray(picture), len(picture)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size * min(0.034, 1.6 / max(map(len, lines))))
    for i, line in enumerate(lines):
        draw.text((0.05 * size, (0.95 - 0.05 * i) * size), line, fill=(0, 0, 0), font=font)
    return np.array(image)


@singledispatch
def entity_colors(env: Any, goals: np.ndarray) -> np.ndarray:
    """float32[E, 3], the colours of agents and landmarks, 0 to about 1; grey in a world not known here."""
    del goals
    return _all_grey(env)


@entity_colors.register
def _(env: Simple, goals: np.ndarray) -> np.ndarray:
    del env, goals
    return _stack([GREY, RED])


@entity_colors.register
def _(env: SimpleAdversary, goals: np.ndarray) -> np.ndarray:
    good = env.num_agents - 1
    colors = _stack([(0.85, 0.35, 0.35)] + [(0.35, 0.35, 0.85)] * good + [(0.15, 0.15, 0.15)] * good)
    colors[env.num_agents + goals[0]] = (0.15, 0.65, 0.15)
    return colors


@entity_colors.register
def _(env: SimpleCrypto, goals: np.ndarray) -> np.ndarray:
    del env
    landmarks = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0)]
    agents = [GREY] * 3
    agents[EVE], agents[BOB] = RED, landmarks[goals[0]]
    return _stack(agents + landmarks)


@entity_colors.register
def _(env: SimplePush, goals: np.ndarray) -> np.ndarray:
    del env
    return _stack([RED, AGENT_COLORS[goals[0]], *LANDMARK_COLORS])


@entity_colors.register
def _(env: SimpleReference, goals: np.ndarray) -> np.ndarray:
    del env
    return _stack([*REFERENCE_COLORS[goals[::-1]], *REFERENCE_COLORS])


@entity_colors.register
def _(env: SimpleSpeakerListener, goals: np.ndarray) -> np.ndarray:
    del env
    return _stack([GREY, LISTENER_COLORS[goals[0]] + 0.45, *LISTENER_COLORS])


@entity_colors.register
def _(env: SimpleSpread, goals: np.ndarray) -> np.ndarray:
    del goals
    return _stack([(0.35, 0.35, 0.85)] * env.num_agents + [GREY] * env.world.num_landmarks)


@entity_colors.register
def _(env: SimpleTag, goals: np.ndarray) -> np.ndarray:
    del goals
    colors = _all_grey(env)
    colors[env.adversaries], colors[env.good] = (0.85, 0.35, 0.35), (0.35, 0.85, 0.35)
    return colors


@entity_colors.register
def _(env: SimpleWorldComm, goals: np.ndarray) -> np.ndarray:
    del goals
    colors = _all_grey(env)
    colors[env.adversaries], colors[env.good] = (0.95, 0.45, 0.45), (0.45, 0.95, 0.45)
    colors[0] -= 0.3
    colors[env.food], colors[env.forests] = (0.15, 0.15, 0.65), (0.6, 0.9, 0.6)
    return colors


def _all_grey(env: ParticleWorld) -> np.ndarray:
    return _stack([GREY] * len(env.world.size))


def _stack(colors: Any) -> np.ndarray:
    return np.array(colors, np.float32)
