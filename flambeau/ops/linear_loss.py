"""The cross entropy of a linear layer's results."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from flambeau.base import dtypes
from flambeau.base.dtypes import dtype
from flambeau.core.face import public
from flambeau.core.tensor import Tensor
from flambeau.ops.activation import FUNCTIONAL
from flambeau.ops.class_loss import cross_entropy
from flambeau.ops.matmul import linear

__all__ = ["LinearCrossEntropyOptions", "linear_cross_entropy"]


@dataclass(frozen=True)
class LinearCrossEntropyOptions:
    """How PyTorch may cut the product into pieces to save memory.

    The value does not depend on it; flambeau takes the options and computes in one piece.
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: Literal["accurate", "balanced", "compact", "auto"] = "auto"
    acc_dtype: dtype | None = None


def _check(input: Tensor, weight: Tensor, target: Tensor, bias: Tensor | None,
           ignore_index: int | None) -> None:
    shape, table = tuple(input._a.shape), tuple(weight._a.shape)
    if len(shape) not in (1, 2):
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {len(shape)}")
    if len(table) < 2:
        raise RuntimeError(f"expected linear_weight with dimensionality at least 2, got "
                           f"{len(table)}")
    if shape[-1] != table[-1]:
        raise RuntimeError("expected equal input and linear_weight last dimensions (in_features), "
                           f"got {shape[-1]} and {table[-1]}, respectively")
    if len(shape) == 1 and len(table) > 2:
        raise RuntimeError(f"K-dimensional loss defined by linear_weight shape {table} requires "
                           f"batched input, (N, {shape[-1]}), got unbatched input with shape "
                           f"{shape}")
    if bias is not None and tuple(bias._a.shape) != table[:-1]:
        raise RuntimeError(f"expected linear_bias shape {table[:-1]}, got {tuple(bias._a.shape)}")
    if ignore_index is not None and target.dtype.category == dtypes.FLOAT:
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")


@public(FUNCTIONAL)
def linear_cross_entropy(input: Tensor, linear_weight: Tensor, target: Tensor, *,
                         linear_bias: Tensor | None = None, weight: Tensor | None = None,
                         reduction: str = "mean", ignore_index: int | None = None,
                         label_smoothing: float = 0.0,
                         options: LinearCrossEntropyOptions | None = None) -> Tensor:
    """``cross_entropy(linear(input, linear_weight, linear_bias), target)``.

    Shapes: input (N, F) or (F,), linear_weight (C, ..., F), linear_bias (C, ...), target (N, ...)
    or, as probabilities, (N, C, ...).
    """
    _check(input, linear_weight, target, linear_bias, ignore_index)
    classes, *rest, size = linear_weight._a.shape
    if rest:
        outs = math.prod(rest, start=classes)
        linear_weight = linear_weight.reshape(outs, size)
        linear_bias = None if linear_bias is None else linear_bias.reshape(outs)
    logits = linear(input, linear_weight, linear_bias)
    logits = logits.reshape(*input._a.shape[:-1], classes, *rest) if rest else logits
    return cross_entropy(logits, target, weight, None,
                         -100 if ignore_index is None else ignore_index, None, reduction,
                         label_smoothing)
