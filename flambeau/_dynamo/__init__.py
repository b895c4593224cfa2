"""``torch._dynamo``: what libraries ask of PyTorch's compiler, answered by ours."""

from __future__ import annotations

from typing import Any, NoReturn

from flambeau.base.missing import missing_attribute
from flambeau.compiler import allow_in_graph, assume_constant_result, disable, is_compiling, reset
from flambeau.nn.optimized_module import OptimizedModule

__all__ = ["OptimizedModule", "allow_in_graph", "assume_constant_result", "disable",
           "is_compiling", "mark_static_address", "reset"]


def mark_static_address(t: Any, guard: bool = False) -> None:
    """Promise that the tensor's memory stays where it is. Compiled programs need no such promise:
    they find a tensor's memory anew at every call.
    """


def __getattr__(name: str) -> NoReturn:
    raise missing_attribute(__name__, name, __all__)
