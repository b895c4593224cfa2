"""Sliding blocks as columns and back, pixels as channels and back, padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.backends.conversions import dense_copy
from flambeau.backends.numpy import pad as pads
from flambeau.backends.numpy import unfold as blocks
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.kinds import linear
from flambeau.core.op import Op
from flambeau.core.promote import checked_number, number_array
from flambeau.core.tensor import Tensor
from flambeau.ops.window_args import (
    batch_leading,
    channels_last,
    check_tensor,
    fold_front,
    int_of,
    ints_of,
    refuse_dtype,
    to_front,
)

# Pixels and channels.


def _shuffle(x: np.ndarray, factor: int) -> np.ndarray:
    *lead, channels, height, width = x.shape
    split = x.reshape(*lead, channels // factor**2, factor, factor, height, width)
    n = len(lead)
    turned = split.transpose(*range(n), n, n + 3, n + 1, n + 4, n + 2)
    shape = (*lead, channels // factor**2, height * factor, width * factor)
    return channels_last(dense_copy(turned).reshape(shape), x)


def _unshuffle(x: np.ndarray, factor: int) -> np.ndarray:
    *lead, channels, height, width = x.shape
    split = x.reshape(*lead, channels, height // factor, factor, width // factor, factor)
    n = len(lead)
    turned = split.transpose(*range(n), n, n + 2, n + 4, n + 1, n + 3)
    shape = (*lead, channels * factor**2, height // factor, width // factor)
    return channels_last(dense_copy(turned).reshape(shape), x)


PIXEL_SHUFFLE: Op = linear(
    "pixel_shuffle", _shuffle,
    lambda g, factor: apply(PIXEL_UNSHUFFLE, (g,), {"factor": factor}), params=("factor",),
    batch=batch_leading)
PIXEL_UNSHUFFLE: Op = linear(
    "pixel_unshuffle", _unshuffle,
    lambda g, factor: apply(PIXEL_SHUFFLE, (g,), {"factor": factor}), params=("factor",),
    batch=batch_leading)


def _check_pixels(name: str, title: str, input: Any, factor: Any) -> int:
    check_tensor(name, "input", input)
    factor = int_of(name, title, factor, 2)
    if input._a.ndim < 3:
        raise RuntimeError(f"{name} expects input to have at least 3 dimensions, but got input "
                           f"with {input._a.ndim} dimension(s)")
    if factor <= 0:
        raise RuntimeError(f"{name} expects a positive {title}, but got {factor}")
    return factor


@public("torch", "nn.functional")
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(..., C r², H, W) as (..., C, H r, W r), for the factor r.

    >>> import flambeau as torch
    >>> torch.pixel_shuffle(torch.arange(4).reshape(1, 4, 1, 1), 2)
    tensor([[[[0, 1],
              [2, 3]]]])
    """
    factor = _check_pixels("pixel_shuffle", "upscale_factor", input, upscale_factor)
    channels = input._a.shape[-3]
    if channels % factor**2:
        raise RuntimeError("pixel_shuffle expects its input's 'channel' dimension to be divisible "
                           "by the square of upscale_factor, but input.size(-3)="
                           f"{channels} is not divisible by {factor**2}")
    return apply(PIXEL_SHUFFLE, (input,), {"factor": factor})


