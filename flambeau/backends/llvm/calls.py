"""Calling kernels: an entry that reads ndarrays directly, and the checks before it.

`launch(kernel, count, chunk, *items)` hands every item to the kernel's context: an ndarray as its
data pointer, an int as it is. It releases the GIL; its arguments keep the arrays alive meanwhile.
"""

import ctypes
import functools
import glob
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
from numpy._core import _multiarray_umath  # type: ignore[attr-defined]

from flambeau.backends.llvm import jit, pool, printer
from flambeau.backends.llvm.program import Pointwise
from flambeau.backends.threads import get_num_threads

KINDS: dict[np.dtype, str] = {
    np.dtype(np.float32): "f32",
    np.dtype(np.float64): "f64",
    np.dtype(np.int32): "i32",
    np.dtype(np.int64): "i64",
    np.dtype(np.bool_): "bool",
    np.dtype(np.float16): "f16",
    np.dtype(ml_dtypes.bfloat16): "bf16",
}
# with what can be read and written, but not computed in
STORED_KINDS: dict[np.dtype, str] = {
    **KINDS,
    np.dtype(np.int8): "i8",
    np.dtype(np.uint8): "u8",
    np.dtype(np.int16): "i16",
}
DTYPES: dict[str, np.dtype] = {kind: dtype for dtype, kind in STORED_KINDS.items()}
# bytes of the first array in one piece of work: several fit a core's own cache
CHUNK_BYTES = 1 << 17
# pieces start at multiples of so many items, and so on whole vectors and cache lines
PIECE_UNIT = 256
# outputs of this size may go past the caches: what reads smaller ones next finds them there
STREAM_BYTES = 1 << 23
# the last cache where the system does not tell
LAST_CACHE = 1 << 25
MAX_ITEMS = 64
_DENSE, _ANY = "expected ints and C-contiguous ndarrays", "expected ints and aligned ndarrays"
METH_FASTCALL = 0x80
# CPython's and NumPy's object layout, checked against a live array before it is relied on
HEAD = object.__basicsize__
RANK, SIZES, STRIDES, DTYPE, FLAGS = HEAD + 8, HEAD + 16, HEAD + 24, HEAD + 40, HEAD + 48
# C-contiguous and aligned, as NPY_ARRAY_ flags
NEEDED_FLAGS = 0x0101
ALIGNED = 0x0100
# NumPy's table of functions for C: the number of its layout, and places in that
_TABLE_VERSION = 0x02000000
_ARRAY_FUNCTIONS = {"PyArray_NewFromDescr": 94, "PyArray_SetBaseObject": 282}

_ENTRY = f"""
@type_error = external global ptr
declare void @parallel_for(ptr, ptr, i64, i64)
declare i64 @PyLong_AsSsize_t(ptr)
declare ptr @PyErr_Occurred()
declare void @PyErr_SetString(ptr, ptr)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare void @Py_IncRef(ptr)
@ndarray = external global i8
@none = external global i8
@message = private constant [LENGTH x i8] c"MESSAGE\\00"

define ptr @NAME(ptr %self, ptr %args, i64 %nargs) {{
entry:
  %context = alloca [{MAX_ITEMS + 3} x i64]
  %enough = icmp sge i64 %nargs, 3
  %few = icmp sle i64 %nargs, {MAX_ITEMS + 3}
  %fits = and i1 %enough, %few
  br i1 %fits, label %next, label %refuse
next:
  %i = phi i64 [0, %entry], [%i1, %put]
  %more = icmp slt i64 %i, %nargs
  br i1 %more, label %read, label %run
read:
  %place = getelementptr ptr, ptr %args, i64 %i
  %item = load ptr, ptr %place
  %type_place = getelementptr i8, ptr %item, i64 {HEAD - 8}
  %type = load ptr, ptr %type_place
  %is_array = icmp eq ptr %type, @ndarray
  br i1 %is_array, label %array, label %int
array:
  %flags_place = getelementptr i8, ptr %item, i64 {FLAGS}
  %flags = load i32, ptr %flags_place
  %kept = and i32 %flags, NEEDED
  %usable = icmp eq i32 %kept, NEEDED
  %data_place = getelementptr i8, ptr %item, i64 {HEAD}
  %data = load i64, ptr %data_place
  br i1 %usable, label %put, label %refuse
int:
  %number = call i64 @PyLong_AsSsize_t(ptr %item)
  %minus = icmp eq i64 %number, -1
  br i1 %minus, label %doubt, label %put
doubt:
  %error = call ptr @PyErr_Occurred()
  %clean = icmp eq ptr %error, null
  br i1 %clean, label %put, label %fail
put:
  %word = phi i64 [%data, %array], [%number, %int], [-1, %doubt]
  %slot = getelementptr i64, ptr %context, i64 %i
  store i64 %word, ptr %slot
  %i1 = add i64 %i, 1
  br label %next
run:
  %kernel = load ptr, ptr %context
  %count_slot = getelementptr i64, ptr %context, i64 1
  %count = load i64, ptr %count_slot
  %chunk_slot = getelementptr i64, ptr %context, i64 2
  %chunk = load i64, ptr %chunk_slot
  %items = getelementptr i64, ptr %context, i64 3
  %state = call ptr @PyEval_SaveThread()
  call void @parallel_for(ptr %kernel, ptr %items, i64 %count, i64 %chunk)
  call void @PyEval_RestoreThread(ptr %state)
  call void @Py_IncRef(ptr @none)
  ret ptr @none
refuse:
  %class = load ptr, ptr @type_error
  call void @PyErr_SetString(ptr %class, ptr @message)
  ret ptr null
fail:
  ret ptr null
}}
"""
_API = (
    "PyLong_AsSsize_t",
    "PyErr_Occurred",
    "PyErr_SetString",
    "PyEval_SaveThread",
    "PyEval_RestoreThread",
    "Py_IncRef",
)


