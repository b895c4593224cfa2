"""``torch.signal.windows``: weights that fade a stretch of a signal out towards its ends."""

from __future__ import annotations

from typing import Any

from flambeau import ops  # noqa: F401  (fills the face)
from flambeau.base.missing import missing_attribute as _missing
from flambeau.core.face import FACES as _FACES

globals().update(_FACES["signal.windows"].whole())


def __getattr__(name: str) -> Any:
    raise _missing(__name__, name, globals())


__all__ = sorted(_FACES["signal.windows"])  # pyright: ignore[reportUnsupportedDunderAll]
