"""``torch.nn.attention.flex_attention``: scores and masks that are functions of positions."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from flambeau.base import dtypes
from flambeau.base.missing import missing_attribute
from flambeau.core.face import FACES
from flambeau.core.tensor import Tensor
from flambeau.func import vmap

__all__ = ["AuxOutput", "AuxRequest", "BlockMask", "and_masks", "create_block_mask", "create_mask",
           "flex_attention", "noop_mask", "or_masks"]

_DEFAULT_SPARSE_BLOCK_SIZE = 128

_ops = FACES["torch"]


class AuxRequest(NamedTuple):
    """What ``flex_attention`` returns beside its output."""

    lse: bool = False
    max_scores: bool = False


class AuxOutput(NamedTuple):
    """What was asked for by an AuxRequest; None otherwise. Both (B, Hq, L)."""

    lse: Tensor | None = None
    max_scores: Tensor | None = None


def noop_mask(batch: Tensor, head: Tensor, token_q: Tensor, token_kv: Tensor) -> Tensor:
    """The mask that allows everything."""
    return batch.new_ones(size=(), dtype=dtypes.bool_)


def and_masks(*mask_mods: Callable) -> Callable:
    """The mask that allows what all of these allow."""
    _check_callable(mask_mods)

    def and_mask(b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
        found = b.new_ones((), dtype=dtypes.bool_)
        for mod in mask_mods:
            found = found & mod(b, h, q_idx, kv_idx)
        return found

    return and_mask


def or_masks(*mask_mods: Callable) -> Callable:
    """The mask that allows what any of these allows."""
    _check_callable(mask_mods)

    def or_mask(b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
        found = b.new_zeros((), dtype=dtypes.bool_)
        for mod in mask_mods:
            found = found | mod(b, h, q_idx, kv_idx)
        return found

    return or_mask


def _check_callable(mods: tuple) -> None:
    if not all(map(callable, mods)):
        raise RuntimeError(f"All inputs should be callable mask_mods: {mods}")


def _over_positions(function: Callable, first: Tensor | None, sizes: tuple[int, ...],
                    device: Any) -> Tensor:
    """``function`` of every (b, h, q, kv), after the element of ``first`` there if it is given."""
    before = () if first is None else (0,)
    for dims in ((None, None, None, 0), (None, None, 0, None), (None, 0, None, None),
                 (0, None, None, None)):
        function = vmap(function, in_dims=before + dims)
    places = [_ops["arange"](n, device=device) for n in sizes]
    return function(*([] if first is None else [first]), *places)


def create_mask(mod_fn: Callable, B: int | None, H: int | None, Q_LEN: int, KV_LEN: int,
                device: Any = None) -> Tensor:
    """The (B, H, Q_LEN, KV_LEN) bool tensor of a mask; of a score function, where it isn't -inf.

    >>> from flambeau.nn.attention.flex_attention import create_mask
    >>> create_mask(lambda b, h, q, kv: q >= kv, 1, 1, 2, 2)
    tensor([[[[ True, False],
              [ True,  True]]]])
    """
    sizes = (B or 1, H or 1, Q_LEN, KV_LEN)
    if _positional_count(mod_fn) == 5:
        scores = _over_positions(mod_fn, _ops["zeros"](sizes, device=device), sizes, device)
        return ~_ops["isneginf"](scores)
    return _over_positions(mod_fn, None, sizes, device)


def _positional_count(function: Callable) -> int:
    return sum(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
               for p in inspect.signature(function).parameters.values())


class BlockMask:
    """Which blocks of a mask hold something; made by ``create_block_mask``.

    Per row of blocks, ``kv_num_blocks`` says how many blocks are partly allowed, ``kv_indices``
    has their columns first; ``full_kv_*`` says so of the blocks that are wholly allowed, ``q_*``
    and ``full_q_*`` of the columns. All int32, (B, H, rows[, columns]).
    """

    def __init__(self, partial: Tensor, full: Tensor, seq_lengths: tuple[int, int],
                 block_size: tuple[int, int], mask_mod: Callable) -> None:
        self.seq_lengths = seq_lengths
        self.BLOCK_SIZE = block_size
        self.mask_mod = mask_mod
        self._blocks = partial | full
        self.kv_num_blocks, self.kv_indices = _ordered(partial)
        self.full_kv_num_blocks, self.full_kv_indices = _ordered(full)
        self.q_num_blocks, self.q_indices = _ordered(partial.transpose(-2, -1))
        self.full_q_num_blocks, self.full_q_indices = _ordered(full.transpose(-2, -1))

    @property
    def shape(self) -> tuple[int, ...]:
        """(B, H, queries, keys)."""
        return (*self._blocks.shape[:2], *self.seq_lengths)

    def numel(self) -> int:
        """The number of elements of the mask, not of its blocks."""
        return math.prod(self.shape)

    def sparsity(self) -> float:
        """The percentage of the mask that lies in no block; below 0 where blocks stand out."""
        size = self.BLOCK_SIZE[0] * self.BLOCK_SIZE[1]
        return 100 * (1 - int(self._blocks.sum()) * size / self.numel())

    def to_dense(self) -> Tensor:
        """Per block whether it holds anything: int32, (B, H, rows, columns)."""
        return self._blocks.to(dtypes.int32)

    def __repr__(self) -> str:
        names = ("kv_num_blocks", "kv_indices", "full_kv_num_blocks", "full_kv_indices",
                 "q_num_blocks", "q_indices", "full_q_num_blocks", "full_q_indices")
        lines = [f"    {name}={getattr(self, name).shape}," for name in names]
        mod = getattr(self.mask_mod, "__name__", self.mask_mod)
        return "\n".join(["BlockMask(", *lines, f"    BLOCK_SIZE={self.BLOCK_SIZE},",
                          f"    shape={self.shape},", f"    sparsity={self.sparsity():.2f}%,",
                          f"    mask_mod={mod}", ")"])


def _ordered(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Per row the number of blocks that are set, and all columns, those of set blocks first."""
    blocks = blocks.to(dtypes.int32)
    order = _ops["argsort"](blocks, dim=-1, descending=True, stable=True)
    return blocks.sum(-1).to(dtypes.int32), order.to(dtypes.int32)


