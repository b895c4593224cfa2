"""LLVM text of a chore that calls an inner loop, such as NumPy's ufuncs are made of.

`walk`: the loop, what it is given besides, how many turns it takes; how often it is called in a
middle and an outer loop; for every operand its inner, its middle and its outer stride, and where it
starts. Begin and end number the turns of the outer loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau.backends.llvm.replay_text import MAX_OPERANDS

__all__ = ["walk_text", "walk_words"]

_LENGTH, _ROWS, _TURNS, _STRIDES = 2, 3, 4, 5
_MIDDLE, _OUTER, _STARTS = (_STRIDES + n * MAX_OPERANDS for n in (1, 2, 3))

_WALK = f"""
define void @walk(ptr %context, i64 %begin, i64 %end) {{
entry:
  %operands = alloca [{MAX_OPERANDS} x ptr]
  %loop = load ptr, ptr %context
  %pbesides = getelementptr ptr, ptr %context, i64 1
  %besides = load ptr, ptr %pbesides
  %length = getelementptr i64, ptr %context, i64 {_LENGTH}
  %prows = getelementptr i64, ptr %context, i64 {_ROWS}
  %rows = load i64, ptr %prows
  %strides = getelementptr i64, ptr %context, i64 {_STRIDES}
  %middle = getelementptr i64, ptr %context, i64 {_MIDDLE}
  %outer = getelementptr i64, ptr %context, i64 {_OUTER}
  %starts = getelementptr i64, ptr %context, i64 {_STARTS}
  br label %next_turn
next_turn:
  %turn = phi i64 [%begin, %entry], [%turn1, %end_turn]
  %more_turns = icmp slt i64 %turn, %end
  br i1 %more_turns, label %next_row, label %done
next_row:
  %row = phi i64 [0, %next_turn], [%row1, %call]
  %more_rows = icmp slt i64 %row, %rows
  br i1 %more_rows, label %next_operand, label %end_turn
next_operand:
  %k = phi i64 [0, %next_row], [%k1, %operand]
  %more_operands = icmp slt i64 %k, {MAX_OPERANDS}
  br i1 %more_operands, label %operand, label %call
operand:
  %k1 = add i64 %k, 1
  %pstart = getelementptr ptr, ptr %starts, i64 %k
  %start = load ptr, ptr %pstart
  %pmiddle = getelementptr i64, ptr %middle, i64 %k
  %middle_stride = load i64, ptr %pmiddle
  %pouter = getelementptr i64, ptr %outer, i64 %k
  %outer_stride = load i64, ptr %pouter
  %by_row = mul i64 %row, %middle_stride
  %by_turn = mul i64 %turn, %outer_stride
  %both = add i64 %by_row, %by_turn
  %at = getelementptr i8, ptr %start, i64 %both
  %place = getelementptr ptr, ptr %operands, i64 %k
  store ptr %at, ptr %place
  br label %next_operand
call:
  call void %loop(ptr %operands, ptr %length, ptr %strides, ptr %besides)
  %row1 = add i64 %row, 1
  br label %next_row
end_turn:
  %turn1 = add i64 %turn, 1
  br label %next_turn
done:
  ret void
}}
"""


def walk_text() -> str:
    """The function `walk`."""
    return _WALK


def walk_words(loop: int, besides: int, sizes: Sequence[int], strides: Sequence[Sequence[int]],
               starts: Sequence[Any]) -> list[Any]:
    """The context of a walk: ``sizes`` and each operand's ``strides`` are outer, middle, inner."""
    missing = [0] * (MAX_OPERANDS - len(starts))
    turns, rows, length = sizes
    words: list[Any] = [loop, besides, length, rows, turns]
    for axis in (2, 1, 0):
        words += [*[s[axis] for s in strides], *missing]
    return [*words, *starts, *missing]
