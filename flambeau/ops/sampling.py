"""Draws from distributions whose parameters are tensors: Bernoulli, normal, Poisson, ..."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np

from flambeau.backends import random_choice, random_fill, random_samplers
from flambeau.backends.mt19937 import Engine
from flambeau.base import dtypes
from flambeau.base.dtypes import FROM_NUMPY, as_dtype, dtype, get_default_dtype
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.generator import Generator, engine_of
from flambeau.core.kinds import opaque
from flambeau.core.levels import values_of
from flambeau.core.modes import MODES
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.random import drawn, into, shape_of
from flambeau.ops.random_inplace import (
    PLAIN_FLOATS,
    check_mean_std,
    check_probabilities,
    check_probability,
    number,
    refuse_dtype,
)
from flambeau.ops.special import digamma

ndarray = np.ndarray
_SERIES_END = 100_000  # terms; about 9 sqrt(shape) are needed
_SMALL = 1e-17
_FEW = 64  # up to so many numbers Python's own functions beat NumPy's fixed costs


def _no_gradient(g: Tensor) -> Tensor:
    """Draws do not move with their parameters as far as autograd knows: zeros."""
    return g.new_zeros(g.shape)


def _sampler(name: str, forward: Callable, inputs: tuple[str, ...] = ("input",),
             params: tuple[str, ...] = ("engine",), node: str | None = None) -> Op:
    return opaque(name, forward, inputs=inputs, grads=(_no_gradient,) * len(inputs),
                  params=params, node=node)


def _require(name: str, value: Any, argument: str = "input", position: int = 1) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}(): argument '{argument}' (position {position}) must be Tensor, "
                        f"not {type(value).__name__}")
    return value


def _refuse_recorded(name: str, *tensors: Any) -> None:
    if MODES.grad and any(isinstance(t, Tensor) and t._node is not None for t in tensors):
        raise RuntimeError(f"{name}(): functions with out=... arguments don't support automatic "
                           "differentiation, but one of the arguments requires grad.")


# Bernoulli


def _bernoulli(p: ndarray, engine: Engine) -> ndarray:
    check_probabilities(p, FROM_NUMPY[p.dtype])
    a = np.empty(p.shape, p.dtype)
    random_fill.bernoulli_array(a, engine, p)
    return a


BERNOULLI = _sampler("bernoulli", _bernoulli)


@public("torch", "Tensor")
def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None,
              out: Tensor | None = None) -> Tensor:
    """1 with the probability that ``input`` says, else 0; with ``p`` given, that for each element.

    Of ``input``'s shape and dtype. RuntimeError where a probability is not in [0, 1].

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.bernoulli(torch.tensor([0.5, 0.5, 0.5]))
    tensor([1., 0., 1.])
    """
    _require("bernoulli", input)
    if p is not None:
        p = number("bernoulli", "p", 2, p)
        check_probability(input.dtype, p)
        array = np.empty(input._a.shape, input.dtype.np)
        return drawn(array, lambda a, engine: random_fill.bernoulli_scalar(a, engine, p),
                     "bernoulli", generator)
    if out is None:
        return apply(BERNOULLI, (input,), {"engine": engine_of("bernoulli", generator)})
    _refuse_recorded("bernoulli", input, out)
    odds = input._a
    check_probabilities(odds, out.dtype)
    return into(out, odds.shape,
                lambda a, engine: random_fill.bernoulli_array(a, engine, odds),
                "bernoulli", generator)


# Normals


def _check_std(std: ndarray) -> None:
    if std.dtype.kind == "c":
        raise RuntimeError("normal expects standard deviation to be non-complex")
    if std.size and not np.minimum.reduce(std, axis=None) >= 0:
        raise RuntimeError("normal expects all elements of std >= 0.0")


def _fill_standard(a: ndarray, engine: Engine, std: float = 1) -> None:
    check_mean_std(FROM_NUMPY[a.dtype], std)
    random_fill.normal(a, engine, 0, std)


def _in_place(function: Callable, a: ndarray, b: ndarray) -> None:
    """``a = function(a, b)`` rounded to ``a``'s dtype, as PyTorch's in-place operators do."""
    if a.dtype.itemsize < 4:
        a[...] = function(a.astype(np.float32), b.astype(np.float32, copy=False)).astype(a.dtype)
    else:
        function(a, b.astype(a.dtype, copy=False), out=a)


def _fill_mean(a: ndarray, engine: Engine, mean: ndarray, std: float) -> None:
    _fill_standard(a, engine, std)
    _in_place(np.add, a, mean)


def _fill_std(a: ndarray, engine: Engine, mean: ndarray | float, std: ndarray) -> None:
    _check_std(std)
    _fill_standard(a, engine)
    _in_place(np.multiply, a, std)
    _in_place(np.add, a, np.asarray(mean))


def _normal_mean(mean: ndarray, engine: Engine, std: float) -> ndarray:
    a = np.empty(mean.shape, mean.dtype)
    _fill_mean(a, engine, mean, std)
    return a


def _normal_std(std: ndarray, engine: Engine, mean: float) -> ndarray:
    a = np.empty(std.shape, std.dtype)
    _fill_std(a, engine, mean, std)
    return a


def _normal_both(mean: ndarray, std: ndarray, engine: Engine) -> ndarray:
    a = np.empty(_broadcast_shape(mean.shape, std.shape), mean.dtype)
    _fill_std(a, engine, mean, std)
    return a


def _broadcast_shape(left: tuple, right: tuple) -> tuple:
    try:
        return np.broadcast_shapes(left, right)
    except ValueError:
        pass
    n = max(len(left), len(right))
    pairs = zip((1,) * (n - len(left)) + left, (1,) * (n - len(right)) + right)
    dim, a, b = next((d, a, b) for d, (a, b) in reversed(list(enumerate(pairs)))
                     if a != b and 1 not in (a, b))
    raise RuntimeError(f"The size of tensor a ({a}) must match the size of tensor b ({b}) at "
                       f"non-singleton dimension {dim}")


NORMAL_MEAN = _sampler("normal_mean", _normal_mean, ("mean",), ("engine", "std"), "Normal")
NORMAL_STD = _sampler("normal_std", _normal_std, ("std",), ("engine", "mean"), "Normal")
NORMAL_BOTH = opaque("normal_both", _normal_both, inputs=("mean", "std"),
                     grads=(_no_gradient, _no_gradient), params=("engine",), node="Normal")
for _op, _name in ((NORMAL_MEAN, "NormalBackward1"), (NORMAL_STD, "NormalBackward2"),
                   (NORMAL_BOTH, "NormalBackward3")):
    _op.node_type.__name__ = _op.node_type.__qualname__ = _name


@public("torch")
def normal(mean: Any, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None,
           out: Tensor | None = None, dtype: dtype | None = None, layout: Any = None,
           device: Any = None, requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """Normals of the means and standard deviations given, tensors or numbers.

    Two tensors broadcast; two numbers need ``size``. RuntimeError where ``std`` < 0.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.normal(torch.tensor([0.0, 100.0]), 1.0)
    tensor([ 1.5410, 99.7066])
    """
    if isinstance(mean, Tensor) or isinstance(std, Tensor):
        if size is not None:
            raise _combination(mean, std, size)
        if out is not None:
            return _normal_into(out, mean, std, generator)
        return _normal_of(mean, std, engine_of("normal", generator))
    if size is None:
        raise _combination(mean, std)
    mean, std = number("normal", "mean", 1, mean), number("normal", "std", 2, std)
    shape = shape_of("normal", (size,))
    held = as_dtype(dtype, "normal")

    def draw(a: ndarray, engine: Engine) -> None:
        random_fill.normal(a, engine, mean, std)

    if out is not None:
        check_mean_std(out.dtype, std)
        return into(out, shape, draw, "normal", generator, held)
    held = held or get_default_dtype()
    check_mean_std(held, std)
    return drawn(np.empty(shape, held.np), draw, "normal", generator, device, requires_grad)


def _combination(*given: Any) -> TypeError:
    got = ", ".join([type(x).__name__ for x in given])
    return TypeError(f"normal() received an invalid combination of arguments - got ({got}), but "
                     "expected one of:")


def _normal_of(mean: Any, std: Any, engine: Engine) -> Tensor:
    if not isinstance(std, Tensor):
        std = number("normal", "std", 2, std)
        return apply(NORMAL_MEAN, (mean,), {"engine": engine, "std": std})
    if not isinstance(mean, Tensor):
        mean = number("normal", "mean", 1, mean)
        return apply(NORMAL_STD, (std,), {"engine": engine, "mean": mean})
    return apply(NORMAL_BOTH, (mean, std), {"engine": engine})


def _normal_into(out: Tensor, mean: Any, std: Any, generator: Generator | None) -> Tensor:
    """Draw straight into ``out``: how it lies in memory decides what is drawn."""
    _refuse_recorded("normal", mean, std, out)
    m = mean._a if isinstance(mean, Tensor) else np.asarray(number("normal", "mean", 1, mean))
    if not isinstance(std, Tensor):
        std = number("normal", "std", 2, std)
        check_mean_std(out.dtype, std)
        return into(out, m.shape, lambda a, engine: _fill_mean(a, engine, m, std), "normal",
                    generator)
    s = std._a
    _check_std(s)
    shape = _broadcast_shape(m.shape, s.shape)
    return into(out, shape, lambda a, engine: _fill_std(a, engine, m, s), "normal", generator)


# Categories


@public("torch", "Tensor")
def multinomial(input: Tensor, num_samples: int, replacement: bool = False, *,
                generator: Generator | None = None, out: Tensor | None = None) -> Tensor:
    """``num_samples`` categories drawn by the weights in each row of ``input``; int64.

    ``input`` is floating, of shape (k,) or (rows, k), non-negative, finite, each row with a
    positive sum; what is not raises RuntimeError.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.multinomial(torch.tensor([1.0, 2.0, 3.0]), 2)
    tensor([2, 1])
    """
    weights = _require("multinomial", input)._a
    if isinstance(num_samples, (float, str)) or num_samples is None:
        raise TypeError("multinomial(): argument 'num_samples' (position 2) must be int, not "
                        f"{type(num_samples).__name__}")
    engine = engine_of("multinomial", generator)
    n = int(num_samples)
    _check_weights(input, n, replacement, out)
    weights = values_of(input.contiguous())
    made = random_choice.multinomial(weights, n, bool(replacement), engine)
    if out is None:
        return wrap(made)
    if out._a.shape != made.shape:
        out._a = made
    else:
        out._a[...] = made
    return out


def _check_weights(input: Tensor, n: int, replacement: bool, out: Tensor | None) -> None:
    if out is not None and out.dtype is not dtypes.int64:
        raise RuntimeError(f"multinomial expects Long tensor out, got: {out.dtype.title}")
    weights = input._a
    if weights.ndim not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if input.dtype not in PLAIN_FLOATS:
        raise RuntimeError("multinomial only supports floating-point dtypes for input, got: "
                           f"{input.dtype.title}")
    if n <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and n > weights.shape[-1]:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without "
                           "replacement")
    if weights.shape[-1] > 2**24:
        raise RuntimeError("number of categories cannot exceed 2^24")
    if weights.size <= _FEW and type(weights) is ndarray:
        rows = weights.tolist() if weights.ndim == 2 else [weights.tolist()]
        if all([any(row) and 0 <= min(row) and sum(row) < inf for row in rows]):
            return  # NaN would make the sum no number
    one_pass = not replacement or n == 1
    _check_entries(weights, one_pass)
    wide = weights.astype(np.float64)
    if not (wide.sum(axis=-1) > 0).all():
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")


def _check_entries(weights: ndarray, one_pass: bool) -> None:
    finite = np.isfinite(weights.astype(np.float64)).all()
    negative = (weights < 0).any()
    if finite and not negative:
        return
    if one_pass:
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if negative:
        raise RuntimeError("invalid multinomial distribution (encountering probability entry < 0)")
    raise RuntimeError("invalid multinomial distribution (encountering probability entry = "
                       "infinity or NaN)")


# Counts


def _poisson(rates: ndarray, engine: Engine) -> ndarray:
    if FROM_NUMPY[rates.dtype] not in PLAIN_FLOATS:
        raise refuse_dtype("poisson_cpu", FROM_NUMPY[rates.dtype])
    if not (rates >= 0).all():
        raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
    return random_samplers.poisson(rates, engine)


POISSON = _sampler("poisson", _poisson)


@public("torch")
def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Poisson variates of the rates in ``input`` (>= 0), of its shape and dtype."""
    _require("poisson", input)
    return apply(POISSON, (input,), {"engine": engine_of("poisson", generator)})


