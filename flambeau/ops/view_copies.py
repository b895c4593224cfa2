"""The ``*_copy`` variants of view operators: the same values, in memory of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.base.shapes import wrap_dim
from flambeau.core import index_ops
from flambeau.core.face import public
from flambeau.core.tensor import Tensor
from flambeau.ops import complex, shape, split, views
from flambeau.ops.copy import clone, detach


def _slice(input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None,
           step: int = 1) -> Tensor:
    dim = wrap_dim(dim, input._a.ndim)
    first, last, _ = slice(start, end, step).indices(input._a.shape[dim])
    return index_ops.slice_of(input, dim, first, last, step)


def _alias(input: Tensor) -> Tensor:
    return index_ops.basic(input, (...,))


def _declare(name: str, of: Callable, places: tuple = ()) -> None:
    def copied(*args: Any, **kwargs: Any) -> Any:
        found = of(*args, **kwargs)
        if isinstance(found, tuple):
            return tuple([clone(t).contiguous() for t in found])
        return clone(found).contiguous()

    copied.__doc__ = f"As ``{name}``, but a copy."
    public("torch", *places, name=f"{name}_copy", out=True)(copied)


for _name, _of in {
        "alias": _alias, "as_strided": views.as_strided, "detach": detach,
        "diagonal": views.diagonal, "expand": shape.expand, "narrow": views.narrow,
        "permute": shape.permute, "select": views.select, "slice": _slice, "split": split.split,
        "split_with_sizes": split.split_with_sizes, "squeeze": shape.squeeze, "t": shape.t,
        "transpose": shape.transpose, "unbind": split.unbind, "unfold": views.unfold,
        "unsqueeze": shape.unsqueeze, "view": shape.view_of,
        "view_as_complex": complex.view_as_complex,
        "view_as_real": complex.view_as_real}.items():
    _declare(_name, _of, ("Tensor",) if _name == "narrow" else ())

__all__: list[str] = []
