"""Attention by several heads, between linear layers."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

from flambeau.base import dtypes
from flambeau.base.dtypes import dtype
from flambeau.core.face import public
from flambeau.core.tensor import Tensor
from flambeau.ops.activation import FUNCTIONAL
from flambeau.ops.attention import scaled_dot_product_attention
from flambeau.ops.dropout import dropout
from flambeau.ops.join import cat
from flambeau.ops.matmul import linear, matmul
from flambeau.ops.shape import transpose
from flambeau.ops.softmax import softmax
from flambeau.ops.where import where

__all__ = ["added_mask", "multi_head_attention_forward"]


def added_mask(mask: Tensor | None, name: str, target: dtype, other: Tensor | None = None,
               other_name: str = "") -> Tensor | None:
    """A mask to be added, of one that is True where a key does not count, or that is one.

    Warns where ``other``, a second mask, has another dtype. AssertionError for integers.
    """
    if mask is None:
        return None
    if mask.dtype is not dtypes.bool_ and not mask.dtype.is_floating_point:
        raise AssertionError(f"only bool and floating types of {name} are supported")
    if other is not None and other.dtype is not mask.dtype:
        warnings.warn(f"Support for mismatched {name} and {other_name} is deprecated. Use same "
                      "type for both instead.", stacklevel=3)
    return where(mask, -math.inf, 0.0).to(target) if mask.dtype is dtypes.bool_ else mask


def _is_batch(query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None,
              mask: Tensor | None, heads: int) -> bool:
    """Whether there is a batch dimension; AssertionError where ranks do not agree."""
    rank = query._a.ndim
    if rank not in (2, 3):
        raise AssertionError("query should be unbatched 2D or batched 3D tensor but received "
                             f"{rank}-D query tensor")
    told = f"For {'un' * (rank == 2)}batched ({rank}-D) `query`, expected"
    if key._a.ndim != rank or value._a.ndim != rank:
        raise AssertionError(f"{told} `key` and `value` to be {rank}-D but found {key._a.ndim}-D "
                             f"and {value._a.ndim}-D tensors respectively")
    if padding is not None and padding._a.ndim != rank - 1:
        raise AssertionError(f"{told} `key_padding_mask` to be `None` or {rank - 1}-D but found "
                             f"{padding._a.ndim}-D tensor instead")
    if mask is not None and mask._a.ndim not in (2, 3):
        raise AssertionError(f"{told} `attn_mask` to be `None`, 2-D or 3-D but found "
                             f"{mask._a.ndim}-D tensor instead")
    expected = (heads, query._a.shape[0], key._a.shape[0])
    if rank == 2 and mask is not None and mask._a.ndim == 3 and mask._a.shape != expected:
        raise AssertionError(f"Expected `attn_mask` shape to be {expected} but got {mask.shape}")
    return rank == 3


def _check_sizes(query: Tensor, key: Tensor, value: Tensor, expected: int, heads: int,
                 separate: bool) -> None:
    width = query._a.shape[-1]
    if width != expected:
        raise AssertionError(f"was expecting embedding dimension of {expected}, but got {width}")
    if width // heads * heads != width:
        raise AssertionError(f"embed_dim {width} not divisible by num_heads {heads}")
    if separate:
        if key._a.shape[:2] != value._a.shape[:2]:
            raise AssertionError(f"key's sequence and batch dims {key.shape[:2]} do not match "
                                 f"value's {value.shape[:2]}")
    elif key._a.shape != value._a.shape:
        raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")


def _check_mask(mask: Tensor | None, rows: int, keys: int, batch: int) -> Tensor | None:
    """The mask with a dimension for the batch."""
    if mask is None:
        return None
    rank = mask._a.ndim
    right = (rows, keys) if rank == 2 else (batch, rows, keys)
    if tuple(mask._a.shape) != right:
        raise RuntimeError(f"The shape of the {rank}D attn_mask is {mask.shape}, but should be "
                           f"{right}.")
    return mask.unsqueeze(0) if rank == 2 else mask


def _projected(query: Tensor, key: Tensor, value: Tensor, weights: Any,
               bias: Tensor | None) -> list[Tensor]:
    """Queries, keys and values through their layers; one product where inputs are one."""
    width = query._a.shape[-1]
    if isinstance(weights, Tensor):
        if query is key and key is value:
            return list(linear(query, weights, bias).split(width, -1))
        if key is value:
            of_q, of_kv = weights.split([width, 2 * width])
            b_q, b_kv = (None, None) if bias is None else bias.split([width, 2 * width])
            return [linear(query, of_q, b_q), *linear(key, of_kv, b_kv).split(width, -1)]
        weights = weights.split(width, 0)
    biases = (None,) * 3 if bias is None else bias.split(width, 0)
    return [linear(t, w, b) for t, w, b in zip((query, key, value), weights, biases)]


def _chosen_weights(separate: bool, packed: Tensor | None, parts: Sequence[Tensor | None]) -> Any:
    if not separate:
        if packed is None:
            raise AssertionError("use_separate_proj_weight is False but in_proj_weight is None")
        return packed
    for name, weight in zip("qkv", parts):
        if weight is None:
            raise AssertionError(f"use_separate_proj_weight is True but {name}_proj_weight is None")
    return parts


def _one_more_key(mask: Tensor | None) -> Tensor | None:
    """The mask with a last column of zeros: one more key that counts."""
    if mask is None:
        return None
    return cat([mask, mask.new_zeros((*mask._a.shape[:-1], 1))], -1)


def _check_bias(k: Tensor | None, v: Tensor | None, static: Sequence[Tensor | None]) -> bool:
    """Whether a learned key and value are added."""
    if (k is None) != (v is None):
        one, other = ("k", "v") if v is None else ("v", "k")
        raise AssertionError(f"bias_{one} is set but bias_{other} is None")
    if k is not None:
        for name, t in zip(("key", "value"), static):
            if t is not None:
                raise AssertionError(f"bias cannot be added to static {name}.")
    return k is not None


def _by_head(t: Tensor, heads: int, static: Tensor | None = None, name: str = "") -> Tensor:
    """(L, N, E) as (N * heads, L, E / heads); or ``static``, which has that shape."""
    length, batch, width = t._a.shape
    size = width // heads
    if static is None:
        return transpose(t.reshape(length, batch * heads, size), 0, 1)
    for dim, n in ((0, batch * heads), (2, size)):
        if static._a.shape[dim] != n:
            raise AssertionError(f"expecting static_{name}.size({dim}) of {n}, but got "
                                 f"{static._a.shape[dim]}")
    return static


def _with_padding(mask: Tensor | None, padding: Tensor | None, batch: int, keys: int,
                  heads: int) -> Tensor | None:
    """Both masks as one (N * heads, L or 1, S)."""
    if padding is None:
        return mask
    for dim, n in ((0, batch), (1, keys)):
        if padding._a.shape[dim] != n:
            raise AssertionError(f"Expected key_padded_mask.shape[{dim}] to be {n}, but got "
                                 f"{padding._a.shape[dim]}")
    spread = padding.reshape(batch, 1, 1, keys).expand(-1, heads, -1, -1)
    spread = spread.reshape(batch * heads, 1, keys)
    return spread if mask is None else mask + spread


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
    ones are True where a key does not count. ``is_causal`` says that ``attn_mask`` lets query i
    see keys up to i; where no weights are asked for it is taken at its word.
    """
    in_batch = _is_batch(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not in_batch:
        query, key, value = _batches_of_one(query, key, value)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    padding = added_mask(key_padding_mask, "key_padding_mask", query.dtype, attn_mask, "attn_mask")
    if is_causal and attn_mask is None:
        raise RuntimeError("Need attn_mask if specifying the is_causal hint. You may use the "
                           "Transformer module method `generate_square_subsequent_mask` to create "
                           "this mask.")
    is_causal = is_causal and padding is None and not need_weights
    mask = None if is_causal else added_mask(attn_mask, "attn_mask", query.dtype)
    rows, batch, width = query._a.shape
    _check_sizes(query, key, value, embed_dim_to_check, num_heads, use_separate_proj_weight)
    weights = _chosen_weights(use_separate_proj_weight, in_proj_weight,
                              (q_proj_weight, k_proj_weight, v_proj_weight))
    q, k, v = _projected(query, key, value, weights, in_proj_bias)
    mask = _check_mask(mask, rows, key._a.shape[0], batch * num_heads)
    if _check_bias(bias_k, bias_v, (static_k, static_v)):
        k, v = (cat([t, b.repeat(1, batch, 1)])  # type: ignore[union-attr]
                for t, b in ((k, bias_k), (v, bias_v)))
        mask, padding = _one_more_key(mask), _one_more_key(padding)
    q, k = _by_head(q, num_heads), _by_head(k, num_heads, static_k, "k")
    v = _by_head(v, num_heads, static_v, "v")
    if add_zero_attn:
        k, v = (cat([t, t.new_zeros((t._a.shape[0], 1, t._a.shape[2]))], 1) for t in (k, v))
        mask, padding = _one_more_key(mask), _one_more_key(padding)
    mask = _with_padding(mask, padding, batch, k._a.shape[1], num_heads)
    found, attention = _heads(q, k, v, mask, dropout_p if training else 0.0, need_weights, batch,
                              is_causal)
    out = found.permute(2, 0, 1, 3).reshape(rows * batch, width)
    out = linear(out, out_proj_weight, out_proj_bias).reshape(rows, batch, -1)
    if attention is not None and average_attn_weights:
        attention = attention.mean(1)
    if not in_batch:
        out = out.squeeze(1)
        attention = None if attention is None else attention.squeeze(0)
    return out, attention


def _batches_of_one(*tensors: Tensor) -> list[Tensor]:
    """Each with a batch dimension of size 1; a tensor given twice stays one."""
    made: dict[int, Tensor] = {}
    for t in tensors:
        if id(t) not in made:
            made[id(t)] = t.unsqueeze(1)
    return [made[id(t)] for t in tensors]


def _heads(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout_p: float,
           need_weights: bool, batch: int,
           is_causal: bool) -> tuple[Tensor, Tensor | None]:
    """The heads' results (N, heads, L, E / heads) and their weights (N, heads, L, S)."""
    heads = q._a.shape[0] // batch
    if not need_weights:
        if mask is not None:
            shape = mask._a.shape
            mask = mask.unsqueeze(0) if shape[0] == 1 else mask.reshape(batch, heads, *shape[1:])
        q, k, v = (t.reshape(batch, heads, *t._a.shape[1:]) for t in (q, k, v))
        return scaled_dot_product_attention(q, k, v, mask, dropout_p, is_causal), None
    scores = matmul(q * math.sqrt(1 / q._a.shape[-1]), transpose(k, -2, -1))
    attention = softmax(scores if mask is None else scores + mask, -1)
    if dropout_p:
        attention = dropout(attention, dropout_p)
    out = matmul(attention, v)
    return (out.reshape(batch, heads, *out._a.shape[1:]),
            attention.reshape(batch, heads, *attention._a.shape[1:]))
