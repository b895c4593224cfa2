"""Kernels run on a GPU, through cupy, with what surrounds their outputs looked at afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flambeau.backends.cuda_c import compile as nvrtc

DTYPES = {
    "f32": np.float32, "f64": np.float64, "i32": np.int32, "i64": np.int64, "bool": np.bool_,
    "f16": np.float16, "bf16": np.uint16, "i8": np.int8, "u8": np.uint8, "i16": np.int16,
}
# bytes behind every output, and what is in them and in outputs before a kernel runs
GUARD = 256
POISON = 0xA5


class Device:
    """The first GPU; sources are compiled once a session."""

    def __init__(self, cupy: Any, folder: Path) -> None:
        self.cupy = cupy
        self.folder = folder
        self.architecture = "compute_" + cupy.cuda.Device().compute_capability
        self.loaded: dict[str, Any] = {}

    def kernel(self, source: str, name: str = "kernel") -> Any:
        """The function of a source, to be called with a grid, a block and arguments."""
        if source not in self.loaded:
            path = self.folder / f"{len(self.loaded)}.ptx"
            path.write_text(nvrtc.to_ptx(source, self.architecture))
            self.loaded[source] = self.cupy.RawModule(path=str(path))
        return self.loaded[source].get_function(name)

    def run(self, source: str, grid: Sequence[int], block: int | Sequence[int],
            outs: Sequence[Any], ins: Sequence[np.ndarray], *sizes: int,
            shared: int = 0) -> list[np.ndarray]:
        """What a kernel leaves in its outputs: arrays that it finds, or (shape, dtype) of new ones.

        `shared` is the shared memory of a block, in bytes, beside what the kernel declares. Asserts
        that nothing behind the outputs was written.
        """
        held = [self._guarded(out) for out in outs]
        given = [self.cupy.asarray(np.ascontiguousarray(a)) for a in ins]
        threads = (block,) if isinstance(block, int) else tuple(block)
        words = [np.int64(size) for size in sizes]
        kernel = self.kernel(source)
        if shared:
            kernel.max_dynamic_shared_size_bytes = shared
        kernel(tuple(grid), threads, (*held, *given, *words), shared_mem=shared)
        return [self._read(place, out) for place, out in zip(held, outs)]

    def _guarded(self, out: Any) -> Any:
        if isinstance(out, np.ndarray):
            items = np.ascontiguousarray(out).view(np.uint8).reshape(-1)
        else:
            shape, dtype = out
            items = np.full(int(np.prod(shape)) * np.dtype(dtype).itemsize, POISON, np.uint8)
        return self.cupy.asarray(np.concatenate([items, np.full(GUARD, POISON, np.uint8)]))

    def _read(self, place: Any, out: Any) -> np.ndarray:
        shape, dtype = (out.shape, out.dtype) if isinstance(out, np.ndarray) else out
        found = self.cupy.asnumpy(place)
        assert (found[-GUARD:] == POISON).all(), "written behind an output"
        return found[:-GUARD].view(dtype).reshape(shape)


def find(folder: Path) -> Device:
    """The device; the test is skipped where there is no cupy, GPU or NVRTC."""
    cupy = pytest.importorskip("cupy", reason="cupy is not installed")
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError:
        count = 0
    if not count or nvrtc.find_library() is None:
        pytest.skip("no GPU, or no NVRTC")
    return Device(cupy, folder)


def as_bf16(x: np.ndarray) -> np.ndarray:
    """The bits of the nearest bfloat16 numbers, NaN as 0x7fff."""
    bits = x.astype(np.float32).view(np.uint32)
    near = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(x), 0x7FFF, near).astype(np.uint16)


def from_bf16(bits: np.ndarray) -> np.ndarray:
    """The numbers, in float32, of which these are the bits."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def ulps(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """Distances in units of the last place of what is wanted, rounded; 0 for equal specials."""
    wide = np.longdouble
    with np.errstate(all="ignore"):
        rounded = want.astype(got.dtype)
        same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
        unit = np.spacing(np.abs(rounded)).astype(wide)
        apart = np.abs(got.astype(wide) - want.astype(wide)) / unit
    apart[np.isnan(apart)] = np.inf
    exact = np.isinf(rounded) | np.isnan(rounded) | (same & (got == 0))
    return np.where(same & exact, 0, apart)
