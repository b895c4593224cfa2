"""Programs by rows, compiled for this host and run on the pool.

How many rows are walked together and how many make one unit of work depends on the shape alone,
and so do all results.
"""

import functools
from collections.abc import Sequence

import numpy as np

from flambeau.backends.llvm import across_printer, calls, jit, printer, row_printer
from flambeau.backends.llvm.program import Rows

# bytes of one unit of work, and how many units there are at the most where each has sums to keep
UNIT_BYTES = 1 << 16
SUM_UNITS = 64
MAX_PLANS = 64
# from this size on an output is written past the caches
STREAM_BYTES = 1 << 24
# columns below which rows are walked together
SHORT = 96


class RowsKernel:
    """A program compiled for this host, once for each way of walking that was asked for."""

    def __init__(self, program: Rows) -> None:
        self.program = program
        self.inputs = [(calls.DTYPES[item.kind], item.layout) for item in program.inputs]
        self.outputs = [(calls.DTYPES[program.kinds[o.value]], o.layout) for o in program.outputs]
        self.has_sums = any(layout == "row" for _, layout in self.outputs)
        self.by_column = any(layout == "row" for _, layout in (*self.inputs, *self.outputs))
        arrays = [dtype for dtype, layout in (*self.inputs, *self.outputs) if layout == "array"]
        self.item_bytes = sum(dtype.itemsize for dtype in arrays)
        self._plans: dict[tuple[int, int, int], tuple[int, int, tuple[int, ...]]] = {}

    def run(
        self,
        outs: Sequence[np.ndarray],
        ins: Sequence[np.ndarray],
        rows: int,
        columns: int,
        segments: int = 1,
    ) -> None:
        """Compute `outs` over `rows` rows, each of `segments` stretches of `columns` items.

        Array operands have rows * columns * segments items, "row" ones `columns`, "column" ones
        `rows`; with several segments stretch s of row r is the (s * rows + r)-th. No output
        overlaps an input. Raises ValueError where a size or a dtype is not what the program says.
        """
        self._check(outs, ins, rows, columns, segments)
        plan = self._plans.get((rows, columns, segments))
        if plan is None:
            if rows == 0 or columns == 0 or segments == 0:
                return
            plan = self._plan(outs, rows, columns, segments)
        address, units, sizes = plan
        if not self.has_sums:
            calls.launch(address, units, 1, *outs, *ins, *sizes)
            return
        targets = list(outs)
        for place, (dtype, layout) in enumerate(self.outputs):
            if layout == "row":
                targets[place] = np.zeros((units, columns), dtype)
        calls.launch(address, units, 1, *targets, *ins, *sizes)
        for out, target, (_, layout) in zip(outs, targets, self.outputs, strict=True):
            if layout == "row":
                np.copyto(out, target.sum(0, dtype=np.float64), casting="same_kind")

    def _plan(
        self, outs: Sequence[np.ndarray], rows: int, columns: int, segments: int
    ) -> tuple[int, int, tuple[int, ...]]:
        """The kernel, its units of work, and the sizes that it is told."""
        walk = self._walk(outs, rows, columns, segments)
        height = self._height(rows, columns * segments, walk.together)
        sizes = (rows, columns, height) if segments == 1 else (rows, columns, height, segments)
        plan = self._address(walk), -(-rows // height), sizes
        # the way of walking a large array depends on where it lies
        if rows * columns * segments * self.item_bytes < STREAM_BYTES:
            self._plans[rows, columns, segments] = plan
            if len(self._plans) > MAX_PLANS:
                del self._plans[next(iter(self._plans))]
        return plan

    def run_across(
        self,
        outs: Sequence[np.ndarray],
        ins: Sequence[np.ndarray],
        batch: int,
        length: int,
        inner: int,
    ) -> None:
        """Compute `outs` over the rows along the middle axis of (batch, length, inner).

        "row" operands have `length` items, "column" ones batch * inner. No output overlaps an
        input. Raises ValueError as `run` does, and where the program sums over rows.
        """
        self._check(outs, ins, batch * inner, length, 1)
        if batch and length and inner:
            address, width = self._across_address()
            units = batch * -(-inner // width)
            calls.launch(address, units, 1, *outs, *ins, batch, length, inner)

    def _walk(
        self, outs: Sequence[np.ndarray], rows: int, columns: int, segments: int
    ) -> row_printer.Walk:
        if segments > 1:
            return row_printer.Walk(segmented=True, vectors=4)
        if columns < SHORT:
            return row_printer.Walk(together=4, vectors=1)
        vectors = 2 if self.has_sums else 4
        lanes = row_printer.lanes_for(self.program, jit.host().vector_bytes, vectors)
        arrays = [out for out, (_, kept) in zip(outs, self.outputs, strict=True) if kept == "array"]
        large = bool(arrays) and arrays[0].nbytes >= STREAM_BYTES
        whole = columns % lanes == 0 and columns <= row_printer.SCRATCH
        streaming = large and whole and all(map(calls.is_aligned, arrays))
        return row_printer.Walk(1, vectors, fetches=True, streaming=streaming)

    def _height(self, rows: int, columns: int, together: int) -> int:
        height = max(1, UNIT_BYTES // (columns * self.item_bytes))
        if self.has_sums:
            height = max(height, -(-rows // SUM_UNITS))
        return -(-height // together) * together

    @functools.cache  # noqa: B019 - kernels live as long as the process
    def _address(self, walk: row_printer.Walk) -> int:
        text = row_printer.print_rows(self.program, jit.host().vector_bytes, walk)
        return jit.load(text, (printer.KERNEL,)).address(printer.KERNEL)

    @functools.cache  # noqa: B019 - kernels live as long as the process
    def _across_address(self) -> tuple[int, int]:
        """The kernel, and how many rows are one unit of its work."""
        text = across_printer.print_across(self.program, jit.host().vector_bytes)
        address = jit.load(text, (printer.KERNEL,)).address(printer.KERNEL)
        return address, across_printer.strip_rows(jit.host().vector_bytes)

    def _check(
        self,
        outs: Sequence[np.ndarray],
        ins: Sequence[np.ndarray],
        rows: int,
        columns: int,
        segments: int,
    ) -> None:
        sizes = {"array": rows * columns * segments, "scalar": 1, "row": columns, "column": rows}
        if len(ins) != len(self.inputs) or len(outs) != len(self.outputs):
            raise ValueError("a program's operands must be as many as it says")
        if segments > 1 and self.by_column:
            raise ValueError("rows in segments have no operands laid over columns")
        for arrays, operands in ((ins, self.inputs), (outs, self.outputs)):
            for array, (dtype, layout) in zip(arrays, operands):
                held = array.dtype
                if array.size != sizes[layout] or held is not dtype and held != dtype:
                    found = f"{array.size} of {array.dtype}"
                    raise ValueError(f"expected {sizes[layout]} items of {dtype}, got {found}")


@functools.cache
def rows_kernel(program: Rows) -> RowsKernel:
    """Return the kernel of a program; it compiles at its first run."""
    return RowsKernel(program)
