"""Answers on disk: kept as they come, so that nothing is asked twice."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Final

from jaxteach.errors import UserError
from jaxteach.llm.client import Answer, Client, Question

START: Final = '{"asked": "'
"""How every line begins."""


class AnswerStore:
    """A file with one JSON object for each answer.

    An answer counts as known if the whole prompt, the sample's number and the client's identity
    are the same. A line that was cut off when a run was killed is dropped.

    Args:
        path: the file; made when the first answer comes.
        read_only: leaves the file as it is, with what a kill has cut off.

    Attributes:
        reused: how many answers were known before they were asked for.
        seconds: spent waiting for clients.
        tokens: of all answers that were asked for, the known ones too, as far as the servers tell.
        refused_fields: the fields of requests that the servers of these answers refuse.

    Raises:
        UserError: the file can't be read.
    """

    def __init__(self, path: Path, read_only: bool = False) -> None:
        self.path, self._read_only = path, read_only
        self._known: dict[tuple[str, str, int], Answer] = {}
        self.reused, self.seconds, self.tokens = 0, 0.0, Counter[str]()
        self.refused_fields: set[str] = set()
        try:
            self._read()
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"can't read the answers kept in {path}: {error}") from None

    def complete(self, client: Client, questions: Sequence[Question]) -> Iterator[tuple[Question, Answer]]:
        """The answers to all questions, the known ones first; the client is asked only for the others."""
        asker = _digest(client.identity)
        unknown = []
        for question in questions:
            answer = self._known.get((asker, _digest(question.prompt), question.sample))
            if answer is None:
                unknown.append(question)
            else:
                self.reused += 1
                self._count(answer)
                yield question, answer
        together: list[tuple[Question, Answer]] = []
        for question, text in self._timed(client.ask(unknown)) if unknown else ():
            answer = text if isinstance(text, Answer) else Answer(text)
            self._count(answer)
            together.append((question, answer))
            if answer.following:
                continue
            # A refusal may be another one's mistake: it is asked about again.
            self._keep(asker, [pair for pair in together if pair[1].finish != "refused"])
            yield from together
            together = []

    def keep(self, client: Client, question: Question, answer: Answer) -> bool:
        """Keeps an answer that came on another way, unless there is one; whether it was kept."""
        key = _digest(client.identity), _digest(question.prompt), question.sample
        is_new = key not in self._known
        if is_new:
            self._keep(key[0], [(question, answer)])
        return is_new

    def answers_to(self, prompt: str) -> list[Answer]:
        """All answers to a prompt that the file has, of every client, in the order of their samples."""
        digest = _digest(prompt)
        found = {(sample, asker): answer for (asker, known, sample), answer in self._known.items() if known == digest}
        return [found[key] for key in sorted(found)]

    @contextmanager
    def timing(self) -> Iterator[None]:
        """What the block takes is added to `seconds`."""
        began = monotonic()
        try:
            yield
        finally:
            self.seconds += monotonic() - began

    def _count(self, answer: Answer) -> None:
        self.tokens.update(answer.usage)
        self.refused_fields |= set(filter(None, answer.refused_fields.split(", ")))

    def _timed(self, answers: Iterator[tuple[Question, Answer]]) -> Iterator[tuple[Question, Answer]]:
        """The same answers, timed."""
        while True:
            with self.timing():
                found = next(answers, None)
            if found is None:
                return
            yield found

    def _read(self) -> None:
        content = self.path.read_bytes()
        lines = content.decode("utf-8").split("\n")
        for number, line in enumerate(lines, 1):
            is_last = number == len(lines)
            if line or not is_last:
                self._read_line(number, line, is_last)

    def _read_line(self, number: int, line: str, is_last: bool) -> None:
        try:
            entry = json.loads(line)
            key = str(entry["asked"]), str(entry["prompt"]), int(entry["sample"])
            usage = {str(name): int(count) for name, count in dict(entry.get("usage") or {}).items()}
            finish, *texts = (str(entry.get(name, "")) for name in ("finish", "thoughts", "served", "refused_fields"))
            self._known[key] = Answer(str(entry["answer"]), finish or "stop", texts[0], usage, *texts[1:])
        except (ValueError, TypeError, KeyError, RecursionError):
            # What a kill cut off begins as our lines do; anything else is not ours to touch.
            if not (is_last and START.startswith(line[: len(START)])):
                raise UserError(f"line {number} of {self.path} is not an answer; move the file away") from None
            if not self._read_only:
                with self.path.open("r+b") as file:
                    file.truncate(self.path.stat().st_size - len(line.encode("utf-8")))
        else:
            if is_last and not self._read_only:
                with self.path.open("ab") as file:
                    file.write(b"\n")

    def _keep(self, asker: str, pairs: Sequence[tuple[Question, Answer]]) -> None:
        """Keeps answers in one write, so that a kill loses none of one response, or all."""
        lines = b"".join(_line(asker, *pair) for pair in pairs)
        try:
            if lines:
                with self.path.open("ab", buffering=len(lines) + 1) as file:
                    file.write(lines)
        except OSError as error:
            raise UserError(f"can't write to {self.path}: {error.strerror}") from None
        for question, answer in pairs:
            self._known[asker, _digest(question.prompt), question.sample] = answer


def _line(asker: str, question: Question, answer: Answer) -> bytes:
    """An answer as the file has it."""
    key = {"asked": asker, "prompt": _digest(question.prompt), "sample": question.sample}
    entry: dict[str, Any] = key | {"answer": str(answer)}
    more = {name: getattr(answer, name) for name in ("finish", "thoughts", "usage", "served", "refused_fields")}
    entry |= {name: value for name, value in more.items() if value and value != "stop"}
    return (json.dumps(entry) + "\n").encode()


def answers_path(plans: Path) -> Path:
    """Where the answers for a plan file are kept as they come."""
    return plans.with_name(plans.name + ".answers.jsonl")


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("utf-8")).hexdigest()[:16]
