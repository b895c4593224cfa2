"""Dropout: elements, or whole channels, set to zero at random."""

from __future__ import annotations

import math
import warnings
from functools import lru_cache
from typing import Any

import numpy as np

from flambeau.backends import random_fill
from flambeau.base import dtypes
from flambeau.core.dispatch import apply
from flambeau.core.face import FACES, public
from flambeau.core.generator import default_generator
from flambeau.core.inplace import overwrite
from flambeau.core.kinds import opaque
from flambeau.core.levels import BATCHES
from flambeau.core.modes import MODES
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.create import array_like
from flambeau.ops.random import drawn
from flambeau.ops.random_inplace import check_probability

FUNCTIONAL = "nn.functional"
F32 = np.dtype(np.float32)
SELU_LIMIT = 1.7580993408473766  # minus what selu tends to at minus infinity


def _check_input(name: str, input: Any) -> None:
    if not isinstance(input, Tensor):
        raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not "
                        f"{type(input).__name__}")


def _check(name: str, input: Any, p: float, train: Any) -> None:
    _check_input(name, input)
    if not isinstance(train, bool):
        raise TypeError(f"{name}(): argument 'train' (position 3) must be bool, not "
                        f"{type(train).__name__}")
    if not 0 <= p <= 1:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {p:g}")


def _kept(input: Tensor, p: float, features: bool) -> np.ndarray:
    """1 for what is kept, 0 for what is dropped, in ``input``'s dtype; drawn here for all kinds."""
    held = input.dtype
    if features:
        shape = input._a.shape
        array = np.empty((*shape[:2], *(1,) * (len(shape) - 2)), held.np)
    else:
        array = array_like("dropout", input, None, None)
    check_probability(held, 1 - p)
    if not held.is_floating_point:
        raise RuntimeError("result type Float can't be cast to the desired output type "
                           f"{held.title}")
    return drawn(array, lambda a, engine: random_fill.bernoulli_scalar(a, engine, 1 - p),
                 "dropout")._a


def _scaled(kept: np.ndarray, scale: float) -> np.ndarray:
    """``kept`` times a number, rounded once."""
    if kept.dtype.itemsize < 4:
        return np.asarray(kept.astype(np.float32) * np.float32(scale)).astype(kept.dtype)
    kept *= kept.dtype.type(scale)
    return kept


@lru_cache(64)
def _inverse(p: float, held: np.dtype) -> float:
    """1 / (1 - p) as PyTorch rounds it."""
    wide = np.float64 if held == np.float64 else np.float32
    return float(wide(1) / wide(1 - p))


def _drop(input: Tensor, p: float, train: bool, features: bool = False) -> Tensor:
    if features and input._a.ndim < 2 and p and train and input._a.size:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    if not train or not p or not input._a.size:
        return input
    if p == 1:
        return input * wrap(np.zeros((), input.dtype.np))
    a = input._a
    if type(a) is np.ndarray and a.dtype is F32 and a.flags.c_contiguous and not features and (
            MODES.tracer is None and not BATCHES.sizes):
        hits = default_generator.engine.doubles(a.size) < 1 - p
        return input * wrap(np.multiply(hits.reshape(a.shape), F32.type(_inverse(p, F32))))
    kept = _kept(input, p, features)
    if type(kept) is not np.ndarray:
        return input * (wrap(kept) * _inverse(p, np.dtype(kept.dtype.type)))
    return input * wrap(_scaled(kept, _inverse(p, kept.dtype)))


def _drop_alpha(input: Tensor, p: float, train: bool, features: bool = False) -> Tensor:
    if features and input._a.ndim < 2 and p and train and input._a.size:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    if not train or not p or not input._a.size:
        return input
    if p == 1:
        return input * wrap(np.zeros((), input.dtype.np))
    kept = wrap(_kept(input, p, features))
    a = 1 / math.sqrt((SELU_LIMIT**2 * p + 1) * (1 - p))
    shift = (kept + -1) * (SELU_LIMIT * a) + SELU_LIMIT * a * p
    return input * (kept * a) + shift


def _declare(name: str, compute: Any, features: bool, text: str) -> None:
    """Declare ``torch.name(input, p, train)`` and its in-place twin."""

    def function(input: Tensor, p: float, train: bool) -> Tensor:
        _check(name, input, p, train)
        return compute(input, p, train, features)

    def twin(input: Tensor, p: float, train: bool) -> Tensor:
        _check(f"{name}_", input, p, train)
        if not train or not input._a.size:
            return input
        return overwrite(input, lambda t: compute(t, p, train, features))

    function.__doc__ = text
    twin.__doc__ = f"In-place version of ``{name}``."
    public("torch", name=name)(function)
    public("torch", name=f"{name}_")(twin)


_declare("dropout", _drop, False,
         "Elements set to zero with probability ``p``, the others times 1 / (1 - p).")
_declare("feature_dropout", _drop, True,
         "``dropout`` of whole channels: all of (n, c, ...) or none.")
_declare("alpha_dropout", _drop_alpha, False,
         "Dropout that keeps mean and variance of what comes out of selu (arXiv:1706.02515).")
_declare("feature_alpha_dropout", _drop_alpha, True,
         "``alpha_dropout`` of whole channels: all of (n, c, ...) or none.")
TORCH = FACES["torch"]


