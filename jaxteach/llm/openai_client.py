"""A model behind an OpenAI-compatible server: vLLM, llama.cpp's server, Ollama, SGLang, or a hosted one."""

import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final

from jaxteach.errors import UserError
from jaxteach.llm.accepted_fields import NEUTRAL_SAMPLING, AcceptedFields
from jaxteach.llm.client import Answer, Question
from jaxteach.llm.completions import read_completions
from jaxteach.llm.constraints import FORMS, PROBE, PROBE_PROMPT, Constraint, obeys_probe
from jaxteach.llm.server_requests import Connection, Requests, Unanswered, message_of

KEPT: Final = "the answers so far are kept, run the same command again to go on"
PATH: Final = "chat/completions"

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
    """Sends many requests at once, so that the server can batch them; samples of one prompt share a request.

    Args:
        requests: how the server is reached; without a `base_url`, for batches in files.
        sampling: how answers are sampled.
        constraint: what answers may be, None for free answers; the server is asked once how it takes it.

    Raises:
        UserError: the server ignores constraints, or can't be reached to find that out.
    """

    def __init__(self, requests: Requests, sampling: Sampling, constraint: Constraint | None) -> None:
        self._requests, self.sampling, self._constraint = requests, sampling, constraint
        self.base_url, self.model = requests.base_url, requests.model
        self._accepted = AcceptedFields(sampling.extra_body)
        if self.base_url is None:
            # Requests in a file can't be sent again without `NEUTRAL_SAMPLING`.
            self._accepted.omit_neutral()
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
    def refused_fields(self) -> list[str]:
        """The fields of requests that the server refuses, and that are left out."""
        return [] if self.base_url is None else self._accepted.refused

    def request_stats(self) -> dict[str, Any]:
        """See `Client`."""
        return dict(self._requests.sent)

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Answer]]:
        """See `Client`."""
        if self.base_url is None:
            raise UserError(f"{len(questions)} answers are missing; give --base_url, and the server is asked for them")
        failures: list[str] = []
        groups = deque(self._groups(questions))
        with closing(self._requests.run_concurrently(groups, self._answer)) as results:
            for group, found in results:
                if isinstance(found, Unanswered):
                    failures += [str(found)] * len(group)
                    if found.fatal:
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
        sampling, dropped = self.sampling, self._accepted.dropped
        limit = "max_completion_tokens" if "max_tokens" in dropped else "max_tokens"
        fields: dict[str, Any] = {
            "temperature": sampling.temperature,
            "seed": zlib.crc32(f"{sampling.seed} {question.sample} {question.prompt}".encode()) >> 1,
            "top_p": sampling.top_p,
            "reasoning_effort": sampling.reasoning_effort,
            limit: sampling.max_tokens,
            "n": samples if samples > 1 else None,
            **(NEUTRAL_SAMPLING if self._accepted.neutral else {}),
        }
        kept = {name: value for name, value in fields.items() if value is not None and name not in dropped}
        messages = [{"role": "user", "content": question.prompt}]
        return {"model": self.model, "messages": messages, **kept, **sampling.extra_body, **self._constrain}

    def _find_form(self, constraint: Constraint) -> str:
        """How the server takes a constraint: in the first form in which it obeys one that allows a single answer."""
        for name, form in FORMS.items():
            self._constrain = form(PROBE)
            # Where a form is refused, it must be clear that nothing else is.
            self._accepted.omit_neutral()
            if obeys_probe(self._probe()):
                self._constrain = form(constraint)
                self._accepted.try_neutral()
                return name
        raise UserError(
            f"{self.base_url} ignores constraints: it takes none of {', '.join(FORMS)}; leave --structured out, and "
            "answers that are not plans are counted as rejects"
        )

    def _probe(self) -> str:
        """The answer to a probe; nothing where the server refuses its form."""
        groups = deque([[Question(PROBE_PROMPT, 0)]])
        said = ""
        with closing(self._requests.run_concurrently(groups, self._answer)) as results:
            for _, found in results:
                if not isinstance(found, Unanswered):
                    answers, again = found
                    groups.extend(again)
                    said = answers[0][1] if answers else ""
                elif found.fatal:
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
        accepted, prompt = self._accepted, group[0].prompt
        if len(self._split(group)) > 1:
            return [], self._split(group)
        body, neutral = self.body(group[0], len(group)), accepted.neutral
        try:
            choices = await self._requests.post(connection, PATH, body, read_completions, divisible=len(group) > 1)
        except Unanswered as error:
            if error.refused and _is_filtered(error.error):
                return [(question, Answer(message_of(error.error), "refused")) for question in group], []
            if error.refused and accepted.drop_refused_field(error.error, body, prompt, neutral):
                return [], [group]
            if error.may_be_too_large and len(group) > 1:
                accepted.max_n = 1
                return [], self._split(group)
            accepted.restore(prompt)
            raise
        accepted.confirm(prompt, neutral, len(group), len(choices))
        pairs = list(zip(group, choices))
        answers = [(question, choice) for question, choice in pairs if isinstance(choice, Answer)]
        for number, (_, answer) in enumerate(answers, 1):
            answer.following, answer.refused_fields = len(answers) - number, ", ".join(self.refused_fields)
        empty = [[question] for question, choice in pairs if not isinstance(choice, Answer)]
        return answers, empty + self._split(group[len(choices) :])

    def _split(self, group: Group) -> list[Group]:
        """A group in parts that the server answers in one request."""
        size = 1 if group and group[0].prompt in self._accepted.suspects_n else self._accepted.max_n
        return [group[i : i + size] for i in range(0, len(group), size)]


def _is_filtered(error: Exception) -> bool:
    """Whether a content filter refuses the prompt, which it always will."""
    code = str(getattr(error, "code", None) or "") + message_of(error)
    return "content_filter" in code or "content_policy" in code