@public("torch")
def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """Binomial variates: successes in ``count`` trials of probability ``prob``; they broadcast.

    Both are float32 or both float64, without NaN.
    """
    _require("binomial", count, "count", 1)
    _require("binomial", prob, "prob", 2)
    held, other = count.dtype, prob.dtype
    if not held.is_floating_point:
        raise ValueError(f"binomial only supports floating-point dtypes for count, got: "
                         f"{held.title}")
    if not other.is_floating_point:
        raise ValueError(f"binomial only supports floating-point dtypes for prob, got: "
                         f"{other.title}")
    if held is not other:
        raise RuntimeError(f"Found dtype {other.title} but expected {held.title}")
    if held not in (dtypes.float32, dtypes.float64):
        raise refuse_dtype("binomial_cpu", held)
    if np.isnan(count._a).any() or np.isnan(prob._a).any():
        raise RuntimeError("binomial expects count and prob without NaN")
    _broadcast_shape(count._a.shape, prob._a.shape)
    engine = engine_of("binomial", generator)
    made = random_samplers.binomial(count._a, prob._a, engine)
    return count.new_tensor(made)


# Gamma and Dirichlet


def _standard_gamma(shapes: ndarray, engine: Engine) -> ndarray:
    _require_gamma("gamma_cpu", shapes)
    return random_samplers.standard_gamma(shapes, engine)