@public("torch", "nn.functional")
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(..., C, H r, W r) as (..., C r², H, W), for the factor r: undoes ``pixel_shuffle``."""
    factor = _check_pixels("pixel_unshuffle", "downscale_factor", input, downscale_factor)
    for dim, title in ((-2, "height"), (-1, "width")):
        size = input._a.shape[dim]
        if size % factor:
            raise RuntimeError(f"pixel_unshuffle expects {title} to be divisible by "
                               f"downscale_factor, but input.size({dim})={size} is not divisible "
                               f"by {factor}")
    return apply(PIXEL_UNSHUFFLE, (input,), {"factor": factor})


def _regroup(x: np.ndarray, groups: int) -> np.ndarray:
    batch, channels, *inner = x.shape
    split = x.reshape(batch, groups, channels // groups, *inner).swapaxes(1, 2)
    return channels_last(np.array(split, order="C").reshape(x.shape), x)


def _regroup_batch(op: Op, inputs: Sequence[Any], dims: Sequence[int | None],
                   groups: int) -> tuple:
    size = inputs[0]._a.shape[dims[0]]
    flat = apply(op, (fold_front(inputs[0], dims[0], size, 0),), {"groups": groups})
    return flat.reshape(size, -1, *flat._a.shape[1:]), 0


CHANNEL_SHUFFLE: Op = linear(
    "channel_shuffle", _regroup,
    lambda g, input_shape, groups: apply(CHANNEL_SHUFFLE, (g,), {
        "groups": input_shape[1] // groups}),
    params=("groups",), batch=_regroup_batch)


@public("torch", "nn.functional", aliases=("native_channel_shuffle",))
def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """The channels of (N, C, *), in ``groups`` groups, dealt out one group after the other.

    >>> import flambeau as torch
    >>> torch.channel_shuffle(torch.arange(4).reshape(1, 4, 1), 2).flatten()
    tensor([0, 2, 1, 3])
    """
    check_tensor("channel_shuffle", "input", input)
    groups, shape = int_of("channel_shuffle", "groups", groups, 2), input._a.shape
    if len(shape) < 3:
        raise RuntimeError("channel_shuffle expects input with > 2 dims, but got input with sizes "
                           f"{list(shape)}")
    if groups <= 0:
        raise RuntimeError("Number of groups to divide channels in must be positive. Value of "
                           f"groups:{groups}")
    if shape[1] % groups:
        raise RuntimeError(f"Number of channels must be divisible by groups. Got {shape[1]} "
                           f"channels and {groups} groups.")
    return apply(CHANNEL_SHUFFLE, (input,), {"groups": groups})


# Sliding blocks.


def _unfold_forward(x: np.ndarray, window: tuple) -> np.ndarray:
    return blocks.unfold(x, *window) if x.ndim == 4 else blocks.unfold(x[None], *window)[0]


def _fold_forward(x: np.ndarray, size: tuple, window: tuple) -> np.ndarray:
    return blocks.fold(x, size, *window) if x.ndim == 3 else blocks.fold(x[None], size, *window)[0]


def _fold_batch(op: Op, inputs: Sequence[Any], dims: Sequence[int | None], **params: Any) -> tuple:
    if inputs[0]._a.ndim == (4 if op is UNFOLD else 3):
        return apply(op, (to_front(inputs[0], dims[0]),), params), 0
    size = inputs[0]._a.shape[dims[0]]
    flat = apply(op, (fold_front(inputs[0], dims[0], size, 0),), params)
    return flat.reshape(size, -1, *flat._a.shape[1:]), 0


UNFOLD: Op = linear(
    "im2col", _unfold_forward,
    lambda g, input_shape, window: apply(FOLD, (g,), {"size": input_shape[-2:], "window": window}),
    params=("window",), node="Im2Col", batch=_fold_batch)
FOLD: Op = linear(
    "col2im", _fold_forward,
    lambda g, window: apply(UNFOLD, (g,), {"window": window}),
    params=("size", "window"), node="Col2Im", batch=_fold_batch)


def _window(name: str, kernel: Any, dilation: Any, padding: Any, stride: Any) -> tuple:
    """(kernel, dilation, padding, stride), each of two ints."""
    window = []
    for at, (title, value) in enumerate((("kernel_size", kernel), ("dilation", dilation),
                                         ("padding", padding), ("stride", stride))):
        values = ints_of(name, title, value, at + 2)
        values = values * 2 if len(values) == 1 else values
        if len(values) != 2:
            raise RuntimeError(f"It is expected {title} equals to 2, but got size {len(values)}")
        window.append(values)
    for title, short, values, least in (
            ("kernel size", "kernel", window[0], 1), ("dilation", "dilation", window[1], 1),
            ("padding", "pad", window[2], 0), ("stride", "stride", window[3], 1)):
        if min(values) < least:
            rule = "greater than zero" if least else "non-negative"
            raise RuntimeError(f"{title} should be {rule}, but got {short}_height: {values[0]} "
                               f"{short}_width: {values[1]}")
    return tuple(window)


def _block_counts(size: Sequence[int], window: tuple) -> list[int]:
    kernel, dilation, padding, stride = window
    return [(n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, d, p, s in zip(size, kernel, dilation, padding, stride)]


def _pair(values: Sequence[int]) -> str:
    return f"({values[0]}, {values[1]})"


def _check_blocks(name: str, held: np.dtype) -> None:
    if held.kind in "iu":
        refuse_dtype(f"{name}_out_cpu", held)


@public("nn.functional")
def unfold(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0,
           stride: Any = 1) -> Tensor:
    """The sliding blocks of (N, C, H, W) as columns: (N, C * KH * KW, number of blocks).

    >>> import flambeau as torch
    >>> torch.nn.functional.unfold(torch.arange(4.).reshape(1, 1, 2, 2), (1, 2))
    tensor([[[0., 2.],
             [1., 3.]]])
    """
    check_tensor("im2col", "input", input)
    window = _window("im2col", kernel_size, dilation, padding, stride)
    shape = input._a.shape
    if len(shape) not in (3, 4) or 0 in shape[len(shape) - 3:]:
        if len(shape) < 3:
            raise IndexError(f"Dimension out of range (expected to be in range of [{-len(shape)}, "
                             f"{len(shape) - 1}], but got 2)")
        raise RuntimeError("Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and "
                           f"other non-zero dimensions for input, but got: {list(shape)}")
    counts = _block_counts(shape[-2:], window)
    if min(counts) < 1:
        kernel, spaces, pad, _ = map(_pair, window)
        raise RuntimeError(
            f"Given input with spatial size {_pair(shape[-2:])}, kernel_size={kernel}, dilation="
            f"{spaces}, padding={pad}, calculated shape of the array of sliding blocks as "
            f"{_pair(counts)}, but its components must be at least one.")
    _check_blocks("im2col", input._a.dtype)
    return apply(UNFOLD, (input,), {"window": window})


@public("nn.functional")
def fold(input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0,
         stride: Any = 1) -> Tensor:
    """Columns (N, C * KH * KW, blocks) added up in place: (N, C, *output_size).

    The transpose of ``unfold``.
    """
    check_tensor("col2im", "input", input)
    size = ints_of("col2im", "output_size", output_size, 2)
    size = size * 2 if len(size) == 1 else size
    if len(size) != 2:
        raise RuntimeError(f"It is expected output_size equals to 2, but got size {len(size)}")
    window = _window("col2im", kernel_size, dilation, padding, stride)
    _check_columns(input._a, size, window)
    _check_blocks("col2im", input._a.dtype)
    return apply(FOLD, (input,), {"size": size, "window": window})


def _check_columns(a: Any, size: tuple, window: tuple) -> None:
    shape = a.shape
    if len(shape) not in (2, 3) or 0 in shape[len(shape) - 2:]:
        raise RuntimeError("Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch "
                           f"size and non-zero dimensions for input, but got: {list(shape)}")
    kernel, spaces, pad, step = map(_pair, window)
    if shape[-2] % (window[0][0] * window[0][1]):
        raise RuntimeError("Expected size of input's dimension 1 to be divisible by the product of "
                           f"kernel_size, but got input.size(1)={shape[-2]} and kernel_size="
                           f"{kernel}.")
    high, wide = _block_counts(size, window)
    if shape[-1] != high * wide:
        raise RuntimeError(
            f"Given output_size={_pair(size)}, kernel_size={kernel}, dilation={spaces}, padding="
            f"{pad}, stride={step}, expected size of input's dimension 2 to match the calculated "
            f"number of sliding blocks {high} * {wide} = {high * wide}, but got input.size(2)="
            f"{shape[-1]}.")


# Padding.


def _pad_op(name: str, node: str, mode: str) -> Op:
    def back(g: Tensor, pairs: tuple) -> Tensor:
        return apply(cut, (g,), {"pairs": pairs})

    def padded(x: np.ndarray, pairs: tuple) -> np.ndarray:
        out = pads.pad(x, pairs, mode)
        return channels_last(out, x) if mode == "reflect" else out

    forth = linear(name, padded, back, params=("pairs",), node=node, batch=batch_leading)
    cut = linear(f"{name}_backward", lambda g, pairs: pads.pad_transpose(g, pairs, mode),
                 lambda g, pairs: apply(forth, (g,), {"pairs": pairs}), params=("pairs",),
                 node=f"{node}Backward", batch=batch_leading)
    return forth


TITLES = {"reflect": "reflection_pad", "replicate": "replication_pad"}
PAD = {(mode, n): _pad_op(f"{title}{n}d", f"{title.title().replace('_', '')}{n}D", mode)
       for mode, title in TITLES.items() for n in (1, 2, 3)}
CIRCULAR = _pad_op("pad_circular", "CopySlices", "circular")


def _constant(x: np.ndarray, pairs: tuple, value: Any) -> np.ndarray:
    fill = number_array(value, x.dtype) if value else 0
    return channels_last(pads.pad(x, pairs, "constant", fill), x)


def _constant_back(g: Tensor, pairs: tuple) -> Tensor:
    inverse = tuple([(-before, -after) for before, after in pairs])
    return apply(CONSTANT, (g,), {"pairs": inverse, "value": 0})


def _constant_jvp(tangents: Sequence[Any], out: Tensor, input: Tensor, pairs: tuple,
                  value: Any) -> Tensor:
    return apply(CONSTANT, (tangents[0],), {"pairs": pairs, "value": 0})


CONSTANT = linear("constant_pad_nd", _constant, _constant_back, params=("pairs", "value"),
                  node="ConstantPadNd", batch=batch_leading)
CONSTANT.jvp = _constant_jvp


def _pairs_of(pad: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """(before, after) per axis, for axes in order; ``pad`` starts with the last axis."""
    return tuple([(pad[i], pad[i + 1]) for i in range(len(pad) - 2, -1, -2)])


@public("torch", name="constant_pad_nd")
def constant_pad_nd(input: Tensor, pad: Sequence[int], value: Any = 0) -> Tensor:
    """The last axes padded by a constant; ``pad`` has (before, after) from the last axis on.

    >>> import flambeau as torch
    >>> torch.constant_pad_nd(torch.ones(2), (1, 2), 7)
    tensor([7., 1., 1., 7., 7.])
    """
    amounts = ints_of("constant_pad_nd", "pad", pad, 2)
    shape = input._a.shape
    if len(amounts) % 2:
        raise RuntimeError(f"Length of pad must be even but instead it equals {len(amounts)}")
    if len(amounts) > 2 * len(shape):
        raise RuntimeError(f"Length of pad should be no more than twice the number of dimensions "
                           f"of the input. Pad length is {len(amounts)} while the input has "
                           f"{len(shape)} dimensions.")
    pairs = _pairs_of(amounts)
    for size, (before, after) in zip(shape[len(shape) - len(pairs):], pairs):
        if size + min(before, 0) + min(after, 0) < 0:
            raise RuntimeError("narrow(): length must be non-negative.")
    return apply(CONSTANT, (input,), {"pairs": pairs, "value": value})


@public("nn.functional")
def pad(input: Tensor, pad: Sequence[int], mode: str = "constant",
        value: float | None = None) -> Tensor:
    """The last axes padded: ``pad`` has (before, after) from the last axis on; negative crops.

    Modes: constant (``value``, or zero), reflect, replicate, circular; the last three pad all
    axes after the channels.

    >>> import flambeau as torch
    >>> torch.nn.functional.pad(torch.tensor([[1., 2., 3.]]), (2, 1), mode="reflect")
    tensor([[3., 2., 1., 2., 3., 2.]])
    """
    check_tensor("pad", "input", input)
    amounts = ints_of("pad", "pad", pad, 2)
    rank = input._a.ndim
    if isinstance(value, complex):
        raise TypeError("pad(): argument 'value' (position 4) must be float, not complex")
    if len(amounts) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(amounts) > 2 * rank:
        raise RuntimeError("Padding length should be less than or equal to two times the input "
                           f"dimension but got padding length {len(amounts)} and input of "
                           f"dimension {rank}")
    if mode == "constant":
        fill = checked_number(float(value), input.dtype) if value else 0
        return constant_pad_nd(input, amounts, fill)
    if value:
        raise RuntimeError(f"Padding mode \"{mode}\" doesn't take in value argument")
    n = len(amounts) // 2
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    if n not in (1, 2, 3) or rank not in (n + 1, n + 2):
        raise NotImplementedError(f"Padding size {len(amounts)} is not supported for {rank}D "
                                  "input tensor.")
    pairs = _pairs_of(amounts)
    _check_pads(input._a, pairs, mode)
    op = CIRCULAR if mode == "circular" else PAD[mode, n]
    return apply(op, (input,), {"pairs": pairs})


def _check_pads(a: Any, pairs: tuple, mode: str) -> None:
    """RuntimeError where an axis is too small to be padded from."""
    n = len(pairs)
    sizes = a.shape[a.ndim - n:]
    if mode == "circular":
        for size, (before, after) in zip(sizes, pairs):
            if max(before, after) > size:
                raise RuntimeError("Padding value causes wrapping around more than once.")
            if size + before + after < 0:
                raise RuntimeError("Negative padding value is resulting in an empty dimension")
        return
    if 0 in a.shape[a.ndim - n - 1:]:
        raise RuntimeError(f"Expected {n + 1}D or {n + 2}D (batch mode) tensor with possibly 0 "
                           "batch size and other non-zero dimensions for input, but got: "
                           f"{list(a.shape)}")
    for i in reversed(range(n)):
        size, (before, after) = sizes[i], pairs[i]
        if mode == "reflect" and max(before, after) >= size:
            raise RuntimeError(
                f"Argument #{4 + 2 * (n - 1 - i)}: Padding size should be less than the "
                f"corresponding input dimension, but got: padding ({before}, {after}) at dimension "
                f"{a.ndim - n + i} of input {list(a.shape)}")
        if n > 1 and size + before + after < 0:
            whole = [*a.shape[:a.ndim - n], *[s + b + c for s, (b, c) in zip(sizes, pairs)]]
            raise RuntimeError("Trying to create tensor with negative dimension "
                               f"{size + before + after}: {whole}")
        if size + before + after < 1:
            raise RuntimeError(f"input (W: {size}) is too small. Calculated output W: "
                               f"{size + before + after}")
    if a.dtype.kind == "b":
        refuse_dtype(f"{TITLES[mode]}{n}d", a.dtype)
