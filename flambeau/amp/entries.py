"""Operators that look at autocast's state: their code is exchanged once it is first switched on.

Before that, and in programs without autocast, nothing is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import prod
from types import CodeType, FunctionType
from typing import Any

from flambeau.amp import policy
from flambeau.amp.state import ON_ENABLE, STATE
from flambeau.base import dtypes
from flambeau.base.dtypes import dtype
from flambeau.core.exchange import Exchange
from flambeau.core.face import FACES
from flambeau.core.function_modes import methods_as_they_are
from flambeau.core.node import LEAF
from flambeau.core.tensor import Tensor

__all__ = ["cast", "install", "is_eligible", "named"]


def is_eligible(t: Tensor) -> bool:
    """Whether autocast casts this tensor: a floating one, but not float64."""
    d = t.dtype
    return d.is_floating_point and d is not dtypes.float64


def cast(value: Any, to: dtype) -> Any:
    """``value`` with the tensors in it that autocast casts, also those in lists, in this dtype."""
    if isinstance(value, Tensor):
        return _cast_tensor(value, to) if is_eligible(value) and value.dtype is not to else value
    if isinstance(value, (list, tuple)) and any(isinstance(x, Tensor) for x in value):
        return type(value)([cast(x, to) for x in value])
    return value


def _cast_tensor(t: Tensor, to: dtype) -> Tensor:
    """A cast; of leaves that record (weights) it is kept, to be used again until autocast ends."""
    kept = (t._node is LEAF and STATE.cache_enabled and t.dtype is dtypes.float32
            and to is STATE.lower and not t._is_view())
    if not kept:
        return t.to(to)
    found = STATE.cache.get(id(t))
    if found is None:
        found = STATE.cache[id(t)] = (t, t.to(to))
    return found[1]


def _cast_all(to: dtype, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    return tuple([cast(x, to) for x in args]), {k: cast(x, to) for k, x in kwargs.items()}


Choose = Callable[[tuple, dict], "dtype | None"]


def _entry(original: Callable, choose: Choose, result: bool = False) -> Callable:
    """``original`` of cast arguments (or, where ``result``, with a cast result) while it is on."""
    def call(*args: Any, **kwargs: Any) -> Any:
        lower = STATE.lower
        if lower is None or kwargs.get("out") is not None:
            return original(*args, **kwargs)
        try:
            to = choose(args, kwargs)
        except (AttributeError, IndexError, TypeError):
            to = None  # the operator itself says what is wrong with its arguments
        if to is not None and not result:
            args = tuple([cast(x, to) for x in args])
            kwargs = {k: cast(x, to) for k, x in kwargs.items()}
        # what the operator is made of runs in the dtype chosen for it
        STATE.lower = None
        try:
            found = original(*args, **kwargs)
        finally:
            STATE.lower = lower
        return cast(found, to) if result and to is not None else found

    return call


# What each of these returns is the dtype to cast to; None leaves the arguments as they are.

def _lower(args: tuple, kwargs: dict) -> dtype | None:
    return STATE.lower


def _float32(args: tuple, kwargs: dict) -> dtype | None:
    return dtypes.float32


def _untouched(args: tuple, kwargs: dict) -> dtype | None:
    return None


def _widest(args: tuple, kwargs: dict) -> dtype | None:
    """float32 where a tensor has it, else the lower precision."""
    widest = STATE.lower
    for x in (*args, *kwargs.values()):
        for t in x if isinstance(x, (list, tuple)) else (x,):
            if not (isinstance(t, Tensor) and is_eligible(t)):
                continue
            if widest is dtypes.float32 or t.dtype is dtypes.float32:
                widest = dtypes.float32
            elif t.dtype is not widest:
                raise RuntimeError("Unexpected floating ScalarType in at::autocast::prioritize")
    return widest


def _as_input(args: tuple, kwargs: dict) -> dtype | None:
    """The lower precision where the input has it: states stay wider than gates otherwise."""
    found = args[0].dtype
    if found is STATE.lower:
        return found
    return dtypes.float32 if found in (dtypes.float16, dtypes.bfloat16) else None


def _unless_indices(args: tuple, kwargs: dict) -> dtype | None:
    with_indices = kwargs.get("return_indices", args[6] if len(args) > 6 else False)
    return None if with_indices else dtypes.float32


def _unless_constant(args: tuple, kwargs: dict) -> dtype | None:
    """float32 for padding that repeats or (in one and two dimensions) mirrors."""
    pad = kwargs.get("pad", args[1] if len(args) > 1 else ())
    mode = kwargs.get("mode", args[2] if len(args) > 2 else "constant")
    wide = mode == "replicate" or mode == "reflect" and len(pad) <= 4
    return dtypes.float32 if wide else None


def _unless_one(args: tuple, kwargs: dict) -> dtype | None:
    """The lower precision, but where the result is one number, a product of vectors."""
    a, b = (args + tuple(kwargs.values()))[:2]
    dims: Any = kwargs.get("dims", args[2] if len(args) > 2 else 2)
    left: Any
    right: Any
    if isinstance(dims, int):
        left, right = range(a.ndim - dims, a.ndim), range(dims)
    else:
        left, right = ([d] if isinstance(d, int) else d for d in dims)
    sizes = [n for t, gone in ((a, left), (b, right)) for d, n in enumerate(t.shape)
             if d not in gone and d - t.ndim not in gone]
    return None if prod(sizes) == 1 else STATE.lower


def _unless_vectors(args: tuple, kwargs: dict) -> dtype | None:
    a, b = (args + tuple(kwargs.values()))[:2]
    return STATE.lower if min(a.ndim, b.ndim) > 0 and max(a.ndim, b.ndim) > 1 else None


def _if_it_contracts(args: tuple, kwargs: dict) -> dtype | None:
    """The lower precision where einsum sums over an index that operands share."""
    equation = args[0]
    if not isinstance(equation, str):
        return STATE.lower
    terms, arrow, result = equation.replace(" ", "").replace("...", "").partition("->")
    operands = [set(term) for term in terms.split(",")]
    shared = {i for n, term in enumerate(operands) for i in term
              if any(i in other for other in operands[n + 1:])}
    if arrow:
        shared -= set(result)
    return STATE.lower if shared else None


_BY_NAME: dict[str, Choose] = {
    **dict.fromkeys(policy.LOWER, _lower), **dict.fromkeys(policy.FLOAT32, _float32),
    **dict.fromkeys(policy.WIDEST, _widest), **dict.fromkeys(policy.UNTOUCHED, _untouched),
    "einsum": _if_it_contracts, "gru": _as_input, "gru_cell": _as_input, "inner": _unless_vectors,
    "lstm_cell": _as_input, "max_pool3d": _unless_indices, "pad": _unless_constant,
    "tensordot": _unless_one,
}


def _plan() -> Iterator[tuple[str, Callable[[Callable], Callable]]]:
    for name, choose in _BY_NAME.items():
        yield name, partial(_entry, choose=choose)
    for name in policy.LOWER_RESULT:
        yield name, partial(_entry, choose=_lower, result=True)


def named(name: str) -> list[FunctionType]:
    """The public functions of this name, as functions of modules and as methods."""
    found = [face[name] for face in FACES.values() if name in face or name in face.later]
    method = getattr(Tensor, name, None)
    return [f for f in (*found, method) if isinstance(f, FunctionType)]


# what was exchanged, with its code since then
_exchanged: list[tuple[FunctionType, CodeType]] = []


def install() -> None:
    """Have the operators look at the state from here on; again, where that was undone."""
    if not _is_installed():
        with methods_as_they_are():
            if not _is_installed():
                _exchange_all()


def _is_installed() -> bool:
    return bool(_exchanged) and _exchanged[0][0].__code__ is _exchanged[0][1]


def _exchange_all() -> None:
    _exchanged.clear()
    seen: set[int] = set()
    for name, replace in _plan():
        for function in named(name):
            if id(function) not in seen:
                seen.add(id(function))
                Exchange(function, replace)
                _exchanged.append((function, function.__code__))


ON_ENABLE.append(install)
