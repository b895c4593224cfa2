"""Pooling to a given size, by p-norms, over random windows, and its inverse."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.backends import pool_kernels
from flambeau.backends.numpy import mean_pool
from flambeau.backends.numpy import pool as arrays
from flambeau.base.dtypes import FROM_NUMPY
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.kinds import linear
from flambeau.core.levels import integers_in
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor
from flambeau.ops.pool import (
    GATHER,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    check_two_or_three,
    contain_one,
    max_op,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)
from flambeau.ops.random import rand
from flambeau.ops.shape import squeeze, unsqueeze
from flambeau.ops.window_args import (
    batch_leading,
    channels_last,
    check_tensor,
    ints_of,
    refuse_dtype,
)


def _adaptive_op(n: int) -> Op:
    def forward(x: np.ndarray, size: tuple) -> np.ndarray:
        return channels_last(mean_pool.adaptive_avg_pool_nd(x, size), x)

    def back(g: Tensor, input_shape: tuple) -> Tensor:
        return apply(spread, (g,), {"size": input_shape[len(input_shape) - n:]})

    def again(g: Tensor, input_shape: tuple) -> Tensor:
        return apply(mean, (g,), {"size": input_shape[len(input_shape) - n:]})

    mean = linear(f"adaptive_avg_pool{n}d", forward, back, params=("size",), batch=batch_leading,
                  node=f"AdaptiveAvgPool{n}D")
    spread = linear(f"adaptive_avg_pool{n}d_backward", mean_pool.adaptive_avg_pool_nd_transpose,
                    again, params=("size",), batch=batch_leading,
                    node=f"AdaptiveAvgPool{n}DBackward")
    return mean


def _adaptive_max(x: np.ndarray, size: tuple) -> tuple:
    values, indices = pool_kernels.adaptive_max_pool_nd(x, size)
    return channels_last(values, x), channels_last(indices, x)


ADAPTIVE_AVG = {n: _adaptive_op(n) for n in (2, 3)}
ADAPTIVE_MAX = {n: max_op(f"adaptive_max_pool{n}d", f"AdaptiveMaxPool{n}D", n, _adaptive_max,
                          inputs=("input",), params=("size",)) for n in (2, 3)}


def _sizes(name: str, value: Any, shape: tuple[int, ...], n: int) -> tuple[int, ...]:
    """Output sizes; None keeps an axis as it is."""
    if value is None:
        raise TypeError("object of type 'NoneType' has no len()")
    if isinstance(value, (list, tuple)):
        count = len(value)
        if len(shape) <= count:
            raise ValueError(f"Input dimension should be at least {count + 1}")
        value = [d if v is None else v for v, d in zip(value, shape[len(shape) - count:])]
    return ints_of(name, "output_size", value, 2)


def _check_filled(name: str, shape: tuple[int, ...], first: int) -> None:
    for dim in range(first, len(shape)):
        if not shape[dim]:
            raise RuntimeError(f"{name}(): Expected input to have non-zero size for non-batch "
                               f"dimensions, but input has sizes {list(shape)} with dimension "
                               f"{dim} being empty")


def _check_rank(name: str, shape: tuple[int, ...], n: int, got: str = "got") -> None:
    if len(shape) not in (n + 1, n + 2):
        raise RuntimeError(f"{name}(): Expected {n + 1}D or {n + 2}D tensor, but {got} "
                           f"{list(shape)}")


def _adaptive_avg(n: int, input: Tensor, output_size: Any) -> Tensor:
    name, shape = f"adaptive_avg_pool{n}d", input.shape
    size = _sizes(name, output_size, shape, n)
    size = size * n if len(size) == 1 else size
    if len(size) != n:
        raise RuntimeError(f"{name}: output_size must be {n}")
    if min(size) < 0:
        comma = "{}, {}" if n == 2 else "{}, {},{}"
        raise RuntimeError(f"{name}: elements of output_size must be greater than or equal to 0 "
                           f"but received {{{comma.format(*size)}}}")
    _check_rank(name, shape, n)
    held = input._a.dtype
    if size == (1,) * n and held.kind in "fc":
        return input.mean(tuple(range(-n, 0)), keepdim=True)
    _check_filled(name, shape, len(shape) - n)
    if held.kind in "biuc":
        refuse_dtype(name if n == 2 else f"{name}_cpu", held)
    return apply(ADAPTIVE_AVG[n], (input,), {"size": size})


@public("nn.functional")
def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """The means of windows that divide the last two axes into ``output_size`` parts.

    >>> import flambeau as torch
    >>> torch.nn.functional.adaptive_avg_pool2d(torch.ones(1, 1, 5, 7), (2, 3)).shape
    torch.Size([1, 1, 2, 3])
    """
    return _adaptive_avg(2, input, output_size)


@public("nn.functional")
def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """The means of windows that divide the last three axes into ``output_size`` parts."""
    return _adaptive_avg(3, input, output_size)


@public("torch", "nn.functional")
def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """The means of windows that divide the last axis into ``output_size`` parts."""
    name = "adaptive_avg_pool1d"
    check_tensor(name, "input", input)
    size = contain_one(name, "output_size", output_size, 2)
    check_two_or_three(name, input._a)
    return squeeze(_adaptive_avg(2, unsqueeze(input, -2), (1, size)), -2)


def _adaptive_maxima(n: int, input: Tensor, output_size: Any) -> tuple:
    name, shape = f"adaptive_max_pool{n}d", input.shape
    size = _sizes(name, output_size, shape, n)
    size = size * n if len(size) == 1 else size
    _check_rank(name, shape, n, "got:")
    if len(size) != n:
        raise RuntimeError(f"{name}(): internal error: output_size.size() must be {n}")
    _check_filled(name, shape, len(shape) - n - 1)
    if min(size) < 0:
        whole = [*shape[:len(shape) - n], *size]
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(size)}: {whole}")
    held = input._a.dtype
    if held.kind in "biuc":
        refuse_dtype(name if n == 2 else f"{name}_cpu", held)
    return apply(ADAPTIVE_MAX[n], (input,), {"size": size})


@public("nn.functional")
def adaptive_max_pool2d_with_indices(input: Tensor, output_size: Any,
                                     return_indices: bool = False) -> tuple[Tensor, Tensor]:
    """The maxima of ``adaptive_max_pool2d`` and where they lie within the last two axes."""
    return _adaptive_maxima(2, input, output_size)


@public("nn.functional")
def adaptive_max_pool3d_with_indices(input: Tensor, output_size: Any,
                                     return_indices: bool = False) -> tuple[Tensor, Tensor]:
    """The maxima of ``adaptive_max_pool3d`` and where they lie within the last three axes."""
    return _adaptive_maxima(3, input, output_size)


@public("torch", name="adaptive_max_pool1d")
def _adaptive_max1d(input: Tensor, output_size: Any) -> tuple[Tensor, Tensor]:
    """The maxima of windows that divide the last axis into ``output_size`` parts, and places."""
    name = "adaptive_max_pool1d"
    check_tensor(name, "input", input)
    size = contain_one(name, "output_size", output_size, 2)
    check_two_or_three(name, input._a)
    _check_filled(name, input._a.shape, input._a.ndim - 2)
    values, indices = _adaptive_maxima(2, unsqueeze(input, -2), (1, size))
    return squeeze(values, -2), squeeze(indices, -2)


@public("nn.functional")
def adaptive_max_pool1d_with_indices(input: Tensor, output_size: Any,
                                     return_indices: bool = False) -> tuple[Tensor, Tensor]:
    """The maxima of ``adaptive_max_pool1d`` and where they lie along the last axis."""
    return _adaptive_max1d(input, output_size)


@public("nn.functional")
def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The maxima of windows that divide the last axis into ``output_size`` parts."""
    found = _adaptive_max1d(input, output_size)
    return found if return_indices else found[0]


