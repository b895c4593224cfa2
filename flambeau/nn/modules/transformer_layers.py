"""The layers of transformers: attention and two linear layers, each around a residual."""

from __future__ import annotations

from collections.abc import Callable
from inspect import unwrap
from typing import Any

from flambeau.core.overrides import same_function
from flambeau.core.tensor import Tensor
from flambeau.nn import functional as F
from flambeau.nn.modules.activation import GELU, ReLU
from flambeau.nn.modules.attention import MultiheadAttention
from flambeau.nn.modules.dropout import Dropout
from flambeau.nn.modules.linear import Linear
from flambeau.nn.modules.module import Module
from flambeau.nn.modules.normalization import LayerNorm
from flambeau.ops.heads import added_mask

__all__ = ["TransformerDecoderLayer", "TransformerEncoderLayer"]

Activation = str | Callable[[Tensor], Tensor]


def _get_activation_fn(activation: str) -> Callable[[Tensor], Tensor]:
    if activation == "relu":
        return F.relu
    if activation == "gelu":
        return F.gelu
    raise RuntimeError(f"activation should be relu/gelu, not {activation}")


def mask_to_add(mask: Tensor | None, name: str, like: Tensor, other: Tensor | None = None,
                other_name: str = "") -> Tensor | None:
    """A mask to be added to scores of the dtype of ``like``; warns as ``added_mask`` does."""
    return added_mask(mask, name, like.dtype, other, other_name)


