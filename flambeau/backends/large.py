"""Large arrays, for eager mode: generated kernels on the thread pool, or None to say "use NumPy".

llvmlite is imported at the first large call. Where it is absent, with FLAMBEAU_BACKEND=numpy, and
for every case not covered, the functions return None and the caller computes with NumPy.
"""

import functools
import math
import threading
import warnings
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from flambeau.backends import memory
from flambeau.backends.memory_order import result_axes
from flambeau.base import config

# fewer items than this are done before a kernel on two threads has started
MIN_ITEMS = 1 << 15
# columns from which a broadcast row is worth a loop of its own, and a row a reduction
MIN_COLUMNS = 32

NUMBERS = (np.float32, np.float64, np.int32, np.int64)
# powers that PyTorch computes without pow
_POWERS = {2.0: "square", 0.5: "sqrt", -0.5: "rsqrt", -1.0: "reciprocal"}
_PRODUCTS = (3.0, -2.0)

_start_lock = threading.Lock()


@functools.cache
def load() -> SimpleNamespace | None:
    """The modules that make kernels; None where there are to be none."""
    if config.backend() == "numpy":
        return None
    with _start_lock:
        try:
            # llvmlite takes 30 ms to import, and may be absent
            from flambeau.backends.llvm import (
                calls,
                expressions,
                pool,
                program,
                reduce,
                rows,
                strided,
            )

            pool.ensure_started()
            calls.launcher()
        except ImportError:
            return None
        except RuntimeError as error:
            message = f"no generated kernels on this machine, NumPy is used instead: {error}"
            warnings.warn(message, RuntimeWarning, stacklevel=3)
            return None
    modules = (calls, expressions, pool, program, reduce, rows, strided)
    return SimpleNamespace(**{module.__name__.rpartition(".")[2]: module for module in modules})


def available() -> bool:
    """Whether large arrays are computed by generated kernels in this process."""
    return load() is not None


def started() -> bool:
    """Whether it is known already: asking again costs nothing."""
    return load.cache_info().currsize > 0


def pointwise(name: str, *operands: Any, out: np.ndarray | None = None) -> np.ndarray | None:
    """Apply one instruction item by item; None when the case is not covered.

    operands: ndarrays of one dtype (float32, float64, int32, int64) that broadcast to 32,768 items
    or more, and Python numbers. Comparisons give bool. The result's axes lie in memory in the order
    that `result_axes` gives. `out` is written where given: C-contiguous, of the
    result's shape and dtype; it may be an operand itself.

    >>> import numpy as np
    >>> ones = np.ones(100_000, np.float32)
    >>> result = pointwise("add", ones, 2.0)
    >>> result is None or float(result[-1]) == 3.0
    True
    """
    found = _again(name, operands, out)
    if found is not None:
        return found
    lead = lead_of(operands)
    if lead is None or _arities().get(name) != len(operands):
        return None
    if lead.size < MIN_ITEMS and not _spread_far(operands):
        return None
    program = _program()
    if lead.dtype.type not in NUMBERS or not lead.dtype.isnative:
        return None
    if lead.dtype.kind == "i" and program.INSTRUCTIONS[name].domain == "float":
        return None
    if name in program.SINGLE and name != "pow" and lead.dtype != np.float32:
        return None
    llvm = load()
    if llvm is None:
        return None
    if name == "pow":
        return _pow(llvm, lead, operands, out)
    if name in program.LIMITED and not within(lead, program.TRIG_LIMIT):
        return None
    return _run(llvm, name, lead, operands, out)


NO_NUMBER = -1
# kernels that ran on dense arrays: by instruction, dtype, operands, and which is one number
_ran: dict[tuple[str, np.dtype, int, int], Any] = {}


def _again(name: str, operands: Sequence[Any], out: np.ndarray | None) -> np.ndarray | None:
    """What `pointwise` gives, where its kernel for such dense arrays has run before.

    They are one array, two of one shape, or one and an array without dimensions.
    """
    if not 1 <= len(operands) <= 2 or type(operands[0]) is not np.ndarray:
        return None
    lead, number = operands[0], NO_NUMBER
    dtype = lead.dtype
    if len(operands) == 2:
        other = operands[1]
        if type(other) is not np.ndarray or other.dtype is not dtype:
            return None
        if other.shape != lead.shape:
            number = 1 if lead.ndim else 0
            lead, other = operands[1 - number], operands[number]
            if other.ndim:
                return None
        elif not (other.flags.c_contiguous and other.flags.aligned):
            return None
    kernel = _ran.get((name, dtype, len(operands), number))
    flags = lead.flags
    if kernel is None or lead.size < MIN_ITEMS or not (flags.c_contiguous and flags.aligned):
        return None
    return run(kernel, lead.shape, operands, out)


