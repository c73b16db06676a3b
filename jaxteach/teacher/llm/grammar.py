"""The language of plans: as a grammar for sampling, and as a list of candidates for scoring."""

from collections.abc import Sequence
from itertools import product
from typing import Final

from jaxteach.teacher.llm.parse import Skills

MAX_STEPS: Final = 6
"""The most skills that the grammar lets a plan have."""


def plan_grammar(object_names: Sequence[str]) -> str:
    """GBNF of the answers that are plans for these objects."""
    objects = " | ".join(f'"<{name}>"' for name in object_names)
    return "\n".join(
        [
            f'root ::= "Action: {{" step (", " step){{0,{MAX_STEPS - 1}}} "}}"',
            'step ::= "explore" | "wait" | verb " " object',
            'verb ::= "go to" | "pick up" | "drop" | "toggle"',
            f"object ::= {objects}",
        ]
    )


def candidate_plans(object_names: Sequence[str]) -> list[Skills]:
    """Every plan of one or two moves: explore, wait, or go to an object and perhaps do something with it."""
    moves: list[Skills] = [(("explore", None),), (("wait", None),)]
    for name in object_names:
        walk = ("goto", name)
        moves += [(walk,)] + [(walk, (skill, name)) for skill in ("pickup", "drop", "toggle")]
    pairs = [one + other for one, other in product(moves, moves) if one != other]
    return moves + list(dict.fromkeys(pairs))
