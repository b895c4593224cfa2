"""Reductions of large arrays by kernels, or None to say "use NumPy"."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from flambeau.backends import conversions, large
from flambeau.backends.large import MIN_COLUMNS, MIN_ITEMS

Axes = tuple[int, ...] | None
# plans kept, the latest used
MAX_PLANS = 1 << 9
# fewer columns than this are taken together with rows, up to so many
FEW_COLUMNS, MANY_COLUMNS = 512, 1024
# what kinds that are only stored are computed in
_COMPUTED = {"f16": "f32", "bf16": "f32", "i8": "i32", "u8": "i32", "i16": "i32"}
_WHOLE = frozenset(("i8", "u8", "i16", "i32", "i64", "bool"))


def reduce(name: str, array: np.ndarray, axes: Axes, keepdims: bool) -> np.ndarray | None:
    """Reduce over axes, in the way that PROGRAMS name; None when the case is not covered.

    array: of any strides, 32,768 items or more; complex ones are summed and averaged. axes: None
    for all, or any in any order. The result is C-contiguous. Integer sums and products, and counts,
    are int64, "any" and "all" bool; wide sums, those of squares and of sizes, and the largest and
    smallest size, float64; the others keep the dtype. A float32 or half sum is accumulated in
    float64, rounded once, and does not depend on the number of threads. NaN is propagated by max
    and min, and counts as 0 in nansum.

    >>> found = reduce("sum", np.ones((200, 300)), (0,), False)
    >>> found is None or float(found[7]) == 200.0
    True
    """
    if type(array) is not np.ndarray or array.size < MIN_ITEMS or not array.flags.aligned:
        return None
    if large.load() is None:
        return None
    if array.dtype.kind == "c":
        return _of_complex(name, array, axes, keepdims)
    plan = _plan(name, array.dtype, array.shape, array.strides, axes, keepdims)
    return None if plan is None else plan(array)


def _of_complex(name: str, array: np.ndarray, axes: Axes, keepdims: bool) -> np.ndarray | None:
    """As `reduce`: real and imaginary parts are reduced side by side."""
    if name not in ("sum", "mean"):
        return None
    part = array.real
    pairs = np.lib.stride_tricks.as_strided(
        part, (*array.shape, 2), (*array.strides, part.itemsize))
    rank = array.ndim
    over = tuple(range(rank)) if axes is None else tuple([axis % rank for axis in axes])
    found = reduce(name, pairs, over, keepdims)
    return None if found is None else found.view(array.dtype)[..., 0]


class _Way(NamedTuple):
    """How items become what is combined, the combine, and what the result is."""

    combine: str
    prepare: Callable[[Any, Any], Any]
    accumulate: Callable[[str], str]
    result: Callable[[str], str]


def _itself(on: Any, x: Any) -> Any:
    return x.cast(_COMPUTED.get(x.kind, x.kind))


def _wide(kind: str) -> str:
    """What sums and products of a kind are accumulated in."""
    return "i64" if kind in _WHOLE else "f64"


def _same(kind: str) -> str:
    return kind


def _single(kind: str) -> str:
    """What extremes of a kind are found in."""
    return _COMPUTED.get(kind, kind)


def _total(kind: str) -> str:
    return "i64" if kind in _WHOLE else kind


def _present(on: Any, x: Any) -> Any:
    x = _itself(on, x)
    return on.where(x == x, x, 0.0)


def _flag(on: Any, x: Any) -> Any:
    return x.cast("bool").cast("i32")


def _square(on: Any, x: Any) -> Any:
    wide = x.cast("f64")
    return wide * wide


def _size(on: Any, x: Any) -> Any:
    return on.abs(x.cast("f64"))


def _always(kind: str) -> Callable[[str], str]:
    return lambda _: kind


PROGRAMS: dict[str, _Way] = {
    "sum": _Way("sum", _itself, _wide, _total),
    "mean": _Way("sum", _itself, _wide, _same),
    "prod": _Way("prod", _itself, _wide, _total),
    "max": _Way("max", _itself, _single, _same),
    "min": _Way("min", _itself, _single, _same),
    "any": _Way("max", _flag, _always("i32"), _always("bool")),
    "all": _Way("min", _flag, _always("i32"), _always("bool")),
    "nansum": _Way("sum", _present, _wide, _total),
    "wide sum": _Way("sum", _itself, _wide, _wide),
    "count": _Way("sum", _flag, _always("i64"), _always("i64")),
    "squares": _Way("sum", _square, _always("f64"), _always("f64")),
    "sizes": _Way("sum", _size, _always("f64"), _always("f64")),
    "largest": _Way("max", _size, _always("f64"), _always("f64")),
    "smallest": _Way("min", _size, _always("f64"), _always("f64")),
}
# of floats alone
_REAL = frozenset(("mean", "nansum", "squares", "sizes", "largest", "smallest"))


@functools.cache
def _program(name: str, dtype: np.dtype) -> tuple[Any, Any] | None:
    """The reduction of items of a dtype, and its ending; None where kernels have none."""
    llvm, way = large.load(), PROGRAMS.get(name)
    if llvm is None or way is None or not dtype.isnative:
        return None
    kind = llvm.calls.STORED_KINDS.get(dtype)
    if kind is None or kind == "bool" and name not in ("sum", "any", "all", "count"):
        return None
    if name in _REAL and kind in _WHOLE:
        return None
    b = llvm.expressions.Builder()
    program = b.pointwise(way.prepare(b.on, b.input(kind)))
    reduction = llvm.program.Reduction(program, way.combine, way.accumulate(kind))
    return reduction, llvm.reduce.Ending(way.result(kind), name == "mean")


class _Group(NamedTuple):
    """Neighbouring axes that are walked as one: their items, the stride, whether reduced."""

    size: int
    step: int
    reduced: bool


class _Stage(NamedTuple):
    """One kernel: over columns or rows of so many batches, as they lie."""

    columns: bool
    batch: int
    rows: int
    laid: Any
    step: int = 1


@functools.lru_cache(MAX_PLANS)
def _plan(
    name: str,
    dtype: np.dtype,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    axes: Axes,
    keepdims: bool,
) -> Callable[[np.ndarray], np.ndarray] | None:
    """How arrays of this dtype, shape and strides are reduced."""
    program = _program(name, dtype)
    if program is None:
        return None
    reduced = set(range(len(shape)) if axes is None else [axis % len(shape) for axis in axes])
    order = _memory_order(strides, dtype.itemsize)
    stages = None
    if order is not None:
        stages = _stages(_groups([(shape[axis], strides[axis] // dtype.itemsize, axis in reduced)
                                  for axis in order]))
    if stages is None:
        dense = _dense_strides(shape, dtype.itemsize)
        if dense == strides:
            return None
        then = _plan(name, dtype, shape, dense, axes, keepdims)
        return None if then is None else lambda array: then(conversions.dense(array))
    assert order is not None
    kept = [axis for axis in range(len(shape)) if axis not in reduced]
    found = [axis for axis in order if axis not in reduced and shape[axis] != 1]
    laid = tuple([shape[axis] for axis in found])
    # where each axis that is kept, and has a size, lies in what is found
    turn = [found.index(axis) for axis in kept if shape[axis] != 1]
    result = tuple([1 if axis in reduced else shape[axis] for axis in range(len(shape))])
    if not keepdims:
        result = tuple([shape[axis] for axis in kept])
    items = math.prod([shape[axis] for axis in reduced])
    return _runner(program, stages, items, laid, turn, result)


def _runner(
    program: tuple[Any, Any],
    stages: list[_Stage],
    items: int,
    laid: tuple[int, ...],
    turn: list[int],
    result: tuple[int, ...],
) -> Callable[[np.ndarray], np.ndarray]:
    llvm = large.load()
    assert llvm is not None
    kernels = llvm.reduce
    first, ending = program
    first = first.with_step(stages[0].step)
    straight = turn == sorted(turn)
    shape = result if straight else laid
    last = len(stages) - 1

    def run(array: np.ndarray) -> np.ndarray:
        reduction = first
        for number, (columns, batch, rows, place, _) in enumerate(stages):
            rest = (ending, shape) if number == last else (None, None)
            if columns:
                array = kernels.run_columns(reduction, array, batch, rows, *rest, place, items)
            else:
                array = kernels.run_blocks(reduction, array, rows, *rest, place, items)
            reduction = kernels.of_partials(first)
        if not straight:
            array = conversions.in_rows(array.transpose(turn)).reshape(result)
        return array

    return run


def _memory_order(strides: tuple[int, ...], itemsize: int) -> list[int] | None:
    """Axes from the largest stride down, repeated ones first; None for strides kernels lack."""
    if any(step < 0 or step % itemsize for step in strides):
        return None
    return sorted(range(len(strides)), key=lambda axis: -strides[axis] or -math.inf)


def _dense_strides(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    steps = [itemsize] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        steps[axis] = steps[axis + 1] * shape[axis + 1]
    return tuple(steps)


def _groups(walked: list[tuple[int, int, bool]]) -> list[_Group]:
    """Axes in the order of memory, those that go together as one; none of size 1."""
    groups: list[_Group] = []
    for size, step, reduced in walked:
        if size == 1:
            continue
        if groups and groups[-1].reduced == reduced and groups[-1].step == size * step:
            groups[-1] = _Group(groups[-1].size * size, step, reduced)
        else:
            groups.append(_Group(size, step, reduced))
    return groups


def _stages(groups: list[_Group]) -> list[_Stage] | None:
    """The kernels that reduce groups, from the innermost out; None where they do not lie so."""
    stages: list[_Stage] = []
    while any(group.reduced for group in groups):
        found = _stage(groups)
        if found is None:
            return None
        stage, groups = found
        stages.append(stage)
        sizes = tuple([group.size for group in groups])
        steps = _dense_strides(sizes, 1)
        groups = _groups([(n, step, g.reduced) for n, step, g in zip(sizes, steps, groups)])
    return stages or None


def _stage(groups: list[_Group]) -> tuple[_Stage, list[_Group]] | None:
    """The kernel for the innermost groups, and the groups that it leaves."""
    llvm = large.load()
    assert llvm is not None
    last, above = groups[-1], groups[:-1]
    if last.reduced and last.step in llvm.reduce.STEPS:
        outer = _one(above)
        if outer is None:
            return None
        laid = llvm.reduce.Laid(last.size, outer.step)
        return _Stage(False, 1, outer.size, laid, last.step), above
    if last.step != 1:
        return None
    rows = above[-1] if above else last
    outer = _one(above[:-1])
    if not rows.reduced or outer is None:
        return None
    together = _taken_together(rows, last.size)
    laid = llvm.reduce.Laid(last.size * together, rows.step * together, outer.step)
    left = [_Group(together, last.size, True)] if together > 1 else []
    stage = _Stage(True, outer.size, rows.size // together, laid)
    return stage, [*above[:-1], *left, last]


def _one(groups: list[_Group]) -> _Group | None:
    """Groups as one, whether reduced or not; None where they are not walked at one stride."""
    joined = _groups([(group.size, group.step, False) for group in groups])
    if len(joined) > 1:
        return None
    return joined[0] if joined else _Group(1, 0, False)


def _taken_together(rows: _Group, columns: int) -> int:
    """How many rows are read as one, where columns are few and rows many that follow each other."""
    if columns >= FEW_COLUMNS or rows.step != columns or rows.size <= MANY_COLUMNS:
        return 1
    for count in range(MANY_COLUMNS // columns, 1, -1):
        if rows.size % count == 0:
            return count
    return 1


def split_axes(shape: tuple[int, ...], axes: tuple[int, ...] | None) -> tuple[int, int, int] | None:
    """Return the sizes before, within and after the reduced axes; None if they stand apart."""
    if axes is None:
        return 1, math.prod(shape), 1
    order = sorted(axis % len(shape) for axis in axes)
    if not order or order != list(range(order[0], order[0] + len(order))):
        return None
    before = math.prod(shape[: order[0]])
    length = math.prod(shape[order[0] : order[-1] + 1])
    after = math.prod(shape[order[-1] + 1 :])
    if (after == 1 and length < MIN_COLUMNS) or (after > 1 and after < MIN_COLUMNS):
        return None
    return before, length, after
