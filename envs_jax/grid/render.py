"""Pictures of gridworlds in the look of MiniGrid, drawn on the host."""

from functools import cache
from typing import Any, Final, NamedTuple

import jax
import numpy as np

from envs_jax.grid.constants import (
    AGENT,
    BALL,
    BOX,
    CLOSED,
    DOOR,
    EMPTY,
    FLOOR,
    GOAL,
    GREY,
    KEY,
    LAVA,
    LOCKED,
    NO_DIRECTION,
    NORTH,
    OPEN,
    UNSEEN,
    WALL,
)

COLORS: Final = np.array(
    [(255, 0, 0), (0, 255, 0), (0, 0, 255), (112, 39, 195), (255, 255, 0), (100, 100, 100)], np.float32
)
"""Red, green, blue, purple, yellow and grey, as MiniGrid has them."""
_SUPERSAMPLING: Final = 3
_HIGHLIGHT: Final = 0.3
"""How far the colours of a highlighted tile are on their way to white."""
_NOTHING: Final = (UNSEEN, EMPTY)


class _Agent(NamedTuple):
    """An agent on a tile."""

    direction: int
    color: int
    carried: int | None  # colour of what it carries


_Agents = dict[tuple[int, int], tuple[_Agent, ...]]


def render_observation(obs: Any, tile_size: int = 24) -> np.ndarray:
    """What the agent knows: unseen cells dark, the others as last observed, the agent with what it carries.

    Args:
        obs: uint8[W, H, 4 * F], a historical observation; the newest frame is drawn.
        tile_size: pixels a side of a cell.

    Returns:
        uint8[H * tile_size, W * tile_size, 3], RGB.
    """
    frame = np.asarray(obs)[..., -4:]
    position = np.argwhere(frame[..., 3] != NO_DIRECTION)
    return _render_knowledge(frame[..., :3], position, frame[(*position.T, 3)], tile_size)


