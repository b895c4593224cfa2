"""``torch.nn.init``: filling parameters with their first values, in place, without gradient."""

from __future__ import annotations

import contextlib
import functools
import math
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from flambeau.core.face import FACES
from flambeau.core.generator import Generator
from flambeau.core.modes import MODES
from flambeau.core.tensor import Tensor

__all__ = [
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

_LINEAR = (
    "linear",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "sigmoid",
)
_GAINS = {"tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 3.0 / 4, **dict.fromkeys(_LINEAR, 1)}
_SHARE_TO_REJECT = 0.3  # with more of the normal's mass inside, its own draws are used


class _Skipping(threading.local):
    """Whether filling is left out in this thread."""

    on = False


_SKIPPING = _Skipping()


@contextlib.contextmanager
def skipped() -> Iterator[None]:
    """In this block the functions of this module leave their tensors as they are."""
    before = _SKIPPING.on
    _SKIPPING.on = True
    try:
        yield
    finally:
        _SKIPPING.on = before


def _filling(function: Callable) -> Callable:
    """``function``, which fills a tensor, without recording; nothing where it is skipped."""

    @functools.wraps(function)
    def fill(*args: Any, **kwargs: Any) -> Tensor:
        if _SKIPPING.on:
            return args[0] if args else kwargs["tensor"]
        before = MODES.grad
        MODES.grad = False
        try:
            return function(*args, **kwargs)
        finally:
            MODES.grad = before

    return fill


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The gain that keeps the variance through a nonlinearity; ``param`` is leaky_relu's slope.

    >>> calculate_gain("leaky_relu", 0.2)
    1.3867504905630728
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1 + _slope(param) ** 2))
    if nonlinearity in _GAINS:
        return _GAINS[nonlinearity]
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


def _slope(param: Any) -> float:
    if param is None:
        return 0.01
    if isinstance(param, bool) or not isinstance(param, (int, float)):
        raise ValueError(f"negative_slope {param} not a valid number")
    return param


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """How many inputs an output has, and how many outputs an input, from a weight's shape."""
    shape = tensor.shape
    if len(shape) < 2:
        raise ValueError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions"
        )
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    modes = ["fan_in", "fan_out"]
    mode = mode.lower()
    if mode not in modes:
        raise ValueError(f"Mode {mode} not supported, please use one of {modes}")
    return _calculate_fan_in_and_fan_out(tensor)[modes.index(mode)]


@_filling
def uniform_(
    tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with uniforms of [a, b)."""
    return tensor.uniform_(a, b, generator=generator)


@_filling
def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with normals of the given mean and standard deviation."""
    return tensor.normal_(mean, std, generator=generator)


@_filling
def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with ``val``."""
    return tensor.fill_(val)


@_filling
def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1."""
    return tensor.fill_(1.0)


@_filling
def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0."""
    return tensor.zero_()


@_filling
def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with the identity; ValueError where it has not 2 dimensions."""
    _require_matrix(tensor)
    tensor.copy_(FACES["torch"]["eye"](*tensor.shape))
    return tensor


def _require_matrix(tensor: Tensor) -> None:
    if tensor.dim() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")


@_filling
def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill the weight of a convolution (3, 4 or 5 dimensions) so that it copies its channels."""
    if tensor.dim() not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    shape = tensor.shape
    if shape[0] % groups:
        raise ValueError("dim 0 must be divisible by groups")
    out_channels = shape[0] // groups
    middle = tuple([n // 2 for n in shape[2:]])
    tensor.zero_()
    for g in range(groups):
        for d in range(min(out_channels, shape[1])):
            tensor[(g * out_channels + d, d, *middle)] = 1
    return tensor


def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with uniforms of variance 2 gain² / (fan_in + fan_out). Source: Glorot, Bengio (2010).

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.nn.init.xavier_uniform_(torch.empty(1, 2))
    tensor([[-0.0106,  0.7586]])
    """
    bound = math.sqrt(3.0) * _xavier_std(tensor, gain)
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with normals of variance 2 gain² / (fan_in + fan_out)."""
    return normal_(tensor, 0.0, _xavier_std(tensor, gain), generator)


def _xavier_std(tensor: Tensor, gain: float) -> float:
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return gain * math.sqrt(2.0 / float(fan_in + fan_out)) if fan_in + fan_out else 0.0


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill with uniforms of variance gain² / fan (arXiv:1502.01852); ``a`` is the slope."""
    if _is_empty(tensor):
        return tensor
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill with normals of variance gain² / fan (arXiv:1502.01852)."""
    if _is_empty(tensor):
        return tensor
    return normal_(tensor, 0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def _is_empty(tensor: Tensor) -> bool:
    if 0 not in tensor.shape:
        return False
    warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
    return True


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    fan = _calculate_correct_fan(tensor, mode)
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


@_filling
def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with normals that lie in [a, b]: others are drawn again."""
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The "
            "distribution of values may be incorrect.",
            stacklevel=2,
        )
    share = _below((b - mean) / std) - _below((a - mean) / std)
    if share > _SHARE_TO_REJECT:
        return _redraw_normals(tensor, mean, std, a, b, generator)
    return _accept_uniforms(tensor, mean, std, a, b, generator)


