"""``as_torch``: from its call on, ``import torch`` gives flambeau.

A finder at the head of ``sys.meta_path`` answers for ``torch`` and ``torch.*`` with the flambeau
module of the same dotted name: the module itself, no copy. Beside it one function is wrapped: the
one in which multiprocessing describes a process to its children.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

from flambeau import version
from flambeau.base.missing import missing_module
from flambeau.base.naming import OWN, TORCH, set_prefix

if TYPE_CHECKING:
    from importlib.metadata import Distribution, DistributionFinder

__all__ = ["VERSION", "as_torch"]

VERSION = "2.13.0"
"""The PyTorch release whose interface and numbers flambeau keeps to."""


def as_torch() -> ModuleType:
    """Serve ``torch`` and all its submodules from flambeau, in this process and its children.

    Returns the module that ``import torch`` gives. From here on names print as PyTorch's
    (``torch.float32``, ``<class 'torch.Tensor'>``). Calling it again changes nothing. Children
    that ``multiprocessing`` starts, by whatever method, are told to do the same.

    Raises ImportError where another torch is imported already: two of them cannot share the name.

        >>> import flambeau
        >>> torch = flambeau.as_torch()  # doctest: +SKIP
        >>> import torch.nn as nn  # doctest: +SKIP
    """
    package = sys.modules[OWN]
    present = sys.modules.get(TORCH)
    if present is package:
        return package
    if present is not None:
        raise ImportError(
            f"another torch is imported already, from {getattr(present, '__file__', '?')}\n"
            "Call flambeau.as_torch() before the first `import torch`, "
            "or run the program with: python -m flambeau run SCRIPT",
            name=TORCH,
        )
    # Its patterns cost start-up time that only this mode needs.
    from flambeau.torch_version import TorchVersion

    set_prefix(TORCH)
    version.__version__ = TorchVersion(VERSION)
    package.__version__ = version.__version__  # type: ignore[attr-defined]
    for name in [name for name in sys.modules if _is_ours(name)]:
        _spell_as_torch(sys.modules[name])
    sys.meta_path.insert(0, _TorchFinder())
    _tell_children()
    return importlib.import_module(TORCH)


def _is_ours(name: str) -> bool:
    return name == OWN or name.startswith(OWN + ".")


def _torch_name(name: str) -> str:
    return TORCH + name[len(OWN):]


def _spell_as_torch(module: ModuleType) -> None:
    """Give a module of ours, and the classes that it holds, their names in PyTorch."""
    if _is_ours(module.__name__):
        module.__name__ = _torch_name(module.__name__)
        sys.modules[module.__name__] = module
    for held in list(vars(module).values()):
        if isinstance(held, type) and _is_ours(held.__module__):
            held.__module__ = _torch_name(held.__module__)


class _TorchFinder:
    """Finds ``torch.*`` as flambeau's modules, and what programs ask about torch's installation."""

    def find_spec(self, fullname: str, path: Sequence[str] | None = None,
                  target: ModuleType | None = None) -> ModuleSpec | None:
        if _is_ours(fullname):
            return _respelled(fullname, path)
        if fullname != TORCH and not fullname.startswith(TORCH + "."):
            return None
        own = OWN + fullname[len(TORCH):]
        found = importlib.util.find_spec(own)
        if found is not None:
            loader: Any = _SameModule(own)
            spec = ModuleSpec(fullname, loader, origin=found.origin,
                              is_package=found.submodule_search_locations is not None)
            spec.submodule_search_locations = found.submodule_search_locations
            return spec
        if _is_import_statement():
            raise missing_module(fullname, _submodules(own.rpartition(".")[0]))
        return None

    @staticmethod
    def find_distributions(context: DistributionFinder.Context) -> Iterator[Distribution]:
        """What ``importlib.metadata`` shows as the distribution ``torch``."""
        if context.name is None or context.name.lower() == TORCH:
            # Only importlib.metadata itself calls this, so that its import is already paid.
            from flambeau.interop.torch_metadata import TorchDistribution
            yield TorchDistribution(VERSION)


def _respelled(fullname: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """The usual spec of one of flambeau's modules; its classes are renamed once they exist."""
    spec = importlib.machinery.PathFinder.find_spec(fullname, path)
    if spec is not None and spec.loader is not None:
        loader: Any = _Respelling(spec.loader)
        spec.loader = loader
    return spec


def _is_import_statement() -> bool:
    """Whether the finder is asked by an import, not by ``importlib.util.find_spec``."""
    frame = sys._getframe(2)
    while frame is not None and frame.f_code.co_name == "_find_spec":
        frame = frame.f_back  # type: ignore[assignment]
    return frame is not None and frame.f_code.co_name == "_find_and_load_unlocked"


def _submodules(name: str) -> list[str]:
    # Only a failed import needs it.
    from pkgutil import iter_modules

    package = importlib.import_module(name)
    return [found.name for found in iter_modules(getattr(package, "__path__", []))]


class _SameModule:
    """Loads ``torch.x`` by handing out ``flambeau.x``."""

    def __init__(self, own: str) -> None:
        self.own = own

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self.own)
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has put the spec of torch.x on it; it stays what it is.
        module.__spec__ = self.spec

    def get_code(self, fullname: str) -> CodeType | None:
        """What ``python -m torch.x`` runs."""
        spec = importlib.util.find_spec(self.own)
        return spec.loader.get_code(self.own)  # type: ignore[union-attr]


class _Respelling:
    """A loader of a flambeau module that renames its classes after it has run."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__.loader = module.__loader__ = self.inner  # type: ignore[union-attr]
        self.inner.exec_module(module)
        _spell_as_torch(module)


def _tell_children() -> None:
    """Have the processes that multiprocessing starts afresh call ``as_torch`` too.

    A forked child inherits everything. One that is spawned first unpickles a description of its
    parent; an entry of ours in it runs as it is unpickled, before the program's main module.
    """
    try:
        # Not there on platforms without processes.
        from multiprocessing import spawn
    except ImportError:
        return
    describe = spawn.get_preparation_data

    def described(name: str) -> dict[str, Any]:
        data = describe(name)
        if name == "ignore":
            # A fork server's own start carries text only. Its children load the main module.
            for key in ("main_path", "init_main_from_path", "init_main_from_name"):
                data.pop(key, None)
        return {TORCH: _Announcement(), **data}

    spawn.get_preparation_data = described


class _Announcement:
    """Calls ``as_torch`` where it is unpickled, also where flambeau is not on the path yet."""

    def __reduce__(self) -> tuple:
        code = f"import sys; sys.path[:] = {sys.path!r}; import flambeau; flambeau.as_torch()"
        return exec, (code, {})
