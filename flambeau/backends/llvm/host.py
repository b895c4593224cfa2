"""What code is generated for: this machine, as LLVM sees it, asked once and kept on disk."""

import functools
import os
import sys
from typing import Any, NamedTuple

import llvmlite

from flambeau.backends.llvm import object_cache

__all__ = ["Host", "binding", "compiler_build", "converts_halves", "fuses", "host"]

# lines of /proc/cpuinfo that differ from one reading to the next, or between processors
_PASSING = ("processor", "cpu MHz", "bogomips", "apicid", "initial apicid", "core id",
            "physical id")


class Host(NamedTuple):
    """What code is generated for."""

    triple: str
    cpu: str
    features: str
    vector_bytes: int


def binding() -> Any:
    """LLVM, which takes 50 ms to load; raises ImportError where it cannot be loaded."""
    try:
        import llvmlite.binding as llvm  # slow: only where something has to be compiled
    except OSError as error:
        raise ImportError(str(error)) from error
    return llvm


@functools.cache
def compiler_build() -> str:
    """What tells the LLVM that is installed from others, without loading it where possible."""
    folder = os.path.join(os.path.dirname(llvmlite.__file__), "binding")
    for name in ("libllvmlite.so", "libllvmlite.dylib", "llvmlite.dll"):
        try:
            status = os.stat(os.path.join(folder, name))
        except OSError:
            continue
        return f"{llvmlite.__version__} {status.st_size} {status.st_mtime_ns}"
    return f"{llvmlite.__version__} {binding().llvm_version_info}"


@functools.cache
def host() -> Host:
    """Return the machine this process runs on."""
    processor = _processor()
    if not processor:
        return _asked()
    name = object_cache.key("machine", sys.platform, processor, compiler_build())
    kept = object_cache.load(name)
    if kept is not None:
        triple, cpu, features, vector_bytes = kept.decode().split("\n")
        return Host(triple, cpu, features, int(vector_bytes))
    found = _asked()
    object_cache.store(name, "\n".join(map(str, found)).encode())
    return found


@functools.cache
def converts_halves() -> bool:
    """Whether the machine has instructions between float16 and float32."""
    found = host()
    return "+f16c" in found.features.split(",") or found.triple.startswith(("aarch64", "arm64"))


@functools.cache
def fuses() -> bool:
    """Whether the machine rounds sums of products once."""
    found = host()
    return "+fma" in found.features.split(",") or found.triple.startswith(("aarch64", "arm64"))


def _processor() -> str:
    """What Linux says of the first processor; "" elsewhere."""
    try:
        with open("/proc/cpuinfo") as file:
            block = file.read(1 << 14).partition("\n\n")[0]
    except OSError:
        return ""
    lines = [line for line in block.splitlines() if not line.startswith(_PASSING)]
    return "\n".join(lines) if "lags" in block or "eatures" in block else ""


def _asked() -> Host:
    llvm = binding()
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
