"""What is in a checkpoint, found without loading it: nothing is run, no storage is read."""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from flambeau.base.dtypes import BY_NAME
from flambeau.base.shapes import Size
from flambeau.serialization import legacy
from flambeau.serialization.archive import Archive, is_zip
from flambeau.serialization.load import dtype_of
from flambeau.serialization.rebuild import REBUILD
from flambeau.serialization.safe_unpickler import TABLE, SafeUnpickler
from flambeau.serialization.safetensors_files import DTYPES

__all__ = ["Contents", "Stored", "inspect", "lines_of"]

MAX_HEADER = 100 << 20


class Stored(NamedTuple):
    """A tensor that a file holds: its dtype, shape, storage (its key), and whether a parameter."""

    dtype: str
    shape: tuple[int, ...]
    storage: str
    parameter: bool = False
    requires_grad: bool = False


class Foreign:
    """An object of a class that ``load`` does not make by itself."""

    def __init__(self, name: str, parts: Any = ()) -> None:
        self.name, self.parts = name, parts

    def __repr__(self) -> str:
        return f"<{self.name}>"


class Contents(NamedTuple):
    """What a file holds: its format, the object with its tensors described, bytes by storage,
    and the names that ``load`` would refuse."""

    format: str
    found: Any
    storages: dict[str, int]
    refused: list[str]


class _Name:
    def __init__(self, name: str) -> None:
        self.name = name


class _Describer(SafeUnpickler):
    """Reads a pickle into descriptions; what ``load`` would refuse is noted, not made."""

    def __init__(self, content: bytes, storages: dict[str, int], refused: set[str]) -> None:
        super().__init__(content, self._storage, {})
        self.storages, self.refused = storages, refused

    def _storage(self, parts: tuple) -> tuple:
        held = dtype_of(parts[1])
        itemsize = 1 if held is None else held.itemsize
        self.storages[str(parts[2])] = int(parts[4]) * itemsize
        return str(parts[2]), "uint8" if held is None else held.name

    def _global(self, module: str, name: str) -> None:
        full = f"{module}.{name}"
        if full not in TABLE:
            self.refused.add(full)
            self._push(_Name(full))
            return
        self._push(TABLE[full])

    def _reduce(self) -> None:
        args, function = self._pop(), self.stack[-1]
        self.stack[-1] = self._described(function, args)

    def _described(self, function: Any, args: Any) -> Any:
        if isinstance(function, _Name):
            return Foreign(function.name, args)
        name = getattr(function, "__name__", "")
        if name in ("_rebuild_tensor_v2", "_rebuild_tensor", "_rebuild_tensor_v3"):
            (key, held), _, size, _, *more = args
            if name == "_rebuild_tensor_v3":
                held = more[2].name
            return Stored(held, tuple(size), key, False, bool(more and more[0]))
        if name.startswith("_rebuild_parameter") and isinstance(args[0], Stored):
            return args[0]._replace(parameter=True, requires_grad=bool(args[1]))
        if name == "_rebuild_from_type_v2":
            return self._described(args[0], args[2])
        if function in REBUILD.values():
            return Foreign(name, args)
        return function(*args)

    def _new_object(self) -> None:
        args, kind = self._pop(), self._pop()
        name = kind.name if isinstance(kind, _Name) else getattr(kind, "__name__", str(kind))
        self._push(OrderedDict() if kind is OrderedDict else Foreign(name, args))

    def _build(self) -> None:
        state, thing = self._pop(), self.stack[-1]
        if isinstance(thing, Foreign):
            thing.parts = state
        elif isinstance(thing, OrderedDict) and isinstance(state, dict):
            thing.__dict__.update(state)

    def _set_items(self, items: list) -> None:
        if not isinstance(self.stack[-1], Foreign):
            super()._set_items(items)

    def _append(self, items: list) -> None:
        if not isinstance(self.stack[-1], Foreign):
            super()._append(items)


def inspect(path: str | os.PathLike) -> Contents:
    """What the checkpoint at ``path`` holds: PyTorch's formats and safetensors.

    Nothing in it is run, and the memory of its tensors is not read. Raises what ``load`` raises
    for a file that is damaged or no checkpoint.

    >>> import tempfile
    >>> import flambeau as torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch.save({"w": torch.ones(2, 3)}, f"{folder}/a.pt")
    ...     torch.serialization.inspect(f"{folder}/a.pt").found["w"].shape
    (2, 3)
    """
    with open(path, "rb") as file:
        if is_zip(file):
            return _of_archive(Archive(file))
        head = file.read(9)
        file.seek(0)
        if len(head) == 9 and head[8:] == b"{":
            return _of_safetensors(file, os.fstat(file.fileno()).st_size)
        return _of_legacy(file.read())


