"""The modules: layers, containers and losses, all of them subclasses of Module."""

from __future__ import annotations

from typing import Any

from flambeau.base.missing import missing_attribute
from flambeau.nn.modules.activation import ReLU
from flambeau.nn.modules.container import (
    Container,
    ModuleDict,
    ModuleList,
    ParameterDict,
    ParameterList,
    Sequential,
)
from flambeau.nn.modules.linear import Linear
from flambeau.nn.modules.module import Module

__all__ = ["Container", "Linear", "Module", "ModuleDict", "ModuleList", "ParameterDict",
           "ParameterList", "ReLU", "Sequential"]


def __getattr__(name: str) -> Any:
    raise missing_attribute(__name__, name, globals())
