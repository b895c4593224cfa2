"""Neural networks: parameters, functions and modules."""

from __future__ import annotations

from typing import Any

from flambeau.base.missing import missing_attribute
from flambeau.nn import functional, init, parameter
from flambeau.nn.parameter import Parameter
from flambeau.ops.linear_loss import LinearCrossEntropyOptions

__all__ = ["LinearCrossEntropyOptions", "Parameter", "functional", "init", "parameter"]


def __getattr__(name: str) -> Any:
    raise missing_attribute(__name__, name, globals())