def _of_archive(archive: Archive) -> Contents:
    storages: dict[str, int] = {}
    refused: set[str] = set()
    found = _Describer(archive.read("data.pkl"), storages, refused).load()
    for key in storages:
        storages[key] = archive.size(f"data/{key}")
    version = archive.read("version").decode().strip() if "version" in archive else "?"
    return Contents(f"PyTorch ZIP archive, version {version}", found, storages, sorted(refused))


def _of_legacy(content: bytes) -> Contents:
    storages: dict[str, int] = {}
    refused: set[str] = set()
    at, found = 0, []
    for _ in range(4):
        reader = _Describer(content[at:], storages, refused)
        found.append(reader.load())
        at += reader.at
        if found[0] != legacy.MAGIC:
            raise RuntimeError("this file is no checkpoint: it does not begin as one does")
    return Contents("PyTorch before 1.6", found[3], storages, sorted(refused))


def _of_safetensors(file: Any, length: int) -> Contents:
    size = int.from_bytes(file.read(8), "little")
    if size > min(MAX_HEADER, length - 8):
        raise RuntimeError("the safetensors header is longer than the file")
    try:
        header = json.loads(file.read(size))
        metadata = header.pop("__metadata__", {})
        found, storages = {}, {}
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            if not 0 <= begin <= end <= length - 8 - size:
                raise RuntimeError(f"{name} reaches beyond the end of the file")
            storages[name] = end - begin
            found[name] = Stored(DTYPES.get(entry["dtype"], entry["dtype"]),
                                 tuple(entry["shape"]), name)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RuntimeError(f"the safetensors header is damaged ({error})") from None
    if metadata:
        found["__metadata__"] = metadata
    return Contents("safetensors", found, storages, [])


def lines_of(contents: Contents, path: str | os.PathLike) -> Iterator[str]:
    """The contents as lines of text: a line per tensor or value, then the sums."""
    yield f"{Path(path).name}: {contents.format}, {_bytes(Path(path).stat().st_size)}"
    rows = list(_rows(contents.found, ""))
    width = max((len(name) for name, _ in rows), default=0)
    for name, told in rows:
        yield f"  {name:<{min(width, 60)}}  {told}"
    tensors = list(_stored(contents.found))
    numbers = sum(Size(t.shape).numel() for t in tensors)
    yield (f"{len(tensors)} tensors, {numbers:,} numbers; {len(contents.storages)} storages, "
           f"{_bytes(sum(contents.storages.values()))}")
    if contents.refused:
        yield ("load() will refuse this file without add_safe_globals or weights_only=False, for "
               "it names: " + ", ".join(contents.refused))


def _rows(thing: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(thing, Stored):
        kind = "Parameter " if thing.parameter else ""
        itemsize = BY_NAME[thing.dtype].itemsize if thing.dtype in BY_NAME else 0
        size = _bytes(Size(thing.shape).numel() * itemsize)
        yield name or "(the object)", f"{kind}{thing.dtype} {list(thing.shape)}  {size}"
    elif isinstance(thing, dict) and thing:
        for key, value in thing.items():
            yield from _rows(value, f"{name}.{key}" if name else str(key))
    elif isinstance(thing, (list, tuple)) and thing and _has_tensors(thing):
        for at, value in enumerate(thing):
            yield from _rows(value, f"{name}[{at}]")
    elif isinstance(thing, Foreign) and isinstance(thing.parts, dict):
        yield name or "(the object)", repr(thing)
        yield from _rows(thing.parts, name)
    else:
        text = repr(thing)
        yield name or "(the object)", text if len(text) <= 80 else text[:77] + "..."


def _has_tensors(thing: Any) -> bool:
    return next(_stored(thing), None) is not None


def _stored(thing: Any) -> Iterator[Stored]:
    """Every tensor in a description."""
    if isinstance(thing, Stored):
        yield thing
    elif isinstance(thing, Foreign):
        yield from _stored(thing.parts)
    elif isinstance(thing, dict):
        for value in thing.values():
            yield from _stored(value)
    elif isinstance(thing, (list, tuple, set)):
        for value in thing:
            yield from _stored(value)


def _bytes(count: int) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1024 or unit == "GB":
            return f"{count} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024  # type: ignore[assignment]
    raise AssertionError