@public("nn.functional")
def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The maxima of windows that divide the last two axes into ``output_size`` parts."""
    found = _adaptive_maxima(2, input, output_size)
    return found if return_indices else found[0]


@public("nn.functional")
def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The maxima of windows that divide the last three axes into ``output_size`` parts."""
    found = _adaptive_maxima(3, input, output_size)
    return found if return_indices else found[0]


# Norms of windows.


def _root(means: Tensor, cells: int, norm_type: float) -> Tensor:
    """The p-th root of sums, from means of ``cells`` p-th powers."""
    return (means.sign() * means.abs().relu()).mul(cells).pow(1.0 / norm_type)


@public("nn.functional")
def lp_pool1d(input: Tensor, norm_type: float, kernel_size: int, stride: Any = None,
              ceil_mode: bool = False) -> Tensor:
    """The ``norm_type``-norm of each window of (N, C, L) or (C, L)."""
    if norm_type == math.inf:
        return max_pool1d(input.abs(), kernel_size, stride, 0, 1, ceil_mode)
    cells = contain_one("lp_pool1d", "kernel_size", kernel_size, 3)
    return _root(avg_pool1d(input.pow(norm_type), kernel_size, stride, 0, ceil_mode), cells,
                 norm_type)


@public("nn.functional")
def lp_pool2d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None,
              ceil_mode: bool = False) -> Tensor:
    """The ``norm_type``-norm of each window of (N, C, H, W) or (C, H, W).

    >>> import flambeau as torch
    >>> torch.nn.functional.lp_pool2d(torch.tensor([[[3., 0.], [0., 4.]]]), 2, 2)
    tensor([[[5.]]])
    """
    if norm_type == math.inf:
        return max_pool2d(input.abs(), kernel_size, stride, 0, 1, ceil_mode)
    means = avg_pool2d(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    return _root(means, _cells(kernel_size, 2), norm_type)


@public("nn.functional")
def lp_pool3d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None,
              ceil_mode: bool = False) -> Tensor:
    """The ``norm_type``-norm of each window of (N, C, D, H, W) or (C, D, H, W)."""
    if norm_type == math.inf:
        return max_pool3d(input.abs(), kernel_size, stride, 0, 1, ceil_mode)
    means = avg_pool3d(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    return _root(means, _cells(kernel_size, 3), norm_type)


def _cells(kernel: Any, n: int) -> int:
    sizes = ints_of("lp_pool", "kernel_size", kernel, 3)
    return math.prod(sizes * n if len(sizes) == 1 else sizes)


# The inverse of max pooling.


def _unpool_op(n: int) -> Op:
    def forward(x: np.ndarray, indices: np.ndarray, size: tuple) -> np.ndarray:
        return channels_last(arrays.max_unpool_nd(x, indices, size), x)

    return linear(f"max_unpool{n}d", forward,
                  lambda g, indices, size: apply(GATHER, (g, indices), {"size": size}),
                  inputs=("input", "indices"), params=("size",), batch=batch_leading,
                  node=f"MaxUnpool{n}D")


MAX_UNPOOL = {n: _unpool_op(n) for n in (2, 3)}


def _triple(name: str, argument: str, value: Any, n: int, position: int) -> tuple[int, ...]:
    values = ints_of(name, argument, value, position)
    return values * n if len(values) == 1 else values


def _unpooled_size(input: Tensor, kernel: tuple, stride: tuple, padding: tuple,
                   output_size: Any) -> tuple[int, ...]:
    n, shape = len(kernel), input.shape
    axes = zip(shape[len(shape) - n:], kernel, stride, padding)
    usual = [(size - 1) * s + k - 2 * p for size, k, s, p in axes]
    if output_size is None:
        return tuple(usual)
    given = tuple(output_size)
    if len(given) == n + 2:
        given = given[2:]
    if len(given) != n:
        raise ValueError(f"output_size should be a sequence containing {n} or {n + 2} elements, "
                         f"but it has a length of '{len(given)}'")
    for d in range(n):
        low, high = usual[d] - stride[d], usual[d] + stride[d]
        if not low < given[d] < high:
            raise ValueError(f"invalid output_size \"{given}\" (dim {d} must be between {low} and "
                             f"{high})")
    return given


def _unpool(n: int, input: Tensor, indices: Tensor, kernel_size: Any, stride: Any, padding: Any,
            output_size: Any) -> Tensor:
    name = f"max_unpool{n}d"
    kernel = _triple(name, "kernel_size", kernel_size, n, 3)
    steps = kernel if stride is None else _triple(name, "stride", stride, n, 4)
    pads = _triple(name, "padding", padding, n, 5)
    size = _unpooled_size(input, kernel, steps, pads, output_size)
    if n == 1:
        flat = _scatter_max(2, unsqueeze(input, -1), unsqueeze(indices, -1), (*size, 1))
        return squeeze(flat, -1)
    if min(steps) <= 0 and n == 3:
        raise RuntimeError("strides should be greater than zero, but got stride: "
                           f"{list(steps)}")
    return _scatter_max(n, input, indices, size)


def _scatter_max(n: int, input: Tensor, indices: Tensor, size: tuple[int, ...]) -> Tensor:
    a, places = input._a, indices._a
    if places.dtype != np.int64:
        raise RuntimeError("elements in indices should be type int64 but got: "
                           f"{FROM_NUMPY[places.dtype].title}")
    if a.ndim not in (n + 1, n + 2):
        raise RuntimeError(f"Input to max_unpooling{n}d should be a {n + 1}d or {n + 2}d Tensor, "
                           f"but got a tensor with {a.ndim} dimensions.")
    if a.shape != places.shape:
        raise RuntimeError("Expected shape of indices to be same as that of the input tensor "
                           f"({list(a.shape)}) but got indices tensor with shape: "
                           f"{list(places.shape)}")
    for dim in range(a.ndim - n - 1, a.ndim):
        if not a.shape[dim]:
            raise RuntimeError(f"max_unpooling{n}d_forward_out_cpu(): Expected input to have "
                               f"non-zero size for non-batch dimensions, but got {list(a.shape)} "
                               f"with dimension {dim} being empty.")
    if a.dtype.kind in "biuc":
        refuse_dtype(f"max_unpool{n}d", a.dtype)
    seen = integers_in(indices, 0, math.prod(size))
    if seen is not None and seen.size:
        _check_places(seen, size)
    return apply(MAX_UNPOOL[n], (input, indices), {"size": size})


def _check_places(places: np.ndarray, size: tuple[int, ...]) -> None:
    if places.min() >= 0 and places.max() < math.prod(size):
        return
    flat = places.reshape(-1)
    wrong = flat[(flat < 0) | (flat >= math.prod(size))][0]
    raise RuntimeError(f"Found an invalid max index: {wrong} (output volumes are of size "
                       f"{'x'.join(map(str, size))})")


@public("nn.functional")
def max_unpool1d(input: Tensor, indices: Tensor, kernel_size: Any, stride: Any = None,
                 padding: Any = 0, output_size: Any = None) -> Tensor:
    """Zeros with each element of ``input`` at the place ``max_pool1d`` found it."""
    return _unpool(1, input, indices, kernel_size, stride, padding, output_size)


@public("nn.functional")
def max_unpool2d(input: Tensor, indices: Tensor, kernel_size: Any, stride: Any = None,
                 padding: Any = 0, output_size: Any = None) -> Tensor:
    """Zeros with each element of ``input`` at the place ``max_pool2d`` found it."""
    return _unpool(2, input, indices, kernel_size, stride, padding, output_size)


@public("nn.functional")
def max_unpool3d(input: Tensor, indices: Tensor, kernel_size: Any, stride: Any = None,
                 padding: Any = 0, output_size: Any = None) -> Tensor:
    """Zeros with each element of ``input`` at the place ``max_pool3d`` found it."""
    return _unpool(3, input, indices, kernel_size, stride, padding, output_size)


# Windows whose steps vary at random.


def _fractional(x: np.ndarray, samples: np.ndarray, kernel: tuple, size: tuple) -> tuple:
    alone = x.ndim == len(kernel) + 1
    values, indices = arrays.fractional_max_pool_nd(x[None] if alone else x, kernel, size, samples)
    return (values[0], indices[0]) if alone else (values, indices)


FRACTIONAL = {n: max_op(f"fractional_max_pool{n}d", f"FractionalMaxPool{n}D", n, _fractional,
                        inputs=("input", "samples"), params=("kernel", "size"), batch=None)
              for n in (2, 3)}


def _fractional_sizes(name: str, n: int, shape: Sequence[int], output_size: Any,
                      output_ratio: Any) -> tuple[int, ...]:
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    if len(shape) <= n:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-len(shape)}, "
                         f"{len(shape) - 1}], but got {-n - 1})")
    if output_size is None:
        if len(output_ratio) > n:
            raise ValueError(f"{name} requires output_ratio to either be a single Int or tuple of "
                             "Ints.")
        inner = shape[len(shape) - n:]
        return tuple([int(s * r) for s, r in zip(inner, output_ratio)])
    return _triple(name, "output_size", output_size, n, 3)


