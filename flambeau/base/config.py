"""What the environment of a process sets: every switch that flambeau reads there."""

from __future__ import annotations

import os

__all__ = ["backend", "buffer_cache", "cache_folder", "debug_level", "language"]


def backend() -> str:
    """FLAMBEAU_BACKEND: "numpy" for no generated kernels, else "".

    >>> backend() in ("", "numpy")
    True
    """
    return "numpy" if os.environ.get("FLAMBEAU_BACKEND", "").lower() == "numpy" else ""


def cache_folder() -> str:
    """FLAMBEAU_CACHE_DIR: where compiled objects are kept; "" for the user's cache folder."""
    return os.environ.get("FLAMBEAU_CACHE_DIR", "")


def buffer_cache(default: int) -> int:
    """FLAMBEAU_BUFFER_CACHE: the bytes of large buffers that are kept, there in megabytes.

    Raises ValueError where it is no number.
    """
    chosen = os.environ.get("FLAMBEAU_BUFFER_CACHE", "").strip()
    if not chosen:
        return default
    try:
        return max(0, int(float(chosen) * (1 << 20)))
    except ValueError:
        raise ValueError(
            f"FLAMBEAU_BUFFER_CACHE is a number of megabytes, not {chosen!r}") from None


def language() -> str:
    """FLAMBEAU_LANG: "en" or "zh", or a locale of such a language; "" for the system's."""
    return os.environ.get("FLAMBEAU_LANG", "")


def debug_level() -> int:
    """FLAMBEAU_DEBUG: how much is shown of what `compile` does, from 0 to 5.

    1: the operators of a step, 2: its graph, 3: the kernels made of it, 4: their LLVM text,
    5: their assembly. Raises ValueError where it is no whole number.
    """
    chosen = os.environ.get("FLAMBEAU_DEBUG", "").strip() or "0"
    try:
        return int(chosen)
    except ValueError:
        raise ValueError(f"FLAMBEAU_DEBUG is a number from 0 to 5, not {chosen!r}") from None
