"""Plans of what is replayed: a function is run on stand-ins for arrays that write down steps."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.backends.llvm import jit
from flambeau.backends.llvm import replay_text as text
from flambeau.backends.llvm.replay_loops_text import LOOPS, loops_text
from flambeau.backends.replay_values import Memory, Refused, Step, Value, is_basic, step_of
from flambeau.backends.ufunc_loops import Unknown, loop_of

__all__ = ["Refused", "Value", "Writer", "plan_of", "written"]

ndarray = np.ndarray
# As much memory do the results between steps have, for each plan the same.
SCRATCH_BYTES = 1 << 17
_LINE = 64
_KINDS = "fd"
# bool, and int64 by the names that it has on one system or another
_ROWS = {"f": "f", "d": "d", np.dtype(np.int64).char: "l"}
_LETTERS = {**_ROWS, "?": "t", np.dtype(np.int32).char: "i"}
_GIVEN = f"{_KINDS}?{np.dtype(np.int64).char}"
_NUMBERS: tuple[type, ...] = (bool, int, float)
_scratch = np.empty(SCRATCH_BYTES + _LINE, np.uint8)
_failure = np.zeros(1, np.int64)


class Writer:
    """Writes down what is done with values."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.constants: list[ndarray] = []

    def given(self, a: Any) -> Value:
        """What stands for a dense array that is given."""
        if type(a) is not ndarray or a.dtype.char not in _GIVEN or not a.dtype.isnative:
            raise Refused
        return Value(self, Memory(a.dtype, a.size, True), a.shape)

    def constant(self, a: ndarray) -> Value:
        """What stands for a dense array, which is to live as long as the plan."""
        self.constants.append(a)
        found = self.given(a)
        found.memory.offset = a.ctypes.data
        return found

    def value(self, shape: tuple[int, ...], dtype: np.dtype) -> Value:
        return Value(self, Memory(dtype, math.prod(shape)), shape)

    def operand(self, item: Any, dtype: np.dtype) -> Any:
        """A value, or a number as an array without dimensions."""
        if isinstance(item, Value):
            return item
        if type(item) in _NUMBERS and (dtype.kind == "f" or type(item) is bool or
                                       dtype.kind == "i" and type(item) is int):
            return np.array(item, dtype)
        if isinstance(item, np.generic) and np.result_type(item.dtype, dtype) == dtype:
            return np.array(item, dtype)
        if type(item) is ndarray and item.dtype == dtype and not item.ndim:
            return item.copy()
        raise Refused

    def elementwise(self, ufunc: np.ufunc, inputs: Sequence[Any], out: Any) -> Value:
        inputs = self.promoted(inputs)
        loop, besides, result = _loop(ufunc, *_dtypes(inputs))
        lead = next(item.dtype for item in inputs if isinstance(item, Value))
        operands = [self.operand(item, lead) for item in inputs]
        shape = np.broadcast_shapes(*[item.shape for item in operands])
        return self.store(loop, besides, operands, shape, result, out)

    def promoted(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """Values of float32 beside others of float64 as float64."""
        chars = {item.dtype.char for item in inputs if isinstance(item, Value)}
        if chars != set(_KINDS):
            return inputs
        wide = np.dtype(np.float64)
        return [self.cast(item, wide, False) if isinstance(item, Value) else item
                for item in inputs]

    def choice(self, mask: Any, first: Any, second: Any) -> Value:
        (dtype,) = {item.dtype for item in (first, second) if isinstance(item, Value)}
        if not isinstance(mask, Value) or mask.dtype != bool:
            raise Refused
        operands = [mask, self.operand(first, dtype), self.operand(second, dtype)]
        shape = np.broadcast_shapes(*[item.shape for item in operands])
        loop = loops()[f"choose{dtype.itemsize}"]
        return self.store(loop, 0, operands, shape, dtype, None)

    def cast(self, a: Value, dtype: np.dtype, copy: bool) -> Value:
        if a.dtype == dtype and not copy:
            return a
        if a.dtype == dtype:
            return self.dense(a)
        chars = "".join([_LETTERS.get(d.char, "-") for d in (a.dtype, dtype)])
        name = {"fd": "widen", "df": "narrow"}.get(chars, f"cast_{chars}")
        if name not in LOOPS:
            raise Refused
        return self.store(loops()[name], 0, [a], a.shape, dtype, None)

    def dense(self, a: Value) -> Value:
        """A copy, dense."""
        r = self.value(a.shape, a.dtype)
        self.copy(r, a, a.shape)
        return r

    def picked(self, a: Value, key: Any) -> Value:
        """``a[arange(rows), index]``."""
        index = _index_by_row(a, key)
        return self.along(a, index.reshape(-1, 1), 1).reshape(index.shape)

    def put(self, a: Value, key: Any, value: Any) -> None:
        """``a[arange(rows), index] = value``, or a copy into a part of ``a``."""
        if is_basic(key):
            part = a[key]
            if not isinstance(value, Value) or value.dtype != a.dtype or a.memory.given or (
                    value.shape != part.shape):
                raise Refused
            self.copy(part, value, part.shape)
            return
        index = _index_by_row(a, key)
        if not isinstance(value, Value) or value.dtype != a.dtype or (
                value.shape not in ((), index.shape)):
            raise Refused
        line = value.reshape(-1, 1) if value.ndim else value.viewed(np.broadcast_to,
                                                                    (len(index), 1))
        self.put_along(f"put{a.itemsize}", a, index.reshape(-1, 1), line, 1)

    def along(self, a: Value, index: Value, dim: int) -> Value:
        """As ``np.take_along_axis``, for numbers in range; others fail."""
        out = self.value(index.shape, a.dtype)
        self.put_along(f"pick{a.itemsize}", a, index, out, dim)
        return out

    def put_along(self, name: str, a: Value, index: Value, other: Value, dim: int) -> None:
        """A loop over items of ``a`` that an index names along ``dim``, and over those of another.
        """
        if index.dtype != np.int64 or index.shape != other.shape or a.dtype != other.dtype or (
                index.ndim != a.ndim) or any([n > m and at != dim for at, (n, m) in enumerate(
                    zip(index.shape, a.shape))]):
            raise Refused
        written = other if name.startswith("pick") else a
        if written.memory.given:
            raise Refused
        besides = (a.shape[dim], a.strides[dim], _failure.ctypes.data)
        strides = [0 if at == dim else s for at, s in enumerate(a.strides)]
        operands = [(a, strides), (index, index.strides), (other, other.strides)]
        self.steps.append(step_of(loops()[name], besides, index.shape, operands))

    def of_rows(self, name: str, a: Value, dim: int, count: int, *besides: int
                ) -> tuple[Value, Value]:
        """What a loop over rows along ``dim`` gives: ``count`` items of each, and numbers."""
        if not a.shape[dim] or a.dtype.char not in _ROWS:
            raise Refused
        shape = tuple([count if at == dim else n for at, n in enumerate(a.shape)])
        values, numbers = self.value(shape, a.dtype), self.value(shape, np.dtype(np.int64))
        words = (a.shape[dim], a.strides[dim], *besides)
        if besides:
            words = (*words, values.strides[dim], numbers.strides[dim])
        outer = tuple([1 if at == dim else n for at, n in enumerate(a.shape)])
        operands = [(each, each.strides) for each in (a, values, numbers)]
        loop = loops()[f"{name}_{_ROWS[a.dtype.char]}"]
        self.steps.append(step_of(loop, words, outer, operands))
        return values, numbers

    def dot(self, a: Value, b: Value) -> Value:
        """What ``a.dot(b)`` gives of matrices and vectors."""
        left = a if a.ndim > 1 else a.viewed(np.expand_dims, 0)
        right = b if b.ndim > 1 else b.viewed(np.expand_dims, 1)
        if left.ndim > 2:
            raise Refused
        return self.product(left, right).reshape((*a.shape[:-1], *b.shape[1:]))

    def total(self, a: Value, by: int) -> Value:
        """The sum of dense items in PyTorch's order, divided by a number."""
        if a.dtype.char not in _KINDS or not a.flags.c_contiguous:
            raise Refused
        r = self.value((), a.dtype)
        loop = loops()[f"total_{a.dtype.char}"]
        self.steps.append(step_of(loop, (a.size, by), (), [(a, ()), (r, ())]))
        return r

    def running(self, ufunc: np.ufunc, a: Value, axis: int = 0, dtype: Any = None) -> Value:
        """What ``ufunc.accumulate`` gives."""
        if dtype is not None:
            a = self.cast(a, np.dtype(dtype), False)
        if not a.shape[axis]:
            raise Refused
        loop, besides, result = _loop(ufunc, a.dtype, a.dtype)
        r = self.value(a.shape, result)
        lead = (slice(None),) * (axis % a.ndim)
        self.copy(r[(*lead, slice(1))], a[(*lead, slice(1))], r[(*lead, slice(1))].shape)
        parts = [r[(*lead, slice(-1))], a[(*lead, slice(1, None))], r[(*lead, slice(1, None))]]
        turned = [p.viewed(np.moveaxis, axis, -1) for p in parts]
        operands = [(p, p.strides) for p in turned]
        self.steps.append(step_of(loop, besides, turned[0].shape, operands))
        return r

    def joined(self, parts: Sequence[Value], dim: int) -> Value:
        """What ``np.concatenate`` gives."""
        first = parts[0]
        if not first.ndim or len({p.dtype for p in parts}) > 1 or len({
                (*p.shape[:dim], *p.shape[dim + 1:]) for p in parts}) > 1:
            raise Refused
        sizes = list(first.shape)
        sizes[dim] = sum([p.shape[dim] for p in parts])
        r = self.value(tuple(sizes), first.dtype)
        start, lead = 0, (slice(None),) * dim
        for p in parts:
            self.copy(r[(*lead, slice(start, start + p.shape[dim]))], p, p.shape)
            start += p.shape[dim]
        return r

    def product(self, a: Value, b: Value) -> Value:
        """What ``np.matmul`` gives of matrices, or of as many in stacks."""
        if a.ndim != b.ndim or a.ndim < 2 or a.dtype != b.dtype or a.dtype.char not in _KINDS or (
                a.shape[:-2] != b.shape[:-2] or a.shape[-1] != b.shape[-2] or not a.size * b.size):
            raise Refused
        (m, k), n = a.shape[-2:], b.shape[-1]
        r = self.value((*a.shape[:-1], n), a.dtype)
        loop, besides, _ = _loop(np.matmul, a.dtype, b.dtype)
        words = (loop, besides, 1, m, k, n, 0, 0, 0, *a.strides[-2:], *b.strides[-2:],
                 *r.strides[-2:])
        operands = [(each, each.strides[:-2]) for each in (a, b, r)]
        self.steps.append(step_of(loops()["product"], words, a.shape[:-2], operands))
        return r

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype) -> Value:
        r = self.value(tuple(shape), dtype)
        self.copy(r, np.zeros((), dtype), r.shape)
        return r

    def store(self, loop: int, besides: Any, operands: list, shape: tuple[int, ...],
              dtype: np.dtype, out: Any) -> Value:
        if out is None:
            out = self.value(shape, dtype)
        elif not isinstance(out, Value) or out.shape != shape or out.dtype != dtype:
            raise Refused
        self.add(loop, besides, shape, [*operands, out])
        return out

    def reduction(self, ufunc: np.ufunc, a: Any, axis: Any = 0, dtype: Any = None,
                  out: Any = None, keepdims: bool = False) -> Value:
        if isinstance(a, Value):
            a = self.cast(a, _summed_in(ufunc, a.dtype) if dtype is None else np.dtype(dtype),
                          False)
        if out is not None or not isinstance(a, Value) or not a.size or (
                not a.flags.c_contiguous and ufunc not in (np.maximum, np.minimum)):
            raise Refused
        axes = range(a.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        gone = {n % a.ndim for n in axes}
        loop, besides, result = _loop(ufunc, a.dtype, a.dtype)
        kept = tuple([1 if n in gone else size for n, size in enumerate(a.shape)])
        r = self.value(kept, result)
        if ufunc.identity is None:
            self.copy(r, a, kept)
        else:
            self.copy(r, np.array(_start(ufunc, a.dtype), a.dtype), kept)
        steps = [0 if n in gone else stride for n, stride in enumerate(_strides(r))]
        operands = [(r, steps), (a, _strides(a)), (r, steps)]
        self.steps.append(step_of(loop, besides, a.shape, operands))
        return r if keepdims else r.reshape(
            tuple([size for n, size in enumerate(a.shape) if n not in gone]))

    def copy(self, to: Value, of: Any, shape: tuple[int, ...]) -> None:
        """Fill a value with the first elements of another, as many as ``shape`` says."""
        if to.dtype == bool:
            loop, besides = loops()["copy1"], 0
        else:
            loop, besides, _ = _loop(np.positive, to.dtype)
        strides = _strides(of) if of.ndim else (0,) * len(shape)
        self.steps.append(step_of(loop, besides, shape, [(of, strides), (to, _strides(to))]))

    def add(self, loop: int, besides: Any, shape: tuple[int, ...], operands: list) -> None:
        spread = []
        for item in operands:
            strides = [0 if n == 1 else s for n, s in zip(item.shape, _strides(item))]
            if any(n not in (1, m) for n, m in zip(item.shape[::-1], shape[::-1])):
                raise Refused
            spread.append((item, (*(0,) * (len(shape) - len(strides)), *strides)))
        memory = operands[-1].memory
        if memory.given:
            raise Refused
        self.steps.append(step_of(loop, besides, shape, spread))


def _strides(item: Any) -> tuple[int, ...]:
    """The strides of a value, or of a dense array."""
    return item.strides  # type: ignore[no-any-return]


def _summed_in(ufunc: np.ufunc, dtype: np.dtype) -> np.dtype:
    """The dtype that a reduction of NumPy's is computed in where none is given."""
    if ufunc in (np.add, np.multiply) and dtype.kind in "bi":
        return np.result_type(dtype, np.int_)
    return dtype


def _index_by_row(a: Value, key: Any) -> Value:
    if a.ndim != 2 or not isinstance(key, tuple) or len(key) != 2:
        raise Refused
    rows, index = key
    if not isinstance(index, Value) or index.dtype != np.int64 or (
            index.shape != a.shape[:1] or not np.array_equal(rows, np.arange(a.shape[0]))):
        raise Refused
    return index


def _dtypes(inputs: Sequence[Any]) -> list[np.dtype]:
    """The dtypes that a ufunc computes in: numbers take that of the values."""
    known = [item.dtype for item in inputs if isinstance(item, Value)]
    return [item.dtype if isinstance(item, Value) else known[0] for item in inputs]


def _loop(ufunc: np.ufunc, *dtypes: np.dtype) -> tuple[int, int, np.dtype]:
    """As `loop_of`, but Refused where there is none."""
    try:
        return loop_of(ufunc, *dtypes)
    except Unknown:
        raise Refused from None


@functools.cache
def _start(ufunc: np.ufunc, dtype: np.dtype) -> float:
    """What NumPy's reductions start from: adding to it tells 0.0 from -0.0."""
    zero = ufunc.reduce(np.array([-0.0], dtype)) if ufunc is np.add else ufunc.identity
    return float(zero)


@functools.cache
def loops() -> dict[str, int]:
    """The addresses of the loops that are not NumPy's."""
    library = jit.load(loops_text(), LOOPS)
    return {name: library.address(name) for name in LOOPS}


def plan_of(function: Callable, args: Sequence[Any], settings: dict[str, Any]) -> ndarray | None:
    """The plan of ``function(*args, **settings)`` for arrays of these shapes; None for none."""
    numbers = [v for v in (*args, *settings.values()) if isinstance(v, float)]
    if any(v == 0 for v in numbers):
        return None  # 0.0 and -0.0 are one key of a dict
    writer = Writer()
    try:
        stand_ins = [None if a is None else writer.given(a) for a in args]
        found = function(*stand_ins, **settings)
        bare = isinstance(found, Value)
        results = [found] if bare else list(found)
        return written(writer.steps, stand_ins, results, bare)
    except Exception:
        # what the function does with a stand-in is open: it is then not replayed
        return None


def written(steps: list[Step], given: list[Value | None], results: list[Value], bare: bool
            ) -> ndarray:
    """The plan of these steps; raises where there is none."""
    _place(steps, given, results)
    tail: list[int] = []
    arrays = [*given, *results]
    start = text.HEAD_WORDS + text.ARRAY_WORDS * len(arrays) + text.STEP_WORDS * len(steps)
    constants = sum([isinstance(m, ndarray) for s in steps for m, *_ in s.operands])
    constants += sum([len(s.besides) for s in steps if isinstance(s.besides, tuple)])
    ranks = sum([a.ndim for a in arrays if a is not None])
    plan = np.zeros(start + constants + ranks, np.int64)
    base = plan.ctypes.data

    def kept(*words: int) -> int:
        tail.extend(words)
        return base + 8 * (start + len(tail) - len(words))

    words = [len(given), len(results), len(steps), _failure.ctypes.data, int(bare)]
    for a in arrays:
        words += [0, 0, 0] if a is None else [id(np.dtype(a.dtype.char)), a.ndim, kept(*a.shape)]
    for step in steps:
        places, offsets = [0] * text.MAX_OPERANDS, [0] * text.MAX_OPERANDS
        for k, (memory, offset, _) in enumerate(step.operands):
            if isinstance(memory, ndarray):
                bits = int.from_bytes(memory.tobytes().ljust(8, b"\0"), "little", signed=True)
                places[k], offsets[k] = text.ADDRESS, kept(bits)
            else:
                places[k], offsets[k] = memory.place, memory.offset + offset
        besides = kept(*step.besides) if isinstance(step.besides, tuple) else step.besides
        words += [step.loop, besides, len(step.operands), *step.sizes, *places, *offsets]
        for axis in (2, 1, 0):
            strides = [s[axis] for *_, s in step.operands]
            words += [*strides, *[0] * (text.MAX_OPERANDS - len(strides))]
    plan[:] = [*words, *tail]
    return plan


def _place(steps: list[Step], given: list[Value | None], results: list[Value]) -> None:
    """Say where every memory is."""
    if len(given) + len(results) >= text.ADDRESS or any([r.memory.given for r in results]):
        raise Refused
    if any([r.size != r.memory.size or not r.flags.c_contiguous for r in results]):
        raise Refused
    for at, value in enumerate((*given, *results)):
        if value is not None:
            if value.memory.place != text.ADDRESS:
                raise Refused
            value.memory.place = at
    _place_between(steps)


def _place_between(steps: list[Step]) -> None:
    """Say where the results between steps are: where others were that no step needs any more."""
    last = {}
    for at, step in enumerate(steps):
        last.update({id(memory): at for memory, *_ in step.operands})
    free: dict[int, list[int]] = {}
    end = _scratch.ctypes.data + -_scratch.ctypes.data % _LINE
    limit = end + SCRATCH_BYTES
    for at, step in enumerate(steps):
        between = {id(m): m for m, *_ in step.operands
                   if isinstance(m, Memory) and m.place == text.ADDRESS and not m.given}
        for memory in between.values():
            spare = free.get(_lines(memory))
            if not memory.offset and spare:
                memory.offset = spare.pop()
            elif not memory.offset:
                memory.offset, end = end, end + _lines(memory)
                if end > limit:
                    raise Refused
        # only now: a step does not write where it reads something else
        for key, memory in between.items():
            if last[key] == at:
                free.setdefault(_lines(memory), []).append(memory.offset)


def _lines(memory: Memory) -> int:
    """The bytes of the whole lines that it takes."""
    return -(-memory.size * memory.dtype.itemsize // _LINE) * _LINE
