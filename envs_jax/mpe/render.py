"""Pictures of the particle worlds in the look of MPE, drawn on the host."""

from string import ascii_uppercase
from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

BRIGHTNESS: Final = 200.0
MARGIN: Final = 0.9  # how far from the centre of the picture the centre of a disc may be
FIXED_SCALE: Final = 0.5  # of the picture a unit of a disc's radius, if it does not follow the camera


def camera_of(positions: np.ndarray) -> float:
    """How far from the origin a picture must reach on each axis to show the positions float[..., 2]."""
    return max(float(np.abs(positions).max()), 1e-6)


def render_particles(env: Any, state: Any, size: int = 700, camera: float | None = None) -> np.ndarray:
    """A world as `mpe2` draws it, with two differences.

    Larger discs lie below smaller ones, so that an agent in a forest can be seen; and where discs
    scale with the camera, they touch in the picture when they touch in the world (`mpe2`'s scale
    depends on where the episode began).

    Args:
        env: the `ParticleWorld`, for its entities and colours.
        state: the `WorldState` to draw.
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
    fills = BRIGHTNESS * env.entity_colors(np.asarray(state.goals))
    for entity in np.argsort(-env.world.size, kind="stable"):
        _draw_disc(pixels, centres[entity], float(env.world.size[entity]) * scale * size, fills[entity])
    return _write_lines(pixels.round().astype(np.uint8), messages(env, state))


def messages(env: Any, state: Any) -> list[str]:
    """What each agent that can speak said last: a letter, numbers if actions are continuous, or _ for silence."""
    lines = []
    for name, message in zip(np.array(env.agents)[env.world.speaks], np.asarray(state.c)[env.world.speaks]):
        word = ascii_uppercase[int(message.argmax())]
        if env.continuous_actions:
            word = "[" + ",".join(f"{number:.2f}" for number in message) + "]"
        lines.append(f"{name} sends {word if message.any() else '_'}")
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