def _spread_far(operands: Sequence[Any]) -> bool:
    """Whether arrays, each of few items, broadcast to many."""
    arrays = [item for item in operands if type(item) is np.ndarray]
    if math.prod([a.size for a in arrays]) < MIN_ITEMS:
        return False
    try:
        return math.prod(np.broadcast_shapes(*[a.shape for a in arrays])) >= MIN_ITEMS
    except ValueError:
        return False


def knows(name: str) -> bool:
    """Whether `pointwise` has an instruction of this name."""
    return name in _arities()


def takes(name: str, count: int) -> bool:
    """Whether this is an instruction of so many numbers, right for all of them."""
    return _arities().get(name) == count and name not in _program().LIMITED


@functools.cache
def _program() -> Any:
    """How kernels are described."""
    # Programs of small arrays need none, and start sooner without.
    from flambeau.backends.llvm import program

    return program


@functools.cache
def _arities() -> dict[str, int]:
    """How many operands each instruction on numbers takes."""
    return {name: signature.arity for name, signature in _program().INSTRUCTIONS.items()
            if signature.domain != "bool" and signature.result != "select"}


def lead_of(operands: Sequence[Any]) -> np.ndarray | None:
    """Return the largest array: its shape is the result's."""
    best = None
    for item in operands:
        if type(item) is np.ndarray and (best is None or item.size > best.size):
            best = item
    return best


def _run(
    llvm: SimpleNamespace,
    name: str,
    lead: np.ndarray,
    operands: tuple[Any, ...],
    out: np.ndarray | None,
) -> np.ndarray | None:
    ins, layouts = [], []
    for item in operands:
        array, layout = place(item, lead)
        if type(array) is not np.ndarray or array.dtype != lead.dtype:
            return None
        ins.append(array)
        layouts.append(layout)
    compares = llvm.program.INSTRUCTIONS[name].result == "bool"
    dtype = np.dtype(np.bool_) if compares else lead.dtype
    if not walks_rows(layouts, lead):
        program = _kernel(name, lead.dtype.char, ("array",) * len(ins)).program
        return None if out is not None else anyhow(program, ins, dtype)
    kernel = _kernel(name, lead.dtype.char, tuple(layouts))
    found = run(kernel, lead.shape, ins, out)
    if found is not None:
        _remember(name, lead.dtype, layouts, kernel)
    return found


def _remember(name: str, dtype: np.dtype, layouts: Sequence[Any], kernel: Any) -> None:
    """Let `_again` use a kernel, where it is the right one for all such operands."""
    if name in _program().LIMITED or not {"array", "scalar"}.issuperset(layouts):
        return
    number = layouts.index("scalar") if "scalar" in layouts else NO_NUMBER
    if name == "pow" and number != NO_NUMBER:
        return
    _ran[name, dtype, len(layouts), number] = kernel


def run(
    kernel: Any, shape: tuple[int, ...], ins: Sequence[np.ndarray], out: np.ndarray | None
) -> np.ndarray | None:
    """Run a kernel of one result on operands that `place` has laid as its program says.

    The result is new, or `out`; None, with nothing done, where that cannot be written.
    """
    fresh = out is None
    if out is None:
        out = memory.empty(shape, kernel.outputs[0])
    elif not usable_out(out, shape, kernel.outputs[0], ins):
        return None
    if kernel.by_rows:
        kernel.run((out,), ins, fresh)
    else:
        kernel.run_checked((out,), ins, out.size, fresh)
    return out


def place(item: Any, lead: np.ndarray) -> tuple[Any, str | None]:
    """Return the operand as an array and how it is laid over the lead's items, None if not."""
    if type(item) is not np.ndarray:
        return _scalar(item, lead.dtype)
    flags = item.flags
    if not (flags.c_contiguous and flags.aligned) or item.dtype != lead.dtype:
        return item, None
    if item is lead or item.shape == lead.shape:
        return item, "array"
    if item.ndim > lead.ndim:
        return item, None
    if item.size == 1:
        return item, "scalar"
    if item.size == lead.shape[-1] and item.shape[-1] == item.size:
        return item, "row"
    if item.shape == (*lead.shape[:-1], 1):
        return item, "column"
    return item, None


def dense_layout(a: np.ndarray, shape: tuple[int, ...]) -> str | None:
    """How a dense array of this shape, or one item, lies over the elements; None for others."""
    if not (a.flags.c_contiguous and a.flags.aligned):
        return None
    if a.shape == shape:
        return "array"
    return "scalar" if a.size == 1 else None


