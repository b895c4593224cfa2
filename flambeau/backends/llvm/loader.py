"""Object code made callable without LLVM, which takes longer to load than most programs' kernels.

ELF objects for x86-64 in the large code model, as `jit` compiles them on Linux (System V ABI,
AMD64 supplement, section 4.4). For anything else `load` gives None, and LLVM's linker does it.
"""

import ctypes
import functools
import mmap
import platform
import struct
import sys
from collections.abc import Iterable, Mapping
from typing import NamedTuple

__all__ = ["Image", "load"]

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_WORD = struct.Struct("<Q")

_MAGIC = b"\x7fELF\x02\x01\x01"  # 64 bits, little-endian, version 1
_RELOCATABLE, _X86_64 = 1, 62
# types of sections, their flags, and places that are no section
_PROGBITS, _SYMTAB, _RELA, _NOBITS = 1, 2, 4, 8
_WRITE, _ALLOC = 1, 2
_UNDEFINED, _ABSOLUTE = 0, 0xFFF1
_GOT_NAME = "_GLOBAL_OFFSET_TABLE_"
# relocations: S symbol, A addend, P place, T table of addresses, E the symbol's entry in it
_S_A, _S_A_P, _S_A_T, _E_A_T, _T_A_P = 1, 24, 25, 27, 29


class _Section(NamedTuple):
    name: str
    type: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    align: int


class _Unsupported(Exception):
    """The object has something that only a real linker knows."""


class Image:
    """Code and data of one object in memory of their own, freed with this."""

    def __init__(self, memory: mmap.mmap, addresses: dict[str, int]) -> None:
        self._memory = memory
        self._addresses = addresses

    def __getitem__(self, name: str) -> int:
        return self._addresses[name]


def load(code: bytes, exports: Iterable[str], imports: Mapping[str, int]) -> Image | None:
    """Place an object in memory, its symbols from ``imports`` or the process.

    Returns None where this is not the place for it. Raises RuntimeError for symbols that cannot
    be found.
    """
    if not _is_place() or not code.startswith(_MAGIC):
        return None
    try:
        return _Object(code, imports).placed(exports)
    except (_Unsupported, OSError, struct.error):
        return None


@functools.cache
def _is_place() -> bool:
    return sys.platform == "linux" and platform.machine() == "x86_64" and sys.maxsize > 1 << 32


