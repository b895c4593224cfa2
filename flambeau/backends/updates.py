"""Updates of many arrays in place by one elementwise rule: one generated kernel, or NumPy calls.

A rule is a Python function that writes steps with a `Writer`, once; an `Update` is what it wrote.
It runs on any number of rows, each the arrays of one parameter: the parameter, its gradient, what
is remembered of earlier gradients. Both ways give the same bits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from flambeau.backends import large, libm
from flambeau.backends.llvm.program import Input, Pointwise, Step

__all__ = ["Memory", "Update", "Writer", "fma", "run", "update_of"]

# rows that NumPy updates before loading the kernels has paid off
PATIENCE = 2000
# items of a block that stays in the cache from one NumPy call to the next
BLOCK = 1 << 14

HALVES = {np.dtype(np.float16): "f16", np.dtype(ml_dtypes.bfloat16): "bf16"}
KINDS = {np.dtype(np.float32): "f32", np.dtype(np.float64): "f64", **HALVES}
# what the others compute in: complex ones are two real ones
_COMPUTING = {**dict.fromkeys(HALVES, np.dtype(np.float32)),
              np.dtype(np.complex64): np.dtype(np.float32),
              np.dtype(np.complex128): np.dtype(np.float64)}

def fma(x: Any, y: Any, z: Any, out: np.ndarray | None = None) -> Any:
    """`x * y + z` rounded once, as the kernels and PyTorch compute it."""
    if z.dtype == np.float32:
        # a product of float32 is exact in float64
        wide = np.multiply(x, y, dtype=np.float64, out=...)
        wide = np.add(wide, z, out=wide if wide.shape == z.shape else ...)
    else:
        wide = libm.fused(x, y, z)
    if out is None:
        return np.asarray(wide, z.dtype)
    out[...] = wide
    return out


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "fma": fma,
    "neg": np.negative,
    "abs": np.abs,
    "sqrt": np.sqrt,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "gt": np.greater,
    "lt": np.less,
    "select": np.where,
}


class Value(NamedTuple):
    """What a rule computes with: an array of the row, a scalar by name, or the result of a step."""

    source: str
    at: int | str


Operand = Value | str | float


class Writer:
    """Writes the steps of a rule; each method is one operator of PyTorch, rounded as it rounds.

    Operands are values, names of scalars, or numbers. Where `rounds`, half types round after every
    operator, otherwise once at the end; on float32 and float64 that makes no difference.
    """

    def __init__(self, rounds: bool = True) -> None:
        self.rounds = rounds
        self.steps: list[tuple[str, tuple[Value, ...], float | None]] = []
        self.scalars: dict[str, None] = {}
        self._known: dict[tuple, Value] = {}

    def _step(self, name: str, *operands: Operand, number: float | None = None) -> Value:
        args = tuple([self._value(x) for x in operands])
        key = (name, args, number)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Value("step", len(self.steps))
            self.steps.append(key)
        return found

    def _value(self, x: Operand) -> Value:
        if isinstance(x, Value):
            return x
        if isinstance(x, str):
            self.scalars[x] = None
            return Value("scalar", x)
        return self._step("const", number=x)

    def _rounded(self, x: Value) -> Value:
        return self._step("round", x) if self.rounds else x

    def plain(self, name: str, *operands: Operand) -> Value:
        """One instruction: "add", "sub", "mul", "div", "neg", "abs", "sqrt", "maximum", ..."""
        return self._rounded(self._step(name, *operands))

    def compare(self, name: str, a: Operand, b: Operand) -> Value:
        """A condition for `select`: "gt" or "lt"."""
        return self._step(name, a, b)

    def select(self, condition: Value, a: Operand, b: Operand) -> Value:
        """`a` where the condition holds, `b` elsewhere."""
        return self._rounded(self._step("select", condition, a, b))

    def detached(self, x: Value) -> Value:
        """`x` without its history, where the rule runs on tensors."""
        return self._step("detach", x)

    def add_scaled(self, x: Value, y: Value, alpha: Operand) -> Value:
        """`x + alpha * y`; PyTorch rounds alpha, too."""
        return self._rounded(self._step("fma", y, self._rounded(self._value(alpha)), x))

    def add_product(self, x: Value, a: Value, b: Value, alpha: Operand | None = None) -> Value:
        """`x + alpha * a * b`."""
        scaled = a if alpha is None else self._step("mul", a, alpha)
        return self._rounded(self._step("fma", scaled, b, x))

    def add_quotient(self, x: Value, a: Value, b: Value, alpha: Operand | None = None) -> Value:
        """`x + alpha * a / b`."""
        scaled = a if alpha is None else self._step("mul", a, alpha)
        return self._rounded(self._step("add", x, self._step("div", scaled, b)))

    def lerp(self, start: Value, end: Value, weight: str, near: bool) -> Value:
        """`start + weight * (end - start)`, from the end that `near` says is the nearer one."""
        way = self._step("sub", end, start)
        if near:
            return self._rounded(self._step("fma", way, weight, start))
        back = self._step("sub", weight, 1.0)
        return self._rounded(self._step("fma", way, back, end))


class Update:
    """A rule as steps over numbered values: the row's arrays, the scalars, then every step.

    `steps` are (name, arguments, number), `results` the values that are stored, and `written` the
    arrays they are stored in.
    """

    def __init__(self, count: int, writer: Writer, new: Mapping[Value, Value]) -> None:
        self.count = count
        self.scalars = tuple(writer.scalars)
        self._places = {Value("array", n): n for n in range(count)}
        self._places |= {Value("scalar", s): count + n for n, s in enumerate(self.scalars)}
        first = count + len(self.scalars)
        self._places |= {Value("step", n): first + n for n in range(len(writer.steps))}
        self.steps = tuple([(name, tuple([self._places[x] for x in args]), number)
                            for name, args, number in writer.steps])
        self.written = tuple([self._places[x] for x in new])
        self.results = tuple([self._places[x] for x in new.values()])
        self.exact = _of_arrays(self.steps, first, self.results)
        self._plan = self._plan_calls(first)
        self._kernels: dict[str, Any] = {}

    def _plan_calls(self, first: int) -> list[tuple]:
        """For types that need no rounding: function, arguments, number, array written into."""
        steps, results = self.exact
        last_use = {a: at for at, (_, args, _) in enumerate(steps) for a in args}
        last_use.update(dict.fromkeys(results, len(steps)))
        goal = dict(zip(results, self.written))
        plan = []
        for at, (name, args, number) in enumerate(steps):
            target = goal.get(first + at)
            if target is not None and (name == "select" or last_use.get(target, -1) > at):
                target = None
            plan.append((FUNCTIONS.get(name), args, number, target))
        return plan

    def kernel(self, kind: str) -> Any:
        """The generated kernel for arrays of this kind."""
        found = self._kernels.get(kind)
        if found is None:
            found = self._kernels[kind] = self._compile(kind)
        return found

    def _compile(self, kind: str) -> Any:
        # llvmlite takes 30 ms to import, and may be absent
        from flambeau.backends.llvm import multi

        half = kind in HALVES.values()
        inner = "f32" if half else kind
        inputs = [Input(kind)] * self.count + [Input(inner, "scalar")] * len(self.scalars)
        steps, results = self._of_halves(kind, len(inputs)) if half else self.exact
        typed = tuple([Step(name, args, number, inner) if name == "const" else
                       Step(name, args, None, number) if name == "cast" else Step(name, args)
                       for name, args, number in steps])
        return multi.multi_kernel(Pointwise(tuple(inputs), typed, results), self.written)

    def _of_halves(self, kind: str, first: int) -> tuple[tuple, tuple]:
        """The steps and the results' numbers for arrays of a half kind, computed in float32."""
        found: list[tuple] = [("cast", (n,), "f32") for n in range(self.count)]
        place = [*range(first, first + self.count), *range(self.count, first)]
        number: Any
        for name, args, number in self.steps:
            operands = tuple([place[a] for a in args])
            if name == "detach":
                place.append(operands[0])
                continue
            if name == "round":
                found.append(("cast", operands, kind))
                name, operands, number = "cast", (first + len(found) - 1,), "f32"
            found.append((name, operands, number))
            place.append(first + len(found) - 1)
        last = first + len(found)
        found += [("cast", (place[r],), kind) for r in self.results]
        return tuple(found), tuple(range(last, last + len(self.results)))

    def calculate(self, row: Sequence[np.ndarray], scalars: Sequence[np.ndarray]) -> None:
        """Update one row with NumPy; its arrays have one shape, not (), and one dtype."""
        if row[0].dtype in HALVES:
            self._calculate_halves(row, scalars)
            return
        values: list[Any] = [*row, *scalars]
        for function, args, number, target in self._plan:
            if function is None:
                values.append(np.asarray(number, row[0].dtype))
            elif target is None:
                values.append(function(*[values[a] for a in args]))
            else:
                values.append(function(*[values[a] for a in args], out=row[target]))
        found = [values[r] for r in self.exact[1]]
        for target, value in zip(self.written, found):
            if value is not row[target]:
                row[target][...] = value

    def _calculate_halves(self, row: Sequence[np.ndarray], scalars: Sequence[np.ndarray]) -> None:
        dtype, wide = row[0].dtype, np.float32
        values: list[Any] = [*[a.astype(wide) for a in row], *scalars]
        for name, args, number in self.steps:
            if name == "const":
                values.append(np.asarray(number, wide))
            elif name == "detach":
                values.append(values[args[0]])
            elif name == "round":
                values.append(values[args[0]].astype(dtype).astype(wide))
            else:
                values.append(FUNCTIONS[name](*[values[a] for a in args]))
        for target, number in zip(self.written, self.results):
            row[target][...] = values[number]


