"""Reductions that leave out the elements a mask hides."""

from __future__ import annotations

import math

from flambeau.base.dtypes import FLOAT, INT, dtype, float32, int64
from flambeau.core.tensor import Tensor
from flambeau.masked.mask import canonical_dims, filled, full_mask, greatest, least, require_strided
from flambeau.ops import deviation, reduce, reduce_extreme
from flambeau.ops.copy import cast
from flambeau.ops.extrema import maximum
from flambeau.ops.powers import sqrt
from flambeau.ops.sort import nanmedian

__all__ = ["amax", "amin", "argmax", "argmin", "logsumexp", "mean", "median", "norm", "prod", "std",
           "sum", "var"]

Dims = int | tuple[int, ...] | list[int] | None


def _summed_dtype(input: Tensor, wanted: dtype | None) -> dtype:
    held = input.dtype
    return wanted or (int64 if held.category <= INT else held)


def sum(input: Tensor, dim: Dims = None, *, keepdim: bool | None = False,
        dtype: dtype | None = None, mask: Tensor | None = None) -> Tensor:
    """The sum over ``dim`` of the elements where ``mask`` is True; 0 where there are none.

    ``mask`` broadcasts to the shape of ``input``; None hides nothing.

    >>> import flambeau as torch
    >>> x = torch.tensor([[1, 2], [3, 4]])
    >>> torch.masked.sum(x, 1, mask=torch.tensor([[True, False], [True, True]]))
    tensor([1, 7])
    """
    dims = canonical_dims(dim, input.ndim)
    shown = filled(input, mask, 0)
    require_strided("sum", shown)
    return reduce.sum(shown, dims, bool(keepdim), dtype=_summed_dtype(input, dtype))


def prod(input: Tensor, dim: Dims = None, *, keepdim: bool | None = False,
         dtype: dtype | None = None, mask: Tensor | None = None) -> Tensor:
    """The product over ``dim`` of the elements where ``mask`` is True; 1 where there are none."""
    dims = canonical_dims(dim, input.ndim)
    found = cast(filled(input, mask, 1), _summed_dtype(input, dtype))
    for d in reversed(dims):
        found = reduce.prod(found, d, bool(keepdim))
    return found


def amax(input: Tensor, dim: Dims = None, *, keepdim: bool | None = False,
         dtype: dtype | None = None, mask: Tensor | None = None) -> Tensor:
    """The greatest element over ``dim`` where ``mask`` is True; the dtype's least without any."""
    shown = input if mask is None else filled(input, mask, least("amax", input))
    found = reduce_extreme.amax(shown, canonical_dims(dim, input.ndim), bool(keepdim))
    return cast(found, dtype or input.dtype)


def amin(input: Tensor, dim: Dims = None, *, keepdim: bool | None = False,
         dtype: dtype | None = None, mask: Tensor | None = None) -> Tensor:
    """The smallest element over ``dim`` where ``mask`` is True; the dtype's greatest without."""
    shown = input if mask is None else filled(input, mask, greatest("amin", input))
    found = reduce_extreme.amin(shown, canonical_dims(dim, input.ndim), bool(keepdim))
    return cast(found, dtype or input.dtype)


def argmax(input: Tensor, dim: int | None = None, *, keepdim: bool | None = False,
           dtype: dtype | None = None, mask: Tensor | None = None) -> Tensor:
    """The index of the greatest element over ``dim`` where ``mask`` is True.

    As in PyTorch the result has the dtype of ``input`` where ``dtype`` is None.
    """
    shown = input if mask is None else filled(input, mask, least("argmax", input))
    return cast(reduce_extreme.argmax(shown, dim, bool(keepdim)), dtype or input.dtype)


def argmin(input: Tensor, dim: int | None = None, *, keepdim: bool | None = False,
           dtype: dtype | None = None, mask: Tensor | None = None) -> Tensor:
    """The index of the smallest element over ``dim`` where ``mask`` is True; see ``argmax``."""
    shown = input if mask is None else filled(input, mask, greatest("argmin", input))
    return cast(reduce_extreme.argmin(shown, dim, bool(keepdim)), dtype or input.dtype)


def _counts(input: Tensor, dim: Dims, keepdim: bool, mask: Tensor | None) -> Tensor:
    """How many elements are shown."""
    if mask is None:
        mask = input.new_ones((), dtype=int64).expand(input.shape)
    return reduce.sum(mask, canonical_dims(dim, input.ndim), keepdim, dtype=int64)


