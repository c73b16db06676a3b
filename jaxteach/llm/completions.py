"""Reads the bodies of chat completions, as the servers in use write them."""

import json
from typing import Any, Final

from jaxteach.llm.client import Answer

SHOWN: Final = 60
THOUGHTS: Final = ("reasoning", "reasoning_content", "thinking")
"""The fields in which servers keep thoughts apart from the answer."""


ENDED: Final = ("stop", "eos", "eos_token", "stop_sequence", "end_turn", "complete", "tool_calls", "function_call")
"""How servers call the end of an answer that the model has ended."""
CUT_SHORT: Final = ("length", "max_tokens")
"""How they call that of one that was too long."""
TEXT_PARTS: Final = ("text", "output_text")


class Malformed(Exception):
    """A body that holds no answer; the message says what it is instead, and follows the server's address."""


def read_completion(document: bytes | dict[str, Any]) -> Answer:
    """The first answer of a chat completion, as `read_completions`."""
    answer = read_completions(document)[0]
    if isinstance(answer, Malformed):
        raise answer
    return answer


def read_completions(document: bytes | dict[str, Any]) -> list[Answer | Malformed]:
    """The answers of a chat completion, the body of a response or what was read from it; `Malformed` for empty ones.

    The tokens of all of them are with the first one that can be read.

    Raises:
        Malformed: the body is no chat completion, or one without any answer: an outage that looks like an answer.
    """
    document = read_document(document) if isinstance(document, bytes) else document
    if document.get("error"):
        error = document["error"]
        message = error.get("message", error) if isinstance(error, dict) else error
        raise Malformed(f"answers with an error: {str(message)[:300]}")
    choices = document.get("choices")
    if not isinstance(choices, list) or not any(isinstance(choice, dict) for choice in choices):
        raise Malformed("answers without any choice; see its log")
    served = " ".join(str(document[name]) for name in ("model", "system_fingerprint") if document.get(name))
    read = [_read_choice(choice if isinstance(choice, dict) else {}, served) for choice in choices]
    answers = [answer for answer in read if isinstance(answer, Answer)]
    if not answers:
        raise next(error for error in read if isinstance(error, Malformed))
    given = document.get("usage")
    usage = given if isinstance(given, dict) else {}
    answers[0].usage = {
        name: usage[name] for name in ("prompt_tokens", "completion_tokens") if isinstance(usage.get(name), int)
    }
    return read


def _read_choice(choice: dict[str, Any], served: str) -> Answer | Malformed:
    message = choice.get("message")
    if not isinstance(message, dict):
        return Malformed("answers without a message; does --base_url end in /v1?")
    if message.get("refusal"):
        return Answer(str(message["refusal"]), "refused", served=served)
    text, thoughts = _text(message.get("content")), _thoughts(message)
    reason = str(choice.get("finish_reason") or "stop").lower()
    if reason == "content_filter":
        return Answer(text or "", "refused", served=served)
    if reason not in ENDED and reason not in CUT_SHORT:
        return Malformed(f"interrupts its answers ({reason[:SHOWN]!r}); see its log")
    finish = "length" if reason in CUT_SHORT else "stop"
    if not text and finish == "stop":
        what = "tool calls" if message.get("tool_calls") else "thoughts alone" if thoughts else "no content"
        return Malformed(f"answers with {what}; see its log and the model's chat template")
    return Answer(text or "", finish, thoughts, served=served)


def read_document(body: bytes) -> dict[str, Any]:
    """The JSON object that a body holds.

    Raises:
        Malformed: it holds none.
    """
    try:
        document = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        start = body[:SHOWN].decode("utf-8", "replace").split()
        what = "a web page" if body.lstrip()[:1] == b"<" else "an event stream" if body[:5] == b"data:" else "no JSON"
        raise Malformed(f"answers with {what} ({' '.join(start)[:SHOWN]!r}); does --base_url end in /v1?") from None
    if not isinstance(document, dict):
        raise Malformed(f"answers with {type(document).__name__} instead of an object; does --base_url end in /v1?")
    return document


def _text(content: Any) -> str | None:
    """The text of a message, which may come in parts."""
    if isinstance(content, list):
        spoken = (part for part in content if isinstance(part, dict) and not part.get("thought"))
        parts = [part.get("text") for part in spoken if part.get("type", "text") in TEXT_PARTS]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else None


def _thoughts(message: dict[str, Any]) -> str:
    return next((message[name] for name in THOUGHTS if isinstance(message.get(name), str) and message[name]), "")
