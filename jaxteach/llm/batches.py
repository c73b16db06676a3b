"""Requests and answers in files, in the format of OpenAI's Batch API and of `vllm run-batch`."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jaxteach.errors import UserError
from jaxteach.llm.answer_cache import AnswerStore
from jaxteach.llm.client import Question
from jaxteach.llm.completions import Malformed, read_completion
from jaxteach.runs.files import replacing, writing

if TYPE_CHECKING:
    from jaxteach.llm.openai_client import ServerClient


def export_batch(client: "ServerClient", questions: Sequence[Question], path: Path) -> None:
    """Writes a request a line.

    Raises:
        UserError: the file exists, or can't be written.
    """
    if path.exists():
        raise UserError(f"{path} exists; choose another --export_batch")
    with writing(path), replacing(path) as file:
        for question in questions:
            line = {"custom_id": _custom_id(question), "method": "POST", "url": "/v1/chat/completions"}
            file.write((json.dumps(line | {"body": client.body(question)}) + "\n").encode())


def import_batch(
    client: "ServerClient", questions: Sequence[Question], store: AnswerStore, path: Path
) -> tuple[int, int]:
    """Keeps the answers of a file, whose lines may come in any order; how many were kept, and how many failed.

    Raises:
        UserError: the file can't be read, or is not the output of a batch of these questions.
    """
    by_id = {_custom_id(question): question for question in questions}
    kept = failed = 0
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"can't read the answers {path}: {error}") from None
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            question, response = by_id.get(entry["custom_id"]), entry.get("response") or {}
            body = response.get("body", response)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise UserError(f"line {number} of {path} is not a batch's answer") from None
        if question is None:
            raise UserError(
                f"line {number} of {path} answers another question; give the task and options of --export_batch"
            )
        try:
            answer = read_completion(body if isinstance(body, dict) else {})
        except Malformed:
            failed += 1
            continue
        store.keep(client, question, answer)
        kept += 1
    return kept, failed


def _custom_id(question: Question) -> str:
    digest = hashlib.sha256(question.prompt.encode()).hexdigest()[:16]
    return f"{digest}-{question.sample}"
