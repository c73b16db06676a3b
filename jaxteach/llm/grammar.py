"""The language of plans: as a grammar for sampling, and as a list of candidates for scoring."""

from itertools import product
from typing import Final

from jaxteach.llm.parse import Skills, phrase_of
from jaxteach.teacher.domain import Vocabulary
from jaxteach.teacher.plans import WITHOUT_OBJECT

MAX_STEPS: Final = 6
"""The most skills that the grammar lets a plan have."""


def plan_grammar(vocabulary: Vocabulary) -> str:
    """GBNF of the answers that are plans in a task's words."""
    alone = [_literal(phrase_of(skill)) for skill in vocabulary.skills if skill in WITHOUT_OBJECT]
    verbs = [_literal(phrase_of(skill)) for skill in vocabulary.skills if skill not in WITHOUT_OBJECT]
    objects = [_literal(f"<{name}>") for name in vocabulary.object_names]
    rules = [f'root ::= "Action: {{" step (", " step){{0,{MAX_STEPS - 1}}} "}}"']
    if not verbs or not objects:
        return "\n".join([*rules, f"step ::= {' | '.join(alone)}"])
    rules += [f'step ::= {" | ".join([*alone, """verb " " object"""])}']
    return "\n".join([*rules, f"verb ::= {' | '.join(verbs)}", f"object ::= {' | '.join(objects)}"])


def plan_texts(vocabulary: Vocabulary) -> list[str]:
    """Every skill with every object that it takes, as plans write them."""
    return [
        phrase_of(skill) + (f" <{name}>" if name else "")
        for skill in vocabulary.skills
        for name in ([""] if skill in WITHOUT_OBJECT else vocabulary.object_names)
    ]


def _literal(text: str) -> str:
    """A text as GBNF quotes it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def candidate_plans(vocabulary: Vocabulary) -> list[Skills]:
    """Every plan of one or two moves: explore, wait, or go to an object and perhaps do something with it."""
    moves: list[Skills] = [((skill, None),) for skill in WITHOUT_OBJECT if skill in vocabulary.skills]
    deeds = [skill for skill in ("pickup", "drop", "toggle") if skill in vocabulary.skills]
    for name in vocabulary.object_names:
        walk = ("goto", name)
        moves += [(walk,)] + [(walk, (skill, name)) for skill in deeds]
    pairs = [one + other for one, other in product(moves, moves) if one != other]
    return moves + list(dict.fromkeys(pairs))