def _of_arrays(steps: tuple, first: int, results: tuple) -> tuple[tuple, tuple]:
    """The steps and the results' numbers for arrays of a dtype that needs no rounding."""
    place = list(range(first))
    kept: list[tuple] = []
    for name, args, number in steps:
        if name in ("round", "detach"):
            place.append(place[args[0]])
        else:
            place.append(first + len(kept))
            kept.append((name, tuple([place[a] for a in args]), number))
    return tuple(kept), tuple([place[r] for r in results])


@functools.cache
def update_of(rule: Callable[..., Mapping[Value, Value]], settings: Hashable, count: int,
              rounds: bool = True) -> Update:
    """What `rule(writer, settings, *arrays)` writes, for rows of `count` arrays.

    The rule returns the new value of each array that changes.
    """
    writer = Writer(rounds)
    new = rule(writer, settings, *[Value("array", n) for n in range(count)])
    return Update(count, writer, new)


class Memory:
    """What an optimizer keeps from one run to the next, to be quick; it may be dropped any time."""

    def __init__(self) -> None:
        self.tables: Any = None

    def __deepcopy__(self, memo: dict) -> Memory:
        return Memory()

    def __reduce__(self) -> tuple:
        return Memory, ()


class _Spent:
    rows = 0


def run(update: Update, arrays: Sequence[Any], values: Mapping[str, Any],
        memory: Memory | None = None) -> bool:
    """Apply `update` to rows of arrays, `update.count` for each; whether that could be done.

    `values` holds the scalars by name. It cannot, and nothing is changed, where something is not
    an ndarray, or the arrays differ in dtype or those of a row in shape, or the dtype is neither
    floating nor complex.

    >>> import numpy as np
    >>> def descend(o, settings, param, grad):
    ...     return {param: o.add_scaled(param, grad, "size")}
    >>> w = np.ones(3, np.float32)
    >>> run(update_of(descend, None, 2), [w, w.copy()], {"size": -0.25}), w
    (True, array([0.75, 0.75, 0.75], dtype=float32))
    """
    if not arrays:
        return True
    first = arrays[0]
    if type(first) is not np.ndarray:
        return False
    kind = KINDS.get(first.dtype)
    if kind is not None and _want_kernel(arrays, update.count):
        scalars = _scalars([values[name] for name in update.scalars], first.dtype)
        if update.kernel(kind).run(arrays, scalars, _tables(memory)):
            return True
    return _run_rows(update, arrays, values)


