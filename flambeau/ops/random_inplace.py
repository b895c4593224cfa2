"""Filling tensors in place with random numbers, PyTorch's, and what their arguments must be."""

from __future__ import annotations

import functools
import operator
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.backends import random_fill
from flambeau.base import dtypes
from flambeau.base.dtypes import FROM_NUMPY, dtype
from flambeau.core.dispatch import TRANSFORMS, edge_of
from flambeau.core.drawn import filled, random_batch
from flambeau.core.face import public
from flambeau.core.generator import Generator, engine_of
from flambeau.core.inplace import (
    bump,
    check_inplace,
    check_writeable,
    is_small_plain,
    rebase,
)
from flambeau.core.levels import BATCHES
from flambeau.core.modes import MODES
from flambeau.core.node import Node, next_sequence
from flambeau.core.tensor import Tensor, wrap

__all__ = ["check_mean_std", "check_probability", "check_probabilities", "check_range",
           "fill", "number", "refill"]

ndarray = np.ndarray
PLAIN_FLOATS = (dtypes.float32, dtypes.float64, dtypes.float16, dtypes.bfloat16)
COMPLEX = (dtypes.complex64, dtypes.complex128)
INTEGERS = (dtypes.uint8, dtypes.int8, dtypes.int16, dtypes.int32, dtypes.int64)
_DRAWN = (*PLAIN_FLOATS, *COMPLEX)
_C_NAMES = {"uint8": "unsigned char", "int8": "signed char", "int16": "short int", "int32": "int",
            "int64": "long int", "uint16": "short unsigned int", "uint32": "unsigned int",
            "uint64": "long unsigned int", "float32": "float", "float64": "double",
            "float16": "c10::Half", "bfloat16": "c10::BFloat16", "complex64": "c10::complex<float>",
            "complex128": "c10::complex<double>"}
_LARGEST = {"float32": float(np.finfo(np.float32).max), "float64": float(np.finfo(np.float64).max),
        "float16": 65504.0, "bfloat16": float.fromhex("0x1.fep127")}
_FEW = 64  # up to so many numbers Python's own comparisons beat NumPy's fixed costs
_DIGITS = {"float32": 24, "float64": 53, "float16": 11, "bfloat16": 8}


def refuse_dtype(kernel: str, held: dtype) -> NotImplementedError:
    """PyTorch's error for a dtype that ``kernel`` lacks."""
    return NotImplementedError(f"\"{kernel}\" not implemented for '{held.title}'")


def number(name: str, argument: str, position: int, value: Any) -> Any:
    """``value`` as a number; TypeError where it is none."""
    if isinstance(value, Tensor) and value._a.ndim == 0:
        value = value.item()
    if isinstance(value, (int, float, np.integer, np.floating)):
        return value
    raise TypeError(f"{name}(): argument '{argument}' (position {position}) must be float, not "
                    f"{type(value).__name__}")


class Filled(Node):
    """History of a tensor that was filled with random numbers: what it was before gets zeros."""

    def __init__(self, t: Tensor, others: tuple = ()) -> None:
        tensors = (t, *others)
        self.next = tuple([edge_of(x) for x in tensors])
        self.saved = tuple([(x._a.shape, x._a.dtype) for x in tensors])
        self.seq = next_sequence()
        self.shape, self.dtype = t._a.shape, t._a.dtype

    def run(self, g: Tensor) -> list:
        return [wrap(np.zeros(shape, held)) for shape, held in self.saved]


_NODES: dict[str, type[Filled]] = {}


def fill(t: Tensor, node: str, draw: Callable[[ndarray], None], others: tuple = ()) -> Tensor:
    """Let ``draw`` fill ``t``'s array; the history of ``t`` becomes a node of the name given.

    Every fill of a tensor with random numbers comes by here. ``others`` are tensors that the
    numbers depend on: they get gradients of zero.
    """
    a = t._a
    if is_small_plain(t, others):
        flags = a.flags
        if not (flags.c_contiguous and flags.writeable):
            check_writeable(a)
        draw(a)
        bump(t)
        return t
    needs = MODES.grad and any(x._node is not None for x in others)
    check_inplace(t, needs)
    if type(a) is ndarray:
        check_writeable(a)
        draw(a)
    else:
        refill(t, draw)
    if needs or (MODES.grad and t._node is not None):
        made = _NODES.get(node)
        if made is None:
            made = _NODES[node] = type(node, (Filled,), {})
        edge = made(t, others)
        bump(t)
        rebase(t, edge)
    else:
        bump(t)
    return t


