"""Prints the README's shell commands, a line each: those in its ```sh blocks."""

import re
from pathlib import Path


def commands() -> list[str]:
    """The lines of the README's ```sh blocks, continuation lines joined."""
    text = (Path(__file__).resolve().parents[1] / "README.md").read_text("utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.replace("\\\n", "").splitlines() if line.strip()]


if __name__ == "__main__":
    print("\n".join(commands()))