def _require_gamma(kernel: str, a: ndarray) -> None:
    held = FROM_NUMPY[a.dtype]
    if held not in (dtypes.float32, dtypes.float64):
        raise refuse_dtype(kernel, held)


def _gamma_slope(shapes: ndarray, out: ndarray) -> ndarray:
    """How a gamma variate moves with its shape while the probability below it stays.

    With c(n) = x^n Γ(a) / Γ(a + n + 1) it is x Σ c(n) (ψ(a + n + 1) - log x): the series of the
    incomplete gamma function, differentiated by a.
    """
    a, x = np.broadcast_arrays(shapes.astype(np.float64), out.astype(np.float64))
    log_x = np.log(x)
    weight, psi = 1 / a, digamma.op.forward(a + 1)  # type: ignore[attr-defined]
    total = weight * (psi - log_x)
    for n in range(1, _SERIES_END):
        at = a + n
        weight = weight * (x / at)
        psi = psi + 1 / at
        total = total + weight * (psi - log_x)
        if not (weight * at > _SMALL * total).any():
            break
    return (x * total).astype(shapes.dtype)


GAMMA_SLOPE = opaque("standard_gamma_grad", _gamma_slope, inputs=("input", "output"))
STANDARD_GAMMA = opaque(
    "standard_gamma", _standard_gamma,
    grads=(lambda g, input, out: g * _standard_gamma_grad(input, out),), params=("engine",),
    node="StandardGamma")


