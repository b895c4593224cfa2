"""Masks of tensors, and what stands where they hide an element."""

from __future__ import annotations

import math
from typing import Any

from flambeau.base import naming
from flambeau.base.device import strided
from flambeau.base.dtypes import BOOL, COMPLEX, FLOAT
from flambeau.base.dtypes import bool_ as BOOL_DTYPE
from flambeau.base.limits import iinfo
from flambeau.core.tensor import Tensor
from flambeau.ops.copy import cast
from flambeau.ops.shape import broadcast_to
from flambeau.ops.where import where

__all__ = ["canonical_dims", "filled", "full_mask", "greatest", "least"]


def canonical_dims(dim: Any, rank: int) -> tuple[int, ...]:
    """Dimensions counted from the front, in order; all of them for None and ()."""
    if dim is None or dim == ():
        return tuple(range(rank))
    rank = max(rank, 1)
    found: list[int] = []
    for d in (dim,) if isinstance(dim, int) else dim:
        if d in found:
            raise RuntimeError(f"dim={d} appears multiple times in the list of dims")
        if not -rank <= d < rank:
            raise IndexError(f"Dimension out of range (expected to be in range of [{-rank}, "
                             f"{rank - 1}], but got {d})")
        found.append(d % rank)
    return tuple(sorted(found))


def require_strided(name: str, t: Tensor) -> None:
    """Raise where ``t`` is sparse."""
    if t.layout is not strided:
        raise ValueError(f"masked {name} expects strided tensor (got {t.layout} tensor)")


def full_mask(input: Tensor, mask: Tensor) -> Tensor:
    """``mask`` as booleans, broadcast to the shape of ``input``."""
    if mask.shape != input.shape:
        if mask.ndim > input.ndim:
            raise IndexError("_input_mask expected broadcastable mask (got mask dimensionality "
                             "higher than of the input)")
        mask = broadcast_to(mask, input.shape)
    return cast(mask, BOOL_DTYPE)


def filled(input: Tensor, mask: Tensor | None, value: Any) -> Tensor:
    """``input`` with ``value``, a number, where ``mask`` is False; itself without a mask."""
    if mask is None:
        return input
    return where(full_mask(input, mask), input, input.new_full((), value))


def least(name: str, input: Tensor) -> Any:
    """The smallest number of the dtype, which changes no maximum."""
    return _extreme(name, input, -math.inf, "min")


def greatest(name: str, input: Tensor) -> Any:
    """The greatest number of the dtype, which changes no minimum."""
    return _extreme(name, input, math.inf, "max")


def _extreme(name: str, input: Tensor, infinite: float, limit: str) -> Any:
    held = input.dtype
    if held.category == FLOAT:
        return infinite
    if held.category == BOOL or held.category == COMPLEX and name != "logsumexp":
        raise NotImplementedError(f"identity of {name} on {naming.prefix()}.{held.name} input")
    return complex(infinite, 0) if held.is_complex else getattr(iinfo(held), limit)
