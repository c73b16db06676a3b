"""The prompts: one text for each task, with a place for the caption at its end."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from jaxteach.errors import UserError
from jaxteach.tasks import TASKS

CAPTION: Final = "{caption}"
OBJECTS: Final = "{objects}"


@dataclass(frozen=True)
class Prompt:
    """A task's prompt.

    The caption comes last, so that a model reads all that comes before it once for all captions.
    """

    text: str

    def about(self, caption: str) -> str:
        """The prompt for one caption."""
        return self.text.replace(CAPTION, caption).rstrip("\n")

    @property
    def digest(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(self.text.encode("utf-8")).hexdigest()


def task_prompt(task: str, object_names: Sequence[str]) -> Prompt:
    """The prompt that ships for a task or was registered with it, with the objects that its plans may name.

    Raises:
        UserError: there is none.
    """
    prompt = TASKS[task].prompt
    if prompt is None:
        raise UserError(f"{task} has no prompt, so no model can be asked about it")
    if isinstance(prompt, Path):
        text = _read_prompt(prompt, task)
    else:
        text = (resources.files("jaxteach.llm") / "prompts" / f"{prompt}.md").read_text("utf-8")
    return Prompt(text.replace(OBJECTS, ", ".join(f"<{name}>" for name in object_names)))


def _read_prompt(path: Path, task: str) -> str:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"can't read the prompt {path} of {task}: {error}") from None
    if CAPTION not in text:
        raise UserError(f"the prompt {path} of {task} has no {CAPTION}, where the caption goes; add it")
    return text
