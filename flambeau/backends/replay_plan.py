"""Plans of what is replayed: a function is run on stand-ins for arrays that write down steps."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from flambeau.backends.llvm import calls, jit
from flambeau.backends.llvm import replay_text as text

__all__ = ["plan_of"]

ndarray = np.ndarray
# As much memory do the results between steps have, for each plan the same.
SCRATCH_BYTES = 1 << 17
_LINE = 64
_KINDS = "fd"
_NUMBERS: tuple[type, ...] = (bool, int, float)
# Where a ufunc has its loops, what they are given besides, their number, and its name.
_LOOPS, _BESIDES, _COUNT, _NAME = (calls.HEAD + at for at in (16, 24, 32, 40))
_POWERS = {2: np.square, 1: np.positive, 0.5: np.sqrt, -1: np.reciprocal}
_scratch = np.empty(SCRATCH_BYTES + _LINE, np.uint8)
_failure = np.zeros(1, np.int64)


class Refused(Exception):
    """A function does what no plan has."""


class Memory:
    """Dense elements: those of an array that is given, or of a result, or between steps."""

    __slots__ = ("given", "place", "dtype", "size", "offset")

    def __init__(self, dtype: np.dtype, size: int, given: bool = False) -> None:
        self.dtype, self.size, self.given = dtype, size, given
        self.place, self.offset = text.ADDRESS, 0


class Step(NamedTuple):
    """A loop over operands; their strides are in bytes, for all sizes, as many as sizes."""

    loop: int
    besides: int | tuple[int, ...]
    sizes: tuple[int, ...]
    operands: tuple[tuple[Any, tuple[int, ...]], ...]


class Value(NDArrayOperatorsMixin):
    """Stands in for a dense array."""

    def __init__(self, writer: Writer, memory: Memory, shape: tuple[int, ...]) -> None:
        self.writer, self.memory, self.shape = writer, memory, shape

    dtype = property(lambda self: self.memory.dtype)
    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: self.memory.size)

    def reshape(self, *shape: Any) -> Value:
        sizes = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        # NumPy itself resolves -1 and refuses what does not fit
        found = np.broadcast_to(np.zeros((), bool), (self.size,)).reshape(sizes).shape
        return Value(self.writer, self.memory, found)

    def astype(self, dtype: Any, copy: bool = True) -> Value:
        return self.writer.cast(self, np.dtype(dtype), copy)

    def __pow__(self, exponent: Any) -> Any:
        named = _POWERS.get(exponent) if isinstance(exponent, (int, float)) else None
        return self.__array_ufunc__(named or np.power, "__call__",
                                    *((self,) if named else (self, exponent)))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Value:
        return self.writer.picked(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.writer.put(self, key, value)

    def __bool__(self) -> bool:
        raise Refused

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.pop("out", None)
        if isinstance(out, tuple):
            (out,) = out
        target = None if out is ... else out
        if method == "__call__" and not kwargs:
            return self.writer.elementwise(ufunc, inputs, target)
        if method == "reduce" and target is None:
            return self.writer.reduction(ufunc, *inputs, **kwargs)
        raise Refused

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function is np.where and len(args) == 3 and not kwargs:
            return self.writer.choice(*args)
        if function is np.squeeze and len(args) == 2 and not kwargs:
            return self.reshape(_squeezed(self.shape, args[1]))
        if function is np.zeros_like and len(args) == 1 and list(kwargs) == ["shape"]:
            return self.writer.zeros(kwargs["shape"], self.dtype)
        raise Refused


class Writer:
    """Writes down what is done with values."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def value(self, shape: tuple[int, ...], dtype: np.dtype) -> Value:
        return Value(self, Memory(dtype, math.prod(shape)), shape)

    def operand(self, item: Any, dtype: np.dtype) -> Any:
        """A value, or a number as an array without dimensions."""
        if isinstance(item, Value):
            return item
        if type(item) in _NUMBERS and (dtype.kind == "f" or type(item) is bool):
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
        name = {"fd": "widen", "df": "narrow"}.get(a.dtype.char + dtype.char)
        loop, besides = (loops()[name], 0) if name else _loop(np.positive, a.dtype)[:2]
        if name is None and a.dtype != dtype:
            raise Refused
        return self.store(loop, besides, [a], a.shape, dtype, None)

    def picked(self, a: Value, key: Any) -> Value:
        """``a[arange(rows), index]``."""
        index = _index_by_row(a, key)
        out = self.value(index.shape, a.dtype)
        self.by_row("pick", a, index, (out, _strides(out)))
        return out

    def put(self, a: Value, key: Any, value: Any) -> None:
        """``a[arange(rows), index] = value``."""
        index = _index_by_row(a, key)
        if not isinstance(value, Value) or value.dtype != a.dtype or a.memory.given or (
                value.shape not in ((), index.shape)):
            raise Refused
        self.by_row("put", a, index, (value, _strides(value) or (0,)))

    def by_row(self, name: str, a: Value, index: Value, other: tuple) -> None:
        row, item = _strides(a)
        besides = (a.shape[1], item, _failure.ctypes.data)
        operands = [(a, (row,)), (index, _strides(index)), other]
        loop = loops()[f"{name}{a.dtype.itemsize}"]
        self.steps.append(_step(loop, besides, index.shape, operands))

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
        if dtype is not None or out is not None or not isinstance(a, Value) or not a.size:
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
        self.steps.append(_step(loop, besides, a.shape, operands))
        return r if keepdims else r.reshape(
            tuple([size for n, size in enumerate(a.shape) if n not in gone]))

    def copy(self, to: Value, of: Any, shape: tuple[int, ...]) -> None:
        """Fill a value with the first elements of another, as many as ``shape`` says."""
        loop, besides, _ = _loop(np.positive, to.dtype)
        strides = _strides(of) if of.ndim else (0,) * len(shape)
        self.steps.append(_step(loop, besides, shape, [(of, strides), (to, _strides(to))]))

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
        self.steps.append(_step(loop, besides, shape, spread))


