"""Special functions and the names of ``torch.special``; those NumPy lacks come from SciPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.backends.numpy.special import special
from flambeau.base import dtypes
from flambeau.core.face import FACES, public, show
from flambeau.core.kinds import pointwise
from flambeau.core.tensor import Tensor
from flambeau.ops import arithmetic, functions
from flambeau.ops.arithmetic import PAIR
from flambeau.ops.where import choose

ndarray = np.ndarray
ROOT_PI = math.sqrt(math.pi)
BOTH, METHOD = ("torch", "Tensor", "special"), ("special",)


def _scipy(name: str) -> Callable:
    """SciPy's ufunc, looked up at the first call."""

    def forward(*arrays: ndarray, out: Any = ...) -> ndarray:
        return special(name)(*arrays, out=out)

    return forward


def _function(name: str, source: str, grad: Callable | None, kernel: str | None = None, *,
              places: tuple[str, ...] = METHOD, node: str | None = None,
              shown: str | None = None) -> Callable:
    """A real function of one argument that SciPy calls ``source``."""
    title = None if node is None else node
    public_name = shown or name
    function = pointwise(public_name, _scipy(source), (grad,), result="float", quick=True,
                         places=places, node=title, inplace="Tensor" in places,
                         refuses={"c": kernel or f"{name}_cpu"})
    return function


# Error functions and the normal distribution

erf = _function("erf", "erf", lambda g, input: g * (2 / ROOT_PI * (-input * input).exp()),
                "erf_vml_cpu", places=BOTH)
erfc = _function("erfc", "erfc", lambda g, input: g * (-2 / ROOT_PI * (-input * input).exp()),
                 "erfc_vml_cpu", places=BOTH)
erfinv = _function("erfinv", "erfinv", lambda g, out: g * (ROOT_PI / 2 * (out * out).exp()),
                   "erfinv_vml_cpu", places=BOTH)
erfcx = _function("erfcx", "erfcx", lambda g, input, out: g * (2 * input * out - 2 / ROOT_PI),
                  node="SpecialErfcx")
ndtr = _function("ndtr", "ndtr",
                 lambda g, input: g * ((input * input * -0.5).exp() / math.sqrt(2 * math.pi)),
                 "erf_vml_cpu", node="SpecialNdtr")
ndtri = _function("ndtri", "ndtri",
                  lambda g, out: g * (math.sqrt(2 * math.pi) * (out * out * 0.5).exp()),
                  node="SpecialNdtri")
log_ndtr = _function("log_ndtr", "log_ndtr",
                     lambda g, input: g * (math.sqrt(2 / math.pi)
                                           / erfcx(input * -math.sqrt(0.5))),
                     node="SpecialLogNdtr")


def _entr_grad(g: Any, input: Any) -> Any:
    return g * choose(input.isnan(), input, -input.log() - 1)


entr = _function("entr", "entr", _entr_grad, node="SpecialEntr")


# Gamma and its kin

def _lgamma(x: ndarray, out: Any = ...) -> ndarray:
    result = np.asarray(special("gammaln")(x, out=out))
    # SciPy continues the sign; C and PyTorch give infinity
    np.copyto(result, np.inf, where=x == -np.inf)
    return result


lgamma: Callable = pointwise(
    "lgamma", _lgamma, (lambda g, input: g * digamma(input),), result="float", quick=True,
    places=("torch", "Tensor"), refuses={"c": "lgamma_vml_cpu"})


def _digamma(x: ndarray, out: Any = ...) -> ndarray:
    result = special("psi")(x, out=out)
    return np.where(x == 0, np.copysign(np.asarray(np.inf, x.dtype), -x),
                    np.where((x < 0) & (x == np.floor(x)), np.asarray(np.nan, x.dtype), result))


digamma: Callable = pointwise(
    "digamma", _digamma, (lambda g, input: g * polygamma(1, input),), result="float", quick=True,
    places=BOTH, refuses={"c": "digamma"})


