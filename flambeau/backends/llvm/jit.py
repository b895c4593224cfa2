"""LLVM text to callable addresses: object code, the disk cache, and a linker.

LLVM is loaded by the first text that was not compiled before.
"""

import atexit
import ctypes
import functools
import itertools
import threading
import weakref
from collections.abc import Mapping
from typing import Any

from flambeau.backends.llvm import loader, object_cache
from flambeau.backends.llvm.host import Host, binding, compiler_build, host

__all__ = ["FORMAT", "Host", "Library", "assembly", "host", "load", "object_code"]

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


@functools.cache
def _target_machine() -> Any:
    llvm = binding()
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
    _target_machine()
    # a target machine of its own: LLJIT takes the one it is given
    engine = binding().create_lljit_compiler(None)
    _leak(engine)
    return engine


def _leak(thing: Any) -> None:
    """Never dispose of it: pool threads may be inside the code until the process ends."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


@atexit.register
def _keep_all() -> None:
    """Other threads may be in any code until the process ends."""
    for library in list(_passing):
        _leak(library.owner)


def object_code(text: str) -> bytes:
    """Return machine code for a module, from the disk cache where it was compiled before."""
    name = object_cache.key(text, *host()[:3], FORMAT, compiler_build())
    found = object_cache.load(name)
    if found is not None:
        return found
    machine = _target_machine()
    module = binding().parse_assembly(text)
    module.verify()
    made = machine.emit_object(module)
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
        code = object_code(text)
        image = loader.load(code, exports, imports or {})
        return Library(image or _linked(code, exports, imports or {}), exports, passing)


def _linked(code: bytes, exports: tuple[str, ...], imports: Mapping[str, int]) -> Any:
    """An object placed by LLVM's own linker."""
    builder = binding().JITLibraryBuilder().add_object_img(code).add_current_process()
    for symbol, address in imports.items():
        builder.import_symbol(symbol, address)
    for symbol in exports:
        builder.export_symbol(symbol)
    return builder.link(_engine(), f"flambeau{next(_numbers)}")


def assembly(text: str) -> str:
    """Return the host's assembly for a module, to read."""
    with _lock:
        machine = _target_machine()
        module = binding().parse_assembly(text)
        return str(machine.emit_assembly(module))