def _strides(item: Any) -> tuple[int, ...]:
    """The strides of a dense value, in bytes."""
    found: list[int] = []
    step = item.dtype.itemsize
    for n in reversed(item.shape):
        found.insert(0, step)
        step *= n
    return tuple(found)


def _index_by_row(a: Value, key: Any) -> Value:
    if a.ndim != 2 or not isinstance(key, tuple) or len(key) != 2:
        raise Refused
    rows, index = key
    if not isinstance(index, Value) or index.dtype != np.int64 or (
            index.shape != a.shape[:1] or not np.array_equal(rows, np.arange(a.shape[0]))):
        raise Refused
    return index


def _squeezed(shape: tuple[int, ...], axis: Any) -> tuple[int, ...]:
    gone = {n % len(shape) for n in (axis if isinstance(axis, tuple) else (axis,))}
    return tuple([n for at, n in enumerate(shape) if at not in gone])


def _dtypes(inputs: Sequence[Any]) -> list[np.dtype]:
    """The dtypes that a ufunc computes in: numbers take that of the values."""
    known = [item.dtype for item in inputs if isinstance(item, Value)]
    return [item.dtype if isinstance(item, Value) else known[0] for item in inputs]


def _step(loop: int, besides: Any, shape: tuple[int, ...], operands: list) -> Step:
    """A step whose neighbouring dimensions are one where all operands walk them as one."""
    sizes: list[int] = []
    strides: list[list[int]] = [[] for _ in operands]
    for axis in reversed(range(len(shape))):
        n = shape[axis]
        if n == 1:
            continue
        here = [steps[axis] for _, steps in operands]
        if sizes and all(s == kept[0] * sizes[0] for s, kept in zip(here, strides)):
            sizes[0] *= n
            continue
        sizes.insert(0, n)
        for s, kept in zip(here, strides):
            kept.insert(0, s)
    if len(sizes) > 3 or len(operands) > text.MAX_OPERANDS:
        raise Refused
    missing = 3 - len(sizes)
    memories = [item if isinstance(item, ndarray) else item.memory for item, _ in operands]
    whole = [(0,) * missing + tuple(kept) for kept in strides]
    return Step(loop, besides, (1,) * missing + tuple(sizes), tuple(zip(memories, whole)))


@functools.cache
def _loop(ufunc: np.ufunc, *dtypes: np.dtype) -> tuple[int, int, np.dtype]:
    """The address of a ufunc's loop for these dtypes, what it is given besides, and what it gives.
    """
    if ufunc.nout != 1 or not _is_known(ufunc):
        raise Refused
    chars = "".join([d.char for d in dtypes])
    for at, signature in enumerate(ufunc.types):
        takes, gives = signature.split("->")
        if takes == chars and gives != "O":
            word = ctypes.c_size_t.from_address
            functions, besides = word(id(ufunc) + _LOOPS).value, word(id(ufunc) + _BESIDES).value
            return (word(functions + 8 * at).value, word(besides + 8 * at).value,
                    np.dtype(gives))
    raise Refused


