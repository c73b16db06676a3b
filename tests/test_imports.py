"""What is imported when: a plain import takes nothing, training takes only what it needs."""

import ast
import subprocess
import sys
from importlib import metadata

import pytest
from packaging.requirements import Requirement

from tests.test_layers import ROOT, modules

NOT_TO_TRAIN = (
    "orbax",
    "scipy",
    "jinja2",
    "matplotlib",
    "imageio",
    "pandas",
    "torch",
    "tensorboardX",
    "wandb",
    "openai",
    "llama_cpp",
)
OPTIONAL = {"llama_cpp", "openai", "submitit", "pandas", "torch", "wandb", "imageio_ffmpeg"}
"""What extras bring."""


def loaded_after(program: str) -> set[str]:
    code = f"{program}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_imports_nothing_heavy():
    assert not loaded_after("import jaxteach; dir(jaxteach)") & {"jax", "numpy", "flax", "jumanji", *NOT_TO_TRAIN}


def test_training_imports_what_it_needs_alone():
    program = "import jaxteach.train\nfrom jaxteach.cli import parse\nfrom jaxteach.training.loop import train"
    assert not loaded_after(program) & set(NOT_TO_TRAIN)


@pytest.mark.parametrize(
    "use",
    [
        "import jumanji; jumanji.make('Snake-v1'); assert jumanji.__version__",
        "from jumanji.registration import make; make('Snake-v1'); import jumanji; assert jumanji.make is make",
        "from jumanji.environments import Maze; from jumanji.env import Environment as E; assert issubclass(Maze, E)",
        "import jumanji; assert not hasattr(jumanji, 'nothing'); from jumanji import specs; assert specs.Array",
    ],
)
def test_jumanji_works_after_the_lazy_import(use):
    """Catches a registry without environments, and classes that are there twice: we import its interface alone."""
    assert "jumanji" in loaded_after(f"import envs_jax\n{use}")


def test_many_threads_may_use_jumanji_first():
    """Catches a thread that sees the registry while another one loads it."""
    program = """
import sys, threading
import envs_jax, jumanji
sys.setswitchinterval(1e-6)
start, made = threading.Barrier(8), []
def use():
    start.wait()
    made.append((jumanji.make, jumanji.registration.registered_environments()))
threads = [threading.Thread(target=use) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert len(made) == 8
"""
    assert "jumanji" in loaded_after(program)


def test_what_is_imported_is_declared():
    """Catches a package that is here only because another one needs it."""
    requirements = [Requirement(text) for text in metadata.requires("jaxteach") or []]
    plain = {_normal(one.name) for one in requirements if one.marker is None}
    packages = metadata.packages_distributions()
    missing = {}
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for top in {_top(full) for full in names} - set(sys.stdlib_module_names) - {"jaxteach", "envs_jax"}:
                if top not in OPTIONAL and not {_normal(found) for found in packages.get(top, [top])} & plain:
                    missing[top] = name
    assert missing == {}


@pytest.mark.parametrize("requirement", metadata.requires("jaxteach") or [])
def test_every_dependency_has_a_lower_bound_and_a_pin(requirement):
    one = Requirement(requirement)
    if one.name == "jaxteach":
        return
    assert {bound.operator for bound in one.specifier} & {">=", "=="}, requirement
    pinned = {_normal(line.partition("==")[0]) for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert _normal(one.name) in pinned, requirement


def _top(name: str) -> str:
    return "google.protobuf" if name.startswith("google.protobuf") else name.split(".", maxsplit=1)[0]


def _normal(name: str) -> str:
    return {"google.protobuf": "protobuf"}.get(name, name).lower().replace("_", "-").replace(".", "-")