def mean(input: Tensor, dim: Dims = None, *, keepdim: bool | None = False,
         dtype: dtype | None = None, mask: Tensor | None = None) -> Tensor:
    """The mean over ``dim`` of the elements where ``mask`` is True; NaN where there are none."""
    held = dtype or input.dtype
    if held.category < FLOAT:
        source = "Optional" if dtype else "Input"
        raise ValueError(f"mean(): Could not infer output dtype. {source} dtype must be either a "
                         f"floating point or complex dtype. Got: {held}")
    inside = None if mask is None else full_mask(input, mask)
    total = sum(input, dim, keepdim=keepdim, dtype=held, mask=inside)
    return total / _counts(input, dim, bool(keepdim), inside)


def median(input: Tensor, dim: int = -1, *, keepdim: bool = False, dtype: dtype | None = None,
           mask: Tensor | None = None) -> Tensor:
    """The lower median over ``dim`` of the elements where ``mask`` is True; NaN without any.

    An integer input has no NaN: ValueError where a whole row is hidden.
    """
    held = dtype or input.dtype
    at = canonical_dims(dim, input.ndim)[0]
    whole = input.dtype.category != FLOAT
    shown = filled(cast(input, float32) if whole else input, mask, math.nan)
    found = nanmedian(shown, at, keepdim).values
    if not whole:
        return found
    if bool(found.isnan().any()):
        raise ValueError("masked median expects no fully masked out rows if dtype is not floating "
                         "point")
    return cast(found, held)


def logsumexp(input: Tensor, dim: Dims = None, *, keepdim: bool = False,
              dtype: dtype | None = None, mask: Tensor | None = None) -> Tensor:
    """The logarithm of the sum of exponentials over ``dim`` where ``mask`` is True."""
    dims = canonical_dims(dim, input.ndim)
    shown = input if mask is None else filled(input, mask, least("logsumexp", input))
    return cast(deviation.logsumexp(shown, dims, keepdim), dtype or input.dtype)


def norm(input: Tensor, ord: float | None = 2.0, dim: Dims = None, *,
         keepdim: bool | None = False, dtype: dtype | None = None,
         mask: Tensor | None = None) -> Tensor:
    """The vector norm over ``dim`` of the elements where ``mask`` is True; 0 without any."""
    lowest = ord == -math.inf
    if mask is not None and lowest and input.dtype.category != FLOAT:
        raise AssertionError(f"input must be floating point, got {input.dtype}")
    shown = filled(input, mask, math.inf if lowest else 0)
    return deviation.vector_norm(shown, ord, canonical_dims(dim, input.ndim), bool(keepdim),
                                 dtype=dtype or input.dtype)


def _variance(input: Tensor, dim: Dims, unbiased: bool | None, correction: float | None,
              keepdim: bool | None, held: dtype, mask: Tensor | None) -> Tensor:
    if unbiased is not None and correction is not None:
        raise AssertionError("Only one of unbiased and correction may be given")
    if correction is None:
        correction = 0.0 if unbiased is False else 1.0
    inside = None if mask is None else full_mask(input, mask)
    count = _counts(input, dim, True, inside)
    total = sum(input, dim, keepdim=True, dtype=held, mask=inside)
    apart = input - total / count
    compute = held if held.category >= FLOAT else float32
    squares = sum(apart * apart.conj(), dim, keepdim=keepdim, dtype=compute, mask=inside)
    count = count if keepdim else count.reshape(squares.shape)
    if correction:
        count = cast(count, compute.to_real() if compute.is_complex else compute) - correction
        count = maximum(count, count.new_zeros(()))
    return cast(squares / count, held)


def var(input: Tensor, dim: Dims = None, unbiased: bool | None = None, *,
        correction: int | float | None = None, keepdim: bool | None = False,
        dtype: dtype | None = None, mask: Tensor | None = None) -> Tensor:
    """The variance over ``dim`` of the elements where ``mask`` is True; NaN without any.

    The squares are divided by the number of elements less ``correction``, 1 by default.
    """
    held = dtype or (input.dtype if input.dtype.category >= FLOAT else float32)
    return _variance(input, dim, unbiased, correction, keepdim, held, mask)


def std(input: Tensor, dim: Dims = None, unbiased: bool | None = None, *,
        correction: int | float | None = None, keepdim: bool | None = False,
        dtype: dtype | None = None, mask: Tensor | None = None) -> Tensor:
    """The root of ``var`` with the same arguments."""
    return sqrt(var(input, dim, unbiased, correction=correction, keepdim=keepdim, dtype=dtype,
                    mask=mask))
