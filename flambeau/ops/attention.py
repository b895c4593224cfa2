"""Attention: scaled dot products of queries and keys weigh values."""

from __future__ import annotations

import math

import numpy as np

from flambeau.backends import attention_kernels, products
from flambeau.base import dtypes
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.kinds import composite
from flambeau.core.modes import MODES
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.activation import FUNCTIONAL
from flambeau.ops.dropout import dropout
from flambeau.ops.matmul import C_NAMES, matmul
from flambeau.ops.rearrange import repeat_interleave
from flambeau.ops.shape import transpose
from flambeau.ops.softmax import softmax
from flambeau.ops.where import where

__all__ = ["scaled_dot_product_attention"]

ndarray = np.ndarray


def _weights(q: Tensor, k: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """softmax(q @ k.T * scale + mask); zeros where every key is masked out."""
    root = math.sqrt(scale) if scale >= 0 else None
    if root is None:
        scores = matmul(q, transpose(k, -2, -1)) * scale
    else:
        scores = matmul(q * root, transpose(k, -2, -1) * root)
    if mask is None:
        return softmax(scores, -1)
    scores = scores + _additive(mask, scores)
    nothing = (scores == -math.inf).all(-1, keepdim=True)
    return where(nothing, 0.0, softmax(scores, -1))


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    """A mask to be added: -inf where a boolean one is False."""
    if mask.dtype is not dtypes.bool_:
        return mask
    return where(mask, 0.0, -math.inf).to(like.dtype)


def _causal_mask(q: Tensor, k: Tensor) -> Tensor:
    return wrap(np.tri(q._a.shape[-2], k._a.shape[-2], dtype=np.bool_))


def _compose(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float,
             causal: bool) -> Tensor:
    return _attend(q, k, v, _causal_mask(q, k) if causal else mask, scale)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float,
            dropout_p: float = 0.0) -> Tensor:
    weights = _weights(q, k, mask, scale)
    return matmul(dropout(weights, dropout_p) if dropout_p else weights, v)


def _weights_of_arrays(q: ndarray, k: ndarray, mask: ndarray | None, scale: float) -> ndarray:
    p = products.matmul(q * q.dtype.type(scale), k.swapaxes(-2, -1))
    if mask is not None:
        p = p + (mask if mask.dtype.kind != "b" else np.where(mask, 0, -np.inf).astype(p.dtype))
    peak = np.maximum.reduce(p, axis=-1, keepdims=True)
    p -= np.where(peak == -np.inf, p.dtype.type(0), peak)
    np.exp(p, out=p)
    total = np.add.reduce(p, axis=-1, keepdims=True)
    total[total == 0] = 1
    p /= total
    return p


def _attend_arrays(q: ndarray, k: ndarray, v: ndarray, mask: ndarray | None,
                   scale: float, causal: bool) -> ndarray:
    found = attention_kernels.attend(q, k, v, mask, scale, causal)
    if found is not None:
        return found
    if causal:
        mask = np.tri(q.shape[-2], k.shape[-2], dtype=np.bool_)
    return products.matmul(_weights_of_arrays(q, k, mask, scale), v)


def _gradients(g: Tensor, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None,
               scale: float, causal: bool) -> tuple[Tensor, ...]:
    """The gradients of query, key and value, by other operators."""
    p = _weights(query, key, _causal_mask(query, key) if causal else mask, scale)
    return _through_weights(g, query, key, value, p, scale)


def _through_weights(g: Tensor, query: Tensor, key: Tensor, value: Tensor, p: Tensor,
                     scale: float) -> tuple[Tensor, ...]:
    weighted = matmul(g, transpose(value, -2, -1)) * p
    slope = (weighted - p * weighted.sum(-1, keepdim=True)) * scale
    return (matmul(slope, key), matmul(transpose(slope, -2, -1), query),
            matmul(transpose(p, -2, -1), g))


def _gradients_of_arrays(g: ndarray, q: ndarray, k: ndarray, v: ndarray, mask: ndarray | None,
                         scale: float, causal: bool) -> list[ndarray]:
    found = attention_kernels.gradients(g, q, k, v, mask, scale, causal)
    if found is not None:
        return found
    if causal:
        mask = np.tri(q.shape[-2], k.shape[-2], dtype=np.bool_)
    p = wrap(_weights_of_arrays(q, k, mask, scale))
    slopes = _through_weights(wrap(g), wrap(q), wrap(k), wrap(v), p, scale)
    return [t._a for t in slopes]


