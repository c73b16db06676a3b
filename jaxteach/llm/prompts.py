"""The questions: one text for each task, with a place for the caption at its end."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from jaxteach.errors import UserError

CAPTION: Final = "{caption}"
OBJECTS: Final = "{objects}"
OWN_PROMPTS: Final[dict[str, Path]] = {}
"""The prompts of the tasks that users have registered."""


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
    if task in OWN_PROMPTS:
        text = _own_prompt(task)
    else:
        # The hallways differ in the number of rooms alone, and share their prompt.
        file = resources.files("jaxteach.llm") / "prompts" / f"{task.split('-', maxsplit=1)[0]}.md"
        if not file.is_file():
            raise UserError(f"no prompt ships for {task}, so no model can be asked about it")
        text = file.read_text("utf-8")
    return Prompt(text.replace(OBJECTS, ", ".join(f"<{name}>" for name in object_names)))


def _own_prompt(task: str) -> str:
    path = OWN_PROMPTS[task]
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"can't read the prompt {path} of {task}: {error}") from None
    if CAPTION not in text:
        raise UserError(f"the prompt {path} of {task} has no {CAPTION}, where it is told what the agent sees")
    return text
