"""The names that objects may have, so that prompts, grammars, answers and plan files agree."""

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from jaxteach.errors import UserError
from jaxteach.teacher.domain import Vocabulary
from jaxteach.teacher.plans import SKILLS, WITHOUT_OBJECT

MOST_LETTERS: Final = 100
LEGAL: Final = r"[\w-]+( [\w-]+)*"
RULE: Final = "letters, digits, - and _, with single blanks between"
ARTICLE: Final = "the "
NOTHING: Final = "nothing"


def folded(text: str) -> str:
    """A text as it is compared: in one case, with one form of each letter and single blanks."""
    return " ".join(unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).split())


def check_vocabulary(vocabulary: Vocabulary) -> None:
    """Checks that every plan and caption in these words can be written and read back.

    Raises:
        UserError: a name is not legal or ambiguous, or no plan can be made of the words.
    """
    for part in ("object_names", "skills", "sees"):
        given = getattr(vocabulary, part, None)
        if not isinstance(given, list | tuple):
            raise UserError(f"{part} of a vocabulary must be a list, not {given!r}")
    names, skills = list(vocabulary.object_names), tuple(vocabulary.skills)
    if any(skill not in SKILLS or skills.count(skill) > 1 for skill in skills):
        raise UserError(f"skills are some of {', '.join(SKILLS)}, each once, not {', '.join(map(str, skills))}")
    if not (names and set(skills) - {*WITHOUT_OBJECT}) and not set(skills) & {*WITHOUT_OBJECT}:
        raise UserError("no plan can be made: give object_names, or a skill that needs no object")
    for name in names:
        _check_name(name)
    _check_different("the object", names)
    _check_captions(vocabulary, {folded(name) for name in names})


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise UserError(f"an object's name must be a string, not {name!r}")
    plain = unicodedata.normalize("NFC", name) == name and len(name) <= MOST_LETTERS
    if not plain or not re.fullmatch(LEGAL, name):
        raise UserError(f"{name[:MOST_LETTERS]!r} can't name an object: a name has {RULE}, {MOST_LETTERS} at most")
    if folded(name).startswith(ARTICLE) or folded(name) == NOTHING:
        raise UserError(f"{name!r} can't name an object: answers would not be read as written; choose another name")


def _check_different(what: str, texts: Iterable[str]) -> None:
    """Upper and lower case make no difference in answers."""
    found: dict[str, str] = {}
    for text in texts:
        other = found.get(folded(text))
        if other is not None:
            raise UserError(f"{what} {text!r} appears twice" + ("" if other == text else f", also as {other!r}"))
        found[folded(text)] = text


def _check_captions(vocabulary: Vocabulary, objects: set[str]) -> None:
    sees, holds, texts = list(vocabulary.sees), list(vocabulary.holds), list(vocabulary.texts)
    if not sees or not len(sees) == len(holds) == len(texts):
        raise UserError("give at least one caption; each needs a text and what it sees and holds")
    for number, (seen, held) in enumerate(zip(sees, holds)):
        if not isinstance(seen, list | tuple):
            raise UserError(f"caption {number} must be a list of the names of what is seen, not {seen!r}")
        for name in [*seen, *([] if held is None else [held])]:
            _check_name(name)
            words = folded(name).split(" ")
            # A caption may qualify an object, such as "lit red switch" of a "red switch".
            if not any(" ".join(words[i:]) in objects for i in range(len(words))):
                raise UserError(f"caption {number} names {name!r}, and the objects are {', '.join(sorted(objects))}")
    _check_different("the caption", texts)
