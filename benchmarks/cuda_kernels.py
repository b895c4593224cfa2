"""Kernels printed as CUDA C, beside PyTorch's or cupy's on this machine's GPU.

    python benchmarks/cuda_kernels.py [name ...]

needs cupy, NVRTC and a GPU. Times are medians by events; what is over 1 in the last column is how
many times faster ours is. Bandwidth counts every input once and every output once.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cupy
import numpy as np

from flambeau.backends.cuda_c import (
    compile as nvrtc,
)
from flambeau.backends.cuda_c import (
    contraction,
    places,
    printer,
    reduce,
    rows,
    scans,
)
from flambeau.backends.llvm.array_program import Contraction, Gather, Scan, Scatter
from flambeau.backends.llvm.program import Input, Output, Pointwise, Reduction, Rows, Step

try:
    import torch

    HAS_TORCH = torch.cuda.is_available()
except ImportError:
    HAS_TORCH = False

WARMUPS, ROUNDS = 3, 20
BLOCKS = cupy.cuda.Device().attributes["MultiProcessorCount"]
ARCHITECTURE = "compute_" + cupy.cuda.Device().compute_capability
FOLDER = Path(tempfile.mkdtemp())
UNITS = {"GB/s": 1e9, "TFLOP/s": 1e12}
FLOATS = {"f32": np.float32, "f64": np.float64}


class Case(NamedTuple):
    """A kernel's work, in bytes or operations, its launch, its check, and what others do."""

    name: str
    work: float
    unit: str
    run: Callable[[], Any]
    error: Callable[[], float]
    peers: dict[str, Callable[[], Any]]


def kernel(source: str) -> Any:
    path = FOLDER / f"{len(list(FOLDER.iterdir()))}.ptx"
    path.write_text(nvrtc.to_ptx(source, ARCHITECTURE))
    return cupy.RawModule(path=str(path)).get_function("kernel")


def launcher(source: str, grid: tuple[int, ...], block: int | tuple[int, ...], *args: Any,
             shared: int = 0) -> Callable[[], None]:
    function = kernel(source)
    if shared:
        function.max_dynamic_shared_size_bytes = shared
    words = [np.int64(a) if isinstance(a, int) else a for a in args]
    threads = (block,) if isinstance(block, int) else block
    return lambda: function(grid, threads, tuple(words), shared_mem=shared)


def milliseconds(run: Callable[[], Any]) -> float:
    for _ in range(WARMUPS):
        run()
    times = []
    for _ in range(ROUNDS):
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(start, end))
    return statistics.median(times)


def normal(*shape: int) -> Any:
    return cupy.random.default_rng(0).standard_normal(shape, dtype=cupy.float32)


def as_torch(x: Any) -> Any:
    return torch.from_dlpack(x)


def off(got: Any, want: Any) -> float:
    """The distance of two arrays over the size of the second."""
    got, want = got.astype(cupy.float64), want.astype(cupy.float64)
    return float(cupy.linalg.norm(got - want) / cupy.linalg.norm(want))


def gelu_program(kind: str = "f32") -> Pointwise:
    steps = (
        Step("const", (), 0.5**0.5, kind), Step("mul", (0, 1)), Step("erf", (2,)),
        Step("const", (), 1.0, kind), Step("add", (3, 4)), Step("mul", (0, 5)),
        Step("const", (), 0.5, kind), Step("mul", (6, 7)),
    )
    return Pointwise((Input(kind),), steps, (8,))


def half_program(program: Pointwise) -> Pointwise:
    """A program of one array on bfloat16, computed in float32."""
    steps = [Step("cast", (0,), None, "f32")]
    steps += [s._replace(args=tuple(n + 1 for n in s.args)) for s in program.steps]
    steps.append(Step("cast", (program.outputs[0] + 1,), None, "bf16"))
    return Pointwise((Input("bf16"),), tuple(steps), (len(steps),))