class _TransformerLayer(Module):
    """What both layers share: attention to itself, and two linear layers around an activation."""

    __constants__ = ["norm_first"]
    activation: Any
    self_attn: Any
    norm1: LayerNorm
    norm2: LayerNorm
    dropout1: Dropout
    dropout2: Dropout

    def _add_attention(self, name: str, d_model: int, nhead: int, dropout: float, bias: bool,
                       batch_first: bool, options: dict[str, Any]) -> None:
        setattr(self, name, MultiheadAttention(d_model, nhead, dropout=dropout, bias=bias,
                                               batch_first=batch_first, **options))

    def _add_others(self, d_model: int, dim_feedforward: int, dropout: float, eps: float,
                    norm_first: bool, bias: bool, norms: int, options: dict[str, Any]) -> None:
        self.linear1 = Linear(d_model, dim_feedforward, bias=bias, **options)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias=bias, **options)
        self.norm_first = norm_first
        for i in range(1, norms + 1):
            setattr(self, f"norm{i}", LayerNorm(d_model, eps=eps, bias=bias, **options))
        for i in range(1, norms + 1):
            setattr(self, f"dropout{i}", Dropout(dropout))

    def __setstate__(self, state: dict[str, Any]) -> None:
        state.setdefault("activation", F.relu)  # older pickles lack it
        super().__setstate__(state)

    def _sa_block(self, x: Tensor, attn_mask: Tensor | None, key_padding_mask: Tensor | None,
                  is_causal: bool = False) -> Tensor:
        found = self.self_attn(x, x, x, attn_mask=attn_mask, key_padding_mask=key_padding_mask,
                               need_weights=False, is_causal=is_causal)[0]
        return self.dropout1(found)

    def _wide(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class TransformerEncoderLayer(_TransformerLayer):
    """Attention of a sequence to itself and a feed-forward network (arXiv:1706.03762).

    Each is added to its input and normalised; with ``norm_first`` the input is normalised
    instead. ``activation`` is "relu", "gelu" or a function.

    >>> import flambeau as torch
    >>> layer = torch.nn.TransformerEncoderLayer(d_model=8, nhead=2, batch_first=True)
    >>> layer(torch.rand(3, 10, 8)).shape
    torch.Size([3, 10, 8])
    """

    def __init__(self, d_model: int, nhead: int, dim_feedforward: int = 2048,
                 dropout: float = 0.1, activation: Activation = F.relu,
                 layer_norm_eps: float = 1e-5, batch_first: bool = False,
                 norm_first: bool = False, bias: bool = True, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__()
        options = {"device": device, "dtype": dtype}
        self._add_attention("self_attn", d_model, nhead, dropout, bias, batch_first, options)
        self._add_others(d_model, dim_feedforward, dropout, layer_norm_eps, norm_first, bias, 2,
                         options)
        if isinstance(activation, str):
            activation = _get_activation_fn(activation)
        self.activation_relu_or_gelu = 0
        if same_function(unwrap(activation), unwrap(F.relu)) or isinstance(activation, ReLU):
            self.activation_relu_or_gelu = 1
        elif same_function(unwrap(activation), unwrap(F.gelu)) or isinstance(activation, GELU):
            self.activation_relu_or_gelu = 2
        self.activation = activation

    def forward(self, src: Tensor, src_mask: Tensor | None = None,
                src_key_padding_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        """The results for ``src``; masks are those of ``MultiheadAttention``."""
        padding = mask_to_add(src_key_padding_mask, "src_key_padding_mask", src, src_mask,
                              "src_mask")
        mask = mask_to_add(src_mask, "src_mask", src)
        x = src
        if self.norm_first:
            x = x + self._sa_block(self.norm1(x), mask, padding, is_causal=is_causal)
            return x + self._ff_block(self.norm2(x))
        x = self.norm1(x + self._sa_block(x, mask, padding, is_causal=is_causal))
        return self.norm2(x + self._ff_block(x))

    def _ff_block(self, x: Tensor) -> Tensor:
        return self.dropout2(self._wide(x))


class TransformerDecoderLayer(_TransformerLayer):
    """Attention to itself, attention to a memory, and a feed-forward network.

    Settings are those of ``TransformerEncoderLayer``.

    >>> import flambeau as torch
    >>> layer = torch.nn.TransformerDecoderLayer(d_model=8, nhead=2)
    >>> layer(torch.rand(20, 3, 8), torch.rand(10, 3, 8)).shape
    torch.Size([20, 3, 8])
    """

    multihead_attn: Any
    norm3: LayerNorm
    dropout3: Dropout

    def __init__(self, d_model: int, nhead: int, dim_feedforward: int = 2048,
                 dropout: float = 0.1, activation: Activation = F.relu,
                 layer_norm_eps: float = 1e-5, batch_first: bool = False,
                 norm_first: bool = False, bias: bool = True, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__()
        options = {"device": device, "dtype": dtype}
        for name in ("self_attn", "multihead_attn"):
            self._add_attention(name, d_model, nhead, dropout, bias, batch_first, options)
        self._add_others(d_model, dim_feedforward, dropout, layer_norm_eps, norm_first, bias, 3,
                         options)
        self.activation = (_get_activation_fn(activation) if isinstance(activation, str)
                           else activation)

    def forward(self, tgt: Tensor, memory: Tensor, tgt_mask: Tensor | None = None,
                memory_mask: Tensor | None = None, tgt_key_padding_mask: Tensor | None = None,
                memory_key_padding_mask: Tensor | None = None, tgt_is_causal: bool = False,
                memory_is_causal: bool = False) -> Tensor:
        """The results for ``tgt`` given ``memory``; masks are those of ``MultiheadAttention``."""
        own = (tgt_mask, tgt_key_padding_mask, tgt_is_causal)
        other = (memory, memory_mask, memory_key_padding_mask, memory_is_causal)
        x = tgt
        if self.norm_first:
            x = x + self._sa_block(self.norm1(x), *own)
            x = x + self._mha_block(self.norm2(x), *other)
            return x + self._ff_block(self.norm3(x))
        x = self.norm1(x + self._sa_block(x, *own))
        x = self.norm2(x + self._mha_block(x, *other))
        return self.norm3(x + self._ff_block(x))

    def _mha_block(self, x: Tensor, mem: Tensor, attn_mask: Tensor | None,
                   key_padding_mask: Tensor | None, is_causal: bool = False) -> Tensor:
        found = self.multihead_attn(x, mem, mem, attn_mask=attn_mask,
                                    key_padding_mask=key_padding_mask, is_causal=is_causal,
                                    need_weights=False)[0]
        return self.dropout2(found)

    def _ff_block(self, x: Tensor) -> Tensor:
        return self.dropout3(self._wide(x))
