"""Pictures of gridworlds in the look of MiniGrid, drawn on the host."""

from functools import cache
from typing import Any, Final

import numpy as np

from envs_jax.grid.constants import (
    AGENT,
    BALL,
    BOX,
    CLOSED,
    DOOR,
    FLOOR,
    GOAL,
    KEY,
    LAVA,
    LOCKED,
    NO_DIRECTION,
    OPEN,
    UNSEEN,
    WALL,
)

COLORS: Final = np.array(
    [(255, 0, 0), (0, 255, 0), (0, 0, 255), (112, 39, 195), (255, 255, 0), (100, 100, 100)], np.float32
)
"""Red, green, blue, purple, yellow and grey, as MiniGrid has them."""
_SUPERSAMPLING: Final = 4


def render_observation(obs: Any, tile_size: int = 24) -> np.ndarray:
    """What the agent knows: unseen cells dark, the cells beside the agent's as last observed.

    Args:
        obs: uint8[W, H, 4 * F], a historical observation; the newest frame is drawn.
        tile_size: pixels a side of a cell.

    Returns:
        uint8[H * tile_size, W * tile_size, 3], RGB.
    """
    frame = np.asarray(obs)[..., -4:]
    return _assemble(frame[..., :3], frame[..., 3], tile_size)


def render_world(grid: Any, agent_pos: Any, agent_dir: Any, tile_size: int = 24) -> np.ndarray:
    """The whole world with its agents.

    Args:
        grid: uint8[W, H, 3].
        agent_pos: int[2] or int[A, 2].
        agent_dir: int or int[A].
        tile_size: pixels a side of a cell.

    Returns:
        uint8[H * tile_size, W * tile_size, 3], RGB.
    """
    grid = np.asarray(grid)
    directions = np.full(grid.shape[:2], NO_DIRECTION, np.uint8)
    for (x, y), direction in zip(np.atleast_2d(agent_pos), np.atleast_1d(agent_dir)):
        directions[x, y] = direction
    return _assemble(grid, directions, tile_size)


def _assemble(grid: np.ndarray, directions: np.ndarray, tile_size: int) -> np.ndarray:
    width, height = directions.shape
    picture = np.zeros((height * tile_size, width * tile_size, 3), np.uint8)
    for x in range(width):
        for y in range(height):
            kind, color, status = (int(value) for value in grid[x, y])
            tile = _tile(kind, min(color, 5), status, int(directions[x, y]), tile_size)
            picture[y * tile_size : (y + 1) * tile_size, x * tile_size : (x + 1) * tile_size] = tile
    return picture


@cache
def _tile(kind: int, color: int, status: int, direction: int, tile_size: int) -> np.ndarray:
    """uint8[tile_size, tile_size, 3]; drawn larger and averaged, for smooth edges."""
    size = tile_size * _SUPERSAMPLING
    canvas = _Canvas(size)
    if kind == UNSEEN:
        canvas.fill(np.ones((size, size), bool), (36, 36, 44))
    else:
        canvas.grid_lines()
        _draw_object(canvas, kind, color, status)
    if direction != NO_DIRECTION:
        carries = kind not in (UNSEEN, 1)
        canvas.fill(canvas.triangle(direction), (255, 0, 0))
        if carries:
            canvas.fill(canvas.disc(0.5, 0.5, 0.14), COLORS[color])
    shape = (tile_size, _SUPERSAMPLING, tile_size, _SUPERSAMPLING, 3)
    return canvas.pixels.reshape(shape).mean((1, 3)).round().astype(np.uint8)


