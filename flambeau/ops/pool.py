"""Pooling: maxima and means of windows, adaptive windows, p-norms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from flambeau.backends import pool_kernels
from flambeau.backends.numpy import mean_pool
from flambeau.backends.numpy import pool as arrays
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.kinds import linear, opaque
from flambeau.core.modes import MODES
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.shape import squeeze, unsqueeze
from flambeau.ops.window_args import (
    batch_leading,
    channels_last,
    check_tensor,
    ints_of,
    refuse_dtype,
)

__all__ = ["GATHER", "SCATTER", "max_op"]

COUNTS = {1: "one", 2: "two", 3: "three"}


# Maxima: the gradient goes to the places where they were found.
GATHER: Op = linear(
    "pool_gather", lambda x, indices, size: arrays.pool_gather(x, indices, len(size)),
    lambda g, indices, size: apply(SCATTER, (g, indices), {"size": size}),
    inputs=("input", "indices"), params=("size",), batch=batch_leading,
    node="MaxPoolBackwardBackward")
SCATTER: Op = linear(
    "pool_scatter", pool_kernels.pool_scatter,
    lambda g, indices, size: apply(GATHER, (g, indices), {"size": size}),
    inputs=("input", "indices"), params=("size",), batch=batch_leading, node="MaxPoolBackward")


def max_op(name: str, node: str, rank: int, forward: Callable, *, inputs: Sequence[str],
           params: Sequence[str], batch: Callable | None = batch_leading) -> Op:
    """An operator that gives maxima over ``rank`` last dimensions and their flat indices."""

    def grad(g: Any, out: Any, input_shape: tuple) -> list:
        if g[0] is None:
            return [None]
        return [apply(SCATTER, (g[0], out[1]), {"size": input_shape[len(input_shape) - rank:]})]

    def jvp(tangents: Any, out: Any, input: Tensor, *_: Any, **__: Any) -> tuple:
        size = input._a.shape[input._a.ndim - rank:]
        return apply(GATHER, (tangents[0], out[1]), {"size": size}), None

    return opaque(name, forward, joint=grad, inputs=inputs, params=params, node=node,
                  multiple=True, jvp=jvp, batch=batch)


class Window(NamedTuple):
    """The windows of a pooling: an int per axis, and whether a last one may hang over."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    ceil_mode: bool


def _max_forward(x: np.ndarray, window: Window) -> tuple:
    values, indices = pool_kernels.max_pool_nd(x, *window)
    if x.flags.c_contiguous:
        return values, indices
    return channels_last(values, x), channels_last(indices, x)


MAX_POOL = {n: max_op(f"max_pool{n}d_with_indices", f"MaxPool{n}DWithIndices", n, _max_forward,
                      inputs=("input",), params=("window",)) for n in (2, 3)}


def _per_axis(name: str, argument: str, value: Any, n: int, position: int) -> tuple[int, ...]:
    """An argument of ``n`` ints; one stands for all."""
    values = ints_of(name, argument, value, position)
    if len(values) == 1:
        return values * n
    if len(values) == n:
        return values
    avg3 = name == "avg_pool3d"
    if argument == "stride":
        allowed = f"be omitted, a single int, or a tuple of {COUNTS[n]} ints"
    else:
        allowed = f"be a single int, or a tuple of {COUNTS[n]} ints"
    either = "" if avg3 else "either "
    if argument == "dilation":
        raise RuntimeError(f"{name}: dilation must be {either}a single int, or a tuple of "
                           f"{COUNTS[n]} ints")
    raise RuntimeError(f"{name}: {argument} must {either}{allowed}")


