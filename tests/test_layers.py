"""The structure holds: imports go down only and in no circle, files are in rooms, functions fit on a screen."""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = (
    "errors",
    "system",
    "options",
    "tasks",
    "config",
    "cli",
    "distributed",
    "runs",
    "networks",
    "teacher",
    "ppo",
    "llm",
    "training",
    "evaluation",
    "sweeps",
    "reports",
    "api",
)
"""The rooms of jaxteach, from the bottom up; the commands are above all of them."""
COMMANDS = {"__init__", "train", "eval", "teach", "sweep", "report"}
LONGEST = 60


@cache
def modules() -> dict[str, Path]:
    files = [path for package in ("jaxteach", "envs_jax") for path in (ROOT / package).rglob("*.py")]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


def imported(source: str, known: set[str]) -> set[str]:
    """The modules of ours that a source imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= (inner & known) | ({node.module} if inner - known else set())
    return names & known


@cache
def graph() -> dict[str, set[str]]:
    return {name: imported(path.read_text("utf-8"), set(modules())) for name, path in modules().items()}


def circles(edges: dict[str, set[str]]) -> list[str]:
    try:
        list(TopologicalSorter(edges).static_order())
    except CycleError as error:
        return error.args[1]
    return []


def upward(edges: dict[str, set[str]]) -> list[str]:
    """Imports of a room above, and of jaxteach by envs_jax."""
    found = []
    for name, targets in edges.items():
        for target in targets:
            if name.startswith("envs_jax") and target.startswith("jaxteach"):
                found.append(f"{name} imports {target}")
            rooms = [module.split(".")[1] for module in (name, target) if module.startswith("jaxteach.")]
            if len(rooms) == 2 and set(rooms) <= {*ROOMS} and ROOMS.index(rooms[1]) > ROOMS.index(rooms[0]):
                found.append(f"{name} imports {target}")
    return found


def test_imports_go_down_only():
    assert upward(graph()) == []


def test_no_imports_go_in_a_circle():
    # The package offers its API lazily, so that what it names imports nothing by itself.
    assert circles({name: targets for name, targets in graph().items() if name != "jaxteach"}) == []


def test_every_file_is_in_a_room():
    files = {path.stem for path in (ROOT / "jaxteach").glob("*.py")}
    folders = {path.parent.name for path in (ROOT / "jaxteach").glob("*/__init__.py")}
    assert files | folders == {*ROOMS} | COMMANDS


def test_functions_fit_on_a_screen():
    long = {}
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= LONGEST:
                long[f"{name}.{node.name}"] = (node.end_lineno or 0) - node.lineno + 1
    assert long == {}


def test_what_is_wrong_is_found():
    known = {"jaxteach.config", "jaxteach.llm.query", "jaxteach.errors", "envs_jax.grid"}
    source = "def f():\n    from jaxteach.llm import query\n    import envs_jax.grid\n"
    assert imported(source, known) == {"jaxteach.llm.query", "envs_jax.grid"}
    assert upward({"jaxteach.config": {"jaxteach.llm.query", "jaxteach.errors"}, "envs_jax.grid": {"jaxteach.config"}})
    assert not upward({"jaxteach.llm.query": {"jaxteach.config"}, "jaxteach.config": {"envs_jax.grid"}})
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert not circles({"a": {"b", "c"}, "b": {"c"}})
