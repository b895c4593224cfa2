"""What tests of tensors need: comparison with tolerances, and random tensors."""

from __future__ import annotations

from typing import Any

from flambeau.base.missing import missing_attribute
from flambeau.testing import comparison, creation
from flambeau.testing.comparison import assert_allclose, assert_close
from flambeau.testing.creation import make_tensor

__all__ = ["assert_allclose", "assert_close", "make_tensor"]


def __getattr__(name: str) -> Any:
    raise missing_attribute(__name__, name, globals())
