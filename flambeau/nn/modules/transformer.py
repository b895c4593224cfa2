"""Transformers: encoders and decoders of layers of attention."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any

from flambeau.core.face import FACES
from flambeau.core.modes import MODES
from flambeau.core.tensor import Tensor
from flambeau.nn import functional as F
from flambeau.nn import init
from flambeau.nn.modules.container import ModuleList
from flambeau.nn.modules.module import Module
from flambeau.nn.modules.normalization import LayerNorm
from flambeau.nn.modules.transformer_layers import (
    TransformerDecoderLayer,
    TransformerEncoderLayer,
    mask_to_add,
)

__all__ = ["Transformer", "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder",
           "TransformerEncoderLayer"]

torch = FACES["torch"]
Activation = str | Callable[[Tensor], Tensor]


def _generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
    return torch["full"]((sz, sz), -math.inf, dtype=dtype, device=device).triu(1)


def _get_seq_len(src: Tensor, batch_first: bool) -> int:
    return src.size(1 if batch_first and src.dim() != 2 else 0)  # type: ignore[return-value]


def _get_clones(module: Module, n: int) -> ModuleList:
    return ModuleList([copy.deepcopy(module) for _ in range(n)])


def _detect_is_causal_mask(mask: Tensor | None, is_causal: bool | None = None,
                           size: int | None = None) -> bool:
    """Whether query i sees keys up to i: as said, or as the mask is."""
    if is_causal is not None or mask is None:
        return is_causal is True
    n = mask.size(-2) if size is None else size
    if tuple(mask.shape) != (n, n):
        return False
    causal = _generate_square_subsequent_mask(n, dtype=mask.dtype)  # type: ignore[arg-type]
    return bool(mask.eq(causal).all())


class Transformer(Module):
    """An encoder and a decoder (arXiv:1706.03762).

    ``forward(src, tgt)`` takes (S, N, d_model) and (T, N, d_model), with ``batch_first`` (N, S,
    d_model), or no N, and returns the shape of ``tgt``.

    >>> import flambeau as torch
    >>> net = torch.nn.Transformer(8, 2, 1, 1, 16)
    >>> net(torch.rand(10, 3, 8), torch.rand(20, 3, 8)).shape
    torch.Size([20, 3, 8])
    """

    encoder: Any
    decoder: Any

    def __init__(self, d_model: int = 512, nhead: int = 8, num_encoder_layers: int = 6,
                 num_decoder_layers: int = 6, dim_feedforward: int = 2048, dropout: float = 0.1,
                 activation: Activation = F.relu, custom_encoder: Any | None = None,
                 custom_decoder: Any | None = None, layer_norm_eps: float = 1e-5,
                 batch_first: bool = False, norm_first: bool = False, bias: bool = True,
                 device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        settings = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps,
                    batch_first, norm_first, bias, device, dtype)
        for name, custom, kind, layer, count in (
                ("encoder", custom_encoder, TransformerEncoder, TransformerEncoderLayer,
                 num_encoder_layers),
                ("decoder", custom_decoder, TransformerDecoder, TransformerDecoderLayer,
                 num_decoder_layers)):
            if custom is None:
                one = layer(*settings)
                norm = LayerNorm(d_model, layer_norm_eps, bias=bias, device=device, dtype=dtype)
                custom = kind(one, count, norm)  # type: ignore[arg-type]
            setattr(self, name, custom)
        self._reset_parameters()
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first

    def forward(self, src: Tensor, tgt: Tensor, src_mask: Tensor | None = None,
                tgt_mask: Tensor | None = None, memory_mask: Tensor | None = None,
                src_key_padding_mask: Tensor | None = None,
                tgt_key_padding_mask: Tensor | None = None,
                memory_key_padding_mask: Tensor | None = None, src_is_causal: bool | None = None,
                tgt_is_causal: bool | None = None, memory_is_causal: bool = False) -> Tensor:
        """The decoder's results for ``tgt``, given what the encoder makes of ``src``."""
        batch = 0 if self.batch_first else 1
        if src.dim() == 3 and src.size(batch) != tgt.size(batch):
            raise RuntimeError("the batch number of src and tgt must be equal")
        if src.size(-1) != self.d_model or tgt.size(-1) != self.d_model:
            raise RuntimeError("the feature number of src and tgt must be equal to d_model")
        memory = self.encoder(src, mask=src_mask, src_key_padding_mask=src_key_padding_mask,
                              is_causal=src_is_causal)
        return self.decoder(
            tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal)

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """A mask to be added (sz, sz), by which query i sees keys up to i.

        >>> Transformer.generate_square_subsequent_mask(2)
        tensor([[0., -inf],
                [0., 0.]])
        """
        return _generate_square_subsequent_mask(sz, dtype=dtype, device=device)

    def _reset_parameters(self) -> None:
        for p in self.parameters():
            if p.dim() > 1:
                init.xavier_uniform_(p)