def refill(t: Tensor, draw: Callable[[ndarray], None]) -> None:
    """Let ``draw`` fill what stands in for the array of ``t``."""
    a = t._a
    values = np.empty(a.shape, np.dtype(a.dtype.type))
    if BATCHES.sizes:
        TRANSFORMS.store(t, random_batch(values, draw))
        return
    if MODES.tracer is not None:
        values = np.empty_like(a.array)  # numbers follow the order of memory
    TRANSFORMS.store(t, wrap(filled(values, draw)))


def check_range(held: dtype, low: float, high: float) -> None:
    """Raise where uniforms of [low, high) are not what ``held`` can hold."""
    if held is dtypes.float32 and -1e9 < low <= high < 1e9:
        return
    if held not in _DRAWN:
        raise refuse_dtype("check_uniform_bounds", held)
    real = held.to_real() if held.is_complex else held
    most = _LARGEST[real.name]
    for argument, value in (("from", low), ("to", high)):
        if not -most <= value <= most:
            raise RuntimeError(f"{argument} is out of bounds for {_C_NAMES[real.name]}")
    if low > high:
        raise RuntimeError("uniform_ expects to return a [from, to) range, but found "
                           f"from={low:g} > to={high:g}")
    if high - low > most:
        raise RuntimeError(
            f"uniform_ expects to-from <= std::numeric_limits<{held.title}>::max(), but found "
            f"to={high:g} and from={low:g} which result in to-from to exceed the limit")


def _bounds(name: str, given: tuple, by_name: dict[str, Any], low: Any, high: Any) -> tuple:
    """The arguments ``from`` and ``to``, by place or by name."""
    if len(given) > 2:
        raise TypeError(f"{name}() takes from 0 to 2 positional arguments but {len(given)} were "
                        "given")
    found = dict(zip(("from", "to"), given))
    for key, value in by_name.items():
        if key not in ("from", "to") or key in found:
            raise TypeError(f"{name}() got an unexpected keyword argument '{key}'")
        found[key] = value
    return found.get("from", low), found.get("to", high)


@public("Tensor")
def uniform_(self: Tensor, *bounds: float, generator: Generator | None = None,
             **by_name: Any) -> Tensor:
    """Fill with uniforms of [from, to), by default [0, 1).

    RuntimeError where ``from`` > ``to``, or a bound is beyond the dtype.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.zeros(2).uniform_(-1, 1)
    tensor([-0.0075,  0.5364])
    """
    low, high = 0.0, 1.0
    if bounds or by_name:
        low, high = _bounds("uniform_", bounds, by_name, low, high)
        low, high = number("uniform_", "from", 1, low), number("uniform_", "to", 2, high)
    engine = engine_of("uniform_", generator)
    check_range(self.dtype, low, high)
    return fill(self, "UniformBackward0",
                lambda a: random_fill.uniform(a, engine, low, high))


def check_mean_std(held: dtype, std: float) -> None:
    """Raise where normals cannot be drawn in ``held``, or with the deviation ``std``."""
    if not std >= 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
    if held not in _DRAWN:
        raise refuse_dtype("normal_kernel_cpu", held)


@public("Tensor")
def normal_(self: Tensor, mean: float = 0, std: float = 1, *,
            generator: Generator | None = None) -> Tensor:
    """Fill with normals of the given mean and standard deviation (>= 0, else RuntimeError).

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.zeros(2).normal_()
    tensor([ 1.5410, -0.2934])
    """
    mean, std = number("normal_", "mean", 1, mean), number("normal_", "std", 2, std)
    engine = engine_of("normal_", generator)
    check_mean_std(self.dtype, std)
    return fill(self, "NormalBackward0", lambda a: random_fill.normal(a, engine, mean, std))


def whole(name: str, value: Any) -> int:
    """``value`` as an integer of 64 bits; raises where it is none."""
    if isinstance(value, Tensor) and value._a.ndim == 0 and value._a.dtype.kind in "biu":
        value = value.item()
    if type(value) is not int:
        try:
            value = operator.index(value)
        except TypeError:
            raise TypeError(f"{name}() received an invalid combination of arguments - got "
                            f"({type(value).__name__}), but expected one of:") from None
    if not -2**63 <= value < 2**63:
        raise ValueError("Overflow when unpacking long long")
    return value