def gelu() -> Iterator[Case]:
    x, out = normal(1 << 26), cupy.empty(1 << 26, cupy.float32)
    run = launcher(printer.print_pointwise(gelu_program()), (BLOCKS * 16,), 256, out, x, x.size)
    fused = cupy.ElementwiseKernel(
        "float32 x", "float32 y", "y = x * (erff(x * 0.70710678f) + 1.0f) * 0.5f", "gelu")
    peers: dict[str, Callable[[], Any]] = {"cupy": lambda: fused(x, out)}
    if HAS_TORCH:
        t = as_torch(x)
        peers["torch"] = lambda: torch.nn.functional.gelu(t)
    yield Case("gelu 64M f32", 2.0 * x.nbytes, "GB/s", run, lambda: off(out, fused(x)), peers)
    bits = (x.view(cupy.uint32) >> 16).astype(cupy.uint16)
    halves = cupy.empty_like(bits)
    run_half = launcher(printer.print_pointwise(half_program(gelu_program())), (BLOCKS * 16,), 256,
                        halves, bits, bits.size)
    peers = {}
    if HAS_TORCH:
        h = as_torch(x).bfloat16()
        peers["torch"] = lambda: torch.nn.functional.gelu(h)

    def error() -> float:
        exact = (bits.astype(cupy.uint32) << 16).view(cupy.float32)
        return off((halves.astype(cupy.uint32) << 16).view(cupy.float32), fused(exact))

    yield Case("gelu 64M bf16", 2.0 * bits.nbytes, "GB/s", run_half, error, peers)


def softmax() -> Iterator[Case]:
    steps = (Step("row_peak", (0,)), Step("sub", (0, 1)), Step("decay", (2,)),
             Step("row_sum", (3,)), Step("div", (3, 4)))
    program = Rows((Input("f32"),), steps, (Output(5),))
    for shape in ((16384, 4096), (65536, 1024), (262144, 256), (1 << 20, 64)):
        x, out = normal(*shape), cupy.empty(shape, cupy.float32)
        run = launch_rows(program, (out,), (x,), shape)

        def by_cupy(x: Any = x) -> Any:
            grown = cupy.exp(x - x.max(1, keepdims=True))
            return grown / grown.sum(1, keepdims=True)

        peers: dict[str, Callable[[], Any]] = {"cupy": by_cupy}
        if HAS_TORCH:
            peers["torch"] = partial(torch.softmax, as_torch(x), 1)
        yield Case(f"softmax {shape[0]}x{shape[1]}", 2.0 * x.nbytes, "GB/s", run,
                   lambda out=out, want=by_cupy: off(out, want()), peers)


