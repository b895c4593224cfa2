"""Sequences of different lengths: side by side with padding, and packed step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.core.dispatch import apply
from flambeau.core.kinds import linear, opaque
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor

__all__ = ["PACK", "PAD_SEQUENCE", "UNPACK", "pack", "pad_sequence", "unpack"]


def _present(lengths: Sequence[int], steps: int) -> np.ndarray:
    """Which places of a padded batch hold an element: (steps, batch)."""
    return np.arange(steps)[:, None] < np.asarray(lengths)[None, :]


def _pack_forward(a: np.ndarray, lengths: tuple[int, ...], batch_first: bool) -> np.ndarray:
    a = a.swapaxes(0, 1) if batch_first else a
    return a[_present(lengths, a.shape[0])]


def _unpack_forward(a: np.ndarray, lengths: tuple[int, ...], steps: int, padding: float,
                    batch_first: bool) -> np.ndarray:
    rest = a.shape[1:]
    shape = (len(lengths), steps) if batch_first else (steps, len(lengths))
    out = np.full((*shape, *rest), padding, a.dtype)
    (out.swapaxes(0, 1) if batch_first else out)[_present(lengths, steps)] = a
    return out


def _unpack_zeros(g: Tensor, input_shape: tuple, lengths: tuple, batch_first: bool) -> Tensor:
    return unpack(g, lengths, input_shape[1 if batch_first else 0], 0.0, batch_first)


def _at_the_end(op: Op, values: Sequence[Tensor], dims: Sequence[int], **params: Any) -> tuple:
    """The batch dimension of a transform goes last, where it is one more feature."""
    out = apply(op, (values[0].movedim(dims[0], -1),), params)
    return out, out._a.ndim - 1


PACK: Op = linear("pack_padded_sequence", _pack_forward, _unpack_zeros,
                  params=("lengths", "batch_first"), batch=_at_the_end)
UNPACK: Op = opaque(
    "pad_packed_sequence", _unpack_forward,
    grads=(lambda g, lengths, batch_first: pack(g, lengths, batch_first),),
    params=("lengths", "steps", "padding", "batch_first"),
    jvp=lambda tangents, out, data, **params: apply(UNPACK, (tangents[0],),
                                                    {**params, "padding": 0.0}),
    batch=_at_the_end)
UNPACK.node_name = "CopySlices"


def pack(input: Tensor, lengths: tuple[int, ...], batch_first: bool) -> Tensor:
    """The elements of padded sequences, step by step: (T, B, ...) gives (sum(lengths), ...)."""
    return apply(PACK, (input,), {"lengths": lengths, "batch_first": batch_first})


def unpack(data: Tensor, lengths: tuple[int, ...], steps: int, padding: float,
           batch_first: bool) -> Tensor:
    """The padded sequences whose elements ``data`` holds step by step: (steps, B, ...)."""
    return apply(UNPACK, (data,), {"lengths": lengths, "steps": steps, "padding": padding,
                                   "batch_first": batch_first})


def _pad_forward(*arrays: np.ndarray, batch_first: bool, padding: float, left: bool) -> np.ndarray:
    longest = max(len(a) for a in arrays)
    out = np.full((len(arrays), longest, *arrays[0].shape[1:]), padding, arrays[0].dtype)
    for row, a in zip(out, arrays):
        row[longest - len(a) if left else 0:][:len(a)] = a
    return out if batch_first else np.ascontiguousarray(out.swapaxes(0, 1))


def _pad_grads(g: Tensor, inputs_shape: Sequence[tuple], batch_first: bool, left: bool) -> list:
    rows = g if batch_first else g.transpose(0, 1)
    longest = rows._a.shape[1]
    starts = [longest - shape[0] if left else 0 for shape in inputs_shape]
    return [rows.select(0, i).narrow(0, start, shape[0])
            for i, (start, shape) in enumerate(zip(starts, inputs_shape))]


def _pad_tangent(tangents: Sequence[Any], out: Tensor, *inputs: Tensor, **params: Any) -> Tensor:
    moved = [i.new_zeros(i._a.shape) if t is None else t for t, i in zip(tangents, inputs)]
    return apply(PAD_SEQUENCE, moved, {**params, "padding": 0.0})


PAD_SEQUENCE: Op = opaque("pad_sequence", _pad_forward, inputs=("sequences",), joint=_pad_grads,
                          params=("batch_first", "padding", "left"), variadic=True,
                          jvp=_pad_tangent)
PAD_SEQUENCE.node_name = "CopySlices"


def pad_sequence(sequences: Sequence[Tensor], batch_first: bool, padding: float,
                 side: str) -> Tensor:
    """Sequences (L, ...) side by side, padded to the longest: (T, B, ...), or (B, T, ...)."""
    if not sequences:
        raise RuntimeError("received an empty list of sequences")
    if side not in ("left", "right"):
        raise RuntimeError(f"Expected padding_side to be one of left or right, but got {side}.")
    first = sequences[0]
    rest = first._a.shape[1:]
    if not all(t._a.ndim for t in sequences):
        raise RuntimeError("ArrayRef: invalid slice, N = 1; size = 0")
    same = [t if t._a.dtype == first._a.dtype and t._a.shape[1:] == rest
            else first.new_empty((t._a.shape[0], *rest)).copy_(t) for t in sequences]
    return apply(PAD_SEQUENCE, same, {"batch_first": batch_first, "padding": padding,
                                      "left": side == "left"})