def _check_fractional(name: str, n: int, shape: Sequence[int], kernel: tuple, size: tuple) -> None:
    for title, values in (("kernel_size", kernel), ("output_size", size)):
        if len(values) != n:
            raise RuntimeError(f"{name}: {title} must either be a single Int or tuple of Ints")
    for dim in range(len(shape) - n - 1, len(shape)):
        if not shape[dim]:
            raise RuntimeError(f"{name}(): Expected input to have non-zero size for non-batch "
                               f"dimensions, but got{list(shape)} with dimension {dim} being "
                               "empty.")
    axes = ("time", "height", "width")[3 - n:]
    where = f"{name}()" if n == 2 else f"{name}_out()"
    for axis, have, k, out in zip(axes, shape[len(shape) - n:], kernel, size):
        if out + k - 1 > have - (n == 3):  # in three dimensions PyTorch wants one cell more
            raise RuntimeError(f"{where}: pool {axis} {k} too large relative to input {axis} "
                               f"{have}")


def _check_samples(samples: Tensor, input: Tensor, n: int) -> None:
    s, a = samples._a, input._a
    if s.dtype != a.dtype:
        raise RuntimeError("Expect _random_samples to have the same dtype as input")
    if s.ndim != 3:
        raise RuntimeError(f"Expect _random_samples to have 3 dimensions, got {s.ndim}")
    batch = a.shape[0] if a.ndim == n + 2 else 1
    if s.shape[0] < batch:
        raise RuntimeError("Expect _random_samples.size(0) no less then input batch size.")
    if s.shape[1] != a.shape[a.ndim - n - 1]:
        raise RuntimeError("Expect _random_samples.size(1) equals to input channel size.")
    if s.shape[2] != n:
        raise RuntimeError(f"Expect _random_samples.size(2) equals to {n}; got {s.shape[2]}.")