@public("torch", name="_standard_gamma")
def _standard_gamma_of(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Gamma variates of rate 1 whose shapes are in ``input`` (float32 or float64, > 0).

    Their gradient is the implicit one (arXiv:1805.08498).
    """
    _require("_standard_gamma", input)
    return apply(STANDARD_GAMMA, (input,), {"engine": engine_of("_standard_gamma", generator)})


@public("torch")
def _standard_gamma_grad(input: Tensor, output: Tensor) -> Tensor:
    """The derivative of gamma variates ``output`` by their shapes ``input``."""
    return apply(GAMMA_SLOPE, (input, output))


@public("torch")
def _sample_dirichlet(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Dirichlet variates over the last dimension, of concentrations ``input``; no gradient."""
    shapes = _require("_sample_dirichlet", input)._a
    _require_gamma("dirichlet", shapes)
    made = random_samplers.dirichlet(shapes, engine_of("_sample_dirichlet", generator))
    return input.new_tensor(made)


def _marginal_slope(drawn: ndarray, shapes: ndarray, totals: ndarray) -> ndarray:
    """How a beta variate moves with its first shape while the probability below it stays.

    Divided by 1 - x. The series of the incomplete beta function with terms of one sign,
    (a + b)_n / (a + 1)_n x^n, differentiated by a; above the mean that of the other tail.
    """
    x, a, total = [v.astype(np.float64) for v in np.broadcast_arrays(drawn, shapes, totals)]
    b = total - a
    low = x * total <= a
    psi = digamma.op.forward  # type: ignore[attr-defined]
    log_x = np.log(x)
    other, part = np.where(low, a, b), np.where(low, x, 1 - x)
    psi_total, psi_other = psi(total), np.where(low, psi(a + 1), psi(a))
    weight = np.ones_like(x)
    slope = weight * (log_x + psi_total - psi_other)
    for n in range(_SERIES_END):
        weight = weight * ((total + n) / (other + n + 1) * part)
        psi_total = psi_total + 1 / (total + n)
        psi_other = np.where(low, psi_other + 1 / (a + n + 1), psi_other)
        slope = slope + weight * (log_x + psi_total - psi_other)
        left = weight * (n + 1 + total) * (1 + np.abs(log_x))
        if not (left > _SMALL * np.abs(slope)).any():
            break
    slope = np.where(low, -x / a * slope, x / b * slope)
    return np.where(np.isnan(slope), 0, slope).astype(drawn.dtype)  # variates of 0 stay there


MARGINAL_SLOPE = opaque("dirichlet_grad", _marginal_slope, inputs=("x", "alpha", "total"))


@public("torch")
def _dirichlet_grad(x: Tensor, alpha: Tensor, total: Tensor) -> Tensor:
    """How Dirichlet variates ``x`` move with their concentrations ``alpha``, of sum ``total``.

    As beta variates, and divided by 1 - x (arXiv:1806.01851).
    """
    return apply(MARGINAL_SLOPE, (x, alpha, total))


__all__ = ["bernoulli", "binomial", "multinomial", "normal", "poisson"]