def walks_rows(layouts: Sequence[str | None], lead: np.ndarray) -> bool:
    """Whether the operands are whole, or laid over rows and columns of some length."""
    if None in layouts:
        return False
    return not ("row" in layouts or "column" in layouts) or lead.shape[-1] >= MIN_COLUMNS


def anyhow(program: Any, ins: Sequence[np.ndarray], dtype: np.dtype) -> np.ndarray | None:
    """Run a pointwise program whose inputs are arrays of any strides that broadcast together."""
    llvm = load()
    assert llvm is not None
    if not all(a.flags.aligned for a in ins):
        return None
    arranged = _broadcast(tuple([a.shape for a in ins]))
    if arranged is None:
        return None
    if 0 in arranged:
        return np.empty(arranged, dtype)
    shape, order = arranged, result_axes(arranged, ins)
    if order is None:
        out = memory.empty(shape, dtype)
        return out if llvm.strided.run(program, (out,), ins) else None
    out = memory.empty(tuple([shape[axis] for axis in order]), dtype)
    views = [np.broadcast_to(a, shape).transpose(order) for a in ins]
    if not llvm.strided.run(program, (out,), views):
        return None
    back = sorted(range(len(order)), key=order.__getitem__)
    return out.transpose(back)


@functools.lru_cache(1 << 10)
def _broadcast(shapes: tuple[tuple[int, ...], ...]) -> tuple[int, ...] | None:
    """The shape that these broadcast to; None where they do not."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        return None


def _scalar(item: Any, dtype: np.dtype) -> tuple[Any, str | None]:
    """A Python number as one item; integers only where the dtype holds them."""
    if isinstance(item, (bool, int)) or (isinstance(item, float) and dtype.kind == "f"):
        try:
            # 0.0 and -0.0 are one key
            return _number(item, dtype) if item else np.array(item, dtype), "scalar"
        except OverflowError:
            return item, None
    return item, None


@functools.lru_cache(1 << 10)
def _number(value: float, dtype: np.dtype) -> np.ndarray:
    """A number as an array, which is only read."""
    return np.array(value, dtype)


@functools.cache
def _kernel(name: str, char: str, layouts: tuple[str, ...]) -> Any:
    llvm = load()
    assert llvm is not None
    program = llvm.program
    kind = llvm.calls.KINDS[np.dtype(char)]
    inputs = tuple(program.Input(kind, layout) for layout in layouts)
    step = program.Step(name, tuple(range(len(inputs))))
    return llvm.calls.pointwise_kernel(program.Pointwise(inputs, (step,), (len(inputs),)))


def usable_out(
    out: np.ndarray, shape: tuple[int, ...], dtype: np.dtype, ins: Sequence[np.ndarray]
) -> bool:
    """Whether a kernel can write its result into `out`."""
    if type(out) is not np.ndarray or out.shape != shape or out.dtype != dtype:
        return False
    flags = out.flags
    if not (flags.c_contiguous and flags.aligned and flags.writeable):
        return False
    llvm = load()
    assert llvm is not None
    return not any(item is not out and llvm.calls.may_overlap(out, item) for item in ins)


def _pow(
    llvm: SimpleNamespace, lead: np.ndarray, operands: tuple[Any, ...], out: np.ndarray | None
) -> np.ndarray | None:
    """float32, and those powers of float64 that need no pow."""
    base, exponent = operands
    if type(exponent) is np.ndarray and not exponent.ndim:
        exponent = exponent.item()
    if base is lead and isinstance(exponent, (int, float)):
        name = _POWERS.get(exponent)
        if name is not None:
            return _run(llvm, name, lead, (base,), out)
        if exponent in _PRODUCTS:
            return None
    if lead.dtype != np.float32:
        return None
    return _run(llvm, "pow", lead, operands, out)


def within(array: np.ndarray, bound: float) -> bool:
    """Whether every item is at most this large, or no number; by kernels, which there are."""
    llvm = load()
    assert llvm is not None
    if not (array.flags.c_contiguous and array.flags.aligned):
        return False
    largest = llvm.reduce.run_blocks(_largest(array.dtype.char), array, 1)[0]
    return bool(largest <= bound)


@functools.cache
def _largest(char: str) -> Any:
    """max(|x|), NaN taken as 0."""
    llvm = load()
    assert llvm is not None
    program = llvm.program
    kind = llvm.calls.KINDS[np.dtype(char)]
    steps = (
        program.Step("abs", (0,)),
        program.Step("eq", (0, 0)),
        program.Step("const", (), 0.0, kind),
        program.Step("select", (2, 1, 3)),
    )
    return program.Reduction(program.Pointwise((program.Input(kind),), steps, (4,)), "max", kind)
