"""Operations along a dimension, or of two tensors, that leave out what a mask hides."""

from __future__ import annotations

from flambeau.base.dtypes import dtype
from flambeau.core.tensor import Tensor
from flambeau.masked.mask import canonical_dims, filled, greatest, least
from flambeau.masked.reductions import norm
from flambeau.ops import scan
from flambeau.ops import softmax as plain
from flambeau.ops.copy import cast
from flambeau.ops.extrema import maximum
from flambeau.ops.functions import logaddexp as plain_logaddexp

__all__ = ["cumprod", "cumsum", "log_softmax", "logaddexp", "normalize", "softmax", "softmin"]


def cumsum(input: Tensor, dim: int, *, dtype: dtype | None = None,
           mask: Tensor | None = None) -> Tensor:
    """Running sums along ``dim`` in which the elements where ``mask`` is False count as 0."""
    at = canonical_dims(dim, input.ndim)[0]
    held = dtype or input.dtype
    return cast(scan.cumsum(filled(input, mask, 0), at, dtype=held), held)


def cumprod(input: Tensor, dim: int, *, dtype: dtype | None = None,
            mask: Tensor | None = None) -> Tensor:
    """Running products along ``dim`` in which the elements where ``mask`` is False count as 1."""
    at = canonical_dims(dim, input.ndim)[0]
    held = dtype or input.dtype
    return cast(scan.cumprod(filled(input, mask, 1), at, dtype=held), held)


def softmax(input: Tensor, dim: int, *, dtype: dtype | None = None,
            mask: Tensor | None = None) -> Tensor:
    """Softmax along ``dim`` over the elements where ``mask`` is True; 0 for the others.

    >>> import flambeau as torch
    >>> torch.masked.softmax(torch.zeros(3), 0, mask=torch.tensor([True, True, False]))
    tensor([0.5000, 0.5000, 0.0000])
    """
    at = canonical_dims(dim, input.ndim)[0]
    shown = input if mask is None else filled(input, mask, least("amax", input))
    return plain.softmax(shown, at, dtype or input.dtype)


def log_softmax(input: Tensor, dim: int, *, dtype: dtype | None = None,
                mask: Tensor | None = None) -> Tensor:
    """The logarithm of ``softmax`` of the same arguments."""
    at = canonical_dims(dim, input.ndim)[0]
    shown = input if mask is None else filled(input, mask, least("amax", input))
    return plain.log_softmax(shown, at, dtype or input.dtype)


def softmin(input: Tensor, dim: int, *, dtype: dtype | None = None,
            mask: Tensor | None = None) -> Tensor:
    """Softmax of the negated elements where ``mask`` is True; 0 for the others."""
    at = canonical_dims(dim, input.ndim)[0]
    shown = input if mask is None else filled(input, mask, greatest("amin", input))
    return plain.softmin(shown, at, dtype=dtype or input.dtype)


def normalize(input: Tensor, ord: float, dim: int, *, eps: float = 1e-12,
              dtype: dtype | None = None, mask: Tensor | None = None) -> Tensor:
    """The elements that ``mask`` shows, divided by their norm along ``dim`` or by ``eps``."""
    size = norm(input, ord, dim, keepdim=True, dtype=dtype or input.dtype, mask=mask)
    return filled(input, mask, 0) / maximum(size, size.new_full((), eps))


def logaddexp(input: Tensor, other: Tensor, *, dtype: dtype | None = None,
              input_mask: Tensor | None = None, other_mask: Tensor | None = None) -> Tensor:
    """The logarithm of the sum of two exponentials, each 0 where its mask is False."""
    pair = [t if mask is None else filled(t, mask, least("logaddexp", t))
            for t, mask in ((input, input_mask), (other, other_mask))]
    return cast(plain_logaddexp(*pair), dtype or input.dtype)
