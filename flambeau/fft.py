"""``torch.fft``: discrete Fourier transforms, their frequencies and order."""

from __future__ import annotations

from typing import Any

from flambeau import ops  # noqa: F401  (fills the face)
from flambeau.base.missing import missing_attribute as _missing
from flambeau.core.face import FACES as _FACES

globals().update(_FACES["fft"].whole())


def __getattr__(name: str) -> Any:
    raise _missing(__name__, name, globals())


__all__ = sorted(_FACES["fft"])  # pyright: ignore[reportUnsupportedDunderAll]
