"""LLVM text to callable addresses: object code, the disk cache, and a linker.

LLVM is loaded by the first text that was not compiled before.
"""

import atexit
import ctypes
import functools
import itertools
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from flambeau.backends.llvm import ahead, loader, object_cache
from flambeau.backends.llvm.fork_gate import compiling
from flambeau.backends.llvm.host import Host, binding, compiler_build, host

__all__ = ["FORMAT", "Host", "Library", "assembly", "host", "load", "load_all", "object_code"]

# part of every cache key: raise it when the calling convention of cached code changes
FORMAT = "1"


class Library:
    """Loaded code. Addresses hold for the life of the process; of the object where it is passing.
    """

    def __init__(self, owner: Any, names: tuple[str, ...], passing: bool = False) -> None:
        self.owner = owner
        if passing:
            _passing.add(self)
        else:
            _leak(owner)
        self._addresses = {name: int(owner[name]) for name in names}

    def address(self, name: str) -> int:
        """Return the address of an exported function or global."""
        return self._addresses[name]


_lock = threading.RLock()
_passing: weakref.WeakSet[Library] = weakref.WeakSet()
_numbers = itertools.count()
# By their texts, the modules that others import.
_imported: dict[str, Library] = {}
# How many passing libraries an engine gets: it keeps 9 kB of each until it goes itself.
_LIBRARIES = 64


@functools.cache
def _target() -> Any:
    llvm = binding()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()
    return llvm.Target.from_triple(host().triple)


def _new_machine() -> Any:
    # position-independent, since the process's own symbols may be far from the loaded code
    return _target().create_target_machine(
        cpu=host().cpu,
        features=host().features,
        opt=2,
        reloc="pic",
        codemodel="jitdefault",
        jit=True,
    )


class _Machines(threading.local):
    """The target machine of each thread that compiles."""

    machine: Any = None


_machines = _Machines()


def _target_machine() -> Any:
    if _machines.machine is None:
        _machines.machine = _new_machine()
    return _machines.machine


@functools.cache
def _engine() -> Any:
    _target()
    # a target machine of its own: LLJIT takes the one it is given
    engine = binding().create_lljit_compiler(None)
    _leak(engine)
    return engine


class _Passing:
    """The engine that passing libraries are loaded into now; each of them keeps its own alive."""

    engine: Any = None
    left = 0

    @classmethod
    def next(cls) -> Any:
        if not cls.left:
            _target()
            cls.engine, cls.left = binding().create_lljit_compiler(None), _LIBRARIES
        cls.left -= 1
        return cls.engine


def _leak(thing: Any) -> None:
    """Never dispose of it: pool threads may be inside the code until the process ends."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


@atexit.register
def _keep_all() -> None:
    """Other threads may be in any code until the process ends."""
    for library in list(_passing):
        _leak(library.owner)
    if _Passing.engine is not None:
        _leak(_Passing.engine)


@compiling()
def object_code(text: str) -> bytes:
    """Return machine code for a module, from the disk cache where it was compiled before."""
    return _object_codes([text])[0]


class _Job:
    """Code that one thread compiles, and others may wait for; None if that failed."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.code: bytes | None = None


# By their names, what is being compiled.
_jobs: dict[str, _Job] = {}


def _object_codes(texts: Sequence[str]) -> list[bytes]:
    names = [object_cache.key(text, *host()[:3], FORMAT, compiler_build()) for text in texts]
    found = {name: object_cache.load(name) for name in names}
    missing = {name: text for name, text in zip(names, texts) if found[name] is None}
    made = _made(missing) if missing else {}
    return [made[name] if code is None else code
            for name, code in [(name, found[name]) for name in names]]


def _made(texts: Mapping[str, str]) -> dict[str, bytes]:
    """Machine code of modules by name; what another thread is compiling is not compiled twice."""
    with _lock:
        others = {name: _jobs[name] for name in texts if name in _jobs}
        own = {name: _Job() for name in texts if name not in others}
        _jobs.update(own)
    found: dict[str, bytes] = {}
    try:
        codes = _compiled([texts[name] for name in own])
        for (name, job), code in zip(own.items(), codes):
            job.code = found[name] = code
            object_cache.store(name, code)
    finally:
        with _lock:
            for name, job in own.items():
                del _jobs[name]
                job.done.set()
    for name, job in others.items():
        job.done.wait()
        found[name] = _compiled([texts[name]])[0] if job.code is None else job.code
    return found


