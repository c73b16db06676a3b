"""Requests and answers in files, in the format of OpenAI's Batch API and of `vllm run-batch`."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
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
            line = {"custom_id": _custom_id(client, question), "method": "POST", "url": "/v1/chat/completions"}
            file.write((json.dumps(line | {"body": client.body(question)}) + "\n").encode())


def import_batch(
    client: "ServerClient", questions: Sequence[Question], store: AnswerStore, path: Path
) -> tuple[int, int, int]:
    """Keeps the answers of a file, whose lines may come in any order.

    Returns:
        How many were kept, how many were there before, and how many failed.

    Raises:
        UserError: the file can't be read, or is not the output of a batch of these questions.
    """
    by_id = {_custom_id(client, question): question for question in questions}
    counts = [0, 0, 0]
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
                f"line {number} of {path} answers another question, or was asked with other options for sampling; "
                "give the task and options of --export_batch"
            )
        try:
            answer = read_completion(body if isinstance(body, dict) else {})
        except Malformed:
            counts[2] += 1
            continue
        counts[0 if store.keep(client, question, answer) else 1] += 1
    kept, known, failed = counts
    return kept, known, failed


def _custom_id(client: "ServerClient", question: Question) -> str:
    """Differs between prompts, models and options of sampling, since answers in batches name only this."""
    asked = json.dumps([question.prompt, client.model, asdict(client.sampling)], sort_keys=True)
    return f"{hashlib.sha256(asked.encode()).hexdigest()[:16]}-{question.sample}"