class TransformerEncoder(Module):
    """``num_layers`` copies of an encoder layer, one after the other, and ``norm`` at the end.

    Where PyTorch would leave padded positions out (in evaluation, without gradients, with
    ``enable_nested_tensor``), they are zeros after the last layer, as there.

    >>> import flambeau as torch
    >>> layer = torch.nn.TransformerEncoderLayer(d_model=8, nhead=2, batch_first=True)
    >>> torch.nn.TransformerEncoder(layer, num_layers=2)(torch.rand(3, 10, 8)).shape
    torch.Size([3, 10, 8])
    """

    __constants__ = ["norm"]

    def __init__(self, encoder_layer: TransformerEncoderLayer, num_layers: int,
                 norm: Module | None = None, enable_nested_tensor: bool = True,
                 mask_check: bool = True) -> None:
        super().__init__()
        self.layers = _get_clones(encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm
        self.enable_nested_tensor = enable_nested_tensor
        self.use_nested_tensor = enable_nested_tensor
        self.mask_check = mask_check
        reason = _keeps_padding(encoder_layer)
        if enable_nested_tensor and reason:
            warnings.warn("enable_nested_tensor is True, but self.use_nested_tensor is False "
                          f"because {reason}", stacklevel=2)
            self.use_nested_tensor = False

    def forward(self, src: Tensor, mask: Tensor | None = None,
                src_key_padding_mask: Tensor | None = None,
                is_causal: bool | None = None) -> Tensor:
        """The results for ``src``; ``is_causal`` None finds out from ``mask``."""
        padding = mask_to_add(src_key_padding_mask, "src_key_padding_mask", src, mask, "mask")
        mask = mask_to_add(mask, "mask", src)
        empties = self._leaves_padding_out(src, mask, padding)
        first: Any = self.layers[0]
        length = _get_seq_len(src, first.self_attn.batch_first)
        is_causal = _detect_is_causal_mask(mask, is_causal, length)
        out = src
        for layer in self.layers:  # type: ignore[attr-defined]
            out = layer(out, src_mask=mask, is_causal=is_causal, src_key_padding_mask=padding)
        if empties:
            out = out.masked_fill(padding.ne(0).unsqueeze(-1), 0.0)  # type: ignore[union-attr]
        return out if self.norm is None else self.norm(out)

    def _leaves_padding_out(self, src: Tensor, mask: Tensor | None,
                            padding: Tensor | None) -> bool:
        """Whether PyTorch would compute without the padded positions, which then are zeros."""
        if not getattr(self, "use_nested_tensor", False) or padding is None or mask is not None:
            return False
        first: Any = self.layers[0]
        if first.training or src.dim() != 3:
            return False
        if MODES.grad and (src.requires_grad or any(p.requires_grad for p in first.parameters())):
            return False
        if not getattr(self, "mask_check", True):
            return True
        padded = padding.ne(0).long()
        # Only padding at the end: once it begins it goes on.
        return bool(padded[:, 1:].ge(padded[:, :-1]).all())


def _keeps_padding(layer: Any) -> str:
    """Why PyTorch would not leave padded positions out; empty where it would."""
    name = "encoder_layer"
    if not isinstance(layer, TransformerEncoderLayer):
        return f"{name} was not TransformerEncoderLayer"
    attention: Any = layer.self_attn
    if layer.norm_first:
        return f"{name}.norm_first was True"
    if not attention.batch_first:
        return (f"{name}.self_attn.batch_first was not True"
                "(use batch_first for better inference performance)")
    if not attention._qkv_same_embed_dim:
        return f"{name}.self_attn._qkv_same_embed_dim was not True"
    if attention.in_proj_bias is None:
        return f"{name}.self_attn was passed bias=False"
    if not layer.activation_relu_or_gelu:
        return f"{name}.activation_relu_or_gelu was not True"
    if layer.norm1.eps != layer.norm2.eps:
        return f"{name}.norm1.eps was not equal to {name}.norm2.eps"
    if attention.num_heads % 2 == 1:
        return f"{name}.self_attn.num_heads is odd"
    return ""


class TransformerDecoder(Module):
    """``num_layers`` copies of a decoder layer, one after the other, and ``norm`` at the end.

    >>> import flambeau as torch
    >>> layer = torch.nn.TransformerDecoderLayer(d_model=8, nhead=2)
    >>> decoder = torch.nn.TransformerDecoder(layer, num_layers=2)
    >>> decoder(torch.rand(20, 3, 8), torch.rand(10, 3, 8)).shape
    torch.Size([20, 3, 8])
    """

    __constants__ = ["norm"]

    def __init__(self, decoder_layer: TransformerDecoderLayer, num_layers: int,
                 norm: Module | None = None) -> None:
        super().__init__()
        self.layers = _get_clones(decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(self, tgt: Tensor, memory: Tensor, tgt_mask: Tensor | None = None,
                memory_mask: Tensor | None = None, tgt_key_padding_mask: Tensor | None = None,
                memory_key_padding_mask: Tensor | None = None,
                tgt_is_causal: bool | None = None, memory_is_causal: bool = False) -> Tensor:
        """The results for ``tgt`` given ``memory``; ``tgt_is_causal`` None finds out."""
        first: Any = self.layers[0]
        length = _get_seq_len(tgt, first.self_attn.batch_first)
        tgt_is_causal = _detect_is_causal_mask(tgt_mask, tgt_is_causal, length)
        out = tgt
        for layer in self.layers:  # type: ignore[attr-defined]
            out = layer(out, memory, tgt_mask=tgt_mask, memory_mask=memory_mask,
                        tgt_key_padding_mask=tgt_key_padding_mask,
                        memory_key_padding_mask=memory_key_padding_mask,
                        tgt_is_causal=tgt_is_causal, memory_is_causal=memory_is_causal)
        return out if self.norm is None else self.norm(out)
