"""Captions that occur in training without plans: with --online, a model is asked about them between updates."""

from pathlib import Path

import numpy as np

from jaxteach.config import TrainConfig
from jaxteach.errors import UserError
from jaxteach.llm.answer_cache import AnswerStore, answers_path
from jaxteach.llm.backends import open_client
from jaxteach.llm.prompts import task_prompt
from jaxteach.llm.query import AnswerCounts, ask_captions
from jaxteach.runs.files import read_json, write_json
from jaxteach.runs.run_folder import PLANS
from jaxteach.teacher import Teacher
from jaxteach.teacher.plans import MAX_PLANS, MAX_SKILLS, PlanFile, load_plans, save_plans
from jaxteach.teacher.table import FIRST_OBJECT_SKILL, OBJECT_SKILLS, SkillTable, TableSize, compile_plans


class OnlineTeacher:
    """A skill table that grows: a model is asked, in one batch, about captions that occur without plans.

    The run's folder keeps the answers, when each caption was asked about (`online.json`), and the
    plans so far (`plans.json`), which serve other runs. A resumed run learns what it had learnt
    by then from the kept answers, and nothing is asked twice.

    Args:
        config: the run's options.
        teacher: its table grows.
        folder: the run's.
        done: iterations trained so far.

    Attributes:
        table: the table now, always of the same shapes.

    Raises:
        UserError: the model can't be reached, or the folder's files can't be read.
    """

    def __init__(self, config: TrainConfig, teacher: Teacher, folder: Path, done: int) -> None:
        self._config, self._vocabulary, self._folder = config, teacher.vocabulary, folder
        self._prompt = task_prompt(config.task, self._vocabulary)
        self._client = open_client(config.llm, self._vocabulary)
        self._store = AnswerStore(answers_path(folder / PLANS))
        assert teacher.plans is not None
        self._plans = teacher.plans
        self._room = TableSize(
            plans=min(MAX_PLANS, config.llm.answers_per_caption),
            depth=MAX_SKILLS,
            skills=FIRST_OBJECT_SKILL + len(OBJECT_SKILLS) * len(self._vocabulary.object_names),
        )
        self._asked_at: dict[int, int] = {}
        self.table: SkillTable = self._compiled()
        self._learn_again({at: captions for at, captions in _history(folder).items() if at <= done})

    def _learn_again(self, history: dict[int, list[int]]) -> None:
        """Learns what was learnt in earlier sessions.

        Raises:
            UserError: the answers have changed since.
        """
        if not history:
            return
        path = self._folder / PLANS
        known = load_plans(path, self._config.task).captions if path.exists() else None
        for iteration, captions in history.items():
            self._ask(captions, iteration)
        if known is not None and not set(self._plans.captions) <= set(known):
            raise UserError(
                f"the answers in {self._store.path} differ from those that the run has learnt from; "
                "put that file back, or start another run"
            )
        self._keep()

    def learn(self, captions: list[int], iteration: int) -> str | None:
        """Asks about captions that were not asked about before; a message about the outcome, None if there are none.

        Args:
            captions: numbers of captions that occurred without plans.
            iteration: the one after which they are asked about.
        """
        new = [caption for caption in captions if caption not in self._asked_at]
        if not new:
            return None
        counts, entries = self._ask(new, iteration)
        self._keep()
        rejected = sum(count.rejected for count in counts)
        return f"asked about {len(new)} captions without plans: {entries} have plans now, {rejected} rejected answers"

    def _ask(self, new: list[int], iteration: int) -> tuple[list[AnswerCounts], int]:
        """The answers about captions, which the table has afterwards, and how many of these have plans now."""
        samples = self._config.llm.answers_per_caption
        counts = ask_captions(self._client, self._store, self._prompt, self._vocabulary, new, samples)
        self._asked_at |= dict.fromkeys(new, iteration)
        entries = tuple(entry for count in counts if (entry := count.entry(self._vocabulary)))
        origin = {"source": "captions met in training", "began with": self._config.teacher.plans}
        self._plans = PlanFile((self._config.task,), self._plans.captions + entries, origin | self._client.identity)
        self.table = self._compiled()
        return counts, len(entries)

    def _compiled(self) -> SkillTable:
        return compile_plans(self._plans, self._vocabulary, self._room)

    def _keep(self) -> None:
        write_json(self._folder / "online.json", [[at, caption] for caption, at in self._asked_at.items()])
        save_plans(self._plans, self._folder / PLANS)


def check_askable(config: TrainConfig, teacher: Teacher) -> None:
    """Raises `UserError` where the options for the model, or the task's prompt, are missing or wrong."""
    task_prompt(config.task, teacher.vocabulary)
    open_client(config.llm, teacher.vocabulary)


def _history(folder: Path) -> dict[int, list[int]]:
    """The captions asked about so far, by iteration."""
    path = folder / "online.json"
    try:
        rows = read_json(path, list[tuple[int, int]]) if path.exists() else []
    except (OSError, ValueError):
        raise UserError(f"{path} is damaged; remove it, and the captions are asked about again") from None
    history: dict[int, list[int]] = {}
    for iteration, caption in rows:
        history.setdefault(iteration, []).append(caption)
    return history


def uncovered_ids(counts: np.ndarray) -> list[int]:
    """The captions that occurred without plans, from int[seeds, iterations, captions]."""
    return np.flatnonzero(counts.sum((0, 1))).tolist()