def _compiled(texts: Sequence[str]) -> list[bytes]:
    """Machine code of modules, each in a thread of its own where there are several."""
    if texts:
        ahead.begin()
    found: dict[int, bytes] = {}
    errors: list[Exception] = []

    def emit(at: int) -> None:
        try:
            found[at] = _emitted(texts[at])
        except Exception as error:
            errors.append(error)

    # concurrent.futures is slower to import than a kernel is to compile
    threads = [threading.Thread(target=emit, args=(at,)) for at in range(1, len(texts))]
    for thread in threads:
        thread.start()
    if texts:
        emit(0)
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [found[at] for at in range(len(texts))]


def _emitted(text: str) -> bytes:
    """Machine code; a context of the module's own lets other modules be compiled meanwhile."""
    context = binding().create_context()
    module = binding().parse_assembly(text, context)
    module.verify()
    return _emit_unlocked(_target_machine(), module)


def _emit_unlocked(machine: Any, module: Any) -> bytes:
    """What `emit_object` does, without the lock that llvmlite puts around all of LLVM.

    LLVM itself asks for no lock between contexts; where the function is not there to be had, the
    lock stays.
    """
    ffi = binding().ffi
    emit = getattr(ffi.lib.LLVMPY_TargetMachineEmitToMemory, "_cfn", None)
    if emit is None:
        return machine.emit_object(module)
    with ffi.OutputString() as error:
        buffer = emit(machine, module, 1, error)
        if not buffer:
            raise RuntimeError(str(error))
    try:
        start, size = ffi.lib.LLVMPY_GetBufferStart(buffer), ffi.lib.LLVMPY_GetBufferSize(buffer)
        return ctypes.string_at(start, size)
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)


@compiling()
def load(text: str, exports: tuple[str, ...], imports: dict[str, int] | None = None,
         passing: bool = False, modules: Sequence[tuple[str, tuple[str, ...]]] = ()) -> Library:
    """Compile a module and load it; `imports` gives addresses of symbols that it declares.

    It may import what other ``modules`` (text, exports) export, which stay for good, are loaded
    once, and compiled beside it. The code stays for good, too, or where it is ``passing`` as long
    as the library that is returned. Other undefined symbols come from the process. Raises
    RuntimeError for text that LLVM refuses and for symbols that cannot be found.
    """
    new = [module for module in modules if module[0] not in _imported]
    code, *codes = _object_codes([text, *[own for own, _ in new]])
    with _lock:
        for (own, names), found in zip(new, codes):
            if own not in _imported:
                _imported[own] = _library(found, names, {}, False)
        known = {name: _imported[own].address(name) for own, names in modules for name in names}
        return _library(code, exports, {**known, **(imports or {})}, passing)


@compiling()
def load_all(modules: Sequence[tuple[str, tuple[str, ...]]], passing: bool = False
             ) -> list[Library]:
    """`load` of several modules (text, exports) that import nothing, compiled side by side."""
    codes = _object_codes([text for text, _ in modules])
    with _lock:
        return [_library(code, exports, {}, passing)
                for code, (_, exports) in zip(codes, modules)]


def _library(code: bytes, exports: tuple[str, ...], imports: Mapping[str, int], passing: bool
             ) -> Library:
    image = loader.load(code, exports, imports)
    return Library(image or _linked(code, exports, imports, passing), exports, passing)


def _linked(code: bytes, exports: tuple[str, ...], imports: Mapping[str, int], passing: bool
            ) -> Any:
    """An object placed by LLVM's own linker."""
    builder = binding().JITLibraryBuilder().add_object_img(code).add_current_process()
    for symbol, address in imports.items():
        builder.import_symbol(symbol, address)
    for symbol in exports:
        builder.export_symbol(symbol)
    engine = _Passing.next() if passing else _engine()
    tracker = builder.link(engine, f"flambeau{next(_numbers)}")
    # The tracker unloads its code first, then lets go of the engine.
    tracker.engine = engine
    return tracker


@compiling()
def assembly(text: str) -> str:
    """Return the host's assembly for a module, to read."""
    with _lock:
        machine = _target_machine()
        module = binding().parse_assembly(text)
        return str(machine.emit_assembly(module))