GRADIENTS = composite(
    "scaled_dot_product_attention_backward", _gradients, _gradients_of_arrays,
    inputs=("grad", "query", "key", "value", "mask"), params=("scale", "causal"), multiple=True)


def _attend_joint(g: Tensor, needs: tuple, query: Tensor, key: Tensor, value: Tensor,
                  mask: Tensor | None, scale: float, causal: bool) -> list:
    found = apply(GRADIENTS, (g, query, key, value, mask), {"scale": scale, "causal": causal})
    return [t if need else None for t, need in zip(found, needs)] + [None]


ATTENTION = composite(
    "scaled_dot_product_attention", _compose, _attend_arrays, joint=_attend_joint,
    inputs=("query", "key", "value", "mask"), params=("scale", "causal"),
    node="ScaledDotProductFlashAttentionForCpu")


def _check_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None,
                     is_causal: bool) -> None:
    ranks = [t._a.ndim for t in (q, k, v)]
    if min(ranks) < 2:
        raise RuntimeError(
            "Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: "
            f"{ranks[0]} key.dim: {ranks[1]} and value.dim: {ranks[2]} instead.")
    kinds = [C_NAMES[t.dtype.name] for t in (q, k, v)]
    if len(set(kinds)) > 1:
        raise RuntimeError(
            f"Expected query, key, and value to have the same dtype, but got query.dtype: "
            f"{kinds[0]} key.dtype: {kinds[1]} and value.dtype: {kinds[2]} instead.")
    if q.dtype.category < dtypes.FLOAT:
        raise RuntimeError(f"expected scalar type Float but found {q.dtype.title}")
    if mask is None:
        return
    if is_causal:
        raise RuntimeError("_scaled_dot_product_attention: Explicit attn_mask should not be set "
                           "when is_causal=True")
    if mask.dtype not in (dtypes.bool_, dtypes.float32, q.dtype):
        raise RuntimeError("Expected attn_mask dtype to be bool or float or to match query dtype, "
                           f"but got attn_mask.dtype: {C_NAMES[mask.dtype.name]} and  "
                           f"query.dtype: {kinds[0]} instead.")


def _in_one_node(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> bool:
    """Whether PyTorch would run its fused kernel."""
    a, b, c = q._a, k._a, v._a
    if not a.ndim == b.ndim == c.ndim == 4 or not a.size or not b.size:
        return False
    if not a.shape[3] == b.shape[3] == c.shape[3] or a.shape[:2] != b.shape[:2] != c.shape[:2]:
        return False
    if mask is None:
        return True
    return mask._a.ndim in (2, 4) and (mask._node is None or not MODES.grad)


@public(FUNCTIONAL)
def scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor,
                                 attn_mask: Tensor | None = None, dropout_p: float = 0.0,
                                 is_causal: bool = False, *, scale: float | None = None,
                                 enable_gqa: bool = False) -> Tensor:
    """``softmax(query @ key.T * scale + mask) @ value`` (arXiv:1706.03762).

    Shapes (..., L, E), (..., S, E), (..., S, V) give (..., L, V). ``scale`` is 1 / sqrt(E) where
    None. A boolean ``attn_mask`` is True where a key counts; another is added. ``is_causal``
    lets query i see keys up to i. With ``enable_gqa`` groups of query heads share a key head.
    """
    _check_attention(query, key, value, attn_mask, is_causal)
    if not 0 <= dropout_p <= 1:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {dropout_p:g}")
    if enable_gqa:
        key, value = _shared_heads(query, key), _shared_heads(query, value)
    size = query._a.shape[-1]
    if scale is None:
        scale = 1 / math.sqrt(size) if size else 1.0
    if not dropout_p and _in_one_node(query, key, value, attn_mask):
        return apply(ATTENTION, (query, key, value, attn_mask),
                     {"scale": scale, "causal": is_causal})
    if is_causal:
        attn_mask = _causal_mask(query, key)
    if query.dtype.itemsize < 4:
        q, k, v = (t.to(dtypes.float32) for t in (query, key, value))
        return _attend(q, k, v, attn_mask, scale, dropout_p).to(query.dtype)
    return _attend(query, key, value, attn_mask, scale, dropout_p)


def _shared_heads(query: Tensor, t: Tensor) -> Tensor:
    heads, own = query._a.shape[-3], t._a.shape[-3]
    if not own or heads % own:
        raise RuntimeError("Number of heads in key and value must divide the number of heads in ")
    return t if heads == own else repeat_interleave(t, heads // own, -3)