class _MethodDef(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def layout_is_known() -> bool:
    """Whether ndarrays of this interpreter lie in memory as the direct entries read them."""
    if sys.implementation.name != "cpython" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    sample = np.zeros((3, 5), np.float32)
    address = id(sample)
    flags = ctypes.c_int.from_address(address + FLAGS).value
    turned = ctypes.c_int.from_address(id(view := sample.T) + FLAGS).value
    sizes = ctypes.c_void_p.from_address(address + SIZES).value
    strides = ctypes.c_void_p.from_address(address + STRIDES).value
    return (
        ctypes.c_void_p.from_address(address + HEAD).value == sample.ctypes.data
        and ctypes.c_void_p.from_address(address + HEAD - 8).value == id(np.ndarray)
        and flags & NEEDED_FLAGS == NEEDED_FLAGS
        and turned & NEEDED_FLAGS == 0x0100
        and view.base is sample
        and ctypes.c_int.from_address(address + RANK).value == sample.ndim
        and ctypes.c_void_p.from_address(address + DTYPE).value == id(sample.dtype)
        and sizes is not None
        and tuple((ctypes.c_int64 * 2).from_address(sizes)) == sample.shape
        and strides is not None
        and tuple((ctypes.c_int64 * 2).from_address(strides)) == sample.strides
    )


@functools.cache
def launcher() -> Callable[..., None]:
    """Return `launch`."""
    if not layout_is_known():
        return _launch_by_ctypes
    return direct_entry(_entry("launch", NEEDED_FLAGS, _DENSE), "launch", _API)


@functools.cache
def strided_launcher() -> Callable[..., None]:
    """Return `launch_strided`."""
    if not layout_is_known():
        return _launch_strided_by_ctypes
    return direct_entry(_entry("launch_strided", ALIGNED, _ANY), "launch_strided", _API)


def _entry(name: str, flags: int, message: str) -> str:
    """The text of an entry that refuses arrays without these flags."""
    words = {"NAME": name, "NEEDED": str(flags), "LENGTH": str(len(message) + 1),
             "MESSAGE": message}
    text = _ENTRY
    for word, meant in words.items():
        text = text.replace(word, meant)
    return text


def slot_offsets(slots: Mapping[str, Any]) -> dict[str, int] | None:
    """Where instances keep these slots, named by their descriptors; None where that is not seen.

    All are slots of one class, whose instances `object.__new__` makes.
    """
    if not layout_is_known() or not has_global_lock():
        return None
    found = {}
    for name, descriptor in slots.items():
        probe = object.__new__(descriptor.__objclass__)
        marker = object()
        descriptor.__set__(probe, marker)
        count = type(probe).__basicsize__ // 8
        words = list((ctypes.c_int64 * count).from_address(id(probe)))
        if words.count(id(marker)) != 1:
            return None
        found[name] = 8 * words.index(id(marker))
    return found


def array_functions() -> dict[str, int] | None:
    """Addresses in the table of functions that NumPy has for C; None where it is another table."""
    get = ctypes.pythonapi["PyCapsule_GetPointer"]
    get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    table = get(_multiarray_umath._ARRAY_API, None)
    version = ctypes.CFUNCTYPE(ctypes.c_uint)(ctypes.c_size_t.from_address(table).value)
    if version() != _TABLE_VERSION:
        return None
    return {name: ctypes.c_void_p.from_address(table + 8 * at).value or 0
            for name, at in _ARRAY_FUNCTIONS.items()}


def has_global_lock() -> bool:
    """Whether one thread at a time runs Python here."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def direct_entry(text: str, name: str, functions: Sequence[str]) -> Callable[..., Any]:
    """Return a Python function whose code is `name` of a module of LLVM text.

    It takes its arguments as METH_FASTCALL does, and may call `parallel_for` and these functions
    of Python's own interface.
    """
    return direct_entries(text, (name,), functions, {})[0]


def direct_entries(text: str, names: Sequence[str], functions: Sequence[str],
                   addresses: Mapping[str, int]) -> list[Callable[..., Any]]:
    """As `direct_entry`, several of one module; `addresses` has what else it refers to."""
    api = ctypes.pythonapi
    imports = {function: _address_of(getattr(api, function)) for function in functions}
    imports.update(addresses)
    imports["parallel_for"] = pool.parallel_for_address()
    imports["ndarray"] = id(np.ndarray)
    imports["none"] = id(None)
    imports["type_error"] = ctypes.addressof(ctypes.c_char.in_dll(api, "PyExc_TypeError"))
    library = jit.load(text, tuple(names), imports)
    make = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.py_object)(
        ("PyCFunction_NewEx", api)
    )
    entries: list[Callable[..., Any]] = []
    for name in names:
        method = _MethodDef(name.encode(), library.address(name), METH_FASTCALL, None)
        # the function keeps its self, and so the method's record, alive
        entries.append(make(ctypes.addressof(method), method, None))
    return entries


def _address_of(function: "ctypes._FuncPointer") -> int:
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address


def _launch_by_ctypes(kernel: int, count: int, chunk: int, *items: np.ndarray | int) -> None:
    """`launch` for interpreters whose objects lie in memory some other way."""
    if not all([item.flags.c_contiguous for item in items if isinstance(item, np.ndarray)]):
        raise TypeError(_DENSE)
    _launch_strided_by_ctypes(kernel, count, chunk, *items)


def _launch_strided_by_ctypes(kernel: int, count: int, chunk: int,
                              *items: np.ndarray | int) -> None:
    words = (ctypes.c_int64 * len(items))()
    for number, item in enumerate(items):
        if isinstance(item, np.ndarray):
            if not item.flags.aligned:
                raise TypeError(_ANY)
            words[number] = item.ctypes.data
        else:
            words[number] = item
    types = (None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    parallel_for = ctypes.CFUNCTYPE(*types)(pool.parallel_for_address())
    parallel_for(kernel, ctypes.addressof(words), count, chunk)


def launch(kernel: int, count: int, chunk: int, *items: np.ndarray | int) -> None:
    """Run a kernel over [0, count) on the pool."""
    pool.ensure_started()
    launcher()(kernel, count, chunk, *items)


def launch_strided(kernel: int, count: int, chunk: int, *items: np.ndarray | int) -> None:
    """`launch` for a kernel that knows the strides of its arrays, whatever they are."""
    pool.ensure_started()
    strided_launcher()(kernel, count, chunk, *items)


class PointwiseKernel:
    """A program compiled for this host; a second time, to stream, when that is first of use."""

    def __init__(self, program: Pointwise) -> None:
        self.program = program
        self._streaming: int | None = None
        self.by_rows = program.by_rows
        self.inputs = [(DTYPES[item.kind], item.layout) for item in program.inputs]
        self.outputs = [DTYPES[program.kinds[number]] for number in program.outputs]

    @functools.cached_property
    def address(self) -> int:
        """Where the code is; it is compiled when first asked for."""
        return self._compile(False)

    def _compile(self, streaming: bool) -> int:
        text = printer.print_pointwise(self.program, jit.host().vector_bytes, streaming)
        return jit.load(text, (printer.KERNEL,)).address(printer.KERNEL)

    def run(
        self, outs: Sequence[np.ndarray], ins: Sequence[np.ndarray], fresh: bool = False
    ) -> None:
        """Compute `outs`, which share one shape: any, or (..., columns) for a program by rows.

        Raises ValueError where an array's dtype or size is not what the program says, TypeError
        where one is not a C-contiguous ndarray. The caller sees to overlaps: `may_overlap`.
        `fresh` says that no output is an input, so that large ones may be written past the caches.
        """
        first = outs[0]
        count = first.size
        if count == 0:
            return
        columns = first.shape[-1] if self.by_rows else 1
        self._check(outs, ins, count, columns)
        if self.by_rows:
            rows = count // columns
            chunk = piece(rows, max(1, CHUNK_BYTES // (first.itemsize * columns)))
            launch(self.address, rows, chunk, *outs, *ins, columns)
        else:
            self.run_checked(outs, ins, count, fresh)

    def run_checked(
        self, outs: Sequence[np.ndarray], ins: Sequence[np.ndarray], count: int, fresh: bool
    ) -> None:
        """As `run`, for `count` items in arrays that are as the program says, not by rows."""
        first, address = outs[0], self.address
        if fresh and first.nbytes >= STREAM_BYTES:
            stream = past_caches([a.nbytes for a in outs], [a.nbytes for a in ins])
            if stream and all(map(is_aligned, outs)):
                address = self._stream_address()
        chunk = piece(count, CHUNK_BYTES // first.itemsize, PIECE_UNIT)
        launch(address, count, chunk, *outs, *ins)

    def _stream_address(self) -> int:
        if self._streaming is None:
            self._streaming = self._compile(True)
        return self._streaming

    def _check(
        self, outs: Sequence[np.ndarray], ins: Sequence[np.ndarray], count: int, columns: int
    ) -> None:
        if len(ins) != len(self.inputs) or len(outs) != len(self.outputs):
            raise ValueError("a program's operands must be as many as it says")
        for array, (dtype, layout) in zip(ins, self.inputs):
            size = count if layout == "array" else _laid(layout, count, columns)
            if array.dtype != dtype or array.size != size:
                raise ValueError(f"expected {size} items of {dtype}, got {_told(array)}")
        for array, dtype in zip(outs, self.outputs):
            if array.dtype != dtype or array.size != count:
                raise ValueError(f"expected {count} items of {dtype}, got {_told(array)}")


def _laid(layout: str, count: int, columns: int) -> int:
    """How many items an operand of a layout has."""
    return {"scalar": 1, "row": columns, "column": count // columns}[layout]


def piece(count: int, most: int, unit: int = 1) -> int:
    """How many of `count` items a piece of work has: about `most`, and threads get as many each.

    It is a multiple of `unit`.
    """
    pieces = -(-count // most)
    if pieces < 2:
        return count
    threads = get_num_threads()
    share = -(-count // (-(-pieces // threads) * threads))
    return -(-share // unit) * unit


@functools.cache
def pointwise_kernel(program: Pointwise) -> PointwiseKernel:
    """Return the kernel of a program, compiled when first asked for."""
    return PointwiseKernel(program)


def past_caches(outs: Sequence[int], ins: Sequence[int]) -> bool:
    """Whether a kernel had better write past the caches, for outputs and inputs of these bytes.

    That is where they take more than two thirds of the last cache, which holds other things too,
    and its outputs are large.
    """
    return min(outs) >= STREAM_BYTES and 3 * (sum(outs) + sum(ins)) > 2 * last_cache()


@functools.cache
def last_cache() -> int:
    """How many bytes the first processor's last cache holds."""
    sizes = {}
    for path in glob.glob("/sys/devices/system/cpu/cpu0/cache/index*"):
        try:
            with open(f"{path}/level") as level, open(f"{path}/size") as size:
                sizes[int(level.read())] = int(size.read().strip().removesuffix("K")) << 10
        except (OSError, ValueError):
            continue
    return sizes[max(sizes)] if sizes else LAST_CACHE


def is_aligned(array: np.ndarray) -> bool:
    address: int = array.__array_interface__["data"][0]
    return address % printer.STREAM_ALIGN == 0


def _told(array: np.ndarray) -> str:
    return f"{array.size} of {array.dtype}"


def may_overlap(out: np.ndarray, other: np.ndarray) -> bool:
    """Whether writing `out` item by item could change an item of `other` not yet read."""
    if not np.may_share_memory(out, other):
        return False
    same = out.ctypes.data == other.ctypes.data and out.itemsize == other.itemsize
    return not (same and out.size == other.size)