def _zeta(x: ndarray, q: ndarray, out: Any = ...) -> ndarray:
    found = special("zeta")(x.astype(np.float64), q.astype(np.float64))
    return np.asarray(found).astype(x.dtype)


def _refuse_order(name: str) -> Callable:
    def refuse(g: Any) -> Any:
        raise NotImplementedError(f"the derivative for '{name}' is not implemented.")

    return refuse


zeta: Callable = pointwise(
    "zeta", _zeta, (_refuse_order("zeta"),
                    lambda g, input, other: g * -input * zeta(input + 1, other)),
    inputs=PAIR, result="float", places=("special",), node="SpecialZeta", quick=True,
    numbers="one", refuses={"c": "zeta_cpu"})


def _polygamma(x: ndarray, n: int) -> ndarray:
    if n == 0:
        return _digamma(x)
    if n == 1:
        return _trigamma(x)
    wide = x.astype(np.float64)
    sign = 1.0 if n % 2 else -1.0
    return (sign * math.gamma(n + 1) * special("zeta")(n + 1.0, wide)).astype(x.dtype)


def _trigamma(x: ndarray) -> ndarray:
    """The derivative of digamma, reflected below 1/2."""
    flipped = x < 0.5
    inside = np.where(flipped, 1 - x, x).astype(np.float64)
    value = np.asarray(special("zeta")(2.0, inside)).astype(x.dtype)
    pi = x.dtype.type(np.pi)
    mirrored = (pi / np.sin(pi * x)) ** 2 - value
    return np.where(flipped, mirrored, value)


_polygamma_op = pointwise("polygamma", _polygamma,
                          (lambda g, input, n: g * polygamma(n + 1, input),), params=("n",),
                          result="float", places=None, refuses={"c": "polygamma"})


@public("torch", "special", out=True)
def polygamma(n: int, input: Tensor) -> Tensor:
    """The n-th derivative of digamma, for n >= 0."""
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    return _polygamma_op(input, n=n)


@public("Tensor", name="polygamma", inplace=True)
def _polygamma_method(self: Tensor, n: int) -> Tensor:
    """The n-th derivative of digamma, for n >= 0."""
    return polygamma(n, self)


def _mvlgamma(x: ndarray, p: int) -> ndarray:
    total = np.full_like(x, p * (p - 1) / 4 * math.log(math.pi))
    for j in range(p):
        total = total + special("gammaln")(x - x.dtype.type(j / 2))
    return total


def _mvlgamma_grad(g: Any, input: Any, p: int) -> Any:
    total = digamma(input)
    for j in range(1, p):
        total = total + digamma(input - j / 2)
    return g * total


_mvlgamma_op = pointwise("mvlgamma", _mvlgamma, (_mvlgamma_grad,), params=("p",), result="float",
                         places=None, refuses={
                             "b": RuntimeError("The input tensor may not be a boolean tensor."),
                             "c": "arange_cpu"})
_mvlgamma_op.op.in_rows = True


@public("torch", "Tensor", out=True, inplace=True)
def mvlgamma(input: Tensor, p: int) -> Tensor:
    """The logarithm of the multivariate gamma function of dimension ``p``."""
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    return _mvlgamma_op(input, p=p)


def _gamma_density(g: Any, input: Any, other: Any) -> Any:
    return g * (-other + (input - 1) * other.log() - lgamma(input)).exp()


def _incomplete(name: str, source: str, sign: int) -> Callable:
    return pointwise(name, _scipy(source),
                     (_refuse_order(f"{name}: input"),
                      lambda g, input, other: sign * _gamma_density(g, input, other)),
                     inputs=PAIR, quick=True, numbers="none", refuses={"bic": f"{name}_cpu"})


igamma = _incomplete("igamma", "gammainc", 1)
igammac = _incomplete("igammac", "gammaincc", -1)


# Products with logarithms


def _xlog_first(g: Any, input: Any, log: Any, flat: Any) -> Any:
    return (g * log).masked_fill((input == 0) & flat, 0)


def _log_of(x: Any) -> Any:
    return x.log() if isinstance(x, Tensor) else float(np.log(float(x)))