def _run(name: str, input: Tensor, p: float, training: bool, inplace: bool) -> Tensor:
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    return TORCH[f"{name}_" if inplace else name](input, p, training)


@public(FUNCTIONAL)
def dropout(input: Tensor, p: float = 0.5, training: bool = True,
            inplace: bool = False) -> Tensor:
    """Elements set to zero with probability ``p``, the others times 1 / (1 - p).

    Nothing happens where not ``training``. ValueError where ``p`` is not in [0, 1].
    Source: Srivastava et al., JMLR 15 (2014).

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.nn.functional.dropout(torch.ones(4), 0.5)
    tensor([0., 0., 2., 0.])
    """
    return _run("dropout", input, p, training, inplace)


@public(FUNCTIONAL)
def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False,
                  inplace: bool = False) -> Tensor:
    """Dropout that keeps mean and variance of what comes out of selu (arXiv:1706.02515)."""
    return _run("alpha_dropout", input, p, training, inplace)


@public(FUNCTIONAL)
def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False,
                          inplace: bool = False) -> Tensor:
    """``alpha_dropout`` of whole channels of an input (N, C, ...)."""
    return _run("feature_alpha_dropout", input, p, training, inplace)


@public(FUNCTIONAL)
def dropout1d(input: Tensor, p: float = 0.5, training: bool = True,
              inplace: bool = False) -> Tensor:
    """Dropout of whole channels of an input (N, C, L) or (C, L)."""
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    rank = input.dim()
    if rank not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {rank}D input. Note that "
            "dropout1d exists to provide channel-wise dropout on inputs with 1 spatial dimension, "
            "a channel dimension, and an optional batch dimension (i.e. 2D or 3D inputs).")
    return _by_channel(input, p, training, inplace, rank == 2)


def _by_channel(input: Tensor, p: float, training: bool, inplace: bool, alone: bool) -> Tensor:
    """Channel dropout; an input ``alone``, without a batch dimension, gets one for the while."""
    if not alone:
        return _run("feature_dropout", input, p, training, inplace)
    batch = input.unsqueeze_(0) if inplace else input.unsqueeze(0)
    result = _run("feature_dropout", batch, p, training, inplace)
    return result.squeeze_(0) if inplace else result.squeeze(0)


def _warn_of_rank(name: str, rank: int, spatial: int) -> None:
    warnings.warn(
        f"{name}: Received a {rank}-D input to {name}, which is deprecated and will result in an "
        "error in a future release. To retain the behavior and silence this warning, please use "
        f"dropout instead. Note that {name} exists to provide channel-wise dropout on inputs with "
        f"{spatial} spatial dimensions, a channel dimension, and an optional batch dimension "
        f"(i.e. {spatial + 1}D or {spatial + 2}D inputs).", stacklevel=3)


@public(FUNCTIONAL)
def dropout2d(input: Tensor, p: float = 0.5, training: bool = True,
              inplace: bool = False) -> Tensor:
    """Dropout of whole channels of an input (N, C, H, W); three dimensions are (N, C, L)."""
    rank = input.dim()
    if p >= 0.0 and p <= 1.0 and rank not in (3, 4):
        _warn_of_rank("dropout2d", rank, 2)
    if rank == 3:
        warnings.warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout "
            "behavior is desired - input is interpreted as shape (N, C, L), where C is the channel "
            "dim. This behavior will change in a future release to interpret the input as one "
            "without a batch dimension, i.e. shape (C, H, W). To maintain the 1D channel-wise "
            "dropout behavior, please switch to using dropout1d instead.", stacklevel=2)
    return _run("feature_dropout", input, p, training, inplace)


@public(FUNCTIONAL)
def dropout3d(input: Tensor, p: float = 0.5, training: bool = True,
              inplace: bool = False) -> Tensor:
    """Dropout of whole channels of an input (N, C, D, H, W) or (C, D, H, W)."""
    rank = input.dim()
    if p >= 0.0 and p <= 1.0 and rank not in (4, 5):
        _warn_of_rank("dropout3d", rank, 3)
    return _by_channel(input, p, training, inplace, rank != 5)


# native_dropout


def _native(a: np.ndarray, mask: np.ndarray, scale: float) -> np.ndarray:
    return a * mask * a.dtype.type(scale)


NATIVE = opaque("native_dropout", _native, inputs=("input", "mask"),
                grads=(lambda g, mask, scale: g * (mask * scale), None),
                params=("scale",), node="NativeDropout", widen=True)


@public("torch")
def native_dropout(input: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    """Dropout and the mask of what was kept (bool); ``train`` None is taken as True."""
    _check_input("native_dropout", input)
    scale = 1.0
    if train is False:
        mask = wrap(np.ones(input._a.shape, np.bool_))
    else:
        check_probability(dtypes.bool_, 1 - p)
        if not input.dtype.is_floating_point:
            raise RuntimeError("result type Float can't be cast to the desired output type "
                               f"{input.dtype.title}")
        mask = drawn(np.empty(input._a.shape, np.bool_),
                     lambda a, engine: random_fill.bernoulli_scalar(a, engine, 1 - p),
                     "native_dropout")
        scale = 1 / (1 - p) if p != 1 else 0.0
    return apply(NATIVE, (input, mask), {"scale": scale}), mask

__all__ = ["alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d",
           "feature_alpha_dropout", "native_dropout"]
