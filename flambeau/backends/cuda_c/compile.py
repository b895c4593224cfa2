"""CUDA C to PTX by NVRTC, the compiler library that a package of the registry brings.

No GPU or driver is needed, and none is used: nothing here loads or launches what it compiles.
"""

import ctypes
import functools
import importlib.util
from pathlib import Path

ARCHITECTURE = "compute_80"
# where the packages for CUDA 12 and 13 put the library, below the folder `nvidia`
PLACES = (
    "cuda_nvrtc/lib/libnvrtc.so.*",
    "cuda_nvrtc/bin/nvrtc64_*_0.dll",
    "cu13/lib/libnvrtc.so.*",
    "cu13/bin/**/nvrtc64_*_0.dll",
)
COMMAND = "pip install nvidia-cuda-nvrtc-cu12"


class CompilationError(RuntimeError):
    """A source that NVRTC refused; the message is its log."""


def find_library() -> Path | None:
    """Return the file of the installed NVRTC package, or None."""
    spec = importlib.util.find_spec("nvidia")
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    for place in PLACES:
        for folder in folders:
            for found in sorted(Path(folder).glob(place)):
                return found
    return None


@functools.cache
def _library() -> ctypes.CDLL:
    path = find_library()
    if path is None:
        raise ModuleNotFoundError(f"compiling CUDA C needs NVRTC: {COMMAND}")
    library = ctypes.CDLL(str(path))
    library.nvrtcGetErrorString.restype = ctypes.c_char_p
    return library


def _check(code: int) -> None:
    if code:
        text = _library().nvrtcGetErrorString(code)
        raise CompilationError(f"NVRTC: {text.decode()}")


def _read(program: ctypes.c_void_p, what: str) -> str:
    """Return the text `what` ("PTX" or "ProgramLog") of a program."""
    size = ctypes.c_size_t()
    _check(getattr(_library(), f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _check(getattr(_library(), f"nvrtcGet{what}")(program, buffer))
    return buffer.value.decode()


def to_ptx(source: str, architecture: str = ARCHITECTURE) -> str:
    """Return the PTX of a CUDA C source for an architecture: "compute_80", or a later one.

    A real one ("sm_80") also has the assembler go over the PTX, which checks its instructions.
    Products and sums keep their own roundings (`--fmad=false`), as in kernels for the CPU; the
    library's division and square root are correctly rounded, and small numbers are not flushed.
    Raises ModuleNotFoundError without NVRTC and CompilationError, with the log, on a bad source.
    """
    library = _library()
    program = ctypes.c_void_p()
    text = source.encode()
    _check(library.nvrtcCreateProgram(ctypes.byref(program), text, b"kernel.cu", 0, None, None))
    try:
        options = [f"--gpu-architecture={architecture}".encode(), b"--fmad=false"]
        words = (ctypes.c_char_p * len(options))(*options)
        if library.nvrtcCompileProgram(program, len(options), words):
            raise CompilationError(_read(program, "ProgramLog"))
        return _read(program, "PTX")
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))
