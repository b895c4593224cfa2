"""Attention by several heads as a module."""

from __future__ import annotations

from typing import Any

from flambeau.core.face import FACES
from flambeau.core.tensor import Tensor
from flambeau.nn import functional as F
from flambeau.nn import init
from flambeau.nn.modules.linear import NonDynamicallyQuantizableLinear
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.ops.heads import added_mask

__all__ = ["MultiheadAttention"]

empty = FACES["torch"]["empty"]


class MultiheadAttention(Module):
    """Attention by ``num_heads`` heads between linear layers (arXiv:1706.03762).

    ``forward(query, key, value)`` takes (L, N, embed_dim), (S, N, kdim), (S, N, vdim), or with
    ``batch_first`` (N, L, ...), or no N at all, and returns the results, of the shape of
    ``query``, and the weights. ``add_bias_kv`` adds a learned key and value to each sequence,
    ``add_zero_attn`` ones of zeros.

    >>> import flambeau as torch
    >>> attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    >>> x = torch.randn(3, 5, 8)
    >>> result, weights = attention(x, x, x)
    >>> result.shape, weights.shape
    (torch.Size([3, 5, 8]), torch.Size([3, 5, 5]))
    """

    __constants__ = ["batch_first"]
    bias_k: Tensor | None
    bias_v: Tensor | None

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True,
                 add_bias_kv: bool = False, add_zero_attn: bool = False,
                 kdim: int | None = None, vdim: int | None = None, batch_first: bool = False,
                 device: Any = None, dtype: Any = None) -> None:
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError("embed_dim and num_heads must be greater than 0, got "
                             f"embed_dim={embed_dim} and num_heads={num_heads} instead")
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError("embed_dim must be divisible by num_heads")
        self._make_parameters(bias, add_bias_kv, {"device": device, "dtype": dtype})
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _make_parameters(self, bias: bool, add_bias_kv: bool, options: dict[str, Any]) -> None:
        n = self.embed_dim

        def parameter(*shape: int) -> Parameter:
            return Parameter(empty(shape, **options))

        if self._qkv_same_embed_dim:
            self.in_proj_weight = parameter(3 * n, n)
            absent = ["q_proj_weight", "k_proj_weight", "v_proj_weight"]
        else:
            self.q_proj_weight = parameter(n, n)
            self.k_proj_weight = parameter(n, self.kdim)
            self.v_proj_weight = parameter(n, self.vdim)
            absent = ["in_proj_weight"]
        for name in absent:
            self.register_parameter(name, None)
        if bias:
            self.in_proj_bias = parameter(3 * n)
        else:
            self.register_parameter("in_proj_bias", None)
        self.out_proj = NonDynamicallyQuantizableLinear(n, n, bias, **options)
        if add_bias_kv:
            self.bias_k, self.bias_v = parameter(1, 1, n), parameter(1, 1, n)
        else:
            self.bias_k = self.bias_v = None

    def _reset_parameters(self) -> None:
        names = (("in_proj_weight",) if self._qkv_same_embed_dim
                 else ("q_proj_weight", "k_proj_weight", "v_proj_weight"))
        for name in names:
            init.xavier_uniform_(getattr(self, name))
        if self.in_proj_bias is not None:
            init.constant_(self.in_proj_bias, 0.0)
            init.constant_(self.out_proj.bias, 0.0)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.xavier_normal_(bias)

    def __setstate__(self, state: dict[str, Any]) -> None:
        state.setdefault("_qkv_same_embed_dim", True)  # older pickles lack it
        super().__setstate__(state)

    def forward(self, query: Tensor, key: Tensor, value: Tensor,
                key_padding_mask: Tensor | None = None, need_weights: bool = True,
                attn_mask: Tensor | None = None, average_attn_weights: bool = True,
                is_causal: bool = False) -> tuple[Tensor, Tensor | None]:
        """The results and, with ``need_weights``, the weights (else None).

        ``key_padding_mask`` is (N, S) and ``attn_mask`` (L, S) or (N * num_heads, L, S); boolean
        ones are True where a key does not count, others are added. The weights are (N, L, S),
        the mean over heads, or (N, num_heads, L, S). ``is_causal`` is a hint about ``attn_mask``.
        """
        padding = added_mask(key_padding_mask, "key_padding_mask", query.dtype, attn_mask,
                             "attn_mask")
        mask = added_mask(attn_mask, "attn_mask", query.dtype)
        turned = self.batch_first and query.dim() == 3
        if turned:
            query, key, value = _sequence_first(query, key, value)
        separate: dict[str, Any] = {} if self._qkv_same_embed_dim else {
            "use_separate_proj_weight": True, "q_proj_weight": self.q_proj_weight,
            "k_proj_weight": self.k_proj_weight, "v_proj_weight": self.v_proj_weight}
        out, weights = F.multi_head_attention_forward(
            query, key, value, self.embed_dim, self.num_heads, self.in_proj_weight,
            self.in_proj_bias, self.bias_k, self.bias_v, self.add_zero_attn, self.dropout,
            self.out_proj.weight, self.out_proj.bias, training=self.training,
            key_padding_mask=padding, need_weights=need_weights, attn_mask=mask,
            average_attn_weights=average_attn_weights, is_causal=is_causal, **separate)
        return (out.transpose(1, 0) if turned else out), weights

    def merge_masks(self, attn_mask: Tensor | None, key_padding_mask: Tensor | None,
                    query: Tensor) -> tuple[Tensor | None, int | None]:
        """One mask (N or 1, heads or 1, L, S) to add, and its kind: 1 padding alone, 2 else."""
        if attn_mask is None:
            return (key_padding_mask, None if key_padding_mask is None else 1)
        batch, length, _ = query.shape
        if attn_mask.dim() == 3:
            merged = attn_mask.view(batch, -1, length, length)
        else:
            merged = attn_mask.view(1, 1, length, length).expand(batch, self.num_heads, -1, -1)
        if key_padding_mask is not None:
            rows = key_padding_mask.view(batch, 1, 1, length)
            merged = merged + rows.expand(-1, self.num_heads, -1, -1)
        return merged, 2


def _sequence_first(*tensors: Tensor) -> list[Tensor]:
    """(N, L, E) as (L, N, E); a tensor given twice stays one, so that one product serves both."""
    made: dict[int, Tensor] = {}
    for t in tensors:
        if id(t) not in made:
            made[id(t)] = t.transpose(1, 0)
    return [made[id(t)] for t in tensors]
