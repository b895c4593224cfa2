"""Compiled objects on disk, shared by processes: checked when read, replaced whole, bounded."""

import contextlib
import hashlib
import os
import sys
from pathlib import Path

from flambeau.base import config

MAGIC = b"flambeau-object-1\n"
DIGEST_BYTES = 32
MAX_BYTES = 128 << 20
# how often, in stores, the folder's size is looked at
SWEEP_EVERY = 32

_stores = 0


def folder() -> Path:
    """Return where objects are kept: FLAMBEAU_CACHE_DIR, or the user's cache folder."""
    chosen = config.cache_folder()
    if chosen:
        return Path(chosen) / "objects"
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "flambeau" / "objects"


def key(*parts: str) -> str:
    """Return the name under which what these parts determine is kept."""
    joined = "\0".join(parts).encode()
    return hashlib.sha256(joined).hexdigest()


def load(name: str) -> bytes | None:
    """Return the object stored under this name; None when absent, foreign or damaged."""
    try:
        path = folder() / name
        if not _is_ours(path.parent):
            return None
        content = path.read_bytes()
        # the sweep drops what was not used for longest
        os.utime(path)
    except (OSError, RuntimeError):
        return None
    start = len(MAGIC) + DIGEST_BYTES
    payload = content[start:]
    if content[:start] != MAGIC + hashlib.sha256(payload).digest():
        return None
    return payload


def store(name: str, payload: bytes) -> None:
    """Keep an object; a folder that cannot be written is no error."""
    global _stores
    try:
        place = folder()
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not _is_ours(place):
            return
        _write_whole(place, name, MAGIC + hashlib.sha256(payload).digest() + payload)
        if _stores % SWEEP_EVERY == 0:
            sweep(place, MAX_BYTES)
        _stores += 1
    except (OSError, RuntimeError):
        return


def sweep(place: Path, limit: int) -> None:
    """Delete the files unused for longest until the folder holds at most `limit` bytes."""
    entries = []
    with os.scandir(place) as found:
        for entry in found:
            with contextlib.suppress(OSError):
                status = entry.stat()
                entries.append((status.st_mtime, status.st_size, entry.path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= limit:
            return
        with contextlib.suppress(OSError):
            os.unlink(path)
        total -= size


def _write_whole(place: Path, name: str, content: bytes) -> None:
    """Readers see the old file or the new one, never a part."""
    import tempfile  # only where something is compiled

    handle, temporary = tempfile.mkstemp(prefix="." + name[:16], dir=place)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, place / name)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _is_ours(place: Path) -> bool:
    """Objects are executed: take none from a folder that somebody else may write."""
    if not hasattr(os, "getuid"):
        return True
    status = place.stat()
    return status.st_uid == os.getuid() and not status.st_mode & 0o022
