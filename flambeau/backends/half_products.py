"""Matrix products of bfloat16, summed up in float32: by kernels that read it, where these pay.

The other way, of operands that are widened before, is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from flambeau.backends import conversions, large, memory, product_choice, products
from flambeau.backends.product_choice import Layout
from flambeau.backends.threads import get_num_threads

__all__ = ["kernels_way", "linear", "matmul", "takes"]

ndarray = np.ndarray
Plan = Callable[..., ndarray]
F32 = np.dtype(np.float32)
WIDENED = "widened"
# Fewer rows are not worth packing the right operand for.
FEW = 8
# Products are not measured before they are asked for so often.
PATIENCE = 8
# Plans that are kept.
MAX_PLANS = 1 << 10

# How products of some shapes and strides are computed: None where that is the caller's.
_plans: dict[tuple, Plan | None] = {}
# How often products were asked for that are not measured yet.
_asked: dict[str, int] = {}


def matmul(a: ndarray, b: ndarray) -> ndarray | None:
    """The product of two matrices, of two stacks of as many, or of a stack and a matrix."""
    if a.ndim < 2 or b.ndim < 2:
        return None
    if b.ndim > 2 or a.ndim == 2:
        return _product(a, b, None)
    found = _product(a.reshape(prod(a.shape[:-1]), a.shape[-1]), b, None)
    return None if found is None else found.reshape(*a.shape[:-1], b.shape[1])


def linear(bias: ndarray | None, input: ndarray, weight: ndarray) -> ndarray | None:
    """``input @ weight.T + bias`` over the last dimension of the input."""
    rows = input.reshape(prod(input.shape[:-1]), input.shape[-1])
    found = _product(rows, weight.T, bias)
    return None if found is None else found.reshape(*input.shape[:-1], weight.shape[0])


def takes(a: ndarray, b: ndarray) -> bool:
    """Whether the product of two such operands is known to be faster by kernels that read them."""
    if not _are_theirs(a, b) or a.ndim < 2 or b.ndim < 2:
        return False
    if b.ndim == 2 and a.ndim > 2:
        a = a.reshape(prod(a.shape[:-1]), a.shape[-1])
    layout = _layout_of(a, b)
    return layout is not None and kernels_way(layout) is not None


def _are_theirs(a: ndarray, b: ndarray) -> bool:
    return a.dtype is b.dtype and a.dtype.name == "bfloat16"


def _product(a: ndarray, b: ndarray, row: ndarray | None) -> ndarray | None:
    if not _are_theirs(a, b) or row is not None and row.dtype is not a.dtype:
        return None
    key = (a.shape, a.strides, b.shape, b.strides, row is None, get_num_threads())
    try:
        plan = _plans[key]
    except KeyError:
        plan = _plan(key, a, b, row is not None)
    if plan is None or not (a.flags.aligned and b.flags.aligned):
        return None
    return plan(a, b) if row is None else plan(a, b, row)


def _plan(key: tuple, a: ndarray, b: ndarray, has_row: bool) -> Plan | None:
    """The plan for such operands, kept once it is settled."""
    layout = _layout_of(a, b)
    way = WIDENED if layout is None else _way(layout)
    plan = None
    if layout is not None and way is not None and way != WIDENED:
        plan = _into_new(layout, way, (*a.shape[:-1], b.shape[-1]), has_row)
    if way is not None:
        if len(_plans) >= MAX_PLANS:
            _plans.clear()
        _plans[key] = plan
    return plan


def _layout_of(a: ndarray, b: ndarray) -> Layout | None:
    """How the product lies; None where it is not for kernels."""
    fits = large.available() and a.shape[-2] >= FEW and products.is_worthwhile(a, b)
    return products.layout_of(a, b) if fits else None


def _into_new(layout: Layout, way: str, shape: tuple[int, ...], has_row: bool) -> Plan:
    """The plan that has such products computed into an array of their own."""
    # llvmlite is slow to import, and may be absent
    from flambeau.backends.llvm import pairs

    run = pairs.planned(layout, pairs.Way(way), pairs.ADDED if has_row else None)

    def plan(a: ndarray, b: ndarray, *row: ndarray) -> ndarray:
        out = memory.empty(shape, a.dtype)
        run(out, a, b, *[np.ascontiguousarray(x) for x in row])
        return out

    return plan


def known_way(layout: Layout) -> str | None:
    """The fastest way; None where that is to be measured, and was not yet.

    Tiles are far faster than all else, where the processor has them.
    """
    from flambeau.backends.llvm import measured, pairs  # as above

    if not pairs.readable(layout):
        return WIDENED
    if pairs.ways()[0] is pairs.Way.TILES:
        return pairs.Way.TILES
    found = measured.known(product_choice.question(layout))
    return found or (None if product_choice.is_open(layout) else WIDENED)


def kernels_way(layout: Layout) -> str | None:
    """How kernels compute such products; None where they are not known to be the fastest way."""
    m, k, n = layout.sizes
    if m < FEW or layout.batch * m * k * n < products.WORTHWHILE:
        return None
    found = known_way(layout)
    return None if found == WIDENED else found


def _way(layout: Layout) -> str | None:
    """The fastest way; None where that is not known yet.

    Products are measured when they have been asked for a few times.
    """
    from flambeau.backends.llvm import pairs  # as above

    known = known_way(layout)
    if known is not None:
        return known
    question = product_choice.question(layout)
    _asked[question] = _asked.get(question, 0) + 1
    if _asked[question] < PATIENCE:
        return None
    ways: dict[str, Any] = {WIDENED: _widened}
    ways |= {way: pairs.planned(layout, way) for way in pairs.ways()}
    return product_choice.try_out(question, layout, ways, WIDENED)


def _widened(out: ndarray, a: ndarray, b: ndarray) -> None:
    wide = products.matmul(conversions.astype(a, F32), conversions.astype(b, F32))
    conversions.astype(wide, a.dtype)
