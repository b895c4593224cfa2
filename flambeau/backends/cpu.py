"""The processor as a backend."""

from __future__ import annotations

from typing import NoReturn

from numpy._core._multiarray_umath import __cpu_features__  # type: ignore[attr-defined]

from flambeau.base.missing import missing_attribute

__all__ = ["get_cpu_capability"]


def get_cpu_capability() -> str:
    """The widest instructions that kernels may use: "AVX512", "AVX2" or "DEFAULT"."""
    if all([__cpu_features__.get(f"AVX512{part}") for part in ("F", "BW", "DQ", "VL")]) or (
            __cpu_features__.get("AVX512_SKX")):
        return "AVX512"
    return "AVX2" if __cpu_features__.get("AVX2") else "DEFAULT"


def __getattr__(name: str) -> NoReturn:
    raise missing_attribute(__name__, name, globals())
