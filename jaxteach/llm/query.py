"""From captions to plans: asks a model about captions, and counts its answers."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from jaxteach.errors import UserError
from jaxteach.llm.answer_cache import AnswerStore
from jaxteach.llm.client import Answer, Client, Question, Scorer
from jaxteach.llm.grammar import candidate_plans
from jaxteach.llm.parse import CUT_OFF, Rejected, Skills, answer_text, parse_answer
from jaxteach.llm.prompts import Prompt
from jaxteach.teacher.domain import Vocabulary
from jaxteach.teacher.plans import MAX_PLANS, CaptionPlans, Plan

ENDS = {"length": CUT_OFF, "refused": "refused"}
"""Why an answer is rejected, by how it ended."""


@dataclass
class AnswerCounts:
    """A model's answers to one caption.

    Attributes:
        weights: the plans; how often each was answered, or its likelihood.
        rejects: the answers that are not plans, by reason.
        served: what the server says it serves.
    """

    caption: int
    weights: Counter[Skills] = field(default_factory=Counter)
    rejects: dict[str, list[str]] = field(default_factory=dict)
    served: set[str] = field(default_factory=set)

    def add(self, answer: str, vocabulary: Vocabulary) -> None:
        """Counts one answer."""
        finish = "stop"
        if isinstance(answer, Answer):
            finish = answer.finish
            self.served |= {answer.served} - {""}
        try:
            if finish in ENDS:
                raise Rejected(ENDS[finish])
            self.weights[parse_answer(answer, vocabulary)] += 1
        except Rejected as reason:
            self.rejects.setdefault(str(reason), []).append(answer)

    @property
    def rejected(self) -> int:
        """How many answers are not plans."""
        return sum(map(len, self.rejects.values()))

    def entry(self, vocabulary: Vocabulary) -> CaptionPlans | None:
        """The caption as plan files hold it, the likeliest plans first; None without a plan."""
        kept = self.weights.most_common(MAX_PLANS)
        total = float(sum(weight for _, weight in kept))
        plans = tuple(Plan(weight / total, skills) for skills, weight in kept if weight > 0)
        if not plans:
            return None
        return CaptionPlans(tuple(vocabulary.sees[self.caption]), vocabulary.holds[self.caption], plans)


def questions_about(
    prompt: Prompt, vocabulary: Vocabulary, captions: Sequence[int], samples: int
) -> dict[Question, int]:
    """The questions about captions, with the caption of each.

    Raises:
        UserError: a caption is not in the vocabulary, or the prompt does not tell captions apart.
    """
    unknown = [caption for caption in captions if not 0 <= caption < len(vocabulary.texts)]
    if unknown:
        raise UserError(f"there is no caption {unknown[0]}: captions are 0..{len(vocabulary.texts) - 1}")
    texts = {prompt.about(vocabulary.texts[caption]): caption for caption in captions}
    if len(texts) < len(set(captions)):
        raise UserError("two captions give the same prompt; let the prompt have {caption}, and captions differ")
    return {Question(text, sample): caption for text, caption in texts.items() for sample in range(samples)}


def ask_captions(
    client: Client,
    store: AnswerStore,
    prompt: Prompt,
    vocabulary: Vocabulary,
    captions: Sequence[int],
    samples: int,
    on_answer: Callable[[], None] = lambda: None,
) -> list[AnswerCounts]:
    """The model's answers to each of the captions, `samples` times.

    Args:
        client: the model.
        store: keeps the answers.
        prompt: the question.
        vocabulary: the task's.
        captions: numbers of captions.
        samples: answers to each.
        on_answer: called after every answer.

    Raises:
        UserError: the model can't be asked; the answers that came are kept. Or a caption is not in the vocabulary, or
            the prompt does not tell captions apart.
    """
    asked = questions_about(prompt, vocabulary, captions, samples)
    counts = {caption: AnswerCounts(caption) for caption in captions}
    for question, answer in store.complete(client, list(asked)):
        counts[asked[question]].add(answer, vocabulary)
        on_answer()
    return list(counts.values())


def score_captions(
    scorer: Scorer, prompt: Prompt, vocabulary: Vocabulary, captions: Sequence[int]
) -> list[AnswerCounts]:
    """The model's own probability of each candidate plan, for each of the captions.

    The candidates are those of `candidate_plans`; the probabilities are exact among them.
    """
    candidates = candidate_plans(vocabulary)
    prompts = [prompt.about(vocabulary.texts[caption]) for caption in captions]
    scores = scorer.score(prompts, [answer_text(plan) for plan in candidates])
    likelihoods = np.exp(scores - scores.max(1, keepdims=True))
    shares = likelihoods / likelihoods.sum(1, keepdims=True)
    return [
        AnswerCounts(caption, Counter({plan: float(share) for plan, share in zip(candidates, row)}))
        for caption, row in zip(captions, shares)
    ]
