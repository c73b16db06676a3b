"""A model behind an OpenAI-compatible server: vLLM, llama.cpp's server, Ollama, SGLang, or a hosted one."""

import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final

from jaxteach.errors import UserError
from jaxteach.llm.client import Answer, Question
from jaxteach.llm.completions import read_completions
from jaxteach.llm.constraints import FORMS, PROBE, PROBE_PROMPT, Constraint, obeys_probe
from jaxteach.llm.server_requests import Connection, Requests, Unanswered, message_of

KEPT: Final = "the answers so far are kept, run the same command again to go on"
PATH: Final = "chat/completions"
PLAIN: Final = {"repeat_penalty": 1.0, "repetition_penalty": 1.0, "top_k": 2**20, "min_p": 0.0}
"""Switches off what servers do to the model's probabilities by themselves, in the names of llama.cpp, vLLM and SGLang.
Every one of them takes so large a top_k; 0 and -1 are refused by some."""
MOST_CHOICES: Final = 128
"""OpenAI's limit of `n`."""

Group = list[Question]
"""Samples of one prompt, asked in one request."""


@dataclass(frozen=True)
class Sampling:
    """How a server samples; what is None is left to the server.

    Attributes:
        temperature: 0 takes the likeliest token.
        max_tokens: the longest answer, thoughts included.
        seed: of all draws, for servers that honour seeds.
        top_p: nucleus sampling.
        reasoning_effort: how much a reasoning model thinks.
        extra_body: more fields of each request.
    """

    temperature: float
    max_tokens: int
    seed: int
    top_p: float | None = None
    reasoning_effort: str | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)