def create_block_mask(mask_mod: Callable, B: int | None, H: int | None, Q_LEN: int, KV_LEN: int,
                      device: Any = None, BLOCK_SIZE: int | tuple[int, int] = 128,
                      _compile: bool = False) -> BlockMask:
    """The BlockMask of ``mask_mod(b, h, q_idx, kv_idx)``; blocks stand out over the ends as empty.

    >>> from flambeau.nn.attention.flex_attention import create_block_mask
    >>> create_block_mask(lambda b, h, q, kv: q >= kv, 1, 1, 256, 256).to_dense()
    tensor([[[[1, 0],
              [1, 1]]]], dtype=flambeau.int32)
    """
    rows, columns = (BLOCK_SIZE, BLOCK_SIZE) if isinstance(BLOCK_SIZE, int) else BLOCK_SIZE
    mask = create_mask(mask_mod, B, H, Q_LEN, KV_LEN, device)
    mask = _ops["constant_pad_nd"](mask, (0, -KV_LEN % columns, 0, -Q_LEN % rows), False)
    b, h, q, kv = mask.shape
    blocks = mask.reshape(b, h, q // rows, rows, kv // columns, columns)
    full = blocks.all(5).all(3)
    partial = blocks.any(5).any(3) & ~full
    return BlockMask(partial, full, (Q_LEN, KV_LEN), (rows, columns), mask_mod)


def flex_attention(query: Tensor, key: Tensor, value: Tensor, score_mod: Callable | None = None,
                   block_mask: BlockMask | None = None, scale: float | None = None,
                   enable_gqa: bool = False, return_lse: bool = False,
                   kernel_options: dict | None = None, *, return_aux: AuxRequest | None = None
                   ) -> Any:
    """Attention with ``score_mod(score, b, h, q_idx, kv_idx)`` and the mask of ``block_mask``.

    ``query`` (B, Hq, L, E), ``key`` (B, Hkv, S, E), ``value`` (B, Hkv, S, Ev); gives
    (B, Hq, L, Ev), with ``return_lse`` also the log of each row's sum. A row that may see nothing
    gives 0. Differentiable (in PyTorch not on a CPU). ValueError for shapes that do not fit.

    >>> import flambeau as torch
    >>> from flambeau.nn.attention.flex_attention import flex_attention
    >>> x = torch.ones(1, 1, 2, 4)
    >>> flex_attention(x, x, x, lambda score, b, h, q, kv: score + (q - kv)).shape
    torch.Size([1, 1, 2, 4])
    """
    _check_shapes(query, key, value, block_mask, enable_gqa)
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
    working = dtypes.float64 if query.dtype is dtypes.float64 else dtypes.float32
    scores = (query @ key.transpose(-2, -1)).to(working)
    scores = scores * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if score_mod is not None:
        scores = _over_positions(score_mod, scores, scores.shape, query.device).to(working)
    if block_mask is not None:
        allowed = _over_positions(block_mask.mask_mod, None, scores.shape, query.device)
        scores = scores.masked_fill(~allowed, -math.inf)
    lse = _ops["logsumexp"](scores, -1)
    shift = lse.masked_fill(lse == -math.inf, 0.0).unsqueeze(-1)
    out = (_ops["exp"](scores - shift).to(query.dtype)) @ value
    if return_aux is not None:
        most = scores.amax(-1) if return_aux.max_scores else None
        return out, AuxOutput(lse if return_aux.lse else None, most)
    return (out, lse) if return_lse else out


def _check_shapes(query: Tensor, key: Tensor, value: Tensor, block_mask: BlockMask | None,
                  enable_gqa: bool) -> None:
    if query.dim() != 4 or key.dim() != 4 or value.dim() != 4:
        raise NotImplementedError("NYI: query, key, and value must be 4D tensors")
    b, hq, length, e = query.shape
    bkv, hkv, span, ek = key.shape
    if e != ek:
        raise ValueError("Expect query and key/value to have the same embedding dimension "
                         f"but got E={e} and E={ek}.")
    if b != bkv and (bkv != 1 or block_mask is None):
        raise ValueError("Expect query and key/value to have the same batch size, or non-none "
                         f"block_mask, but got block_mask={block_mask}, Bq={b}, and Bkv={bkv}.")
    if hq != hkv and not enable_gqa:
        raise ValueError("Expect query and key/value to have the same number of heads but got "
                         f"Hq={hq} and Hkv={hkv}. Try setting enable_gqa=True for GQA.")
    if hq % hkv:
        raise ValueError("Expect number of query heads to be a multiple of kv heads for GQA "
                         f"but got Hq={hq} and Hkv={hkv}.")
    if block_mask is not None and block_mask.seq_lengths != (length, span):
        rows, columns = block_mask.seq_lengths
        other = "a smaller" if length > rows or span > columns else "another"
        raise ValueError(f"block_mask was created for block_mask.shape={block_mask.shape} "
                         f"but got q_len={length} and kv_len={span}. As the block mask was created "
                         f"for {other} length than you're using it for, you likely need to create "
                         "a new block mask.")


def __getattr__(name: str) -> NoReturn:
    raise missing_attribute(__name__, name, __all__)
