"""Array backends: what runs a kernel, and where.

Beside them stand the modules of switches that programs set as ``torch.backends.cudnn`` and such.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from flambeau.base.missing import missing_attribute

_SWITCHES = ("cpu", "cuda", "cudnn", "mkl", "mkldnn", "mps", "openmp", "opt_einsum")


def __getattr__(name: str) -> ModuleType:
    if name not in _SWITCHES:
        raise missing_attribute(__name__, name, [*globals(), *_SWITCHES])
    # Read when first asked for: few programs do, and each costs start-up time.
    return import_module(f"flambeau.backends.{name}")
