"""What compiled functions do from now on, and which of them there are."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

__all__ = ["STANCE", "UNITS", "default_backend", "reset", "set_default_backend", "set_stance"]

NAMES = ("default", "force_eager", "eager_on_recompile", "fail_on_recompile",
         "aot_eager_then_compile", "eager_then_compile")
UNITS: weakref.WeakSet[Any] = weakref.WeakSet()


class _Stance:
    name = "default"
    backend: str | Callable = "inductor"


STANCE = _Stance()


def default_backend() -> str | Callable:
    """The backend of functions that name none."""
    return STANCE.backend


def set_default_backend(backend: str | Callable | None) -> None:
    """Let functions that name no backend use this one; None goes back to "inductor"."""
    STANCE.backend = "inductor" if backend is None else backend


class set_stance:
    """Say what compiled functions do: a call, a context manager or a decorator.

    "force_eager" runs them as they are; "eager_on_recompile" makes no new programs;
    "fail_on_recompile" raises where one would be made; "default" ends that.

    >>> import flambeau as torch
    >>> with torch.compiler.set_stance("force_eager"):
    ...     torch.compile(lambda x: x + 1)(torch.ones(1))
    tensor([2.])
    """

    def __init__(self, stance: str = "default", *, skip_guard_eval_unsafe: bool = False,
                 force_backend: str | Callable | None = None) -> None:
        if stance not in NAMES:
            raise RuntimeError(f"invalid torch.compile stance '{stance}', expected one of "
                               f"{', '.join(NAMES)}")
        self.before = STANCE.name
        self.wanted = stance
        STANCE.name = stance

    def __enter__(self) -> None:
        STANCE.name = self.wanted

    def __exit__(self, *exc: object) -> None:
        STANCE.name = self.before

    def __call__(self, function: Callable) -> Callable:
        STANCE.name = self.before
        wanted = self.wanted

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with set_stance(wanted):
                return function(*args, **kwargs)

        return wrapper


def reset() -> None:
    """Forget every program that was compiled; functions are traced again when called."""
    for unit in list(UNITS):
        unit.forget()