@lru_cache(maxsize=512)
def _window(name: str, shape: tuple[int, ...], window: Window) -> Window:
    """``window``, checked for an input of this shape; RuntimeError where it does not fit."""
    n = len(window.kernel)
    rank = len(shape) - n
    if rank not in (1, 2):
        if name == "avg_pool2d" and len(shape) < 3:
            raise IndexError(f"Dimension out of range (expected to be in range of [{-len(shape)}, "
                             f"{len(shape) - 1}], but got -3)")
        raise RuntimeError(f"non-empty {n + 1}D or {n + 2}D (batch mode) tensor expected for "
                           "input")
    _check_empty(name, shape, n)
    for kernel, stride, pad, dilation in zip(*window[:4]):
        _check_axis(kernel, stride, pad, dilation)
    _check_positive(window, n)
    axes = zip(shape[rank:], *window[:4])
    out = [arrays.pool_size(*axis, window.ceil_mode) for axis in axes]
    if min(out) < 1:
        _refuse_size(name, shape[rank - 1:], tuple(out), window)
    return window


def _check_axis(kernel: int, stride: int, pad: int, dilation: int) -> None:
    if stride == 0:
        raise RuntimeError("stride should not be zero")
    if pad < 0:
        raise RuntimeError(f"pad must be non-negative, but got pad: {pad}")
    if dilation > 0 and pad > ((kernel - 1) * dilation + 1) // 2:
        raise RuntimeError(f"pad should be at most half of effective kernel size, but got "
                           f"pad={pad}, kernel_size={kernel} and dilation={dilation}")


def _check_positive(window: Window, n: int) -> None:
    axes = "THW"[3 - n:]
    for title, name, values in (("kernel size", "k", window.kernel), ("stride", "d", window.stride),
                                ("dilation", "dilation", window.dilation)):
        if min(values) <= 0:
            given = " ".join(f"{name}{axis}: {v}" for axis, v in zip(axes, values))
            raise RuntimeError(f"{title} should be greater than zero, but got {given}")


def _check_empty(name: str, shape: tuple[int, ...], n: int) -> None:
    if 0 not in shape[len(shape) - n - 1:]:
        return
    if n == 2:
        raise RuntimeError("Expected 3D or 4D (batch mode) tensor with optional 0 dim batch size "
                           f"for input, but got:{list(shape)}")
    where = "max_pool3d_with_indices_out_cpu_template" if name == "max_pool3d" else name
    raise RuntimeError(f"{where}(): Expected input's non-batch dimensions to have positive length,"
                       f" but input has a shape of {list(shape)} and non-batch dimension 0 has "
                       "length zero!")


def _refuse_size(name: str, size: tuple[int, ...], out: tuple[int, ...], window: Window) -> None:
    if name == "avg_pool3d":
        image = " ".join(f"{axis}: {v}" for axis, v in zip("THW", size[1:]))
        kernel = " ".join(f"k{axis}: {v}" for axis, v in zip("THW", window.kernel))
        raise RuntimeError(f"input image ({image}) smaller than kernel size ({kernel})")
    given, made = ("x".join(map(str, v)) for v in (size, (size[0], *out)))
    raise RuntimeError(f"Given input size: ({given}). Calculated output size: ({made}). Output "
                       "size is too small")


def _max_window(name: str, n: int, input: Any, kernel_size: Any, stride: Any, padding: Any,
                dilation: Any, ceil_mode: bool) -> Window:
    check_tensor(name, "input", input)
    kernel = _per_axis(name, "kernel_size", kernel_size, n, 2)
    if stride is None or isinstance(stride, (list, tuple)) and not stride:
        steps = kernel
    else:
        steps = _per_axis(name, "stride", stride, n, 3)
    pads = _per_axis(name, "padding", padding, n, 4)
    spaces = _per_axis(name, "dilation", dilation, n, 5)
    window = _window(name, tuple(input._a.shape), Window(kernel, steps, pads, spaces,
                                                         bool(ceil_mode)))
    if input._a.dtype.kind in "bc":
        refuse_dtype(name, input._a.dtype)
    return window


