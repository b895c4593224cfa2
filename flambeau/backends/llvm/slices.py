"""Inner loops of NumPy's ufuncs over large arrays, on the pool: every thread takes slices."""

import functools
from collections.abc import Sequence

import numpy as np

from flambeau.backends.llvm import calls, jit

# items in one slice
SLICE = 1 << 14


def run(loop: int, besides: int, arrays: Sequence[np.ndarray], steps: Sequence[int],
        count: int) -> None:
    """Call a loop for `count` items of every array, the last of which it writes.

    steps: bytes from one item of an array to its next, 0 for one that is read again.
    """
    address = _address(len(arrays))
    calls.launch_strided(address, count, SLICE, *arrays, *steps, loop, besides)


@functools.cache
def _address(operands: int) -> int:
    return jit.load(slices_text(operands), ("kernel",)).address("kernel")


def slices_text(operands: int) -> str:
    """The kernel: context operands, their steps, the loop and what it is given besides."""
    lines = [f"%places = alloca [{operands} x ptr]", f"%steps = alloca [{operands} x i64]",
             "%count = alloca i64", "%length = sub i64 %end, %begin",
             "store i64 %length, ptr %count"]
    for k in range(operands):
        lines += [
            f"%start_at{k} = getelementptr ptr, ptr %context, i64 {k}",
            f"%start{k} = load ptr, ptr %start_at{k}",
            f"%step_at{k} = getelementptr i64, ptr %context, i64 {operands + k}",
            f"%step{k} = load i64, ptr %step_at{k}",
            f"%offset{k} = mul i64 %begin, %step{k}",
            f"%from{k} = getelementptr i8, ptr %start{k}, i64 %offset{k}",
            f"%place{k} = getelementptr ptr, ptr %places, i64 {k}",
            f"store ptr %from{k}, ptr %place{k}",
            f"%own_step{k} = getelementptr i64, ptr %steps, i64 {k}",
            f"store i64 %step{k}, ptr %own_step{k}"]
    lines += [f"%loop_at = getelementptr ptr, ptr %context, i64 {2 * operands}",
              "%loop = load ptr, ptr %loop_at",
              f"%besides_at = getelementptr ptr, ptr %context, i64 {2 * operands + 1}",
              "%besides = load ptr, ptr %besides_at",
              "call void %loop(ptr %places, ptr %count, ptr %steps, ptr %besides)", "ret void"]
    body = "\n  ".join(lines)
    return f"define void @kernel(ptr %context, i64 %begin, i64 %end) {{\n  {body}\n}}\n"
