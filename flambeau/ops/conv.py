"""Convolutions and transposed convolutions in one, two and three dimensions.

Three operators, one per argument of the trilinear form <g, conv(x, w)>, whose gradients are
written with one another: see flambeau/backends/numpy/conv.py.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from flambeau.backends.conv_kernels import (
    add_bias,
    conv_nd,
    conv_nd_input_grad,
    conv_nd_weight_grad,
)
from flambeau.backends.memory_order import suggests_channels_last
from flambeau.base import naming
from flambeau.base.dtypes import FROM_NUMPY
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.kinds import bilinear, opaque
from flambeau.core.op import OPS, Op
from flambeau.core.tensor import Tensor
from flambeau.ops.arithmetic import conj_of
from flambeau.ops.matmul import C_NAMES
from flambeau.ops.shape import reshape, squeeze, unsqueeze
from flambeau.ops.window_args import channels_last, fold_front, to_front

__all__ = ["conv1d", "conv2d", "conv3d", "conv_tbc", "conv_transpose1d", "conv_transpose2d",
           "conv_transpose3d", "convolution"]

class Settings(NamedTuple):
    """How a kernel moves: per axis a stride, (before, after) padding and a dilation; groups."""

    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int


def _in_format(out: np.ndarray, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """``out`` with its channels innermost where those of the input or the weight are."""
    return channels_last(out, w if suggests_channels_last(w) else x)


def _conv_forward(x: np.ndarray, w: np.ndarray, bias: np.ndarray | None,
                  settings: Settings) -> np.ndarray:
    return _in_format(conv_nd(x, w, *settings, bias), x, w)


def _input_forward(g: np.ndarray, w: np.ndarray, bias: np.ndarray | None, size: tuple,
                   settings: Settings) -> np.ndarray:
    shape = (g.shape[0], w.shape[1] * settings.groups, *size)
    out = add_bias(conv_nd_input_grad(g, w, shape, *settings), bias)
    return _in_format(out, g, w)


def _weight_forward(g: np.ndarray, x: np.ndarray, shape: tuple, settings: Settings) -> np.ndarray:
    return conv_nd_weight_grad(g, x, shape, *settings)


def _plain(x: Tensor, weight: Tensor, shape: tuple, settings: Settings) -> Tensor:
    """The convolution, cut to ``shape``: with output padding more windows fit than are there."""
    out = apply(CONV, (x, weight, None), {"settings": settings})
    for dim in range(2, len(shape)):
        if out._a.shape[dim] != shape[dim]:
            out = out.narrow(dim, 0, shape[dim])
    return out


def _to_input(g: Tensor, weight: Tensor, shape: tuple, settings: Settings) -> Tensor:
    return apply(CONV_INPUT, (g, weight, None), {"size": shape[2:], "settings": settings})


def _to_weight(g: Tensor, x: Tensor, shape: tuple, settings: Settings) -> Tensor:
    return apply(CONV_WEIGHT, (g, x), {"shape": shape, "settings": settings})


def _sum_channels(g: Tensor) -> Tensor:
    return g.sum((0, *range(2, g._a.ndim)))


def _jvp(op_name: str) -> Callable:
    """The tangent of an operator linear in its first two inputs, beside which a bias is added."""

    def jvp(tangents: Sequence[Any], out: Tensor, input: Tensor, weight: Tensor,
            bias: Tensor | None, **params: Any) -> Tensor | None:
        op = OPS[op_name]
        x, w, b = tangents
        total = None
        if x is not None:
            total = apply(op, (x, weight, b), params)
        if w is not None:
            part = apply(op, (input, w, None if x is not None else b), params)
            total = part if total is None else total + part
        if total is None and b is not None:
            total = reshape(b, (-1, *[1] * (out._a.ndim - 2))).expand(out._a.shape)
        return total

    return jvp


def _regrouped(settings: Settings, times: int) -> Settings:
    return settings._replace(groups=settings.groups * times)


def _batch(op: Op, inputs: Sequence[Any], dims: Sequence[int | None], **params: Any) -> tuple:
    """A batch of inputs joins the images; a batch of weights becomes groups of channels."""
    x, w, bias = inputs
    dx, dw, db = dims
    size = next(t._a.shape[d] for t, d in zip(inputs, dims) if d is not None)
    if dw is None:
        out = apply(op, (fold_front(x, dx, size, 0), w, None), params)
        out = reshape(out, (size, -1, *out._a.shape[1:])) if dx is not None else out
        place = 0 if dx is not None else None
    else:
        more = {**params, "settings": _regrouped(params["settings"], size)}
        out = apply(op, (fold_front(x, dx, size, 1), fold_front(w, dw, size, 0), None), more)
        out = reshape(out, (out._a.shape[0], size, -1, *out._a.shape[2:])).transpose(0, 1)
        place = 0
    if bias is None:
        return out, place
    spread = (-1, *[1] * (x._a.ndim - (dx is not None) - 2))
    if db is None:
        return out + reshape(bias, spread), place
    bias = to_front(bias, db)
    return out + reshape(bias, (size, 1, bias._a.shape[1], *spread[1:])), 0


def _batch_weight(op: Op, inputs: Sequence[Any], dims: Sequence[int | None], *, shape: tuple,
                  settings: Settings) -> tuple:
    size = next(t._a.shape[d] for t, d in zip(inputs, dims) if d is not None)
    g, x = [fold_front(t, d, size, 1) for t, d in zip(inputs, dims)]
    whole = (size * shape[0], *shape[1:])
    out = _to_weight(g, x, whole, _regrouped(settings, size))
    return reshape(out, (size, *shape)), 0


CONV = opaque(
    "convolution", _conv_forward, inputs=("input", "weight", "bias"), params=("settings",),
    grads=(lambda g, weight, input_shape, settings:
           _to_input(g, conj_of(weight), input_shape, settings),
           lambda g, input, weight_shape, settings:
           _to_weight(g, conj_of(input), weight_shape, settings),
           _sum_channels),
    node="Convolution", widen=True, jvp=_jvp("convolution"), batch=_batch)
CONV_INPUT = opaque(
    "convolution_input", _input_forward, inputs=("grad", "weight", "bias"),
    params=("size", "settings"),
    grads=(lambda g, weight, grad_shape, settings:
           _plain(g, conj_of(weight), grad_shape, settings),
           lambda g, grad, weight_shape, settings:
           _to_weight(conj_of(grad), g, weight_shape, settings),
           _sum_channels),
    node="Convolution", widen=True, jvp=_jvp("convolution_input"), batch=_batch)
CONV_WEIGHT = bilinear(
    "convolution_weight", _weight_forward,
    lambda g, input, grad_shape, settings: _plain(conj_of(input), g, grad_shape, settings),
    lambda g, grad, input_shape, settings: _to_input(conj_of(grad), g, input_shape, settings),
    inputs=("grad", "input"), params=("shape", "settings"), node="ConvolutionBackward",
    batch=_batch_weight)


# What a call means, once per geometry.


def _spread(name: str, value: tuple, n: int) -> tuple:
    if len(value) == 1:
        return value * n
    if len(value) != n:
        raise RuntimeError(
            f"expected {name} to be a single integer value or a list of {n} values to match the "
            f"convolution dimensions, but got {name}={list(value)}")
    return value


@lru_cache(maxsize=512)
def _plan(x: tuple, w: tuple, bias: tuple | None, stride: tuple, padding: tuple | str,
          dilation: tuple, transposed: bool, extra: tuple, groups: int) -> dict[str, Any]:
    """The parameters of the operator for these shapes; RuntimeError where they do not fit."""
    if len(w) < 3:
        raise RuntimeError("weight should have at least three dimensions")
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")
    n = len(x) - 2
    stride, dilation = _spread("stride", stride, n), _spread("dilation", dilation, n)
    extra = _spread("output_padding", extra, n)
    pads = padding if isinstance(padding, str) else _spread("padding", padding, n)
    _check_signs(stride, pads, dilation, extra)
    _check_channels(x, w, bias, transposed, groups)
    settings = Settings(stride, _pairs(pads, w[2:], stride, dilation), dilation, groups)
    if transposed:
        return {"size": _transposed_size(x, w, settings, extra), "settings": settings}
    _check_room(x, w, settings)
    return {"settings": settings}


def _check_signs(stride: tuple, pads: tuple | str, dilation: tuple, extra: tuple) -> None:
    if not isinstance(pads, str) and min(pads, default=0) < 0:
        raise RuntimeError("negative padding is not supported")
    if min(extra, default=0) < 0:
        raise RuntimeError("negative output_padding is not supported")
    if min(stride, default=1) <= 0:
        raise RuntimeError("non-positive stride is not supported")
    if min(dilation, default=1) <= 0:
        raise RuntimeError("dilation should be greater than zero")


def _check_channels(x: tuple, w: tuple, bias: tuple | None, transposed: bool,
                    groups: int) -> None:
    if len(w) != len(x):
        raise RuntimeError(f"Expected {len(w)}-dimensional input for {len(w)}-dimensional weight"
                           f"{list(w)}, but got {len(x)}-dimensional input of size {list(x)} "
                           "instead")
    if w[0] < groups:
        raise RuntimeError(f"Given groups={groups}, expected weight to be at least {groups} at "
                           f"dimension 0, but got weight of size {list(w)} instead")
    if w[0] % groups:
        raise RuntimeError(f"Given groups={groups}, expected weight to be divisible by {groups} "
                           f"at dimension 0, but got weight of size [{list(w)}] instead")
    needed = w[0] if transposed else w[1] * groups
    if x[1] != needed:
        given = f"transposed={int(transposed)}" if transposed else f"groups={groups}"
        raise RuntimeError(f"Given {given}, weight of size {list(w)}, expected input{list(x)} to "
                           f"have {needed} channels, but got {x[1]} channels instead")
    outs = w[1] * groups if transposed else w[0]
    if bias is not None and bias != (outs,):
        given = "transposed=1, weight" if transposed else "weight"
        raise RuntimeError(f"Given {given} of size {list(w)}, expected bias to be 1-dimensional "
                           f"with {outs} elements, but got bias of size {list(bias)} instead")


def _pairs(pads: tuple | str, kernel: tuple, stride: tuple, dilation: tuple) -> tuple:
    """Padding before and after, per axis."""
    if not isinstance(pads, str):
        return tuple([(p, p) for p in pads])
    if pads == "valid":
        return ((0, 0),) * len(kernel)
    if pads != "same":
        raise RuntimeError(f"Invalid padding string: '{pads}'")
    if set(stride) != {1}:
        raise RuntimeError("padding='same' is not supported for strided convolutions")
    totals = [d * (k - 1) for d, k in zip(dilation, kernel)]
    if any(total % 2 for total in totals):
        warnings.warn("Using padding='same' with even kernel lengths and odd dilation may require "
                      "a zero-padded copy of the input be created", UserWarning, stacklevel=5)
    return tuple([(total // 2, total - total // 2) for total in totals])


def _check_room(x: tuple, w: tuple, settings: Settings) -> None:
    padded = [n + before + after for n, (before, after) in zip(x[2:], settings.padding)]
    kernel = [d * (k - 1) + 1 for d, k in zip(settings.dilation, w[2:])]
    if any(k > n for k, n in zip(kernel, padded)):
        sizes, needed = (" x ".join(map(str, v)) for v in (padded, kernel))
        raise RuntimeError(f"Calculated padded input size per channel: ({sizes}). Kernel size: "
                           f"({needed}). Kernel size can't be greater than actual input size")
    if 0 in x[2:]:
        raise RuntimeError("Only zero batch or zero channel inputs are supported, but got input "
                           f"shape: {list(x)}")


def _transposed_size(x: tuple, w: tuple, settings: Settings, extra: tuple) -> tuple:
    stride, padding, dilation, _ = settings
    if any(e >= s and e >= d for e, s, d in zip(extra, stride, dilation)):
        # PyTorch computes over one axis as over two, the first of size 1.
        names = ("depth", "height", "width")[-max(len(extra), 2):]
        text = " ".join(f"{title}_{name}: {v}" for title, values, one in (
            ("output_padding", extra, 0), ("stride", stride, 1), ("dilation", dilation, 1))
            for name, v in zip(names, (one, *values) if len(extra) == 1 else values))
        raise RuntimeError("output padding must be smaller than either stride or dilation, but "
                           f"got {text}")
    axes = zip(x[2:], w[2:], stride, padding, dilation, extra)
    size = tuple([(n - 1) * s - p[0] - p[1] + d * (k - 1) + e + 1 for n, k, s, p, d, e in axes])
    if min(size) < 1:
        raise RuntimeError(
            f"Given input size per channel: ({_by(x[2:])}). Calculated output size per channel: "
            f"({_by(size)}). Output size is too small")
    return size


def _by(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


def _check_types(x: Any, w: Any, bias: Any, n: int, transposed: bool) -> None:
    """Raise where the dtypes differ, or cannot be convolved."""
    if x.dtype != w.dtype:
        one, two = (FROM_NUMPY[a.dtype].title for a in (x, w))
        if one == "Float" or x.dtype.kind == "c":
            spelled = f"{naming.prefix()}.{one}Tensor" if one == "Float" else f"CPU{one}Type"
            tail = " or input should be a MKLDNN tensor and weight is a dense tensor"
            raise RuntimeError(f"Input type ({spelled}) and weight type ({naming.prefix()}.{two}"
                               f"Tensor) should be the same{tail if one == 'Float' else ''}")
        raise RuntimeError(f"expected scalar type {one} but found {two}")
    if bias is not None and bias.dtype != x.dtype:
        one, two = (C_NAMES.get(FROM_NUMPY[a.dtype].name, "") for a in (x, bias))
        raise RuntimeError(f"Input type ({one}) and bias type ({two}) should be the same")
    if x.dtype.kind == "b":
        forward = "compute_columns3d" if n == 3 else "slow_conv2d_cpu"
        kernel = f"slow_conv_transpose{max(n, 2)}d_out_cpu" if transposed else forward
        raise NotImplementedError(f"\"{kernel}\" not implemented for 'Bool'")


def _ints(value: Any) -> tuple | None:
    """An int or a sequence of ints as a tuple; None for anything else."""
    if type(value) is int:
        return (value,)
    if isinstance(value, (list, tuple)):
        if all(type(v) is int or isinstance(v, np.integer) for v in value):
            return tuple([int(v) for v in value])
    return (int(value),) if isinstance(value, np.integer) else None


def _refuse(name: str, arguments: Sequence[Any]) -> None:
    got = ", ".join(type(a).__name__ for a in arguments if a is not None)
    raise TypeError(
        f"{name}() received an invalid combination of arguments - got ({got}), but expected one "
        "of:\n * (Tensor input, Tensor weight, Tensor bias = None, tuple of ints stride = 1, "
        "tuple of ints padding = 0, tuple of ints dilation = 1, int groups = 1)")


def _run(name: str, n: int, transposed: bool, input: Any, weight: Any, bias: Any, stride: Any,
         padding: Any, dilation: Any, extra: Any, groups: Any) -> Tensor:
    """Check, plan and apply a convolution over ``n`` axes."""
    if not (isinstance(input, Tensor) and isinstance(weight, Tensor)
            and (bias is None or isinstance(bias, Tensor))):
        _refuse(name, (input, weight, bias))
    if isinstance(padding, str) and transposed:
        raise TypeError(f"{name}(): argument 'padding' must be tuple of ints, not str")
    steps, spaces, tails = _ints(stride), _ints(dilation), _ints(extra)
    pads = padding if isinstance(padding, str) else _ints(padding)
    if steps is None or spaces is None or pads is None or tails is None or type(groups) is not int:
        _refuse(name, (input, weight, bias, stride, padding, dilation, groups))
    x, w = input._a, weight._a
    alone = x.ndim == n + 1
    if not alone and x.ndim != n + 2:
        raise RuntimeError(f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {name},"
                           f" but got input of size: {list(x.shape)}")
    b = None if bias is None else bias._a
    shape = (1, *x.shape) if alone else x.shape
    params = _plan(shape, w.shape, None if b is None else b.shape, steps, pads, spaces,
                   transposed, tails, groups)
    if x.dtype is not w.dtype or x.dtype.kind == "b" or (b is not None and b.dtype is not x.dtype):
        _check_types(x, w, b, n, transposed)
    op = CONV_INPUT if transposed else CONV
    if alone:
        return squeeze(apply(op, (unsqueeze(input, 0), weight, bias), params), 0)
    return apply(op, (input, weight, bias), params)


@public("torch", "nn.functional")
def conv1d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1,
           padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Tensor:
    """Cross-correlate (N, C, L), or (C, L), with a weight (O, C / groups, K): (N, O, L').

    ``padding`` is a number of zeros on both sides, "valid" (none) or "same" (as many as keep
    the length, at stride 1).

    >>> import flambeau as torch
    >>> torch.conv1d(torch.tensor([[[1., 2., 4.]]]), torch.tensor([[[1., 1.]]]))
    tensor([[[3., 6.]]])
    """
    return _run("conv1d", 1, False, input, weight, bias, stride, padding, dilation, 0, groups)


@public("torch", "nn.functional")
def conv2d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1,
           padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Tensor:
    """Cross-correlate (N, C, H, W), or (C, H, W), with a weight (O, C / groups, KH, KW).

    ``stride``, ``padding`` and ``dilation`` are an int, or one per axis; ``padding`` may be
    "valid" or "same".

    >>> import flambeau as torch
    >>> torch.conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 2, 2))
    tensor([[[[4., 4.],
              [4., 4.]]]])
    """
    return _run("conv2d", 2, False, input, weight, bias, stride, padding, dilation, 0, groups)


@public("torch", "nn.functional")
def conv3d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1,
           padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Tensor:
    """Cross-correlate (N, C, D, H, W), or (C, D, H, W), with (O, C / groups, KD, KH, KW)."""
    return _run("conv3d", 3, False, input, weight, bias, stride, padding, dilation, 0, groups)


@public("torch", "nn.functional")
def conv_transpose1d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1,
                     padding: Any = 0, output_padding: Any = 0, groups: int = 1,
                     dilation: Any = 1) -> Tensor:
    """The transpose of ``conv1d`` in its input, for a weight (C, O / groups, K).

    ``output_padding`` is added to one side of the result's size, which the input's leaves open.

    >>> import flambeau as torch
    >>> torch.conv_transpose1d(torch.tensor([[[1., 2.]]]), torch.tensor([[[1., 1.]]]))
    tensor([[[1., 3., 2.]]])
    """
    return _run("conv_transpose1d", 1, True, input, weight, bias, stride, padding, dilation,
                output_padding, groups)


@public("torch", "nn.functional")
def conv_transpose2d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1,
                     padding: Any = 0, output_padding: Any = 0, groups: int = 1,
                     dilation: Any = 1) -> Tensor:
    """The transpose of ``conv2d`` in its input, for a weight (C, O / groups, KH, KW)."""
    return _run("conv_transpose2d", 2, True, input, weight, bias, stride, padding, dilation,
                output_padding, groups)


@public("torch", "nn.functional")
def conv_transpose3d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1,
                     padding: Any = 0, output_padding: Any = 0, groups: int = 1,
                     dilation: Any = 1) -> Tensor:
    """The transpose of ``conv3d`` in its input, for a weight (C, O / groups, KD, KH, KW)."""
    return _run("conv_transpose3d", 3, True, input, weight, bias, stride, padding, dilation,
                output_padding, groups)


@public("torch")
def convolution(input: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int],
                padding: Sequence[int], dilation: Sequence[int], transposed: bool,
                output_padding: Sequence[int], groups: int) -> Tensor:
    """A convolution, or a transposed one, over as many axes as ``weight`` has beyond two."""
    n = weight._a.ndim - 2
    return _run("convolution", n, transposed, input, weight, bias, stride, padding, dilation,
                output_padding, groups)


@public("torch", "nn.functional")
def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """Convolve (time, batch, C) with (K, C, O): (time', batch, O)."""
    if input._a.ndim != 3:
        raise RuntimeError("Input must have 3 dims: time, batch, in_channel")
    if weight._a.ndim != 3:
        raise RuntimeError("Weight tensor must have 3 dims: kernel_width, in_channels, "
                           "out_channels.")
    out = conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad)
    return out.permute(2, 0, 1).contiguous()
