"""Answers on disk: kept as they come, so that nothing is asked twice."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxteach.errors import UserError
from jaxteach.llm.client import Client, Question


class AnswerStore:
    """A file with one JSON object for each answer.

    An answer counts as known if the whole prompt, the sample's number and the client's identity
    are the same. A line that was cut off when a run was killed is dropped.

    Args:
        path: the file; made when the first answer comes.

    Raises:
        UserError: the file can't be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[tuple[str, str, int], str] = {}
        try:
            self._read()
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"can't read the answers kept in {path}: {error}") from None

    def complete(self, client: Client, questions: Sequence[Question]) -> Iterator[tuple[Question, str]]:
        """The answers to all questions, the known ones first; the client is asked only for the others."""
        asker = _digest(client.identity)
        unknown = []
        for question in questions:
            answer = self._known.get((asker, _digest(question.prompt), question.sample))
            if answer is None:
                unknown.append(question)
            else:
                yield question, answer
        if unknown:
            for question, answer in client.ask(unknown):
                self._keep(asker, question, answer)
                yield question, answer

    def _read(self) -> None:
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        for number, line in enumerate(whole.decode("utf-8").splitlines(), 1):
            try:
                entry = json.loads(line)
                key = str(entry["asked"]), str(entry["prompt"]), int(entry["sample"])
                self._known[key] = str(entry["answer"])
            except (ValueError, TypeError, KeyError, RecursionError):
                raise UserError(f"line {number} of {self.path} is not an answer; move the file away") from None
        if len(whole) < len(content):
            with self.path.open("r+b") as file:
                file.truncate(len(whole))

    def _keep(self, asker: str, question: Question, answer: str) -> None:
        digest = _digest(question.prompt)
        entry = {"asked": asker, "prompt": digest, "sample": question.sample, "answer": answer}
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise UserError(f"can't write to {self.path}: {error.strerror}") from None
        self._known[asker, digest, question.sample] = answer


def answers_path(plans: Path) -> Path:
    """Where the answers for a plan file are kept as they come."""
    return plans.with_name(plans.name + ".answers.jsonl")


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("utf-8")).hexdigest()[:16]