def launch_rows(program: Rows, outs: tuple, ins: tuple, shape: tuple[int, int]) -> Callable:
    walk = rows.walk_for(shape[1])
    source = rows.print_rows(program, walk)
    block = (walk.threads, walk.together)
    return launcher(source, (-(-shape[0] // walk.together),), block, *outs, *ins, *shape, 1)


def layer_norm() -> Iterator[Case]:
    inputs = (Input("f32"), Input("f32", "row"), Input("f32", "row"), Input("f32", "scalar"))
    steps = (
        Step("row_sum", (0,)), Step("row_length", (), None, "f32"), Step("div", (4, 5)),
        Step("sub", (0, 6)), Step("square", (7,)), Step("row_sum", (8,)), Step("div", (9, 5)),
        Step("add", (10, 3)), Step("rsqrt", (11,)), Step("mul", (7, 12)), Step("fma", (13, 1, 2)),
    )
    program = Rows(inputs, steps, (Output(14), Output(6, "column"), Output(12, "column")))
    shape = (16384, 4096)
    x, weight, bias = normal(*shape), normal(4096), normal(4096)
    out = cupy.empty(shape, cupy.float32)
    mean, scale = cupy.empty((2, shape[0]), cupy.float32)
    epsilon = cupy.array([1e-5], cupy.float32)
    run = launch_rows(program, (out, mean, scale), (x, weight, bias, epsilon), shape)

    def by_cupy() -> Any:
        apart = x - x.mean(1, keepdims=True)
        return apart / cupy.sqrt(cupy.square(apart).mean(1, keepdims=True) + 1e-5) * weight + bias

    peers: dict[str, Callable[[], Any]] = {"cupy": by_cupy}
    if HAS_TORCH:
        t, w, b = as_torch(x), as_torch(weight), as_torch(bias)
        peers["torch"] = lambda: torch.nn.functional.layer_norm(t, (4096,), w, b, 1e-5)
    yield Case("layer_norm 16384x4096", 2.0 * x.nbytes, "GB/s", run,
               lambda: off(out, by_cupy()), peers)


def sums() -> Iterator[Case]:
    x = normal(1 << 26)
    for accumulate in ("f64", "f32"):
        reduction = Reduction(Pointwise((Input("f32"),), (), (0,)), "sum", accumulate)
        pieces = -(-x.size // reduce.PIECE)
        parts, out = cupy.empty(pieces, FLOATS[accumulate]), cupy.empty(1, FLOATS[accumulate])
        rest = reduce.finishing(reduction)
        first = launcher(reduce.print_rows(reduction), (pieces,), reduce.THREADS, parts, x, 1,
                         x.size)
        last = launcher(reduce.print_rows(rest), (1,), reduce.THREADS, out, parts, 1, pieces)
        peers: dict[str, Callable[[], Any]] = {"cupy": lambda: x.sum()}
        if HAS_TORCH:
            peers["torch"] = partial(torch.sum, as_torch(x))
        yield Case(f"sum 64M f32 in {accumulate}", float(x.nbytes), "GB/s",
                   lambda first=first, last=last: (first(), last()),
                   lambda out=out: off(out, x.astype(cupy.float64).sum(keepdims=True)), peers)


def column_sums() -> Iterator[Case]:
    shape = (16384, 4096)
    x = normal(*shape)
    for accumulate in ("f64", "f32"):
        reduction = Reduction(Pointwise((Input("f32"),), (), (0,)), "sum", accumulate)
        pieces = -(-shape[0] // reduce.HEIGHT)
        parts = cupy.empty((pieces, shape[1]), FLOATS[accumulate])
        out = cupy.empty(shape[1], FLOATS[accumulate])
        blocks = -(-pieces * shape[1] // 256)
        first = launcher(reduce.print_columns(reduction), (blocks,), 256, parts, x, 1, *shape)
        last = launcher(reduce.print_columns(reduce.finishing(reduction)), (BLOCKS,), 64, out,
                        parts, 1, pieces, shape[1])
        peers: dict[str, Callable[[], Any]] = {"cupy": lambda: x.sum(0)}
        if HAS_TORCH:
            peers["torch"] = partial(torch.sum, as_torch(x), 0)
        yield Case(f"column sums 16384x4096 in {accumulate}", float(x.nbytes), "GB/s",
                   lambda first=first, last=last: (first(), last()),
                   lambda out=out: off(out, x.astype(cupy.float64).sum(0)), peers)


def running_sums() -> Iterator[Case]:
    for shape in ((16384, 4096), (1, 1 << 26)):
        x, out = normal(*shape), cupy.empty(shape, cupy.float32)
        for accumulate in ("f64", "f32"):
            run = launch_scan(Scan("f32", "sum", accumulate), out, x, shape)
            peers: dict[str, Callable[[], Any]] = {"cupy": lambda x=x: cupy.cumsum(x, 1)}
            if HAS_TORCH:
                peers["torch"] = partial(torch.cumsum, as_torch(x), 1)
            yield Case(f"cumsum {shape[0]}x{shape[1]} in {accumulate}", 2.0 * x.nbytes, "GB/s", run,
                       lambda out=out, x=x: off(out, cupy.cumsum(x.astype(cupy.float64), 1)), peers)


def launch_scan(scan: Scan, out: Any, x: Any, shape: tuple[int, int]) -> Callable[[], None]:
    pieces = -(-shape[1] // reduce.PIECE)
    threads = scans.threads_for(shape[1])
    starts = cupy.empty((shape[0], pieces), FLOATS[scan.accumulate])
    totals = cupy.empty_like(starts)
    grid = (shape[0] * pieces,)
    steps = []
    if pieces > 1:
        rest = scans.finishing(scan)
        steps.append(launcher(scans.print_row_totals(scan, threads), grid, threads, totals, x,
                              *shape, 0))
        steps.append(launcher(scans.print_rows(rest), (shape[0],), scans.THREADS, starts, totals,
                              starts, shape[0], pieces, 0))
    steps.append(launcher(scans.print_rows(scan, threads), grid, threads, out, x, starts,
                          *shape, 0))

    def run() -> None:
        for step in steps:
            step()

    return run


def moves() -> Iterator[Case]:
    table = normal(50_000, 768)
    index = cupy.random.default_rng(1).integers(0, 50_000, 65_536)
    out, wrong = cupy.empty((65_536, 768), cupy.float32), cupy.zeros(1, cupy.int64)
    sizes = (1, 50_000, 65_536, 768, 0)
    run = launcher(places.print_gather(Gather("f32", False)), (BLOCKS * 16,), 256, out, wrong,
                   table, index, *sizes)
    peers: dict[str, Callable[[], Any]] = {"cupy": lambda: table.take(index, 0)}
    if HAS_TORCH:
        t, i = as_torch(table), as_torch(index)
        peers["torch"] = lambda: torch.nn.functional.embedding(i, t)
    yield Case("embedding 65536 of 50000x768", 2.0 * out.nbytes, "GB/s", run,
               lambda: off(out, table.take(index, 0)), peers)
    few = index[:8192]
    part, whole = normal(8192, 768), cupy.zeros_like(table)
    scatter = Scatter("f32", "add", False)
    grid = places.scatter_grid(scatter, 1, 50_000, 768, BLOCKS * 8)
    run = launcher(places.print_scatter(scatter), tuple(grid), places.THREADS, whole, wrong, part,
                   few, 1, 50_000, 8192, 768, 0)

    def error() -> float:
        whole[:] = 0
        run()
        want = cupy.zeros(table.shape, cupy.float64)
        cupy.add.at(want, few, part.astype(cupy.float64))
        return off(whole, want)

    target = cupy.zeros_like(table)
    peers = {"cupy": lambda: cupy.add.at(target, few, part)}
    if HAS_TORCH:
        a, b, c = as_torch(target), as_torch(few), as_torch(part)
        peers["torch"] = lambda: a.index_add_(0, b, c)
    yield Case("rows added 8192 to 50000x768", 3.0 * part.nbytes, "GB/s", run, error, peers)


def contractions() -> Iterator[Case]:
    for kind in ("f32", "bf16", "f16", "f64"):
        yield from products_of(kind, 4096)


def products_of(kind: str, size: int) -> Iterator[Case]:
    """By the tile that is chosen, then by the others."""
    program = Contraction(kind)
    x, y = normal(size, size), normal(size, size)
    if kind == "bf16":
        a, b = ((v.view(cupy.uint32) >> 16).astype(cupy.uint16) for v in (x, y))
        exact = [(v.astype(cupy.uint32) << 16).view(cupy.float32) for v in (a, b)]
    else:
        a, b = (v.astype({"f32": "f4", "f16": "f2", "f64": "f8"}[kind]) for v in (x, y))
        exact = [a, b]
    out = cupy.empty_like(a)
    peers: dict[str, Callable[[], Any]] = {}
    if kind != "bf16":
        peers["cupy"] = partial(cupy.matmul, a, b)
    if HAS_TORCH:
        dtypes = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16,
                  "f64": torch.float64}
        peers["torch"] = partial(torch.matmul, *[as_torch(v).to(dtypes[kind]) for v in (x, y)])

    def error() -> float:
        got = (out.astype(cupy.uint32) << 16).view(cupy.float32) if kind == "bf16" else out
        want = exact[0][:64].astype(cupy.float64) @ exact[1].astype(cupy.float64)
        return off(got[:64], want)

    chosen = contraction.tile_for(program, 1, size, size, BLOCKS)
    for tile in dict.fromkeys([chosen, *contraction.tiles_of(program)]):
        units = -(-size // tile.rows) * -(-size // tile.columns)
        run = launcher(contraction.print_contraction(program, tile), (units,), tile.threads, out,
                       a, b, 1, size, size, size, size, 1, 0, size, 1, 0, shared=tile.shared)
        name = f"product {size}^3 {kind} by {tile.rows}x{tile.columns}"
        yield Case(name, 2.0 * size**3, "TFLOP/s", run, error, peers if tile == chosen else {})


def report(case: Case) -> None:
    ours = milliseconds(case.run)
    rate = case.work / ours * 1e3 / UNITS[case.unit]
    line = f"{case.name:32} {ours:8.3f} ms {rate:8.1f} {case.unit:8} off {case.error():7.1e}"
    for name, run in case.peers.items():
        try:
            theirs = milliseconds(run)
            line += f"  {name} {theirs:8.3f} ms ({theirs / ours:.2f})"
        except Exception as error:
            # a library that cupy has not found
            line += f"  {name}: {type(error).__name__}"
    print(line, flush=True)


GROUPS = (gelu, softmax, layer_norm, sums, column_sums, running_sums, moves, contractions)


def main() -> None:
    wanted = sys.argv[1:]
    x, y = cupy.empty((2, 1 << 27), cupy.float32)
    copying = milliseconds(partial(cupy.copyto, y, x))
    print(f"device copy: {2 * x.nbytes / copying / 1e6:.0f} GB/s")
    del x, y
    for group in GROUPS:
        if wanted and group.__name__ not in wanted:
            continue
        for case in group():
            report(case)
        cupy.get_default_memory_pool().free_all_blocks()


if __name__ == "__main__":
    main()
