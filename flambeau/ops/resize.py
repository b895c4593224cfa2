"""Interpolation to another size, sampling at the points of a grid, affine grids."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from flambeau.backends import grid_kernels
from flambeau.backends.numpy import grid as grids
from flambeau.backends.numpy.resize import resize, resize_transpose
from flambeau.base import naming
from flambeau.base.dtypes import FROM_NUMPY
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.kinds import linear, opaque
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor
from flambeau.ops.adaptive_pool import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
)
from flambeau.ops.window_args import (
    batch_leading,
    channels_last,
    check_tensor,
    expand_front,
    refuse_dtype,
)

AREA = {3: adaptive_avg_pool1d, 4: adaptive_avg_pool2d, 5: adaptive_avg_pool3d}
ALIGNABLE = ("linear", "bilinear", "bicubic", "trilinear")
SMOOTH = {"linear": 3, "bilinear": 4, "trilinear": 5, "bicubic": 4, "lanczos": 4}
ALIGN_WARNING = ("Default grid_sample and affine_grid behavior has changed to align_corners=False "
                 "since 1.3.0. Please specify align_corners=True if the old behavior is desired. "
                 "See the documentation of grid_sample for details.")


class Scaling(NamedTuple):
    """How an interpolation to another size goes."""

    mode: str
    align_corners: bool
    scales: tuple[float | None, ...]
    antialias: bool


def _resize_op(node: str) -> Op:
    def forward(x: np.ndarray, size: tuple, scaling: Scaling) -> np.ndarray:
        return channels_last(resize(x, size, *scaling), x)

    def back(g: Tensor, input_shape: tuple, scaling: Scaling, size: tuple) -> Tensor:
        old = input_shape[len(input_shape) - len(size):]
        return apply(spread, (g,), {"size": old, "scaling": scaling})

    def again(g: Tensor, input_shape: tuple, scaling: Scaling, size: tuple) -> Tensor:
        new = input_shape[len(input_shape) - len(size):]
        return apply(forth, (g,), {"size": new, "scaling": scaling})

    forth = linear(f"resize_{node}", forward, back, params=("size", "scaling"), node=node,
                   batch=batch_leading)
    spread = linear(f"resize_{node}_backward",
                    lambda g, size, scaling: resize_transpose(g, size, *scaling), again,
                    params=("size", "scaling"), node=f"{node}Backward", batch=batch_leading)
    return forth


RESIZE = {(mode, rank, False): _resize_op(f"Upsample{title}{rank}D")
          for mode, title in (("nearest", "Nearest"), ("nearest-exact", "NearestExact"))
          for rank in (1, 2, 3)}
RESIZE.update({(mode, rank - 2, False): _resize_op(f"Upsample{mode.title()}{rank - 2}D")
               for mode, rank in SMOOTH.items() if mode != "lanczos"})
RESIZE.update({(mode, 2, True): _resize_op(f"Upsample{mode.title()}2DAa")
               for mode in ("bilinear", "bicubic", "lanczos")})


def _target(input: Tensor, size: Any, scale_factor: Any) -> tuple:
    """(output size or None, scale factors or None), one value per axis."""
    inner = list(input.shape[2:])
    n = len(inner)
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is not None:
        if isinstance(size, (list, tuple)):
            if len(size) != n:
                raise ValueError(_mismatch(inner, f"output size of {size}", "output size in (o1, "
                                           "o2, ...,oK)"))
            if not all(isinstance(v, (int, np.integer)) for v in size):
                raise TypeError("expected size to be one of int or Tuple[int] or Tuple[int, int] "
                                "or Tuple[int, int, int], but got size with types "
                                f"{[type(v) for v in size]}")
            return tuple([int(v) for v in size]), None
        return (int(size),) * n, None
    if scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    if isinstance(scale_factor, (list, tuple)):
        if len(scale_factor) != n:
            raise ValueError(_mismatch(inner, f"scale_factor of shape {scale_factor}",
                                       "scale_factor in (s1, s2, ...,sK)"))
        return None, tuple([float(s) for s in scale_factor])
    return None, (float(scale_factor),) * n


def _mismatch(inner: list[int], given: str, wanted: str) -> str:
    what = "output" if given.startswith("output") else "scale_factor"
    return (f"Input and {what} must have the same number of spatial dimensions, but got input "
            f"with spatial dimensions of {inner} and {given}. Please provide input tensor in (N, "
            f"C, d1, d2, ...,dK) format and {wanted} format.")


def _check_mode(rank: int, mode: str, align_corners: bool | None, antialias: bool) -> None:
    if mode in ("nearest", "area", "nearest-exact"):
        if align_corners is not None:
            raise ValueError("align_corners option can only be set with the interpolating modes: "
                             "linear | bilinear | bicubic | trilinear")
    elif mode == "lanczos":
        if not antialias:
            raise ValueError("Lanczos mode requires antialias=True")
        if align_corners:
            raise ValueError("Lanczos mode does not support align_corners=True")
    if antialias and not (mode in ("bilinear", "bicubic", "lanczos") and rank == 4):
        raise ValueError("Anti-alias option is restricted to bilinear, bicubic, and lanczos modes "
                         "and requires a 4-D tensor as input")


def _check_rank(rank: int, mode: str) -> None:
    needed = SMOOTH.get(mode)
    if mode in ("linear", "bilinear", "trilinear") and rank in (3, 4, 5) and rank != needed:
        raise NotImplementedError(f"Got {rank}D input, but {mode} mode needs {needed}D input")
    known = mode in ("nearest", "nearest-exact", "area") and rank in (3, 4, 5)
    if not known and rank != needed:
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {rank}D) for the modes:"
            " nearest | linear | bilinear | bicubic | trilinear | lanczos | area | nearest-exact "
            f"(got {mode})")


def _check_sizes(shape: Sequence[int], size: tuple[int, ...]) -> None:
    if min(shape[2:]) <= 0 or min(size) <= 0:
        axes = "DHW"[3 - len(size):]
        old, new = (", ".join(f"{axis}: {v}" for axis, v in zip(axes, values))
                    for values in (shape[2:], size))
        raise RuntimeError("Input and output sizes should be greater than 0, but got input "
                           f"({old}) output ({new})")
    if not shape[1]:
        raise RuntimeError(f"Non-empty {len(shape)}D data tensor expected but got a tensor with "
                           f"sizes {list(shape)}")


def _check_dtype(held: np.dtype, mode: str, n: int, antialias: bool) -> None:
    if held.kind == "f" or held.kind == "V":
        if mode == "lanczos" and held.itemsize < 4:
            refuse_dtype("compute_index_ranges_weights", held)
        return
    if FROM_NUMPY[held].is_floating_point:
        return
    if held == np.uint8 and mode not in ("linear", "trilinear"):
        return
    if mode in ("nearest", "nearest-exact"):
        kernel = f"upsample_nearest{n}d" + ("_channels_last" if n > 1 else "")
    elif mode == "bilinear" and not antialias:
        kernel = "upsample_bilinear2d_channels_last"
    else:
        kind = "cubic" if mode == "bicubic" else "linear"
        kernel = f"compute_indices_weights_{kind}"
    refuse_dtype(kernel, held)


@public("nn.functional")
def interpolate(input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
                align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
                antialias: bool = False) -> Tensor:
    """(N, C, *S) brought to another ``size``, or to its own size times ``scale_factor``.

    Modes: nearest, nearest-exact, linear, bilinear, trilinear, bicubic, area, and lanczos (which
    needs ``antialias``). With ``align_corners`` the centers of the corner cells stay in place;
    ``antialias`` widens the kernel where an axis shrinks. With ``recompute_scale_factor`` the
    coordinates follow the sizes, not the factor given.

    >>> import flambeau as torch
    >>> torch.nn.functional.interpolate(torch.tensor([[[1., 3.]]]), 4, mode="linear")
    tensor([[[1.0000, 1.5000, 2.5000, 3.0000]]])
    """
    rank = input.dim()
    _check_mode(rank, mode, align_corners, antialias)
    given, factors = _target(input, size, scale_factor)
    if recompute_scale_factor and given is not None:
        raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
    _check_rank(rank, mode)
    shape = input.shape
    if given is None:
        given = tuple([math.floor(n * f) for n, f in zip(shape[2:], factors)])
        if recompute_scale_factor:
            factors = None
    if mode == "area":
        return AREA[rank](input, given)
    _check_sizes(shape, given)
    held = input._a.dtype
    if held.kind != "f" or mode == "lanczos":
        _check_dtype(held, mode, rank - 2, antialias)
    scaling = Scaling(mode, bool(align_corners), factors or (None,) * (rank - 2), antialias)
    return apply(RESIZE[mode, rank - 2, antialias], (input,), {"size": given, "scaling": scaling})


def _deprecated(name: str) -> None:
    warnings.warn(f"`nn.functional.{name}` is deprecated. Use `nn.functional.interpolate` "
                  "instead.", UserWarning, stacklevel=3)


@public("nn.functional")
def upsample(input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
             align_corners: bool | None = None) -> Tensor:
    """An older name of ``interpolate``."""
    _deprecated("upsample")
    return interpolate(input, size, scale_factor, mode, align_corners)


@public("nn.functional")
def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """``interpolate`` with the mode nearest."""
    _deprecated("upsample_nearest")
    return interpolate(input, size, scale_factor, mode="nearest")


@public("nn.functional")
def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """``interpolate`` with the mode bilinear and aligned corners."""
    _deprecated("upsample_bilinear")
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)


# Sampling at the points of a grid.


class Sampling(NamedTuple):
    """How a grid is read."""

    mode: str
    padding_mode: str
    align_corners: bool


def _sample_batch(op: Op, inputs: Sequence[Any], dims: Sequence[int | None],
                  **params: Any) -> tuple:
    """The batch joins the images: each input has those first."""
    size = next(t._a.shape[d] for t, d in zip(inputs, dims) if d is not None)
    fronts = [expand_front(t, d, size) for t, d in zip(inputs, dims)]
    flat = [t.reshape(size * t._a.shape[1], *t._a.shape[2:]) for t in fronts]
    images = fronts[0]._a.shape[1]
    if "shape" in params:
        params["shape"] = (size * images, *params["shape"][1:])
    out = apply(op, flat, params)
    return out.reshape(size, images, *out._a.shape[1:]), 0


def _sample_op(n: int) -> Op:
    node = f"GridSampler{n}D"

    def back(g: Tensor, needs: tuple, grid: Tensor, input: Tensor, input_shape: tuple,
             sampling: Sampling) -> tuple:
        left = right = None
        if needs[0]:
            left = apply(to_input, (g, grid), {"shape": input_shape, "sampling": sampling})
        if needs[1]:
            right = apply(to_grid, (g, input, grid), {"sampling": sampling})
        return left, right

    def input_grid(g: Tensor, grad: Tensor, grid: Tensor, sampling: Sampling) -> Tensor:
        return apply(to_grid, (grad, g, grid), {"sampling": sampling})

    def to_grid_back(g: Tensor, needs: tuple, grad: Tensor, input: Tensor, grid: Tensor,
                     input_shape: tuple, sampling: Sampling) -> tuple:
        params = {"sampling": sampling}
        whole = {"shape": input_shape, **params}
        return (apply(sample_along, (input, grid, g), params) if needs[0] else None,
                apply(input_along, (grad, grid, g), whole) if needs[1] else None,
                apply(grid_along, (grad, input, grid, g), params) if needs[2] else None)

    # Plain arguments of the three maps of arrays: sampling, and the direction of a derivative.
    def sampled(x: Any, grid: Any, along: Any = None, *, sampling: Sampling) -> Any:
        return grid_kernels.grid_sample(x, grid, sampling, along)

    def gathered(g: Any, grid: Any, along: Any = None, *, shape: tuple, sampling: Sampling) -> Any:
        return grid_kernels.grid_sample_input_grad(g, grid, shape, sampling, along)

    def moved(g: Any, x: Any, grid: Any, along: Any = None, *, sampling: Sampling) -> Any:
        return grid_kernels.grid_sample_grid_grad(g, x, grid, sampling, along)

    def declare(suffix: str, forward: Any, inputs: tuple, node: str, **rules: Any) -> Op:
        params = ("shape", "sampling") if forward is gathered else ("sampling",)
        return opaque(f"grid_sampler_{n}d{suffix}", forward, inputs=inputs, params=params,
                      node=node, batch=_sample_batch, **rules)

    sample = declare("", sampled, ("input", "grid"), node, joint=back)
    to_input = declare(
        "_input", gathered, ("grad", "grid"), f"{node}Backward",
        grads=(lambda g, grid, sampling: apply(sample, (g, grid), {"sampling": sampling}),
               input_grid))
    to_grid = declare("_grid", moved, ("grad", "input", "grid"), f"{node}Backward",
                      joint=to_grid_back)
    third = f"{node}BackwardBackward"
    sample_along = declare("_along", sampled, ("input", "grid", "along"), third)
    input_along = declare("_input_along", gathered, ("grad", "grid", "along"), third)
    grid_along = declare("_grid_along", moved, ("grad", "input", "grid", "along"), third)
    return sample


GRID_SAMPLE = {n: _sample_op(n) for n in (2, 3)}


def _check_grid(input: Tensor, grid: Tensor) -> None:
    x, g = input._a, grid._a
    sizes = f"{list(x.shape)} and grid with sizes {list(g.shape)}"
    if x.shape[0] != g.shape[0]:
        raise RuntimeError("grid_sampler(): expected grid and input to have same batch size, but "
                           f"got input with sizes {sizes}")
    if g.shape[-1] != x.ndim - 2:
        raise RuntimeError(f"grid_sampler(): expected grid to have size {x.ndim - 2} in last "
                           f"dimension, but got grid with sizes {list(g.shape)}")
    for dim in range(2, x.ndim):
        if not x.shape[dim]:
            raise RuntimeError("grid_sampler(): expected input to have non-empty spatial "
                               f"dimensions, but input has sizes {list(x.shape)} with dimension "
                               f"{dim} being empty")
    if x.ndim not in (4, 5) or x.ndim != g.ndim:
        raise RuntimeError("grid_sampler(): expected 4D or 5D input and grid with same number of "
                           f"dimensions, but got input with sizes {sizes}")


def _sample(n: int, input: Tensor, grid: Tensor, mode: int, padding: int,
            align_corners: bool) -> Tensor:
    if n == 3 and mode == 2:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    x, g = input._a, grid._a
    if x.dtype != g.dtype:
        raise RuntimeError(f"expected scalar type {FROM_NUMPY[x.dtype].title} but found "
                           f"{FROM_NUMPY[g.dtype].title}")
    if not FROM_NUMPY[x.dtype].is_floating_point:
        refuse_dtype("grid_sampler_2d_cpu_kernel_impl" if n == 2 else "grid_sampler3d_cpu",
                     x.dtype)
    sampling = Sampling(grids.MODES[mode], grids.PADDINGS[padding], bool(align_corners))
    return apply(GRID_SAMPLE[n], (input, grid), {"sampling": sampling})


@public("torch")
def grid_sampler(input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int,
                 align_corners: bool) -> Tensor:
    """``nn.functional.grid_sample`` with modes by number."""
    check_tensor("grid_sampler", "input", input)
    check_tensor("grid_sampler", "grid", grid, 2)
    _check_grid(input, grid)
    return _sample(input._a.ndim - 2, input, grid, interpolation_mode, padding_mode, align_corners)


@public("torch")
def grid_sampler_2d(input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int,
                    align_corners: bool) -> Tensor:
    """``grid_sampler`` of (N, C, H, W)."""
    _check_grid(input, grid)
    return _sample(2, input, grid, interpolation_mode, padding_mode, align_corners)


@public("torch")
def grid_sampler_3d(input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int,
                    align_corners: bool) -> Tensor:
    """``grid_sampler`` of (N, C, D, H, W)."""
    _check_grid(input, grid)
    return _sample(3, input, grid, interpolation_mode, padding_mode, align_corners)


@public("nn.functional")
def grid_sample(input: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros",
                align_corners: bool | None = None) -> Tensor:
    """(N, C, *S) read at the points of ``grid`` (N, *out, n): (N, C, *out).

    Coordinates run from -1 to 1 over each axis, the last axis's coordinate first; with
    ``align_corners`` these are the centers of its end cells, else their outer edges. Modes:
    bilinear, nearest, bicubic; points outside read zeros, the border, or a reflection. Source:
    Jaderberg et al., Spatial transformer networks, 2015.

    >>> import flambeau as torch
    >>> x = torch.arange(4.).reshape(1, 1, 2, 2)
    >>> torch.nn.functional.grid_sample(x, torch.zeros(1, 1, 1, 2), align_corners=False)
    tensor([[[[1.5000]]]])
    """
    if mode not in grids.MODES:
        raise ValueError("nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' "
                         f"or 'bicubic', but got: '{mode}'")
    if padding_mode not in grids.PADDINGS:
        raise ValueError("nn.functional.grid_sample(): expected padding_mode to be 'zeros', "
                         f"'border', or 'reflection', but got: '{padding_mode}'")
    if align_corners is None:
        warnings.warn(ALIGN_WARNING, UserWarning, stacklevel=2)
    return grid_sampler(input, grid, grids.MODES.index(mode), grids.PADDINGS.index(padding_mode),
                        bool(align_corners))


# Affine grids.


def _affine_batch(op: Op, inputs: Sequence[Any], dims: Sequence[int | None],
                  size: tuple, align_corners: bool) -> tuple:
    t = expand_front(inputs[0], dims[0], 0)
    count, images = t._a.shape[:2]
    params = {"size": (count * images, *size[1:]), "align_corners": align_corners}
    out = apply(op, (t.reshape(count * images, *t._a.shape[2:]),), params)
    return out.reshape(count, images, *out._a.shape[1:]), 0


AFFINE: Op = linear(
    "affine_grid_generator", grids.affine_grid,
    lambda g, size, align_corners: apply(AFFINE_BACK, (g,), {"size": size,
                                                             "align_corners": align_corners}),
    inputs=("theta",), params=("size", "align_corners"), node="AffineGridGenerator",
    batch=_affine_batch)
AFFINE_BACK: Op = linear(
    "affine_grid_generator_backward", grids.affine_grid_transpose,
    lambda g, size, align_corners: apply(AFFINE, (g,), {"size": size,
                                                        "align_corners": align_corners}),
    inputs=("grad",), params=("size", "align_corners"), node="AffineGridGeneratorBackward",
    batch=_affine_batch)


@public("torch")
def affine_grid_generator(theta: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """``nn.functional.affine_grid`` without its checks of shapes."""
    held = theta._a
    if size[0] != held.shape[0]:
        raise RuntimeError(f"Expected size for first two dimensions of batch2 tensor to be: "
                           f"[{size[0]}, {len(size) - 1}] but got: [{held.shape[0]}, "
                           f"{held.shape[-1]}].")
    return apply(AFFINE, (theta,), {"size": tuple(size), "align_corners": bool(align_corners)})


@public("nn.functional")
def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The points of an image of ``size`` (N, C, *S), moved by ``theta`` (N, n, n + 1).

    What ``grid_sample`` reads an image at, so that it is turned, scaled and moved.

    >>> import flambeau as torch
    >>> theta = torch.tensor([[[1., 0, 0], [0, 1, 0]]])
    >>> torch.nn.functional.affine_grid(theta, (1, 1, 1, 2), align_corners=False)
    tensor([[[[-0.5000,  0.0000],
              [ 0.5000,  0.0000]]]])
    """
    if align_corners is None:
        warnings.warn(ALIGN_WARNING, UserWarning, stacklevel=2)
    held, shape = theta._a.dtype, theta.shape
    if not FROM_NUMPY[held].is_floating_point:
        raise ValueError("Expected theta to have floating point type, but got "
                         f"{naming.prefix()}.{FROM_NUMPY[held].name}")
    n = len(size) - 2
    if n not in (2, 3):
        raise NotImplementedError("affine_grid only supports 4D and 5D sizes, for 2D and 3D "
                                  f"affine transforms, respectively. Got size {size}.")
    if len(shape) != 3 or tuple(shape[-2:]) != (n, n + 1):
        raise ValueError(f"Expected a batch of {n}D affine matrices of shape Nx{n}x{n + 1} for "
                         f"size {size}. Got {shape}.")
    if min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {size}")
    return affine_grid_generator(theta, size, bool(align_corners))
