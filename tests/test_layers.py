"""The structure holds: imports go down only and in no circle, files are in rooms, functions fit on a screen."""

import ast
from collections import Counter
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
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
    "guidance",
    "ppo",
    "llm",
    "training",
    "evaluation",
    "sweeps",
    "reports",
    "api",
)
"""The rooms of jaxteach, from the bottom up; the commands are above all of them."""
COMMANDS = {"__init__", "__main__", "train", "eval", "teach", "sweep", "report"}
LONGEST = 60
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def modules() -> dict[str, Path]:
    files = [path for package in ("jaxteach", "envs_jax") for path in (ROOT / package).rglob("*.py")]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


def imported(source: str, known: set[str], package: str = "") -> set[str]:
    """The modules of ours that a source in `package` imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package or None)
            inner = {f"{base}.{alias.name}" for alias in node.names}
            names |= (inner & known) | ({base} if inner - known else set())
    return names & known


def package_of(name: str, path: Path) -> str:
    return name if path.name == "__init__.py" else name.rpartition(".")[0]


@cache
def graph() -> dict[str, set[str]]:
    known = set(modules())
    return {name: imported(path.read_text("utf-8"), known, package_of(name, path)) for name, path in modules().items()}


def circles(edges: dict[str, set[str]]) -> list[str]:
    try:
        list(TopologicalSorter(edges).static_order())
    except CycleError as error:
        return error.args[1]
    return []


def rank(module: str) -> int:
    """The floor of a module: -1 for envs_jax, then the rooms, above them the commands and `jaxteach` itself."""
    package, _, rest = module.partition(".")
    if package != "jaxteach":
        return -1
    room = rest.partition(".")[0] or "__init__"
    return len(ROOMS) if room in COMMANDS else ROOMS.index(room)


def upward(edges: dict[str, set[str]]) -> list[str]:
    """Imports of a room, a command or `jaxteach` by what is below it."""
    return [
        f"{name} imports {target}" for name, targets in edges.items() for target in targets if rank(target) > rank(name)
    ]


def misplaced(package: Path) -> list[str]:
    """Files and folders that are not a room or a command, rooms that are missing or there twice, and folders of
    modules that are not packages."""
    files = [path.stem for path in package.glob("*.py")]
    folders = [path.name for path in package.iterdir() if path.is_dir() and any(path.rglob("*.py"))]
    found, wanted = Counter(files + folders), Counter([*ROOMS, *COMMANDS])
    wrong = (found - wanted) + (wanted - found)
    inner = {path.parent for path in package.rglob("*.py")}
    return sorted(wrong) + sorted(str(folder) for folder in inner if not (folder / "__init__.py").exists())


def long_functions(source: str) -> dict[str, int]:
    """The lengths of functions of more than a screen, in lines."""
    functions = (node for node in ast.walk(ast.parse(source)) if isinstance(node, FUNCTIONS))
    lengths = [(node.name, (node.end_lineno or 0) - node.lineno + 1) for node in functions]
    return {name: length for name, length in lengths if length > LONGEST}


def test_imports_go_down_only():
    assert upward(graph()) == []


def test_no_imports_go_in_a_circle():
    # The package offers its API lazily, so that what it names imports nothing by itself.
    assert circles({name: targets for name, targets in graph().items() if name != "jaxteach"}) == []


def test_every_file_is_in_a_room():
    assert misplaced(ROOT / "jaxteach") == []


def test_functions_fit_on_a_screen():
    long = {name: long_functions(path.read_text("utf-8")) for name, path in modules().items()}
    assert {name: lengths for name, lengths in long.items() if lengths} == {}


def test_what_is_wrong_is_found():
    known = {"jaxteach.config", "jaxteach.llm.query", "jaxteach.errors", "envs_jax.grid"}
    source = "def f():\n    from jaxteach.llm import query\n    import envs_jax.grid\n"
    assert imported(source, known) == {"jaxteach.llm.query", "envs_jax.grid"}
    assert upward({"jaxteach.config": {"jaxteach.llm.query", "jaxteach.errors"}, "envs_jax.grid": {"jaxteach.config"}})
    assert not upward({"jaxteach.llm.query": {"jaxteach.config"}, "jaxteach.config": {"envs_jax.grid"}})
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert not circles({"a": {"b", "c"}, "b": {"c"}})


def test_relative_imports_and_those_of_commands_are_found():
    known = {"jaxteach", "jaxteach.errors", "jaxteach.train", "jaxteach.runs", "jaxteach.runs.files"}
    assert imported("from . import files\nfrom ..errors import UserError", known, "jaxteach.runs") == {
        "jaxteach.runs.files",
        "jaxteach.errors",
    }
    assert imported("from jaxteach import PPOConfig", known) == {"jaxteach"}
    for above in ("jaxteach", "jaxteach.train"):
        assert upward({"jaxteach.runs.files": {above}}) == [f"jaxteach.runs.files imports {above}"]
        assert upward({"envs_jax.grid": {above}})
    assert not upward({"jaxteach.train": {"jaxteach.runs"}, "jaxteach": {"jaxteach.errors"}})


def test_misplaced_files_are_found(tmp_path):
    for room in {*ROOMS, *COMMANDS}:
        (tmp_path / f"{room}.py").touch()
    assert misplaced(tmp_path) == []
    (tmp_path / "teacher" / "tasks").mkdir(parents=True)
    (tmp_path / "teacher" / "__init__.py").touch()
    assert misplaced(tmp_path) == ["teacher"]
    (tmp_path / "teacher.py").unlink()
    (tmp_path / "teacher" / "tasks" / "plain.py").touch()
    assert misplaced(tmp_path) == [str(tmp_path / "teacher" / "tasks")]
    (tmp_path / "teacher" / "tasks" / "__init__.py").touch()
    (tmp_path / "stray.py").touch()
    (tmp_path / "errors.py").unlink()
    assert misplaced(tmp_path) == ["errors", "stray"]


def test_long_functions_are_found():
    body = "    pass\n" * (LONGEST - 1)
    for keyword in ("def", "async def"):
        assert long_functions(f"{keyword} f():\n{body}") == {}
        assert long_functions(f"class A:\n  {keyword} f():\n{body}    pass\n") == {"f": LONGEST + 1}
