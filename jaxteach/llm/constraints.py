"""How servers are told that answers must be plans: each has a field of its own, and ignores those of others.

Sources: vLLM's `structured_outputs` (0.12 and later) and `guided_grammar`, llama.cpp's `grammar`, SGLang's `ebnf`, and
OpenAI's `response_format`, which Ollama and most hosted servers take too.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from jaxteach.llm.final_answer import split_thoughts
from jaxteach.llm.grammar import plan_texts
from jaxteach.teacher.domain import Vocabulary

WORD: Final = "zebra 7193"
PROBE_PROMPT: Final = "Say hello."
PROBE_GRAMMAR: Final = f'root ::= "{WORD}"'


class Constraint(NamedTuple):
    """What answers may be, in both forms that servers know."""

    grammar: str  # GBNF
    schema: Mapping[str, Any]  # JSON schema


def plan_constraint(grammar: str, vocabulary: Vocabulary) -> Constraint:
    """The constraint of the plans in a task's words."""
    steps = {"type": "array", "items": {"type": "string", "enum": plan_texts(vocabulary)}}
    return Constraint(grammar, _object({"action": steps}))


PROBE: Final = Constraint(PROBE_GRAMMAR, {})


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def _response_format(constraint: Constraint) -> dict[str, Any]:
    schema = constraint.schema or _object({"answer": {"type": "string", "enum": [WORD]}})
    return {
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
    }


FORMS: Final[dict[str, Callable[[Constraint], dict[str, Any]]]] = {
    "grammar": lambda constraint: {"grammar": constraint.grammar},
    "structured_outputs": lambda constraint: {"structured_outputs": {"grammar": constraint.grammar}},
    "guided_grammar": lambda constraint: {"guided_grammar": constraint.grammar},
    "ebnf": lambda constraint: {"ebnf": constraint.grammar},
    "response_format": _response_format,
}
"""The fields of a request that carry a constraint, in the order in which they are tried."""


def obeys_probe(text: str) -> bool:
    """Whether an answer to `PROBE_PROMPT` is the only one that the probe allows."""
    spoken = split_thoughts(text)[0].strip()
    return spoken == WORD or (spoken.startswith("{") and WORD in spoken and spoken.endswith("}"))
