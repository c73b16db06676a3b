"""`python -m jaxteach.teach --card`: a folder to share, with plans, answers, a card, its films, and a manifest."""

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from jaxteach.config import TeachConfig
from jaxteach.errors import UserError
from jaxteach.llm.answer_cache import answers_path
from jaxteach.reports.alone import alone_rows, play_teacher
from jaxteach.reports.card import make_card
from jaxteach.reports.card_page import card_html, card_markdown
from jaxteach.runs.files import writing
from jaxteach.runs.manifest import MANIFEST, write_manifest
from jaxteach.tasks import canonical_task
from jaxteach.teacher.loading import named_plans
from jaxteach.teacher.plans import PLANS_NAME, PlanFile, load_plans, save_plans


def write_card(config: TeachConfig, given: str) -> None:
    """Writes the folder to share, and prints the teacher's success.

    A failure before the last step leaves an earlier card as it was.

    Args:
        config: the options.
        given: as of `named_plans`.

    Raises:
        UserError: the plans can't be used, or the folder exists and is another's, or can't be written.
    """
    task = None if config.task is None else canonical_task(config.task)
    plans, source = named_plans("--card", given, task)
    out = config.out or _default_folder(given, source, task)
    _check_free(out, plans)
    tasks = [canonical_task(name) for name in plans.tasks] if task is None else [task]
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as holder:
            folder = Path(holder) / out.name
            folder.mkdir()
            _copy_plans(plans, source, out, folder)
            name = f"the {given} plans that ship with it" if source is None else source.name
            played = [play_teacher(plans, each, config, folder) for each in tasks]
            card = make_card(plans, name, played, config)
            (folder / "card.html").write_text(card_html(card), "utf-8")
            (folder / "card.md").write_text(card_markdown(card), "utf-8")
            write_manifest(folder)
            if out.exists():
                os.rename(out, Path(holder) / "earlier")
            os.rename(folder, out)
    for row in alone_rows([alone.result for alone in played]):
        print(f"the teacher itself succeeds in {row['success']} of the episodes of {row['task']}")
    print(f"written: {out / 'card.html'}, {out / 'card.md'}; share the folder, and train with --plans {out}")


def _default_folder(given: str, source: Path | None, task: str | None) -> Path:
    """The card's place where no other is given: beside the plan file, or beside the folder that shares it."""
    if source is None:
        return Path(f"{task}_{given}_card")
    path = Path(os.path.abspath(source))
    if (path.parent / MANIFEST).exists():
        return path.parent.with_name(f"{path.parent.name}_card")
    return path.with_name(f"{path.stem}_card")


def _check_free(out: Path, plans: PlanFile) -> None:
    """Raises `UserError` where something stands that is not an earlier card of the same plans."""
    if not os.path.lexists(out):
        return
    if out.is_dir() and not out.is_symlink():
        if not any(out.iterdir()):
            return
        try:
            known = load_plans(out, None)
        except UserError:
            known = None
        if known is not None and known.digest_with_values == plans.digest_with_values:
            return
    raise UserError(f"{out} exists and is not an earlier card of these plans; choose another --out, or move it away")


def _copy_plans(plans: PlanFile, source: Path | None, out: Path, folder: Path) -> None:
    """The plan file as it is, and the answers, if they are kept beside it or in an earlier card."""
    if source is None:
        save_plans(plans, folder / PLANS_NAME)
        return
    shutil.copyfile(source, folder / PLANS_NAME)
    for answers in (answers_path(source), answers_path(out / PLANS_NAME)):
        if answers.is_file() and not answers.is_symlink():
            shutil.copyfile(answers, answers_path(folder / PLANS_NAME))
            return