def _below(x: float) -> float:
    """The share of a standard normal below ``x``."""
    return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0


def _redraw_normals(
    tensor: Tensor, mean: float, std: float, a: float, b: float, generator: Generator | None
) -> Tensor:
    """Draw normals; draw all anew as long as one is outside, and take those where it is."""
    low, high = (np.asarray(x).astype(tensor._a.dtype) for x in (a, b))
    tensor.normal_(mean, std, generator=generator)
    result = tensor._a
    while True:
        outside = (result < low) | (result > high)
        if not outside.any():
            break
        again = FACES["torch"]["empty_like"](tensor).normal_(mean, std, generator=generator)
        result[outside] = again._a[outside]
    return tensor


def _accept_uniforms(
    tensor: Tensor, mean: float, std: float, a: float, b: float, generator: Generator | None
) -> Tensor:
    """Draw uniforms of [a, b), each accepted with the height of the density above it."""
    log_peak = -0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2
    tensor.uniform_(a, b, generator=generator)
    candidates = tensor.clone()
    pending = None
    while True:
        log_density = candidates.clone().sub_(mean).div_(std).pow_(2).mul_(-0.5).sub_(log_peak)
        heights = FACES["torch"]["empty_like"](tensor).uniform_(generator=generator).log_()
        refused = heights.gt(log_density)
        pending = refused if pending is None else pending & refused
        if not pending.any():
            return tensor
        candidates.uniform_(a, b, generator=generator)
        tensor.copy_(FACES["torch"]["where"](pending, candidates, tensor))


@_filling
def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """Fill with a (semi-)orthogonal matrix, (n, the rest), times ``gain`` (arXiv:1312.6120)."""
    if tensor.dim() < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if not tensor.numel():
        return tensor
    rows = tensor.shape[0]
    flat = tensor.new_empty((rows, tensor.numel() // rows)).normal_(0, 1, generator=generator)
    tall = flat if flat.size(0) >= flat.size(1) else flat.t()
    q, r = FACES["linalg"]["qr"](tall)
    # The signs of r's diagonal make q uniform among such matrices.
    q = q * r.diagonal().sign()
    tensor.copy_((q if tall is flat else q.t()).reshape(tensor.shape))
    return tensor.mul_(gain)


@_filling
def sparse_(
    tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None
) -> Tensor:
    """Fill a matrix with normals and set the share ``sparsity`` of each column to zero."""
    _require_matrix(tensor)
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    tensor.normal_(0, std, generator=generator)
    for column in range(columns):
        chosen = FACES["torch"]["randperm"](rows)[:zeros]
        tensor[chosen, column] = 0
    return tensor


def _deprecated(function: Callable) -> Callable:
    """``function`` under its older name, without the underscore."""
    name = function.__name__.removesuffix("_")

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Tensor:
        warnings.warn(
            f"`nn.init.{name}` is now deprecated in favor of `nn.init.{name}_`.",
            FutureWarning,
            stacklevel=2,
        )
        return function(*args, **kwargs)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"The older name of ``{name}_``."
    return call


uniform = _deprecated(uniform_)
normal = _deprecated(normal_)
constant = _deprecated(constant_)
eye = _deprecated(eye_)
dirac = _deprecated(dirac_)
xavier_uniform = _deprecated(xavier_uniform_)
xavier_normal = _deprecated(xavier_normal_)
kaiming_uniform = _deprecated(kaiming_uniform_)
kaiming_normal = _deprecated(kaiming_normal_)
orthogonal = _deprecated(orthogonal_)
sparse = _deprecated(sparse_)