class _Object:
    def __init__(self, code: bytes, imports: Mapping[str, int]) -> None:
        self.code = code
        self.imports = imports
        header = _HEADER.unpack_from(code)
        if header[1] != _RELOCATABLE or header[2] != _X86_64:
            raise _Unsupported
        self.sections = self._read_sections(header[6], header[12], header[13])
        self.symbols = self._read_symbols()
        self.got: dict[str, int] = {}
        self.offsets: dict[int, int] = {}
        self.memory: mmap.mmap
        self.base = 0

    def _read_sections(self, start: int, count: int, names_at: int) -> list[_Section]:
        raw = [_SECTION.unpack_from(self.code, start + i * _SECTION.size) for i in range(count)]
        names = raw[names_at][4]
        return [_Section(self._text(names + r[0]), r[1], r[2], r[4], r[5], r[6], r[7], r[8] or 1)
                for r in raw]

    def _read_symbols(self) -> list[tuple[str, int, int]]:
        """The name of each symbol, the section it is in, its place there."""
        table = next(s for s in self.sections if s.type == _SYMTAB)
        names = self.sections[table.link].offset
        found = []
        for at in range(table.offset, table.offset + table.size, _SYMBOL.size):
            name, _, _, section, value, _ = _SYMBOL.unpack_from(self.code, at)
            found.append((self._text(names + name), section, value))
        return found

    def _text(self, at: int) -> str:
        return self.code[at:self.code.index(b"\0", at)].decode()

    def placed(self, exports: Iterable[str]) -> Image:
        """The object in memory, ready to be called."""
        own = {name: at for at, (name, section, _) in enumerate(self.symbols)
               if section != _UNDEFINED}
        missing = [name for name in exports if name not in own]
        if missing:
            raise RuntimeError(f"Symbols not found: {missing}")
        fixed = self._lay_out()
        self._fill()
        self._relocate()
        _protect(self.base, fixed)
        return Image(self.memory, {name: self._address(own[name]) for name in exports})

    def _lay_out(self) -> int:
        """Reserve memory; returns how many of its bytes never change once they are filled."""
        kept = [i for i, s in enumerate(self.sections) if s.flags & _ALLOC
                and s.type in (_PROGBITS, _NOBITS)]
        changing = [i for i in kept if self.sections[i].flags & _WRITE]
        end = self._reserve([i for i in kept if i not in changing], 0)
        self.table = -(-end // 8) * 8
        names = {self.symbols[info >> 32][0] for _, info, _ in self._relocations()
                 if info & 0xFFFFFFFF == _E_A_T}
        self.got = {name: 8 * i for i, name in enumerate(sorted(names))}
        fixed = -(-(self.table + 8 * len(names) or 1) // mmap.PAGESIZE) * mmap.PAGESIZE
        size = max(self._reserve(changing, fixed), fixed)
        self.memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.base = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        return fixed

    def _reserve(self, numbers: list[int], start: int) -> int:
        for i in numbers:
            section = self.sections[i]
            self.offsets[i] = -(-start // section.align) * section.align
            start = self.offsets[i] + section.size
        return start

    def _fill(self) -> None:
        for i, at in self.offsets.items():
            section = self.sections[i]
            if section.type == _PROGBITS:
                part = self.code[section.offset:section.offset + section.size]
                self.memory[at:at + section.size] = part
        addresses = {name: at for at, (name, _, _) in enumerate(self.symbols)}
        for name, at in self.got.items():
            _WORD.pack_into(self.memory, self.table + at, self._address(addresses[name]))

    def _relocations(self, section: int | None = None) -> list[tuple[int, int, int]]:
        found: list[tuple[int, int, int]] = []
        for s in self.sections:
            if s.type == _RELA and section in (None, s.info):
                found += _RELOCATION.iter_unpack(self.code[s.offset:s.offset + s.size])
        return found

    def _relocate(self) -> None:
        table = self.base + self.table
        for i, at in self.offsets.items():
            for place, info, addend in self._relocations(i):
                here, kind, symbol = at + place, info & 0xFFFFFFFF, info >> 32
                if kind == _T_A_P:
                    value = table + addend - self.base - here
                elif kind == _E_A_T:
                    value = self.got[self.symbols[symbol][0]] + addend
                elif kind in (_S_A, _S_A_P, _S_A_T):
                    origin = {_S_A: 0, _S_A_P: self.base + here, _S_A_T: table}[kind]
                    value = self._address(symbol) + addend - origin
                else:
                    raise _Unsupported
                _WORD.pack_into(self.memory, here, value & 0xFFFFFFFFFFFFFFFF)

    def _address(self, symbol: int) -> int:
        name, section, value = self.symbols[symbol]
        if section in self.offsets:
            return self.base + self.offsets[section] + value
        if section == _ABSOLUTE:
            return value
        if section != _UNDEFINED:
            raise _Unsupported
        if name == _GOT_NAME:
            return self.base + self.table
        return self.imports[name] if name in self.imports else _in_process(name)


@functools.cache
def _process() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def _in_process(name: str) -> int:
    try:
        found = ctypes.cast(getattr(_process(), name), ctypes.c_void_p).value
    except AttributeError:
        found = None
    if not found:
        raise RuntimeError(f"Symbols not found: [{name}]")
    return found


def _protect(address: int, size: int) -> None:
    """Let memory be executed, and no longer be written."""
    change = _process().mprotect
    change.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    if change(address, size, mmap.PROT_READ | mmap.PROT_EXEC):
        raise OSError("the system does not let this memory be executed")
