"""The gallery has every world, and its script writes it."""

import re
from pathlib import Path

import imageio.v3 as iio
import numpy as np

from benchmarks import gallery
from envs_jax.minigrid import WORLDS

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = (DOCS / "gallery.md").read_text("utf-8")


def test_the_page_lists_every_world():
    """Catches a world that came after the page was written: run `python -m benchmarks.gallery`."""
    listed = re.findall(r"`([^`]+)`", "\n".join(line for line in PAGE.splitlines() if line.startswith("- Ids: ")))
    assert set(WORLDS) <= set(listed)
    assert {"SimpleDoorKey", "TwoDoor", "KeyInBox", "RandomBoxKey", "LockedHallway-6Rooms"} <= set(listed)
    assert len(listed) == len(set(listed))


def test_every_picture_is_shown_and_they_are_small():
    pictures = {path.name: path.stat().st_size for path in (DOCS / "gallery").iterdir()}
    assert sorted(pictures) == sorted(re.findall(r"\]\(gallery/([^)]+)\)", PAGE))
    assert sum(pictures.values()) < 600_000


def test_the_script_writes_the_page_and_its_pictures(tmp_path, monkeypatch):
    """Catches a page without a world's mission, parameters or ids, and a picture of something else."""
    family = gallery.Family("Empty", ["MiniGrid-Empty-5x5-v0", "MiniGrid-Empty-6x6-v0"])
    monkeypatch.setattr(gallery, "families", lambda: [family])
    monkeypatch.setattr("sys.argv", ["gallery", "--folder", str(tmp_path)])
    gallery.main()
    text = (tmp_path / "gallery.md").read_text("utf-8")
    for told in ("## Empty", "Mission: get to the green goal square", "`random_start`", "`MiniGrid-Empty-6x6-v0`"):
        assert told in text
    picture = iio.imread(tmp_path / "gallery" / "empty.png", mode="RGB")
    first = np.asarray(gallery.drawn("MiniGrid-Empty-5x5-v0"))
    placed = picture[gallery.GAP :, gallery.GAP :][: len(first), : len(first)]
    assert np.abs(placed - first.astype(int)).mean() < 4
