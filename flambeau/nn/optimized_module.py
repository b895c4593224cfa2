"""A module that runs compiled: what ``compile`` makes of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.nn.modules.module import Module
from flambeau.nn.modules.module_hooks import HOOKED
from flambeau.nn.modules.module_path import note_path

__all__ = ["OptimizedModule"]

_OWN = frozenset(("_orig_mod", "_compiled_call"))


def calls_forward(module: Module) -> bool:
    """Whether calling ``module`` is what calling modules is."""
    return type(module).__call__ is Module.__call__


def call_with(module: Module, own: Callable, forward: Callable, *args: Any, **kwargs: Any) -> Any:
    """``module(*args, **kwargs)``, where ``forward`` does what its forward ``own`` does."""
    if module._module_has_hooks or HOOKED or getattr(
            module.forward, "__func__", None) is not own:
        return module(*args, **kwargs)
    try:
        return forward(module, *args, **kwargs)
    except Exception as error:
        note_path(module, error)
        raise


class OptimizedModule(Module):
    """``module``, called by ``call``; everything else is the module's own.

    >>> import flambeau as torch
    >>> torch.compile(torch.nn.Linear(2, 1))
    OptimizedModule(
      (_orig_mod): Linear(in_features=2, out_features=1, bias=True)
    )
    """

    def __init__(self, module: Module, call: Callable) -> None:
        super().__init__()
        super().__setattr__("_orig_mod", module)
        object.__setattr__(self, "_compiled_call", call)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._compiled_call(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As calling the module."""
        return self._compiled_call(*args, **kwargs)

    @property
    def training(self) -> bool:  # type: ignore[override]
        """Whether the module is in training mode."""
        return self._orig_mod.training

    @training.setter
    def training(self, value: bool) -> None:
        # Module.__init__ sets it before there is a module.
        if "_orig_mod" in self._modules:
            self._orig_mod.training = value

    def __getattr__(self, name: str) -> Any:
        if name in _OWN:
            return super().__getattr__(name)
        return getattr(self._orig_mod, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OWN or name in vars(type(self)) or "_modules" not in self.__dict__:
            super().__setattr__(name, value)
        else:
            setattr(self._orig_mod, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._orig_mod, name)

    def __len__(self) -> int:
        return len(self._orig_mod)  # type: ignore[arg-type]

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(self._orig_mod)})

    def __reduce__(self) -> tuple:
        return _again, (self._orig_mod,)


def _again(module: Module) -> Any:
    # compiled anew where it is unpickled or copied
    from flambeau.compiler.entry import compile
    return compile(module)