def _fractional_pool(n: int, input: Tensor, kernel_size: Any, output_size: Any, output_ratio: Any,
                     samples: Tensor | None) -> tuple:
    name, shape = f"fractional_max_pool{n}d", input.shape
    size = _fractional_sizes(name, n, shape, output_size, output_ratio)
    kernel = _triple(name, "kernel_size", kernel_size, n, 2)
    if samples is None:
        if input._a.dtype.kind in "biu":
            refuse_dtype("check_uniform_bounds", input._a.dtype)
        batch = shape[0] if len(shape) == n + 2 else 1
        samples = rand(batch, shape[len(shape) - n - 1], n, dtype=input.dtype)
    _check_fractional(name, n, shape, kernel, size)
    _check_samples(samples, input, n)
    return apply(FRACTIONAL[n], (input, samples), {"kernel": kernel, "size": size})


@public("nn.functional")
def fractional_max_pool2d_with_indices(
        input: Tensor, kernel_size: Any, output_size: Any = None, output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The maxima of ``fractional_max_pool2d`` and where they lie within the last two axes."""
    return _fractional_pool(2, input, kernel_size, output_size, output_ratio, _random_samples)


@public("nn.functional")
def fractional_max_pool3d_with_indices(
        input: Tensor, kernel_size: Any, output_size: Any = None, output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The maxima of ``fractional_max_pool3d`` and where they lie within the last three axes."""
    return _fractional_pool(3, input, kernel_size, output_size, output_ratio, _random_samples)


@public("nn.functional")
def fractional_max_pool2d(input: Tensor, kernel_size: Any, output_size: Any = None,
                          output_ratio: Any = None, return_indices: bool = False,
                          _random_samples: Tensor | None = None) -> Any:
    """Maxima of windows whose steps vary at random, so that any size can be reached.

    Either ``output_size`` or ``output_ratio`` (of the input's size, per axis) is needed. Source:
    Graham, Fractional Max-Pooling, 2014.
    """
    found = _fractional_pool(2, input, kernel_size, output_size, output_ratio, _random_samples)
    return found if return_indices else found[0]


@public("nn.functional")
def fractional_max_pool3d(input: Tensor, kernel_size: Any, output_size: Any = None,
                          output_ratio: Any = None, return_indices: bool = False,
                          _random_samples: Tensor | None = None) -> Any:
    """Maxima of windows in three dimensions whose steps vary at random."""
    found = _fractional_pool(3, input, kernel_size, output_size, output_ratio, _random_samples)
    return found if return_indices else found[0]