def _scalars(numbers: Sequence[Any], held: np.dtype) -> np.ndarray:
    """Numbers as a kernel for arrays of a dtype takes them."""
    computing: Any = _COMPUTING.get(held, held)
    return np.array([float(x) for x in numbers], computing)


def _want_kernel(arrays: Sequence[Any], count: int) -> bool:
    if not large.started() and _Spent.rows < PATIENCE:
        if sum([a.size for a in arrays[::count]]) < large.MIN_ITEMS:
            return False
    return large.available()


def _tables(memory: Memory | None) -> Any:
    # llvmlite takes 30 ms to import, and may be absent
    from flambeau.backends.llvm import multi

    if memory is None:
        return multi.Tables()
    if memory.tables is None:
        memory.tables = multi.Tables()
    return memory.tables


def _run_rows(update: Update, arrays: Sequence[Any], values: Mapping[str, Any]) -> bool:
    """Row after row, so that rows may share memory; nothing is changed before all are checked."""
    count = update.count
    rows = [arrays[at:at + count] for at in range(0, len(arrays), count)]
    dtype = arrays[0].dtype
    computing: Any = _COMPUTING.get(dtype) or (dtype if dtype in KINDS else None)
    if computing is None:
        return False
    for row in rows:
        shape = row[0].shape
        if any(type(a) is not np.ndarray or a.dtype != dtype or a.shape != shape for a in row):
            return False
    scalars = [np.array(values[name], computing) for name in update.scalars]
    for row in rows:
        if dtype.kind == "c":
            _run_row(update, [a.real for a in row], scalars)
            _run_row(update, [a.imag for a in row], scalars)
        else:
            _run_row(update, row, scalars)
    _Spent.rows += len(rows)
    return True


def _run_row(update: Update, row: Sequence[np.ndarray], scalars: Sequence[np.ndarray]) -> None:
    first = row[0]
    if first.ndim == 0:
        row = [a.reshape(1) for a in row]
    elif first.size > BLOCK:
        kind = KINDS.get(first.dtype)
        if kind is not None and large.available():
            if update.kernel(kind).run(row, _scalars(scalars, first.dtype), _tables(None)):
                return
        _run_blocks(update, row, scalars)
        return
    update.calculate(row, scalars)


def _run_blocks(update: Update, row: Sequence[np.ndarray], scalars: Sequence[np.ndarray]) -> None:
    """Block after block along the first dimension, so that what is in between stays small."""
    if all(a.flags.c_contiguous for a in row):
        row = [a.reshape(-1) for a in row]
    length = len(row[0])
    step = max(1, BLOCK * length // row[0].size)
    for at in range(0, length, step):
        update.calculate([a[at:at + step] for a in row], scalars)