def _is_known(ufunc: np.ufunc) -> bool:
    """Whether a ufunc lies in memory as is taken here: its name and numbers are found."""
    if not isinstance(ufunc, np.ufunc) or ufunc.signature is not None:
        return False
    numbers = (ctypes.c_int * 3).from_address(id(ufunc) + calls.HEAD)
    count = ctypes.c_int.from_address(id(ufunc) + _COUNT).value
    if tuple(numbers) != (ufunc.nin, ufunc.nout, ufunc.nargs) or count != ufunc.ntypes:
        return False
    name = ctypes.c_void_p.from_address(id(ufunc) + _NAME).value
    return name is not None and ctypes.string_at(name) == ufunc.__name__.encode()


@functools.cache
def _start(ufunc: np.ufunc, dtype: np.dtype) -> float:
    """What NumPy's reductions start from: adding to it tells 0.0 from -0.0."""
    zero = ufunc.reduce(np.array([-0.0], dtype)) if ufunc is np.add else ufunc.identity
    return float(zero)


@functools.cache
def loops() -> dict[str, int]:
    """The addresses of the loops that are not NumPy's."""
    library = jit.load(text.loops_text(), text.LOOPS)
    return {name: library.address(name) for name in text.LOOPS}


def plan_of(function: Callable, args: Sequence[Any], settings: dict[str, Any]) -> ndarray | None:
    """The plan of ``function(*args, **settings)`` for arrays of these shapes; None for none."""
    numbers = [v for v in (*args, *settings.values()) if isinstance(v, float)]
    if any(v == 0 for v in numbers):
        return None  # 0.0 and -0.0 are one key of a dict
    writer = Writer()
    stand_ins: list[Value | None] = []
    for a in args:
        if a is None:
            stand_ins.append(None)
        elif type(a) is ndarray and (a.dtype.char in _KINDS or a.dtype == np.int64) and (
                a.dtype.isnative):
            stand_ins.append(Value(writer, Memory(a.dtype, a.size, True), a.shape))
        else:
            return None
    try:
        found = function(*stand_ins, **settings)
        bare = isinstance(found, Value)
        results = [found] if bare else list(found)
        return _written(writer.steps, stand_ins, results, bare)
    except Exception:
        # what the function does with a stand-in is open: it is then not replayed
        return None


def _written(steps: list[Step], given: list[Value | None], results: list[Value], bare: bool
             ) -> ndarray:
    _place(steps, given, results)
    tail: list[int] = []
    arrays = [*given, *results]
    start = text.HEAD_WORDS + text.ARRAY_WORDS * len(arrays) + text.STEP_WORDS * len(steps)
    constants = sum([isinstance(m, ndarray) for s in steps for m, _ in s.operands])
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
        for k, (memory, _) in enumerate(step.operands):
            if isinstance(memory, ndarray):
                bits = int.from_bytes(memory.tobytes().ljust(8, b"\0"), "little", signed=True)
                places[k], offsets[k] = text.ADDRESS, kept(bits)
            else:
                places[k], offsets[k] = memory.place, memory.offset
        besides = kept(*step.besides) if isinstance(step.besides, tuple) else step.besides
        words += [step.loop, besides, len(step.operands), *step.sizes, *places, *offsets]
        for axis in (2, 1, 0):
            strides = [s[axis] for _, s in step.operands]
            words += [*strides, *[0] * (text.MAX_OPERANDS - len(strides))]
    plan[:] = [*words, *tail]
    return plan


def _place(steps: list[Step], given: list[Value | None], results: list[Value]) -> None:
    """Say where every memory is."""
    if len(given) + len(results) >= text.ADDRESS or any(r.memory.given for r in results):
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
        last.update({id(memory): at for memory, _ in step.operands})
    free: dict[int, list[int]] = {}
    end = _scratch.ctypes.data + -_scratch.ctypes.data % _LINE
    limit = end + SCRATCH_BYTES
    for at, step in enumerate(steps):
        between = {id(m): m for m, _ in step.operands
                   if isinstance(m, Memory) and m.place == text.ADDRESS}
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
