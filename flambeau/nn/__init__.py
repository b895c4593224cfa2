"""Neural networks: parameters, functions and modules."""

from __future__ import annotations

from typing import Any

from flambeau.base.missing import missing_attribute
from flambeau.nn import functional, init, modules, parameter
from flambeau.nn.modules import *  # noqa: F403
from flambeau.nn.parameter import Buffer, Parameter
from flambeau.ops.linear_loss import LinearCrossEntropyOptions

__all__ = ["Buffer", "LinearCrossEntropyOptions", "Parameter", "functional", "init", "modules",
           "parameter", *modules.__all__]


def __getattr__(name: str) -> Any:
    raise missing_attribute(__name__, name, globals())
