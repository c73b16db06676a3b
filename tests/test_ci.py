"""CI on the machine of a user: it tests the working tree, and leaves what is there."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = """
```sh
mkdir -p .venv/bin log && for tool in ruff pyright python; do echo 'echo "$0 $@ $(cat new.py)"' > .venv/bin/$tool; done
chmod +x .venv/bin/* && test ! -e mine && cat ../shared/trace && echo && touch log/fresh && pwd > "$SEEN"
```
"""


def test_what_a_user_has_in_the_folder_is_neither_tested_nor_lost(tmp_path):
    """Catches runs and environments that are removed, a change that is not committed and not tested, and leftovers."""
    project, shared = tmp_path / "my project", tmp_path / "shared"
    shutil.copytree(ROOT / ".ci", project / ".ci")
    for path in (project / "log" / "run", project / ".venv" / "mine", shared / "trace"):
        path.parent.mkdir(parents=True)
        path.write_text("kept")
    for script in set(os.listdir(project / ".ci")) - {"run", "readme_commands.py"}:
        (project / ".ci" / script).write_text("#!/bin/sh\n")
    (project / ".gitignore").write_text((ROOT / ".gitignore").read_text() + "mine\n")
    (project / "mine").write_text("ignored")
    (project / "README.md").write_text(README)
    (project / "new.py").write_text("untracked")
    before = sorted(project.rglob("*"))
    environment = os.environ | {"SEEN": str(tmp_path / "seen"), "TMPDIR": str(tmp_path / "places")}
    (tmp_path / "places").mkdir()
    done = subprocess.run(
        ["bash", project / ".ci" / "run"], cwd="/", env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "kept" in done.stdout
    assert [line for line in done.stdout.splitlines() if line.startswith(".venv")] == [
        ".venv/bin/ruff check . untracked",
        ".venv/bin/ruff format --check . untracked",
        ".venv/bin/pyright --pythonpath .venv/bin/python untracked",
        ".venv/bin/python -m pytest -q -m slow --dist worksteal untracked",
    ]
    assert sorted(project.rglob("*")) == before
    assert (tmp_path / "seen").read_text().startswith(str(tmp_path / "places"))
    assert os.listdir(tmp_path / "places") == []
