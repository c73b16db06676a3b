"""Debate: each agent is asked again, with the others' proposals, and may change its plan."""

from collections.abc import Callable, Sequence
from importlib import resources

from jaxteach.llm.answer_cache import AnswerStore
from jaxteach.llm.client import Client, Question
from jaxteach.llm.parse import Rejected, parse_answer, plan_text
from jaxteach.llm.prompts import CAPTION, Prompt
from jaxteach.llm.query import AnswerCounts
from jaxteach.teacher.domain import Vocabulary
from jaxteach.teacher.plans import CaptionParts, CaptionPlans

NO_PROPOSAL = "nothing yet"

Situation = tuple[int, ...]
"""The captions of all agents at one moment, sorted: the agents are interchangeable."""


def debate(
    client: Client,
    store: AnswerStore,
    prompt: Prompt,
    vocabulary: Vocabulary,
    situations: Sequence[Situation],
    rounds: int,
    samples: int,
    on_answer: Callable[[], None] = lambda: None,
) -> list[CaptionPlans]:
    """The agents' final plans, for each caption in each situation.

    In round 0 every agent is asked alone, as if there were no others. In each further round it
    reads the others' captions and their proposals of the round before. Each sample is a debate of
    its own: sample 3 of an agent reads sample 3 of the others. Agents with the same caption in one
    situation get different samples, so that one of them can give way. All questions of a
    round go to the client together.

    Args:
        client: the model.
        store: keeps the answers.
        prompt: the task's.
        vocabulary: the task's.
        situations: what to debate about.
        rounds: after round 0.
        samples: debates about each situation.
        on_answer: called after every answer.

    Raises:
        UserError: the model can't be asked; the answers that came are kept.
    """
    agents = [(situation, i) for situation in situations for i in range(len(situation))]
    proposals: dict[tuple[Situation, int, int], str] = {}
    for number in range(rounds + 1):
        questions = {
            (situation, i, sample): Question(
                _text(prompt, vocabulary, situation, i, sample, proposals if number else None),
                sample + samples * situation[:i].count(situation[i]),
            )
            for situation, i in agents
            for sample in range(samples)
        }
        answers: dict[Question, str] = {}
        for question, answer in store.complete(client, list(dict.fromkeys(questions.values()))):
            answers[question] = answer
            on_answer()
        proposals = {agent: answers[question] for agent, question in questions.items()}
    return _entries(vocabulary, agents, samples, proposals)


def count_questions(situations: Sequence[Situation], rounds: int, samples: int) -> int:
    """The most questions that a debate can ask."""
    return (rounds + 1) * samples * sum(map(len, situations))


def _text(
    prompt: Prompt,
    vocabulary: Vocabulary,
    situation: Situation,
    agent: int,
    sample: int,
    proposals: dict[tuple[Situation, int, int], str] | None,
) -> str:
    """What one agent is asked; `proposals` are the answers of the round before, None in round 0."""
    own = vocabulary.texts[situation[agent]]
    if proposals is None:
        return prompt.about(own)
    lines = [
        f"- {vocabulary.texts[caption]} It proposes: {_proposal(proposals[situation, i, sample], vocabulary)}"
        for i, caption in enumerate(situation)
        if i != agent
    ]
    frame = (resources.files("jaxteach.llm") / "prompts" / "debate.md").read_text("utf-8")
    return prompt.about(frame.rstrip("\n").replace("{others}", "\n".join(lines)).replace(CAPTION, own))


def _proposal(answer: str, vocabulary: Vocabulary) -> str:
    try:
        return plan_text(parse_answer(answer, vocabulary))
    except Rejected:
        return NO_PROPOSAL


def _entries(
    vocabulary: Vocabulary,
    agents: Sequence[tuple[Situation, int]],
    samples: int,
    proposals: dict[tuple[Situation, int, int], str],
) -> list[CaptionPlans]:
    counts: dict[tuple[int, Situation], AnswerCounts] = {}
    for situation, i in agents:
        others = situation[i], situation[:i] + situation[i + 1 :]
        count = counts.setdefault(others, AnswerCounts(situation[i]))
        for sample in range(samples):
            count.add(proposals[situation, i, sample], vocabulary)
    entries = []
    for (_, others), count in counts.items():
        entry = count.entry(vocabulary)
        if entry is not None:
            parts = tuple(CaptionParts(tuple(vocabulary.sees[other]), vocabulary.holds[other]) for other in others)
            entries.append(CaptionPlans(entry.sees, entry.holds, entry.plans, parts))
    return entries
