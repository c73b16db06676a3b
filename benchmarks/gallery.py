"""`python -m benchmarks.gallery`: docs/gallery.md, a page with a picture of every gridworld, drawn by our renderer."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jax
import tyro
from PIL import Image, ImageDraw, ImageFont

import envs_jax
from envs_jax.grid.render import render_state
from envs_jax.locked_hallway import LockedHallway
from envs_jax.minigrid import MiniGridEnv
from jaxteach.system.command import run_command

ROOT = Path(__file__).resolve().parents[1]
TILE: Final = 12
"""Pixels a side of a cell."""
WIDTH: Final = 900
"""Pixels of a row of pictures, at most."""
GAP, LABEL = 10, 16
SEED: Final = 2
INTRODUCTION = """# Gallery

A fresh state of every gridworld, in MiniGrid's look; `python -m benchmarks.gallery` writes this page.
`envs_jax.make(id)` makes a world, and takes its parameters; an id of MiniGrid's has the values with which the package
`minigrid` registers it. [The guide](guide.md) makes a world of your own.
"""


@dataclass(frozen=True)
class Family:
    """Worlds of one class."""

    title: str
    ids: list[str]

    @property
    def picture(self) -> str:
        """The path of its picture, from docs."""
        return f"gallery/{self.title.lower()}.png"


@dataclass(frozen=True)
class Options:
    """Draws every gridworld and writes the page about them."""

    folder: Path = ROOT / "docs"
    """write gallery.md and the folder gallery here"""


def main() -> None:
    options = tyro.cli(Options, prog="python -m benchmarks.gallery", use_underscores=True)
    (options.folder / "gallery").mkdir(exist_ok=True)
    for family in families():
        montage(family).save(options.folder / family.picture, optimize=True)
    (options.folder / "gallery.md").write_text(page(), "utf-8")


def families() -> list[Family]:
    """The families, MiniGrid's first."""
    by_class: dict[type, list[str]] = {}
    for task in sorted(envs_jax.all_tasks(), key=lambda name: not name.startswith("MiniGrid-")):
        world = envs_jax.make(task)
        if isinstance(world, MiniGridEnv | LockedHallway):
            by_class.setdefault(type(world), []).append(task)
    return [Family(_title(world, ids), ids) for world, ids in by_class.items()]


def _title(world: type, ids: list[str]) -> str:
    alone = len(ids) == 1 and not ids[0].startswith("MiniGrid-")
    return ids[0] if alone else world.__name__


def page() -> str:
    return "\n".join([INTRODUCTION, *map(section, families())])


def section(family: Family) -> str:
    """What the page says of a family."""
    env = envs_jax.make(family.ids[0])
    about = (inspect.getdoc(type(env)) or "").partition("\n")[0]
    lines = [f"## {family.title}", "", about, "", f"![{family.title}]({family.picture})", ""]
    mission = _mission(env)
    if mission:
        lines.append(f"- Mission: {mission}")
    lines.append(f"- Parameters: {_code(envs_jax.parameters(family.ids[0]))}")
    lines.append(f"- Ids: {_code(family.ids)}")
    return "\n".join(lines) + "\n"


def _mission(env: Any) -> str:
    """An example of a world's missions, or nothing."""
    missions = list(env.missions()) if hasattr(env, "missions") else [""]
    return missions[min(1, len(missions) - 1)] + (f" (one of {len(missions):,})" if len(missions) > 1 else "")


def _code(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def montage(family: Family) -> Image.Image:
    """A picture of each of a family's worlds, with its name below, in rows."""
    font = ImageFont.load_default(size=11)
    parts = [(drawn(task), task.removeprefix("MiniGrid-")) for task in family.ids]
    places, size = _places([(max(part.width, round(font.getlength(name))), part.height) for part, name in parts])
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for (x, y), (part, name) in zip(places, parts):
        sheet.paste(part, (x, y))
        pen.text((x, y + part.height + 2), name, "black", font)
    return sheet.quantize(64, dither=Image.Dither.NONE)


def _places(sizes: list[tuple[int, int]]) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """Where the pictures go, from left to right in rows, and the size of it all."""
    places, x, y, deepest, widest = [], GAP, GAP, 0, 0
    for width, height in sizes:
        if x > GAP and x + width + GAP > WIDTH:
            x, y, deepest = GAP, y + deepest + LABEL + GAP, 0
        places.append((x, y))
        x, deepest = x + width + GAP, max(deepest, height)
        widest = max(widest, x)
    return places, (widest, y + deepest + LABEL + GAP)


def drawn(task: str) -> Image.Image:
    """A fresh state of a world."""
    env = envs_jax.make(task)
    state, _ = jax.jit(env.reset)(jax.random.key(SEED))
    return Image.fromarray(render_state(env, state, TILE))


if __name__ == "__main__":
    run_command(main)
