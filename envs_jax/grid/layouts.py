"""Fresh grids: rectangles of walls, objects and agents at random free cells, as MiniGrid's `_gen_grid` makes them.

MiniGrid draws a place again until it is free; a draw among the free places has the same distribution.
"""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from envs_jax.grid.actions import split_cell
from envs_jax.grid.cells import EMPTY_WORD, WALL_WORD, kind_of, object_word
from envs_jax.grid.constants import BALL, BOX, DIR_TO_VEC, KEY, NUM_COLORS, WALL
from envs_jax.grid.placement import uniform_below, uniform_free
from envs_jax.grid.store import compute_once

Number = int | jax.Array
NOWHERE = -1


class Layout:
    """A grid in the making, inside a program that is traced.

    Args:
        width: cells along x.
        height: cells along y.
        words: random uint32[], one for each draw.

    Attributes:
        cells: uint32[W * H].
        agent_cell: int32[], -1 as long as there is no agent.
        agent_dir: int32[].
        opaque: uint32[W + H], `GridState.opaque`; None, if it is to be found from the cells.
    """

    def __init__(self, width: int, height: int, words: Iterator[jax.Array]) -> None:
        self.width, self.height, self._words = width, height, words
        self._x, self._y = np.divmod(np.arange(width * height, dtype=np.int32), height)
        self.cells: jax.Array = jnp.full(width * height, EMPTY_WORD, jnp.uint32)
        self._nowhere = jnp.int32(NOWHERE)
        self.agent_cell: jax.Array = self._nowhere
        self.agent_dir: jax.Array = jnp.int32(0)
        self.opaque: jax.Array | None = None

    @property
    def has_agent(self) -> bool:
        """Whether the agent was placed."""
        return self.agent_cell is not self._nowhere

    def cell(self, x: Number, y: Number) -> jax.Array:
        """int32[], the index of a cell."""
        return jnp.asarray(x * self.height + y, jnp.int32)

    def area(self, x: Number, y: Number, width: Number, height: Number) -> jax.Array:
        """bool[W * H], the cells of a rectangle."""
        inside = (self._x >= x) & (self._x < x + width) & (self._y >= y) & (self._y < y + height)
        return jnp.asarray(inside)

    def fill(self, area: jax.Array, word: jax.Array | np.uint32) -> None:
        """Puts the same into all cells of an area bool[W * H]."""
        self.cells = jnp.where(area, word, self.cells)

    def set_cell(self, cell: jax.Array, word: jax.Array | np.uint32) -> None:
        """Puts an object into the cell with an index int32[]."""
        self.fill(np.arange(self.cells.shape[0], dtype=np.int32) == cell, word)

    def put_obj(self, x: Number, y: Number, word: jax.Array | np.uint32) -> jax.Array:
        """Puts an object into a cell; int32[], its index."""
        cell = self.cell(x, y)
        self.set_cell(cell, word)
        return cell

    def wall_rect(self, x: Number, y: Number, width: Number, height: Number) -> None:
        """Walls along the border of a rectangle."""
        self.fill(self.area(x, y, width, height) & ~self.area(x + 1, y + 1, width - 2, height - 2), WALL_WORD)

    def vert_wall(self, x: Number, y: Number, length: Number, word: np.uint32 = WALL_WORD) -> None:
        """Walls, or another object, in a column downwards."""
        self.fill(self.area(x, y, 1, length), word)

    def horz_wall(self, x: Number, y: Number, length: Number, word: np.uint32 = WALL_WORD) -> None:
        """As `vert_wall`, in a row to the right."""
        self.fill(self.area(x, y, length, 1), word)

    def random_bits(self) -> jax.Array:
        """uint32[], the next random word.

        Raises:
            ValueError: the world draws more of them than its `num_draws`.
        """
        try:
            return next(self._words)
        except StopIteration:
            raise ValueError("a layout draws more random numbers than num_draws; give the world a larger one") from None

    def rand_int(self, low: Number, high: Number) -> jax.Array:
        """int32[], uniform in [low, high)."""
        return _drawn(low + uniform_below(self.random_bits(), jnp.asarray(high - low)))

    def rand_free(self, count: Number, taken: list[jax.Array]) -> jax.Array:
        """int32[], uniform in [0, count) less the numbers in `taken`."""
        return _drawn(uniform_free(self.random_bits(), count, taken))

    def draw(self, count: int) -> jax.Array:
        """uint32[count], random words."""
        return jnp.stack([self.random_bits() for _ in range(count)])

    def rand_color(self) -> jax.Array:
        """int32[], one of the six colours."""
        return self.rand_int(0, NUM_COLORS)

    def rand_subset(self, limit: int, count: int) -> list[jax.Array]:
        """int32[] each, `count` different numbers below `limit`, in any order, uniform."""
        free, numbers = jnp.ones(limit, bool), []
        for _ in range(count):
            numbers.append(self.rand_elem(free))
            free = free.at[numbers[-1]].set(False)
        return numbers

    def rand_elem(self, allowed: jax.Array) -> jax.Array:
        """int32[], the index of one of the true entries of bool[n], uniform; n if there is none."""
        counts = jnp.cumsum(allowed, dtype=jnp.int32)
        chosen = uniform_below(self.random_bits(), counts[-1])
        return _drawn((counts <= chosen).sum(dtype=jnp.int32))

    def rand_object(self, kinds: tuple[int, ...] = (KEY, BALL, BOX)) -> jax.Array:
        """uint32[], an object of a kind and a colour, both uniform."""
        kind = jnp.asarray(np.array(kinds, np.int32))[self.rand_int(0, len(kinds))]
        return object_word(kind, self.rand_color())

    def free(self, area: jax.Array | None = None) -> jax.Array:
        """bool[W * H], the empty cells of an area, or of the grid, without the agent's."""
        free = (self.cells == EMPTY_WORD) & (np.arange(self.cells.shape[0], dtype=np.int32) != self.agent_cell)
        return free if area is None else free & area

    def place_obj(
        self, word: jax.Array | np.uint32, area: jax.Array | None = None, reject: jax.Array | None = None
    ) -> jax.Array:
        """Puts an object into a free cell of an area bool[W * H], not among `reject`; int32[], its index."""
        free = self.free(area)
        cell = self.rand_elem(free if reject is None else free & ~reject)
        self.set_cell(cell, word)
        return cell

    def put_agent(self, x: Number, y: Number, direction: Number = 0) -> None:
        """Puts the agent into a cell."""
        self.agent_cell, self.agent_dir = self.cell(x, y), jnp.asarray(direction, jnp.int32)

    def place_agent(self, area: jax.Array | None = None) -> None:
        """Puts the agent into a free cell, in a random direction."""
        self.agent_cell = self._nowhere
        self.agent_cell = self.rand_elem(self.free(area))
        self.agent_dir = self.rand_int(0, 4)

    def place_agent_off_objects(self, area: jax.Array) -> None:
        """As `place_agent`, with nothing but a wall, or nothing at all, in front of the agent."""
        self.agent_cell = self._nowhere
        grid = self.cells.reshape(self.width, self.height)
        padded = jnp.pad(grid, 1, constant_values=WALL_WORD)
        ahead = [
            padded[1 + dx : 1 + dx + self.width, 1 + dy : 1 + dy + self.height].reshape(-1)
            for dx, dy in DIR_TO_VEC.tolist()
        ]
        clear = jnp.stack([self.free(area) & ((word == EMPTY_WORD) | (kind_of(word) == WALL)) for word in ahead])
        chosen = self.rand_elem(clear.reshape(-1))
        self.agent_dir = chosen // self.cells.shape[0]
        self.agent_cell = chosen - self.agent_dir * self.cells.shape[0]

    def near(self, cell: jax.Array, inside: Callable[[jax.Array, jax.Array], jax.Array]) -> jax.Array:
        """bool[W * H], the cells whose distances from a cell along x and y satisfy a condition."""
        x, y = split_cell(cell, self.height)
        return inside(jnp.abs(self._x - x), jnp.abs(self._y - y))


def _drawn(number: jax.Array) -> jax.Array:
    """int32[], a number that is drawn once, and not again for each cell of the grid that depends on it."""
    return compute_once(number.astype(jnp.uint32)).astype(jnp.int32)
