"""Attention: scaled dot products of queries and keys weigh values; one head or many."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau.base import dtypes
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.kinds import composite
from flambeau.core.modes import MODES
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.activation import FUNCTIONAL
from flambeau.ops.dropout import dropout
from flambeau.ops.join import cat
from flambeau.ops.matmul import C_NAMES, linear, matmul
from flambeau.ops.rearrange import repeat_interleave
from flambeau.ops.shape import transpose
from flambeau.ops.softmax import softmax
from flambeau.ops.where import where

__all__ = ["multi_head_attention_forward", "scaled_dot_product_attention"]

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


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float,
            dropout_p: float = 0.0) -> Tensor:
    weights = _weights(q, k, mask, scale)
    return matmul(dropout(weights, dropout_p) if dropout_p else weights, v)


def _weights_of_arrays(q: ndarray, k: ndarray, mask: ndarray | None, scale: float) -> ndarray:
    p = np.matmul(q * q.dtype.type(scale), k.swapaxes(-2, -1))
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
                   scale: float) -> ndarray:
    return np.matmul(_weights_of_arrays(q, k, mask, scale), v)


def _attend_joint(g: Tensor, needs: tuple, query: Tensor, key: Tensor, value: Tensor,
                  mask: Tensor | None, scale: float) -> list:
    q, k, m = query._a, key._a, None if mask is None else mask._a
    plain = type(q) is ndarray and type(k) is ndarray and q.dtype.itemsize >= 4
    if plain and not MODES.grad:
        p = wrap(_weights_of_arrays(q, k, m, scale))
    else:
        p = _weights(query, key, mask, scale)
    found: list[Tensor | None] = [None] * 4
    if needs[2]:
        found[2] = matmul(transpose(p, -2, -1), g)
    if needs[0] or needs[1]:
        weighted = matmul(g, transpose(value, -2, -1)) * p
        slope = (weighted - p * weighted.sum(-1, keepdim=True)) * scale
        if needs[0]:
            found[0] = matmul(slope, key)
        if needs[1]:
            found[1] = matmul(transpose(slope, -2, -1), query)
    return found


ATTENTION = composite(
    "scaled_dot_product_attention", _attend, _attend_arrays, joint=_attend_joint,
    inputs=("query", "key", "value", "mask"), params=("scale",),
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
    if is_causal:
        attn_mask = wrap(np.tri(query._a.shape[-2], key._a.shape[-2], dtype=np.bool_))
    if not dropout_p and _in_one_node(query, key, value, attn_mask):
        return apply(ATTENTION, (query, key, value, attn_mask), {"scale": scale})
    if query.dtype.itemsize < 4:
        q, k, v = (t.to(dtypes.float32) for t in (query, key, value))
        return _attend(q, k, v, attn_mask, scale, dropout_p).to(query.dtype)
    return _attend(query, key, value, attn_mask, scale, dropout_p)


def _shared_heads(query: Tensor, t: Tensor) -> Tensor:
    heads, own = query._a.shape[-3], t._a.shape[-3]
    if not own or heads % own:
        raise RuntimeError("Number of heads in key and value must divide the number of heads in ")
    return t if heads == own else repeat_interleave(t, heads // own, -3)


# Many heads


def _float_mask(mask: Tensor | None, name: str, like: Tensor) -> Tensor | None:
    """A mask to be added, of one that is True where a key does not count, or that is one."""
    if mask is None:
        return None
    if mask.dtype is dtypes.bool_:
        return where(mask, -math.inf, 0.0).to(like.dtype)
    if mask.dtype.category != dtypes.FLOAT:
        raise AssertionError(f"only bool and floating types of {name} are supported")
    return mask


def _one_more_key(mask: Tensor | None) -> Tensor | None:
    """The mask with a last column of zeros: one more key that counts."""
    if mask is None:
        return None
    return cat([mask, mask.new_zeros((*mask._a.shape[:-1], 1))], -1)


def _projected(query: Tensor, key: Tensor, value: Tensor, weights: Any,
               bias: Tensor | None) -> list[Tensor]:
    """Queries, keys and values through their layers; one product where all three are one."""
    width = query._a.shape[-1]
    if isinstance(weights, Tensor):
        if query is key and key is value:
            return list(linear(query, weights, bias).split(width, -1))
        weights = weights.split(width, 0)
    biases = (None,) * 3 if bias is None else bias.split(width, 0)
    return [linear(t, w, b) for t, w, b in zip((query, key, value), weights, biases)]


def _check_heads(query: Tensor, key: Tensor, value: Tensor, expected: int, heads: int) -> None:
    width = query._a.shape[-1]
    if width != expected:
        raise AssertionError(f"was expecting embedding dimension of {expected}, but got {width}")
    if width // heads * heads != width:
        raise AssertionError(f"embed_dim {width} not divisible by num_heads {heads}")
    if key._a.shape[:2] != value._a.shape[:2]:
        raise AssertionError(f"key's sequence and batch dims {key.shape[:2]} do not match value's "
                             f"{value.shape[:2]}")


def _check_mask(mask: Tensor | None, rows: int, keys: int, batch: int) -> Tensor | None:
    if mask is None:
        return None
    shape = tuple(mask._a.shape)
    right = (rows, keys) if len(shape) == 2 else (batch, rows, keys)
    if len(shape) not in (2, 3):
        raise RuntimeError(f"attn_mask's dimension {len(shape)} is not supported")
    if shape != right:
        raise RuntimeError(f"The shape of the {len(shape)}D attn_mask is {mask.shape}, but should "
                           f"be {right}.")
    return mask.unsqueeze(0) if len(shape) == 2 else mask


@public(FUNCTIONAL)
def multi_head_attention_forward(
        query: Tensor, key: Tensor, value: Tensor, embed_dim_to_check: int, num_heads: int,
        in_proj_weight: Tensor | None, in_proj_bias: Tensor | None, bias_k: Tensor | None,
        bias_v: Tensor | None, add_zero_attn: bool, dropout_p: float, out_proj_weight: Tensor,
        out_proj_bias: Tensor | None, training: bool = True,
        key_padding_mask: Tensor | None = None, need_weights: bool = True,
        attn_mask: Tensor | None = None, use_separate_proj_weight: bool = False,
        q_proj_weight: Tensor | None = None, k_proj_weight: Tensor | None = None,
        v_proj_weight: Tensor | None = None, static_k: Tensor | None = None,
        static_v: Tensor | None = None, average_attn_weights: bool = True,
        is_causal: bool = False) -> tuple[Tensor, Tensor | None]:
    """Attention by ``num_heads`` heads between linear layers (arXiv:1706.03762).

    ``query`` is (L, N, E), ``key`` and ``value`` (S, N, ...), or all without N. Returns
    (L, N, E) and, with ``need_weights``, the weights (N, L, S), averaged over heads or (N, heads,
    L, S). Masks: ``attn_mask`` (L, S) or (N * heads, L, S), ``key_padding_mask`` (N, S); boolean
    ones are True where a key does not count.
    """
    if is_causal and attn_mask is None:
        raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
    alone = query.dim() == 2
    if alone:
        query, key, value = _batches_of_one(query, key, value)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    rows, batch, width = query._a.shape
    _check_heads(query, key, value, embed_dim_to_check, num_heads)
    padding = _float_mask(key_padding_mask, "key_padding_mask", query)
    mask = _float_mask(attn_mask, "attn_mask", query)
    weights = ((q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight
               else in_proj_weight)
    q, k, v = _projected(query, key, value, weights, in_proj_bias)
    mask = _check_mask(mask, rows, key._a.shape[0], batch * num_heads)
    if bias_k is not None and bias_v is not None:
        k, v = cat([k, bias_k.repeat(1, batch, 1)]), cat([v, bias_v.repeat(1, batch, 1)])
        mask, padding = _one_more_key(mask), _one_more_key(padding)
    q = _by_head(q, num_heads)
    k = _by_head(k, num_heads) if static_k is None else static_k
    v = _by_head(v, num_heads) if static_v is None else static_v
    if add_zero_attn:
        k, v = (cat([t, t.new_zeros((t._a.shape[0], 1, t._a.shape[2]))], 1) for t in (k, v))
        mask, padding = _one_more_key(mask), _one_more_key(padding)
    keys = k._a.shape[1]
    if padding is not None:
        if tuple(padding._a.shape) != (batch, keys):
            raise AssertionError(f"expecting key_padding_mask shape of {(batch, keys)}, but got "
                                 f"{padding.shape}")
        spread = padding.reshape(batch, 1, 1, keys).expand(-1, num_heads, -1, -1)
        spread = spread.reshape(batch * num_heads, 1, keys)
        mask = spread if mask is None else mask + spread
    found, attention = _heads(q, k, v, mask, dropout_p if training else 0.0, need_weights, batch)
    out = found.permute(2, 0, 1, 3).reshape(rows * batch, width)
    out = linear(out, out_proj_weight, out_proj_bias).reshape(rows, batch, width)
    if attention is not None and average_attn_weights:
        attention = attention.mean(1)
    if alone:
        out = out.squeeze(1)
        attention = None if attention is None else attention.squeeze(0)
    return out, attention


def _batches_of_one(*tensors: Tensor) -> list[Tensor]:
    """Each with a batch dimension of size 1; a tensor given twice stays one."""
    made: dict[int, Tensor] = {}
    for t in tensors:
        made.setdefault(id(t), t.unsqueeze(1))
    return [made[id(t)] for t in tensors]


def _by_head(t: Tensor, heads: int) -> Tensor:
    """(L, N, E) as (N * heads, L, E / heads)."""
    length, batch, width = t._a.shape
    return t.reshape(length, batch * heads, width // heads).transpose(0, 1)


def _heads(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout_p: float,
           need_weights: bool, batch: int) -> tuple[Tensor, Tensor | None]:
    """The heads' results (N, heads, L, E / heads) and their weights (N, heads, L, S)."""
    heads = q._a.shape[0] // batch
    if not need_weights:
        if mask is not None:
            shape = mask._a.shape
            mask = mask.unsqueeze(0) if shape[0] == 1 else mask.reshape(batch, heads, *shape[1:])
        q, k, v = (t.reshape(batch, heads, *t._a.shape[1:]) for t in (q, k, v))
        return scaled_dot_product_attention(q, k, v, mask, dropout_p), None
    scores = matmul(q * math.sqrt(1 / q._a.shape[-1]), transpose(k, -2, -1))
    attention = softmax(scores if mask is None else scores + mask, -1)
    if dropout_p:
        attention = dropout(attention, dropout_p)
    out = matmul(attention, v)
    return (out.reshape(batch, heads, *out._a.shape[1:]),
            attention.reshape(batch, heads, *attention._a.shape[1:]))
