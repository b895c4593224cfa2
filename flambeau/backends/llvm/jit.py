"""LLVM text to callable addresses: host target, object code, the disk cache, one LLJIT."""

import atexit
import ctypes
import functools
import itertools
import threading
import weakref
from typing import Any, NamedTuple

import llvmlite
import llvmlite.binding as llvm

from flambeau.backends.llvm import object_cache

# part of every cache key: raise it when the calling convention of cached code changes
FORMAT = "1"


class Host(NamedTuple):
    """What code is generated for."""

    triple: str
    cpu: str
    features: str
    vector_bytes: int


class Library:
    """Loaded code. Addresses hold for the life of the process; of the object where it is passing.
    """

    def __init__(self, tracker: Any, names: tuple[str, ...], passing: bool = False) -> None:
        self.tracker = tracker
        if passing:
            _passing.add(self)
        else:
            _leak(tracker)
        self._addresses = {name: int(tracker[name]) for name in names}

    def address(self, name: str) -> int:
        """Return the address of an exported function or global."""
        return self._addresses[name]


_lock = threading.RLock()
_passing: weakref.WeakSet[Library] = weakref.WeakSet()
_numbers = itertools.count()


@functools.cache
def host() -> Host:
    """Return the machine this process runs on."""
    try:
        features = llvm.get_host_cpu_features()
    except RuntimeError:
        features = llvm.FeatureMap() if hasattr(llvm, "FeatureMap") else {}
    flat = features.flatten() if features else ""
    cpu = llvm.get_host_cpu_name()
    return Host(llvm.get_default_triple(), cpu, flat, _vector_bytes(features))


def _vector_bytes(features: Any) -> int:
    if features.get("avx512f"):
        return 64
    return 32 if features.get("avx") else 16


@functools.cache
def _target_machine() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()
    machine = host()
    # position-independent, since the process's own symbols may be far from the loaded code
    return llvm.Target.from_triple(machine.triple).create_target_machine(
        cpu=machine.cpu,
        features=machine.features,
        opt=2,
        reloc="pic",
        codemodel="jitdefault",
        jit=True,
    )


@functools.cache
def _engine() -> Any:
    # a target machine of its own: LLJIT takes the one it is given
    engine = llvm.create_lljit_compiler(None)
    _leak(engine)
    return engine


def _leak(thing: Any) -> None:
    """Never dispose of it: pool threads may be inside the code until the process ends."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


@atexit.register
def _keep_all() -> None:
    """Other threads may be in any code until the process ends."""
    for library in list(_passing):
        _leak(library.tracker)


def object_code(text: str) -> bytes:
    """Return machine code for a module, from the disk cache where it was compiled before."""
    machine = host()
    versions = (FORMAT, llvmlite.__version__, str(llvm.llvm_version_info))
    name = object_cache.key(text, *machine[:3], *versions)
    found = object_cache.load(name)
    if found is not None:
        return found
    module = llvm.parse_assembly(text)
    module.verify()
    made = _target_machine().emit_object(module)
    object_cache.store(name, made)
    return made


def load(text: str, exports: tuple[str, ...], imports: dict[str, int] | None = None,
         passing: bool = False) -> Library:
    """Compile a module and load it; `imports` gives addresses of symbols that it declares.

    The code stays for good, or where it is ``passing`` as long as the library that is returned.
    Other undefined symbols come from the process. Raises RuntimeError for text that LLVM refuses
    and for symbols that cannot be found.
    """
    with _lock:
        _target_machine()
        code = object_code(text)
        builder = llvm.JITLibraryBuilder().add_object_img(code).add_current_process()
        for symbol, address in (imports or {}).items():
            builder.import_symbol(symbol, address)
        for symbol in exports:
            builder.export_symbol(symbol)
        tracker = builder.link(_engine(), f"flambeau{next(_numbers)}")
        return Library(tracker, exports, passing)


def assembly(text: str) -> str:
    """Return the host's assembly for a module, to read."""
    with _lock:
        module = llvm.parse_assembly(text)
        return str(_target_machine().emit_assembly(module))