def check_integers(held: dtype, low: int, last: int) -> None:
    """Raise where the integers from ``low`` to ``last`` are beyond what ``held`` holds."""
    if held is dtypes.int64 and -2**63 <= low and last < 2**63:
        return
    if held.category > dtypes.FLOAT:
        raise RuntimeError("check_random_bounds handles only integral, floating-point and boolean "
                           "types")
    if held.is_floating_point and held.name not in _DIGITS:
        raise refuse_dtype("random_update_from_to", held)
    least, most = _integer_limits(held)
    for argument, value in (("from", low), ("to - 1", last)):
        if not least <= value <= most:
            raise RuntimeError(f"{argument} is out of bounds for "
                               f"{_C_NAMES.get(held.name, held.name)}")
    digits = _DIGITS.get(held.name)
    if digits is None or max(abs(low), abs(last)) <= 2**digits:
        return
    for argument, value in (("from", low), ("to - 1", last)):
        if abs(value) > 2**digits:
            warnings.warn(
                f"{argument} is out of bounds [-(2^{digits}), 2^{digits}]. Due to precision "
                f"limitations {_C_NAMES[held.name]} can support discrete uniform distribution "
                "only within this range. This warning will become an error in version 1.7 "
                "release, please fix the code in advance", stacklevel=4)


@functools.cache
def _integer_limits(held: dtype) -> tuple[float, float]:
    if held is dtypes.bool_:
        return 0, 1
    if held.is_floating_point:
        return -_LARGEST[held.name], _LARGEST[held.name]
    limits = np.iinfo(held.np)
    return int(limits.min), int(limits.max)


def draw_integers(held: dtype, low: int, high: int) -> Callable:
    """A function of (array, engine) that fills with integers of [low, high); raises if none."""
    if low >= high:
        raise RuntimeError("random_ expects 'from' to be less than 'to', but got "
                           f"from={low} >= to={high}")
    check_integers(held, low, high - 1)
    return lambda a, engine: random_fill.random_from_to(a, engine, low, high)


def _draw_from(held: dtype, low: int) -> Callable:
    """As ``draw_integers``, up to the largest integer that ``held`` holds exactly."""
    if low != -2**63:
        digits = _DIGITS.get(held.name)
        last = 2**digits if digits else int(_integer_limits(held)[1])
        check_integers(held, low, min(low, last))
        if digits and low > last:
            raise RuntimeError("random_ expects 'from' casted to dtype to be less than or equal "
                               f"to 'to_inc' casted to dtype, but got from={low} > to_inc={last}")
    return lambda a, engine: random_fill.random_from(a, engine, low)


@public("Tensor")
def random_(self: Tensor, *bounds: int, generator: Generator | None = None,
            **by_name: Any) -> Tensor:
    """Fill with integers: of [from, to), of [0, to), or, without bounds, all that the dtype holds.

    ``random_(from, None)`` goes up to the largest integer that the dtype holds exactly. Bounds
    beyond the dtype raise RuntimeError.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.zeros(4, dtype=torch.int64).random_(0, 10)
    tensor([4, 9, 3, 0])
    """
    if len(bounds) == 1 and not by_name:
        bounds = (0, bounds[0])
        node = "RandomBackward1"
    else:
        node = "RandomBackward0" if bounds or "from" in by_name else "RandomBackward1"
    low, high = _bounds("random_", bounds, by_name, 0, None)
    engine, held = engine_of("random_", generator), self.dtype
    if not bounds and not by_name:
        if held.name not in _DIGITS and held not in INTEGERS and held is not dtypes.bool_:
            raise refuse_dtype("random_kernel_cpu", held)
        return fill(self, "RandomBackward2", lambda a: random_fill.random_full(a, engine))
    low = whole("random_", low)
    draw = (_draw_from(held, low) if high is None
            else draw_integers(held, low, whole("random_", high)))
    return fill(self, node, lambda a: draw(a, engine))


def check_probability(held: dtype, p: float) -> None:
    """Raise where ``p`` is no probability, or ``held`` cannot be filled with its draws."""
    if not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p:g}")
    if held not in PLAIN_FLOATS and held not in INTEGERS and held is not dtypes.bool_:
        raise refuse_dtype("bernoulli_scalar_cpu_", held)


def check_probabilities(p: ndarray, held: dtype) -> None:
    """Raise where ``p`` are not probabilities, or ``held`` cannot be filled with their draws."""
    if held not in PLAIN_FLOATS and held not in INTEGERS and held is not dtypes.bool_:
        raise refuse_dtype("bernoulli_tensor_cpu_self_", held)
    if FROM_NUMPY[p.dtype] not in PLAIN_FLOATS:
        raise refuse_dtype("bernoulli_tensor_cpu_p_", FROM_NUMPY[p.dtype])
    if p.size <= _FEW and all([0 <= v <= 1 for v in p.reshape(-1).tolist()]):
        return
    if p.size and not (np.minimum.reduce(p, axis=None) >= 0 and
                       np.maximum.reduce(p, axis=None) <= 1):
        raise RuntimeError(
            "Expected p_in >= 0 && p_in <= 1 to be true, but got false.  (Could this error message "
            "be improved?  If so, please report an enhancement request to PyTorch.)\n\n"
            "  a probability is below 0, above 1 or NaN")


