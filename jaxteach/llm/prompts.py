"""The prompts: a text for each task or family of tasks, with the caption at its end."""

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from jaxteach.errors import UserError
from jaxteach.tasks import TASKS
from jaxteach.teacher.domain import Vocabulary

CAPTION: Final = "{caption}"
SKILL_NOTES: Final = {
    "explore": "explore: walk to where something unseen may be",
    "goto": "go to <object>: walk until the object is directly in front",
    "pickup": "pick up <object>: take the object in front",
    "drop": "drop <object>: put down what is held where it does not block the way",
    "toggle": "toggle <object>: open what is in front",
    "wait": "wait: do nothing",
    "putnext": "put next to <object>: put down what is held beside the object",
}
"""What prompts say about each skill, in the place of `{skills}`."""


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


def task_prompt(task: str, vocabulary: Vocabulary) -> Prompt:
    """The prompt that ships for a task or was registered with it.

    `{objects}` and `{skills}` in its text stand for what plans may name. A vocabulary may have a dict `prompt_parts`
    with the texts of further placeholders: that of `MiniGridCaptions` has `{mission}` and `{notes}`.

    Raises:
        UserError: the task has no prompt, or its file can't be read or has no `{caption}`.
    """
    prompt = TASKS[task].prompt
    if prompt is None:
        raise UserError(f"{task} has no prompt, so no model can be asked about it")
    if isinstance(prompt, Path):
        text = _read_prompt(prompt, task)
    else:
        text = (resources.files("jaxteach.llm") / "prompts" / f"{prompt}.md").read_text("utf-8")
    parts = {
        **getattr(vocabulary, "prompt_parts", {}),
        "objects": ", ".join(f"<{name}>" for name in vocabulary.object_names),
        "skills": "\n".join(f"- {SKILL_NOTES[skill]}" for skill in vocabulary.skills),
    }
    for placeholder, part in parts.items():
        text = text.replace(f"{{{placeholder}}}", part)
    return Prompt(text)


def _read_prompt(path: Path, task: str) -> str:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"can't read the prompt {path} of {task}: {error}") from None
    if CAPTION not in text:
        raise UserError(f"the prompt {path} of {task} has no {CAPTION}, where the caption goes; add it")
    return text