def _log1p_of(x: Any) -> Any:
    return x.log1p() if isinstance(x, Tensor) else float(np.log1p(float(x)))


xlogy = pointwise(
    "xlogy", _scipy("xlogy"),
    (lambda g, input, other: _xlog_first(g, input, _log_of(other), other <= 0),
     lambda g, input, other: g * input / other),
    inputs=PAIR, result="float", quick=True, places=BOTH, numbers="one",
    refuses={"c": "xlogy_cpu"})
xlog1py = pointwise(
    "xlog1py", _scipy("xlog1py"),
    (lambda g, input, other: _xlog_first(g, input, _log1p_of(other), other <= -1),
     lambda g, input, other: g * input / (other + 1)),
    inputs=PAIR, result="float", quick=True, places=("special",), node="SpecialXlog1Py",
    numbers="one", refuses={"c": "xlog1py_cpu"})


# Bessel functions

i0 = _function("i0", "i0", lambda g, input: g * i1(input), "i0_vml_cpu", places=BOTH)
i0e = _function("i0e", "i0e", lambda g, input, out: g * (i1e(input) - input.sgn() * out),
                node="SpecialI0E")


def _i1_grad(g: Any, input: Any, out: Any) -> Any:
    nonzero = choose(input == 0, 1, input)  # so that no NaN reaches the second derivative
    return g * choose(input == 0, 0.5, i0(nonzero) - out / nonzero)


def _i1e_grad(g: Any, input: Any, out: Any) -> Any:
    nonzero = choose(input == 0, 1, input)
    slope = i0e(nonzero) - out * (nonzero.sgn() + 1 / nonzero)
    return g * choose(input == 0, 0.5, slope)


i1: Callable = _function("i1", "i1", _i1_grad, node="SpecialI1")
i1e: Callable = _function("i1e", "i1e", _i1e_grad, node="SpecialI1E")


def _spherical_j0(x: ndarray, out: Any = ...) -> ndarray:
    small = np.abs(x) < 0.5
    squared = x * x
    series = np.ones_like(x)
    for k in (12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1):
        series = 1 - squared * series / ((2 * k) * (2 * k + 1))
    direct = np.where(np.isinf(x), np.asarray(0, x.dtype), np.sin(x) / x)
    return np.where(small, series, direct).astype(x.dtype)


def _no_slope(name: str, forward: Callable) -> Callable:
    return pointwise(name, forward, result="float", quick=True, places=("special",),
                     inplace=False, refuses={"c": f"{name}_cpu"})


for _name, _source in {"bessel_j0": "j0", "bessel_j1": "j1", "bessel_y0": "y0",
                       "bessel_y1": "y1", "modified_bessel_i0": "i0", "modified_bessel_i1": "i1",
                       "modified_bessel_k0": "k0", "modified_bessel_k1": "k1",
                       "scaled_modified_bessel_k0": "k0e",
                       "scaled_modified_bessel_k1": "k1e"}.items():
    _no_slope(_name, _scipy(_source))
_no_slope("airy_ai", _scipy("airy_ai"))
_no_slope("spherical_bessel_j0", _spherical_j0)


# Names that only torch.special has for functions of other files


def _alias(name: str, function: Callable) -> None:
    show(function, name, "special")


for _name, _found in {"expit": functions.sigmoid, "gammaln": lgamma, "psi": digamma,
                      "multigammaln": mvlgamma, "gammainc": igamma, "gammaincc": igammac,
                      "exp2": functions.exp2, "expm1": functions.expm1,
                      "log1p": functions.log1p, "sinc": functions.sinc}.items():
    _alias(_name, _found)

__all__ = ["FACES", "arithmetic", "digamma", "dtypes", "entr", "erf", "erfc", "erfcx", "erfinv",
           "i0", "i0e", "i1", "i1e", "igamma", "igammac", "lgamma", "log_ndtr", "mvlgamma",
           "ndtr", "ndtri", "polygamma", "xlog1py", "xlogy", "zeta"]