class ServerClient:
    """Many requests side by side, so that the server can batch them; samples of one prompt share a request.

    Args:
        base_url: up to and including the version, such as http://localhost:8000/v1; None for batches in files.
        model: the model's name on the server.
        sampling: how answers are sampled.
        constraint: what answers may be, None for free answers; the server is asked once how it takes it.
        parallel: requests in flight.
        timeout: seconds for one answer, from the request to its last byte.
        retries: how often a failed request is sent again, after growing pauses.
        api_key_env: the environment variable with the server's key, which is written nowhere.
        headers: more HTTP headers of each request.

    Raises:
        UserError: the URL is not one, or the server ignores constraints, or can't be reached to find that out.
    """

    def __init__(
        self,
        base_url: str | None,
        model: str,
        sampling: Sampling,
        constraint: Constraint | None,
        parallel: int,
        timeout: float,
        retries: int,
        api_key_env: str = "OPENAI_API_KEY",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._requests = Requests(base_url, model, parallel, timeout, retries, api_key_env, headers)
        self.base_url, self.model, self.sampling, self._constraint = base_url, model, sampling, constraint
        self._left_out: set[str] = set()
        # A batch in a file has no second try without `PLAIN`.
        self._plain, self._settled = base_url is not None, False
        self._most_choices, self._suspects_n = MOST_CHOICES, False
        self._constrain: dict[str, Any] = {}
        self.form = None if constraint is None else self._find_form(constraint)

    @property
    def identity(self) -> dict[str, Any]:
        """See `Client`."""
        sampling = self.sampling
        given = {"top_p": sampling.top_p, "reasoning_effort": sampling.reasoning_effort}
        more = {name: value for name, value in given.items() if value is not None}
        return {
            "backend": "openai",
            "base_url": self.base_url,
            "model": self.model,
            "temperature": sampling.temperature,
            "max_tokens": sampling.max_tokens,
            "seed": sampling.seed,
            "grammar": None if self._constraint is None else self._constraint.grammar,
            **({} if self.form in (None, "grammar") else {"form": self.form}),
            **more,
            **({"sampling": "plain"} if self.base_url else {}),
            **({"extra_body": dict(sampling.extra_body)} if sampling.extra_body else {}),
        }

    @property
    def sent(self) -> Mapping[str, int]:
        """How many requests were sent; see `Requests`."""
        return self._requests.sent

    @property
    def left_out(self) -> list[str]:
        """The fields of requests that the server refuses, and that are left out."""
        plain = set() if self._plain or self.base_url is None else set(PLAIN) - set(self.sampling.extra_body)
        return sorted((self._left_out - {"max_tokens"}) | plain)

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Answer]]:
        """See `Client`."""
        if self.base_url is None:
            raise UserError(f"{len(questions)} answers are missing; give --base_url, and the server is asked for them")
        failures: list[str] = []
        groups = deque(self._groups(questions))
        with closing(self._requests.side_by_side(groups, self._answer)) as results:
            for group, found in results:
                if isinstance(found, Unanswered):
                    failures += [str(found)] * len(group)
                    if found.ends:
                        groups.clear()
                    continue
                answers, again = found
                groups.extendleft(reversed(again))
                yield from answers
        if failures:
            missing = f"{len(failures)} of {len(questions)} questions have no answer; " if len(failures) > 1 else ""
            raise UserError(f"{max(failures, key=failures.count)}; {missing}{KEPT}")

    def body(self, question: Question, samples: int = 1) -> dict[str, Any]:
        """A request's body, without the fields that the server refuses."""
        sampling = self.sampling
        limit = "max_completion_tokens" if "max_tokens" in self._left_out else "max_tokens"
        fields: dict[str, Any] = {
            "temperature": sampling.temperature,
            "seed": zlib.crc32(f"{sampling.seed} {question.sample} {question.prompt}".encode()) >> 1,
            "top_p": sampling.top_p,
            "reasoning_effort": sampling.reasoning_effort,
            limit: sampling.max_tokens,
            "n": samples if samples > 1 else None,
            **(PLAIN if self._plain else {}),
        }
        kept = {name: value for name, value in fields.items() if value is not None and name not in self._left_out}
        messages = [{"role": "user", "content": question.prompt}]
        return {"model": self.model, "messages": messages, **kept, **sampling.extra_body, **self._constrain}

    def _find_form(self, constraint: Constraint) -> str:
        """How the server takes a constraint: in the first form in which it obeys one that allows a single answer."""
        for name, form in FORMS.items():
            self._constrain = form(PROBE)
            # Where a form is refused, it must be clear that nothing else is.
            self._plain, self._settled = False, True
            if obeys_probe(self._probe()):
                self._constrain = form(constraint)
                self._plain, self._settled = True, False
                return name
        raise UserError(
            f"{self.base_url} ignores constraints: it takes none of {', '.join(FORMS)}; leave --structured out, and "
            "answers that are not plans are counted as rejects"
        )

    def _probe(self) -> str:
        """The answer to a probe; nothing where the server refuses its form."""
        groups = deque([[Question(PROBE_PROMPT, 0)]])
        said = ""
        for _, found in self._requests.side_by_side(groups, self._answer):
            if not isinstance(found, Unanswered):
                answers, again = found
                groups.extend(again)
                said = answers[0][1] if answers else ""
            elif found.ends:
                raise UserError(f"{found}; {KEPT}")
        return said

    def _groups(self, questions: Sequence[Question]) -> list[Group]:
        """The samples of each prompt together; at temperature 0 they would be the same, and each is asked by itself."""
        if self.sampling.temperature == 0:
            return [[question] for question in questions]
        groups: dict[str, Group] = {}
        for question in questions:
            groups.setdefault(question.prompt, []).append(question)
        return list(groups.values())

    async def _answer(self, connection: Connection, group: Group) -> tuple[list[tuple[Question, Answer]], list[Group]]:
        """The answers to a group as far as they come, and groups of what is to be asked again."""
        if len(group) > self._most_choices:
            return [], self._split(group)
        body, plain = self.body(group[0], len(group)), self._plain
        try:
            choices = await self._requests.post(connection, PATH, body, read_completions)
        except Unanswered as error:
            if error.refused and _is_filtered(error.error):
                return [(question, Answer(message_of(error.error), "refused")) for question in group], []
            if error.refused and self._mends(error.error, body, plain):
                return [], [group]
            # Fewer fields have not helped.
            if not self._settled:
                self._plain = True
            if self._suspects_n:
                self._most_choices, self._suspects_n = MOST_CHOICES, False
            raise
        if not self._settled:
            self._plain, self._settled = plain, True
        self._suspects_n = False
        if len(choices) < len(group):
            self._most_choices = min(self._most_choices, len(choices))
        pairs = list(zip(group, choices))
        answers = [(question, choice) for question, choice in pairs if isinstance(choice, Answer)]
        empty = [[question] for question, choice in pairs if not isinstance(choice, Answer)]
        return answers, empty + self._split(group[len(choices) :])

    def _split(self, group: Group) -> list[Group]:
        """A group in parts that the server answers in one request."""
        return [group[i : i + self._most_choices] for i in range(0, len(group), self._most_choices)]

    def _mends(self, error: Exception, body: Mapping[str, Any], plain: bool) -> bool:
        """Whether a request, with `PLAIN` or without, was refused for what can be left out; it is, from then on."""
        text = str(error).lower()
        if "unsupported" in text or "not support" in text:
            names = ("max_tokens", "temperature", "top_p", "seed")
            found = next((name for name in names if name in body and f"'{name}'" in text), None)
            if found and found not in self.sampling.extra_body:
                self._left_out.add(found)
                return True
        if "n" in body and "n" not in self.sampling.extra_body and not any(name in text for name in PLAIN):
            self._most_choices, self._suspects_n = 1, True
            return True
        if plain and not (self._plain and self._settled):
            self._plain = False
            return True
        return False


def _is_filtered(error: Exception) -> bool:
    """Whether a content filter refuses the prompt, which it always will."""
    code = str(getattr(error, "code", None) or "") + message_of(error)
    return "content_filter" in code or "content_policy" in code
