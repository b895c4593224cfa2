"""Forward mode: tensors that carry a tangent along, outside of transforms of functions."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from flambeau.base import dtypes
from flambeau.core.dispatch import apply
from flambeau.core.levels import Dual, end_eager, record_eager, standing
from flambeau.core.modes import MODES
from flambeau.core.op import OPS
from flambeau.core.tensor import Tensor

__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual",
           "unpack_dual"]


class UnpackedDualTensor(NamedTuple):
    """The value of a dual tensor and its tangent, None where there is none."""

    primal: Tensor
    tangent: Tensor | None


class _Current(threading.local):
    level = -1
    # Where the level stands among the transforms that run: between two of them.
    place = 0.0


CURRENT = _Current()


def enter_dual_level() -> int:
    """Begin forward mode; returns the level, which ``exit_dual_level`` takes."""
    if CURRENT.level >= 0:
        raise RuntimeError("Nested forward mode AD is not supported at the moment")
    CURRENT.level += 1
    CURRENT.place = MODES.depth + 0.5
    return CURRENT.level


def exit_dual_level(*, level: int | None = None) -> None:
    """End forward mode: the tangents of its tensors are gone."""
    if level is None:
        level = CURRENT.level
    if level < 0:
        raise RuntimeError("Dual level must be a positive number.")
    if level != CURRENT.level:
        raise RuntimeError("Trying to exit a forward AD level that was not the last one that was "
                           "created. This is not supported.")
    CURRENT.level -= 1
    end_eager()


class dual_level:
    """Forward mode in this block.

    >>> import flambeau as torch
    >>> import flambeau.autograd.forward_ad as fw
    >>> with fw.dual_level():
    ...     x = fw.make_dual(torch.tensor(3.0), torch.tensor(1.0))
    ...     fw.unpack_dual(x * x).tangent
    tensor(6.)
    """

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, *exc: object) -> None:
        exit_dual_level()


def _is_dual(t: Tensor) -> bool:
    return isinstance(t._a, Dual) and t._a.eager and t._a.level == CURRENT.place


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """A view of ``tensor`` that carries ``tangent``, of the same shape, through operations."""
    if CURRENT.level < 0 and level is None:
        raise RuntimeError("Trying to create a dual Tensor for forward AD but no level exists, "
                           "make sure to enter_dual_level() first.")
    for name, t in (("primal", tensor), ("tangent", tangent)):
        if t.dtype.category < dtypes.FLOAT:
            raise ValueError(f"Expected {name} to be floating point or complex, but got: "
                             f"{t.dtype}")
    if _is_dual(tensor):
        raise RuntimeError("Making a dual Tensor based on a Tensor that already has a forward "
                           f"gradient at the same level {CURRENT.level} is not supported.")
    if tensor._a.shape != tangent._a.shape:
        raise RuntimeError("Trying to set a forward gradient that has a different size than that "
                           "of the original Tensor, this is not supported. Tensor is of size "
                           f"{list(tensor._a.shape)} while the given forward gradient is of size "
                           f"{list(tangent._a.shape)}.")
    if tangent._a.dtype != tensor._a.dtype:
        tangent = tangent.to(tensor.dtype)
    value = apply(OPS["alias"], (tensor,))
    dual = standing(Dual(CURRENT.place, value, tangent, True))
    record_eager(OPS["alias"], (tensor,), {}, dual)
    return dual


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """The value of ``tensor`` and its tangent, None where it has none."""
    if not _is_dual(tensor) or CURRENT.level < 0:
        return UnpackedDualTensor(tensor, None)
    handle: Any = tensor._a
    return UnpackedDualTensor(handle.value, handle.tangent)