@public("Tensor")
def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fill with 1 where a uniform is below ``p``, else 0; ``p`` is a number or a tensor.

    RuntimeError where ``p`` is not in [0, 1] or, a tensor, does not expand to this one.
    """
    engine = engine_of("bernoulli_", generator)
    if isinstance(p, Tensor):
        odds = p._a
        _check_expands(odds.shape, self._a.shape)
        check_probabilities(odds, self.dtype)
        return fill(self, "BernoulliBackward1",
                    lambda a: random_fill.bernoulli_array(a, engine, odds), (p,))
    if not isinstance(p, (int, float, np.number)):
        raise TypeError("bernoulli_() received an invalid combination of arguments - got "
                        f"({type(p).__name__}), but expected one of:")
    p = float(p)
    check_probability(self.dtype, p)
    return fill(self, "BernoulliBackward2", lambda a: random_fill.bernoulli_scalar(a, engine, p))


def _check_expands(have: tuple, want: tuple) -> None:
    if len(have) > len(want):
        raise RuntimeError(f"expand({{{list(have)}}}, size={list(want)}): the number of sizes "
                           f"provided ({len(want)}) must be greater or equal to the number of "
                           f"dimensions in the tensor ({len(have)})")
    extra = len(want) - len(have)
    for at, n in reversed(list(enumerate(have))):
        if n not in (1, want[at + extra]):
            raise RuntimeError(
                f"The expanded size of the tensor ({want[at + extra]}) must match the existing "
                f"size ({n}) at non-singleton dimension {at + extra}.  Target sizes: "
                f"{list(want)}.  Tensor sizes: {list(have)}")


def _continuous(self: Tensor, title: str, spelled: str) -> None:
    if not self.dtype.is_floating_point:
        raise RuntimeError(f"{title} distribution is a continuous probability distribution. dtype "
                           f"must be a floating point but you specified {spelled}")


def _require_dtype(kernel: str, held: dtype, allowed: tuple = PLAIN_FLOATS) -> None:
    if held not in allowed:
        raise refuse_dtype(kernel, held)


@public("Tensor")
def exponential_(self: Tensor, lambd: float = 1, *, generator: Generator | None = None) -> Tensor:
    """Fill with exponential variates of rate ``lambd`` (> 0, else RuntimeError)."""
    rate = number("exponential_", "lambd", 1, lambd)
    engine = engine_of("exponential_", generator)
    _continuous(self, "Exponential", self.dtype.title)
    if not rate > 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={rate:g}")
    _require_dtype("exponential_cpu", self.dtype)
    return fill(self, "ExponentialBackward0",
                lambda a: random_fill.exponential(a, engine, rate))


@public("Tensor")
def geometric_(self: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Fill with the number of trials up to the first success of probability ``p``, in (0, 1)."""
    p = number("geometric_", "p", 1, p)
    engine = engine_of("geometric_", generator)
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p:g}")
    _require_dtype("geometric_cpu", self.dtype, (*PLAIN_FLOATS, *INTEGERS))
    return fill(self, "GeometricBackward0", lambda a: random_fill.geometric(a, engine, p))


@public("Tensor")
def log_normal_(self: Tensor, mean: float = 1, std: float = 2, *,
                generator: Generator | None = None) -> Tensor:
    """Fill with exp of normals of the given mean and standard deviation (> 0)."""
    mean, std = number("log_normal_", "mean", 1, mean), number("log_normal_", "std", 2, std)
    engine = engine_of("log_normal_", generator)
    if not std > 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std:g}")
    _require_dtype("log_normal_cpu", self.dtype)
    return fill(self, "LogNormalBackward0",
                lambda a: random_fill.log_normal(a, engine, mean, std))


@public("Tensor")
def cauchy_(self: Tensor, median: float = 0, sigma: float = 1, *,
            generator: Generator | None = None) -> Tensor:
    """Fill with Cauchy variates around ``median`` of scale ``sigma`` (> 0)."""
    median = number("cauchy_", "median", 1, median)
    sigma = number("cauchy_", "sigma", 2, sigma)
    engine = engine_of("cauchy_", generator)
    if not sigma > 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma:g}")
    _continuous(self, "Cauchy", _C_NAMES.get(self.dtype.name, self.dtype.name))
    _require_dtype("cauchy_cpu", self.dtype)
    return fill(self, "CauchyBackward0",
                lambda a: random_fill.cauchy(a, engine, median, sigma))
