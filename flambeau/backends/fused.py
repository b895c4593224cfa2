"""Elementwise formulas of large arrays as one kernel, or None to say "use NumPy".

A formula is a Python function of arrays and parameters that computes with operators and with the
functions of a namespace `on`. `ON_ARRAYS` runs it with NumPy, a kernel's namespace writes it down
as a program; with tensors' functions it can be differentiated.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from flambeau.backends import large, memory
from flambeau.backends.numpy.erf import erf
from flambeau.backends.replay import replayed

# fewer items than this are sooner done by NumPy's own loops
MIN_ITEMS = 1 << 12


def _clip(x: Any, low: Any, high: Any) -> Any:
    """``np.clip`` without its way through Python."""
    if low is not None:
        x = np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


def _fma(x: Any, y: Any, z: Any) -> Any:
    """``x * y + z``; float32 rounded once: in float64 the product is exact."""
    if x.dtype != np.float32:
        return x * y + z
    return (np.multiply(x, np.float32(y), dtype=np.float64) + z).astype(np.float32)


ON_ARRAYS = SimpleNamespace(
    abs=np.abs,
    fma=_fma,
    exp=np.exp,
    expm1=np.expm1,
    log=np.log,
    log1p=np.log1p,
    tanh=np.tanh,
    erf=erf,
    where=np.where,
    clip=_clip,
    sign=np.sign,
    sigmoid=lambda x: 1 / (1 + np.exp(-x)),
    softplus=lambda x: np.logaddexp(x, 0),
    maximum=np.maximum,
    minimum=np.minimum,
    normal_cdf=lambda x: 0.5 * (1 + erf(x * math.sqrt(0.5))),
    normal_density=lambda x: np.exp(-0.5 * (x * x)) * (1 / math.sqrt(2 * math.pi)),
    conj=lambda x: x.conj() if x.dtype.kind == "c" else x,
)
Formula = Callable[..., Any]
_FLOATS = (np.float32, np.float64)


def forward(formula: Formula) -> Callable[..., Any]:
    """``formula(on, *arrays, **params)`` as a function of arrays: one kernel where they are large.

    >>> import numpy as np
    >>> silu = forward(lambda on, x: x * on.sigmoid(x))
    >>> silu(np.zeros(3))
    array([0., 0., 0.])
    """

    on_small = replayed(functools.partial(formula, ON_ARRAYS))
    names = formula.__code__.co_varnames[1 : formula.__code__.co_argcount]

    def run(*arrays: Any, **params: Any) -> Any:
        if arrays[0].size >= MIN_ITEMS:
            found = pointwise(formula, arrays, params)
            if found is not None:
                return found
        if type(arrays[-1]) is not np.ndarray:
            count = next(k for k, a in enumerate(arrays) if type(a) is not np.ndarray)
            params = {**dict(zip(names[count:], arrays[count:])), **params}
            arrays = arrays[:count]
        return on_small(*arrays, **params)

    run.formula = formula  # type: ignore[attr-defined]
    return run


def pointwise(
    formula: Formula,
    args: Sequence[Any],
    params: Mapping[str, Any] | None = None,
    on: bool = True,
    out: np.ndarray | None = None,
) -> np.ndarray | None:
    """Run a formula as one kernel; None when the case is not covered.

    Arrays are those that `large.pointwise` takes, of float32 or float64; numbers may change from
    call to call, other parameters make a kernel of their own. The formula's first argument is the
    namespace of functions where `on`. `out` is written where given: C-contiguous, of the result's
    shape and dtype; it may be an operand itself.
    """
    params = params or {}
    lead = large.lead_of(args)
    if lead is None or lead.size < MIN_ITEMS or lead.dtype.type not in _FLOATS:
        return None
    llvm = large.load()
    if llvm is None:
        return None
    ins: list[np.ndarray] = []
    layouts: list[Any] = []
    for value in (*args, *params.values()):
        if value is None or isinstance(value, (str, bool)):
            layouts.append((value,))
            continue
        array, layout = large.place(value, lead)
        if type(array) is not np.ndarray or array.dtype != lead.dtype:
            return None
        ins.append(array)
        layouts.append(layout)
    names, whole = tuple(params), large.walks_rows([v for v in layouts if type(v) is str], lead)
    if None in layouts or not whole:
        layouts = [v if isinstance(v, tuple) else "array" for v in layouts]
        kernel = _kernel(formula, lead.dtype.char, tuple(layouts), names, on)
        if kernel is None or out is not None:
            return None
        return large.anyhow(kernel.program, ins, kernel.outputs[0])
    kernel = _kernel(formula, lead.dtype.char, tuple(layouts), names, on)
    if kernel is None:
        return None
    return large.run(kernel, lead.shape, ins, out)


@functools.lru_cache(maxsize=1024)
def _kernel(
    formula: Formula, char: str, layouts: tuple[Any, ...], names: tuple[str, ...], on: bool
) -> Any:
    """The kernel of a formula, None where it cannot be written down; a tuple is a value itself."""
    llvm = large.load()
    assert llvm is not None
    b = llvm.expressions.Builder()
    kind = llvm.calls.KINDS[np.dtype(char)]
    values = [v[0] if isinstance(v, tuple) else b.input(kind, v) for v in layouts]
    count = len(values) - len(names)
    named = dict(zip(names, values[count:], strict=True))
    try:
        result = formula(*((b.on,) if on else ()), *values[:count], **named)
    except (TypeError, AttributeError):
        return None
    if not isinstance(result, llvm.expressions.Symbol):
        return None
    return llvm.calls.pointwise_kernel(b.pointwise(result))


def choose(
    mask: np.ndarray, first: np.ndarray, second: np.ndarray, out: np.ndarray | None = None
) -> np.ndarray | None:
    """``first`` where ``mask``, of bools, holds, else ``second``; broadcast, by one kernel.

    `out`, where given, is dense and of the result's shape, and may be ``second`` itself. None when
    the case is not covered: small arrays, and dtypes that are not of numbers or differ.

    >>> import numpy as np
    >>> found = choose(np.ones(40_000, bool), np.zeros(()), np.ones(()))
    >>> found is None or float(found.sum()) == 0.0
    True
    """
    if max(mask.size, first.size, second.size) < large.MIN_ITEMS or first.dtype != second.dtype:
        return None
    llvm = large.load()
    if llvm is None or first.dtype.type not in large.NUMBERS or not first.dtype.isnative:
        return None
    operands = (mask, first, second)
    kind = llvm.calls.KINDS[first.dtype]
    shape = np.broadcast_shapes(*[a.shape for a in operands])
    layouts = tuple([large.dense_layout(a, shape) for a in operands])
    if None in layouts and out is not None:
        return None
    if None in layouts:
        kernel = _choosing(kind, ("array",) * 3)
        found: np.ndarray | None = large.anyhow(kernel.program, operands, first.dtype)
        return found
    fresh = out is None
    if out is None:
        out = memory.empty(shape, first.dtype)
    _choosing(kind, layouts).run((out,), operands, fresh)
    return out


@functools.cache
def _choosing(kind: str, layouts: tuple[str, ...]) -> Any:
    llvm = large.load()
    assert llvm is not None
    b = llvm.expressions.Builder()
    kinds = ("bool", kind, kind)
    return llvm.calls.pointwise_kernel(b.pointwise(b.on.where(
        *[b.input(k, layout) for k, layout in zip(kinds, layouts, strict=True)])))
