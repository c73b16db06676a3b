"""Colours that several particle worlds share, RGB, 0 to about 1."""

from typing import Final

GREY: Final = (0.25, 0.25, 0.25)
RED: Final = (0.75, 0.25, 0.25)