def _max_values(n: int, input: Tensor, window: Window) -> Tensor:
    """Maxima alone; their places only where a gradient will ask for them."""
    a = input._a
    if type(a) is np.ndarray and (input._node is None or not MODES.grad):
        if a.flags.c_contiguous:
            return wrap(pool_kernels.max_values_nd(a, *window))
        return wrap(channels_last(pool_kernels.max_values_nd(a, *window), a))
    return apply(MAX_POOL[n], (input,), {"window": window})[0]


@public("torch", name="max_pool2d")
def _max_pool2d(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0,
                dilation: Any = 1, ceil_mode: bool = False) -> Tensor:
    """The maximum of each window of (N, C, H, W) or (C, H, W); see nn.functional.max_pool2d."""
    window = _max_window("max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode)
    return _max_values(2, input, window)


@public("torch", name="max_pool3d")
def _max_pool3d(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0,
                dilation: Any = 1, ceil_mode: bool = False) -> Tensor:
    """The maximum of each window of (N, C, D, H, W) or (C, D, H, W)."""
    window = _max_window("max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode)
    return _max_values(3, input, window)


@public("nn.functional")
def max_pool2d_with_indices(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0,
                            dilation: Any = 1, ceil_mode: bool = False,
                            return_indices: bool = False) -> tuple[Tensor, Tensor]:
    """The maxima of ``max_pool2d`` and where they lie, counted within the last two axes."""
    window = _max_window("max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode)
    return apply(MAX_POOL[2], (input,), {"window": window})


@public("nn.functional")
def max_pool3d_with_indices(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0,
                            dilation: Any = 1, ceil_mode: bool = False,
                            return_indices: bool = False) -> tuple[Tensor, Tensor]:
    """The maxima of ``max_pool3d`` and where they lie, counted within the last three axes."""
    window = _max_window("max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode)
    return apply(MAX_POOL[3], (input,), {"window": window})


def _one(name: str, argument: str, value: Any, position: int) -> tuple[int]:
    values = ints_of(name, argument, value, position)
    if len(values) != 1:
        raise RuntimeError(f"{name}() {argument} must be an int, list of ints or tuple of ints of "
                           f"size 1 but got size {len(values)}")
    return values


def _row(values: tuple[int], beside: int) -> tuple[int, int]:
    return beside, values[0]


def _max1d_window(input: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
                  ceil_mode: bool) -> Window:
    name = "max_pool1d"
    check_tensor(name, "input", input)
    kernel = _one(name, "kernel_size", kernel_size, 2)
    steps = kernel if stride is None or stride == () else _one(name, "stride", stride, 3)
    pads, spaces = _one(name, "padding", padding, 4), _one(name, "dilation", dilation, 5)
    return Window(_row(kernel, 1), _row(steps, 1), _row(pads, 0), _row(spaces, 1),
                  bool(ceil_mode))


def _check_max1d(a: Any, window: Window) -> None:
    shape = list(a.shape)
    if len(shape) not in (2, 3) or 0 in shape[-2:]:
        raise RuntimeError("max_pool1d: Expected 2D or 3D (batch mode) tensor with optional 0 dim "
                           f"batch size for input, but got:{shape}")
    kernel, stride, pad, dilation = [v[1] for v in window[:4]]
    for title, v in (("kernel_size", kernel), ("stride", stride)):
        if v <= 0:
            raise RuntimeError(f"max_pool1d() {title} must be greater than zero, but got {v}")
    if pad < 0:
        raise RuntimeError(f"max_pool1d() padding must be non-negative, but got {pad}")
    if pad > kernel // 2:
        raise RuntimeError("max_pool1d() padding should be at most half of kernel size, but got "
                           f"padding={pad} and kernel_size={kernel}")
    if dilation <= 0:
        raise RuntimeError(f"max_pool1d() dilation must be greater than zero, but got {dilation}")
    count = arrays.pool_size(shape[-1], kernel, stride, pad, dilation, window.ceil_mode)
    if count <= 0:
        raise RuntimeError(f"max_pool1d() Invalid computed output size: {count}")
    if a.dtype.kind in "biuc":
        refuse_dtype("max_pool1d_impl", a.dtype)


@public("torch", name="max_pool1d")
def _max_pool1d(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0,
                dilation: Any = 1, ceil_mode: bool = False) -> Tensor:
    """The maximum of each window of (N, C, L) or (C, L); see nn.functional.max_pool1d."""
    window = _max1d_window(input, kernel_size, stride, padding, dilation, ceil_mode)
    _check_max1d(input._a, window)
    return squeeze(_max_values(2, unsqueeze(input, -2), window), -2)


@public("torch", "nn.functional")
def max_pool1d_with_indices(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0,
                            dilation: Any = 1, ceil_mode: bool = False,
                            return_indices: bool = False) -> tuple[Tensor, Tensor]:
    """The maxima of ``max_pool1d`` and where they lie along the last axis."""
    window = _max1d_window(input, kernel_size, stride, padding, dilation, ceil_mode)
    flat = unsqueeze(input, -2)
    _window("max_pool2d", tuple(flat._a.shape), window)
    values, indices = apply(MAX_POOL[2], (flat,), {"window": window})
    return squeeze(values, -2), squeeze(indices, -2)


@public("nn.functional")
def max_pool1d(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0,
               dilation: Any = 1, ceil_mode: bool = False, return_indices: bool = False) -> Any:
    """The maximum of each window of (N, C, L) or (C, L), with its index where asked for.

    ``stride`` is the kernel's size unless given. Padding never wins.

    >>> import flambeau as torch
    >>> torch.nn.functional.max_pool1d(torch.tensor([[[1., 3., 2., 0.]]]), 2)
    tensor([[[3., 2.]]])
    """
    pool = max_pool1d_with_indices if return_indices else _max_pool1d
    return pool(input, kernel_size, stride, padding, dilation, ceil_mode)


@public("nn.functional")
def max_pool2d(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0,
               dilation: Any = 1, ceil_mode: bool = False, return_indices: bool = False) -> Any:
    """The maximum of each window of (N, C, H, W) or (C, H, W), with its index where asked for.

    ``stride`` is the kernel's size unless given. Indices count within the last two axes.

    >>> import flambeau as torch
    >>> torch.nn.functional.max_pool2d(torch.arange(16.).reshape(1, 1, 4, 4), 2)
    tensor([[[[ 5.,  7.],
              [13., 15.]]]])
    """
    pool = max_pool2d_with_indices if return_indices else _max_pool2d
    return pool(input, kernel_size, stride, padding, dilation, ceil_mode)


@public("nn.functional")
def max_pool3d(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0,
               dilation: Any = 1, ceil_mode: bool = False, return_indices: bool = False) -> Any:
    """The maximum of each window of (N, C, D, H, W), with its index where asked for."""
    pool = max_pool3d_with_indices if return_indices else _max_pool3d
    return pool(input, kernel_size, stride, padding, dilation, ceil_mode)


# Means: each has its transpose.


class Mean(NamedTuple):
    """How windows are averaged."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    ceil_mode: bool
    count_include_pad: bool
    divisor: int | None


def _mean_forward(x: np.ndarray, window: Mean) -> np.ndarray:
    return channels_last(mean_pool.avg_pool_nd(x, *window), x)


def _mean_ops(n: int) -> Op:
    def back(g: Tensor, input_shape: tuple, window: Mean) -> Tensor:
        return apply(spread, (g,), {"size": input_shape[len(input_shape) - n:], "window": window})

    mean = linear(f"avg_pool{n}d", _mean_forward, back, params=("window",), batch=batch_leading,
                  node=f"AvgPool{n}D")
    spread = linear(
        f"avg_pool{n}d_backward",
        lambda g, size, window: pool_kernels.avg_pool_nd_transpose(g, size, *window),
        lambda g, window: apply(mean, (g,), {"window": window}), params=("size", "window"),
        batch=batch_leading, node=f"AvgPool{n}DBackward")
    return mean


AVG_POOL = {n: _mean_ops(n) for n in (2, 3)}
AVG_REFUSED = {2: ("avg_pool2d", "int64"), 3: ("avg_pool3d_out_frame", "int64")}


def _avg(n: int, input: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool,
         count_include_pad: bool, divisor_override: int | None) -> Tensor:
    name = f"avg_pool{n}d"
    check_tensor(name, "input", input)
    kernel = _per_axis(name, "kernel_size", kernel_size, n, 2)
    steps = kernel if stride is None or stride == () or stride == [] else _per_axis(
        name, "stride", stride, n, 3)
    pads = _per_axis(name, "padding", padding, n, 4)
    if divisor_override == 0:
        raise RuntimeError("divisor must be not zero")
    a = input._a
    _window(name, tuple(a.shape), Window(kernel, steps, pads, (1,) * n, bool(ceil_mode)))
    if a.dtype.kind != "f" or n == 3:
        _check_mean(n, a.dtype)
    window = Mean(kernel, steps, pads, bool(ceil_mode), bool(count_include_pad), divisor_override)
    return apply(AVG_POOL[n], (input,), {"window": window})


def _check_mean(n: int, held: np.dtype) -> None:
    narrow = held.itemsize < 4 and n == 3
    if held.kind in "bc" or held.kind in "iu" and held != np.int64 or narrow:
        refuse_dtype("avg_pool2d" if n == 2 else "avg_pool3d_out_frame", held)


@public("nn.functional", out=True)
def avg_pool2d(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0,
               ceil_mode: bool = False, count_include_pad: bool = True,
               divisor_override: int | None = None) -> Tensor:
    """The mean of each window of (N, C, H, W) or (C, H, W).

    >>> import flambeau as torch
    >>> torch.nn.functional.avg_pool2d(torch.arange(4.).reshape(1, 1, 2, 2), 2)
    tensor([[[[1.5000]]]])
    """
    return _avg(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad,
                divisor_override)


@public("nn.functional", out=True)
def avg_pool3d(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0,
               ceil_mode: bool = False, count_include_pad: bool = True,
               divisor_override: int | None = None) -> Tensor:
    """The mean of each window of (N, C, D, H, W) or (C, D, H, W)."""
    return _avg(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad,
                divisor_override)


def contain_one(name: str, argument: str, value: Any, position: int) -> int:
    """The one int of an argument; RuntimeError where there are several."""
    values = ints_of(name, argument, value, position)
    if len(values) != 1:
        raise RuntimeError(f"{name}() argument '{argument}' should contain one int (got "
                           f"{len(values)})")
    return values[0]


def check_two_or_three(name: str, a: Any) -> None:
    """RuntimeError where an array is neither (C, L) nor (N, C, L)."""
    if a.ndim not in (2, 3):
        raise RuntimeError(f"Expected 2 to 3 dimensions, but got {a.ndim}-dimensional tensor for "
                           f"argument #1 'self' (while checking arguments for {name})")


@public("torch", "nn.functional")
def avg_pool1d(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0,
               ceil_mode: bool = False, count_include_pad: bool = True) -> Tensor:
    """The mean of each window of (N, C, L) or (C, L).

    >>> import flambeau as torch
    >>> torch.avg_pool1d(torch.tensor([[[1., 3., 2., 0.]]]), 2)
    tensor([[[2., 1.]]])
    """
    name = "avg_pool1d"
    check_tensor(name, "input", input)
    kernel = contain_one(name, "kernel_size", kernel_size, 2)
    step = kernel if stride is None or stride == () else contain_one(name, "stride", stride, 3)
    pad = contain_one(name, "padding", padding, 4)
    check_two_or_three(name, input._a)
    flat = _avg(2, unsqueeze(input, -2), (1, kernel), (1, step), (0, pad), ceil_mode,
                count_include_pad, None)
    return squeeze(flat, -2)