def render_views(view: Any, tile_size: int = 24) -> np.ndarray:
    """What several agents see, side by side in white frames; each looks up from the middle of its lowest row.

    Args:
        view: uint8[A, V, V, 3], the agents' views.
        tile_size: pixels a side of a cell.

    Returns:
        uint8[V * tile_size + 4, A * (V * tile_size + 4), 3], RGB.
    """
    views = np.asarray(view)
    size = views.shape[1]
    own = np.array([[size // 2, size - 1]])
    squares = [_render_knowledge(cells, own, [NORTH], tile_size, color) for color, cells in enumerate(views)]
    return np.concatenate([np.pad(square, ((2, 2), (2, 2), (0, 0)), constant_values=255) for square in squares], axis=1)


def render_world(grid: Any, agent_pos: Any, agent_dir: Any, tile_size: int = 24, carrying: Any = (0, 0)) -> np.ndarray:
    """The whole world with its agents: a single one red, several in the order of the colours.

    Args:
        grid: uint8[W, H, 3].
        agent_pos: int[2] or int[A, 2].
        agent_dir: int or int[A].
        tile_size: pixels a side of a cell.
        carrying: int[2] or int[A, 2], (object id, colour), (0, 0) for empty hands.

    Returns:
        uint8[H * tile_size, W * tile_size, 3], RGB.
    """
    positions = np.atleast_2d(agent_pos)
    hands = np.broadcast_to(carrying, positions.shape)
    agents: _Agents = {}
    for color, (cell, direction, hand) in enumerate(zip(positions.tolist(), np.atleast_1d(agent_dir), hands.tolist())):
        agent = _Agent(int(direction), color, hand[1] if hand[0] not in _NOTHING else None)
        agents[cell[0], cell[1]] = (*agents.get((cell[0], cell[1]), ()), agent)
    return _assemble(np.asarray(grid), agents, tile_size)


def render_state(env: Any, state: Any, tile_size: int = 24, hands: bool = True) -> np.ndarray:
    """The whole world of a state of `env`, a gridworld, as `render_world` draws it.

    Without `hands` the picture is MiniGrid's, which does not show what is carried.
    """
    arrays = jax.device_get(_arrays(env, state))
    carrying = arrays["carrying"] if hands else (0, 0)
    return render_world(arrays["grid"], arrays["agent_pos"], arrays["agent_dir"], tile_size, carrying)


_arrays = jax.jit(lambda env, state: env.to_arrays(state), static_argnums=0)


def _render_knowledge(
    cells: np.ndarray, position: np.ndarray, direction: Any, tile_size: int, color: int = 0
) -> np.ndarray:
    """Observed cells uint8[W, H, 3], where an agent's own cell has what it carries."""
    grid, agents = cells.copy(), {}
    for (x, y), ahead in zip(position.tolist(), direction):
        carried = int(cells[x, y, 1]) if cells[x, y, 0] not in _NOTHING else None
        agents[x, y] = (_Agent(int(ahead), color, carried),)
        grid[x, y] = EMPTY, 0, 0
    return _assemble(grid, agents, tile_size)


def _assemble(grid: np.ndarray, agents: _Agents, tile_size: int) -> np.ndarray:
    width, height = grid.shape[:2]
    picture = np.zeros((height * tile_size, width * tile_size, 3), np.uint8)
    for x in range(width):
        for y in range(height):
            kind, color, status = grid[x, y].tolist()
            tile = _tile(kind, min(color, len(COLORS) - 1), status, agents.get((x, y), ()), tile_size)
            picture[y * tile_size : (y + 1) * tile_size, x * tile_size : (x + 1) * tile_size] = tile
    return picture


def render_tile(
    kind: int, color: int, status: int, tile_size: int, direction: int | None = None, highlight: bool = False
) -> np.ndarray:
    """uint8[tile_size, tile_size, 3], MiniGrid's picture of an object, below a red agent if there is a direction.

    Highlighted tiles are those that MiniGrid's agent sees.
    """
    agents = () if direction is None else (_Agent(direction, 0, None),)
    return _tile(kind, color, status, agents, tile_size, highlight)


@cache
def _tile(
    kind: int, color: int, status: int, agents: tuple[_Agent, ...], tile_size: int, highlight: bool = False
) -> np.ndarray:
    """uint8[tile_size, tile_size, 3]; drawn larger and averaged, for smooth edges."""
    canvas = _Canvas(tile_size * _SUPERSAMPLING)
    if kind == UNSEEN:
        canvas.fill(canvas.box(0, 1, 0, 1), (36, 36, 44))
    else:
        canvas.grid_lines()
        _draw_object(canvas, kind, color, status)
    for agent in agents:
        canvas.fill(canvas.triangle(agent.direction), COLORS[agent.color])
        if agent.carried is not None:
            canvas.fill(canvas.disc(0.5, 0.5, 0.17), 0)
            canvas.fill(canvas.disc(0.5, 0.5, 0.14), COLORS[agent.carried])
    if highlight:
        canvas.lighten(_HIGHLIGHT)
    shape = (tile_size, _SUPERSAMPLING, tile_size, _SUPERSAMPLING, 3)
    # Fractions are cut off, and the means taken in this order, as in MiniGrid.
    return canvas.pixels.reshape(shape).mean(3).mean(1).astype(np.uint8)


class _Canvas:
    """A square of pixels, uint8[size, size, 3], with coordinates 0..1, x to the right and y down."""

    def __init__(self, size: int) -> None:
        self.pixels = np.zeros((size, size, 3), np.uint8)
        centres = (np.arange(size) + 0.5) / size
        self.x, self.y = np.meshgrid(centres, centres)

    def fill(self, mask: np.ndarray, color: Any) -> None:
        self.pixels[mask] = np.asarray(color).astype(np.uint8)

    def lighten(self, share: float) -> None:
        self.pixels = (self.pixels + share * (255 - self.pixels)).astype(np.uint8)

    def grid_lines(self) -> None:
        self.fill((self.x <= 0.031) | (self.y <= 0.031), COLORS[GREY])

    def box(self, x0: float, x1: float, y0: float, y1: float) -> np.ndarray:
        return (self.x >= x0) & (self.x <= x1) & (self.y >= y0) & (self.y <= y1)

    def disc(self, x: float, y: float, radius: float) -> np.ndarray:
        return (self.x - x) ** 2 + (self.y - y) ** 2 <= radius**2

    def line(self, x0: float, y0: float, x1: float, y1: float, radius: float) -> np.ndarray:
        """A stroke with round ends."""
        dx, dy = x1 - x0, y1 - y0
        along = np.clip(((self.x - x0) * dx + (self.y - y0) * dy) / (dx**2 + dy**2), 0, 1)
        return (self.x - x0 - along * dx) ** 2 + (self.y - y0 - along * dy) ** 2 <= radius**2

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
    for top in (0.3, 0.5, 0.7):
        for stroke, left in enumerate((0.1, 0.3, 0.5, 0.7)):
            start, end = (top, top + 0.1) if stroke % 2 == 0 else (top + 0.1, top)
            canvas.fill(canvas.line(left, start, left + 0.2, end, 0.03), 0)


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