class _Canvas:
    """A square of pixels with coordinates 0..1, x to the right and y down."""

    def __init__(self, size: int) -> None:
        self.pixels = np.zeros((size, size, 3), np.float32)
        centres = (np.arange(size) + 0.5) / size
        self.x, self.y = np.meshgrid(centres, centres)

    def fill(self, mask: np.ndarray, color: Any) -> None:
        self.pixels[mask] = color

    def grid_lines(self) -> None:
        self.fill((self.x < 0.031) | (self.y < 0.031), COLORS[5])

    def box(self, x0: float, x1: float, y0: float, y1: float) -> np.ndarray:
        return (self.x >= x0) & (self.x <= x1) & (self.y >= y0) & (self.y <= y1)

    def disc(self, x: float, y: float, radius: float) -> np.ndarray:
        return (self.x - x) ** 2 + (self.y - y) ** 2 <= radius**2

    def triangle(self, direction: int) -> np.ndarray:
        """The agent's arrow: its tip points along `direction`."""
        ahead, across = [(self.x, self.y), (self.y, self.x), (1 - self.x, self.y), (1 - self.y, self.x)][direction]
        return (ahead >= 0.12) & (ahead <= 0.87) & (np.abs(across - 0.5) <= 0.31 * (0.87 - ahead) / 0.75)


def _draw_object(canvas: _Canvas, kind: int, color: int, status: int) -> None:
    rgb = COLORS[color]
    if kind == WALL:
        canvas.fill(canvas.box(0, 1, 0, 1), rgb)
    elif kind == FLOOR:
        canvas.fill(canvas.box(0.031, 1, 0.031, 1), rgb / 2)
    elif kind == GOAL:
        canvas.fill(canvas.box(0, 1, 0, 1), rgb)
    elif kind == LAVA:
        _draw_lava(canvas)
    elif kind == KEY:
        _draw_key(canvas, rgb)
    elif kind == DOOR:
        _draw_door(canvas, rgb, status)
    elif kind == BALL:
        canvas.fill(canvas.disc(0.5, 0.5, 0.31), rgb)
    elif kind == BOX:
        canvas.fill(canvas.box(0.12, 0.88, 0.12, 0.88), rgb)
        canvas.fill(canvas.box(0.18, 0.82, 0.18, 0.82), 0)
        canvas.fill(canvas.box(0.16, 0.84, 0.47, 0.53), rgb)
    elif kind == AGENT:
        canvas.fill(canvas.triangle(status if status < NO_DIRECTION else 0), rgb)


def _draw_lava(canvas: _Canvas) -> None:
    canvas.fill(canvas.box(0, 1, 0, 1), (255, 128, 0))
    for row in (0.3, 0.5, 0.7):
        ripple = row + 0.06 * np.sin(canvas.x * 4 * np.pi)
        canvas.fill((np.abs(canvas.y - ripple) < 0.025) & canvas.box(0.1, 0.9, 0, 1), 0)


def _draw_key(canvas: _Canvas, rgb: np.ndarray) -> None:
    canvas.fill(canvas.box(0.50, 0.63, 0.31, 0.88), rgb)
    canvas.fill(canvas.box(0.38, 0.50, 0.59, 0.66), rgb)
    canvas.fill(canvas.box(0.38, 0.50, 0.81, 0.88), rgb)
    canvas.fill(canvas.disc(0.56, 0.28, 0.19), rgb)
    canvas.fill(canvas.disc(0.56, 0.28, 0.064), 0)


def _draw_door(canvas: _Canvas, rgb: np.ndarray, status: int) -> None:
    if status == OPEN:
        canvas.fill(canvas.box(0.88, 1.0, 0, 1), rgb)
        canvas.fill(canvas.box(0.92, 0.96, 0.04, 0.96), 0)
    elif status == LOCKED:
        canvas.fill(canvas.box(0, 1, 0, 1), rgb)
        canvas.fill(canvas.box(0.06, 0.94, 0.06, 0.94), 0.45 * rgb)
        canvas.fill(canvas.box(0.52, 0.75, 0.50, 0.56), rgb)
    elif status == CLOSED:
        canvas.fill(canvas.box(0, 1, 0, 1), rgb)
        canvas.fill(canvas.box(0.04, 0.96, 0.04, 0.96), 0)
        canvas.fill(canvas.box(0.08, 0.92, 0.08, 0.92), rgb)
        canvas.fill(canvas.box(0.12, 0.88, 0.12, 0.88), 0)
        canvas.fill(canvas.disc(0.75, 0.50, 0.08), rgb)
