"""Switching the recording of gradients on and off, per thread."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from flambeau.core.face import FACES
from flambeau.core.modes import MODES


class _Mode:
    """A context manager that is a decorator as well."""

    def __call__(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self.clone():
                return function(*args, **kwargs)

        return wrapped

    def clone(self) -> Any:
        """A fresh context manager of the same settings."""
        return type(self)()


class no_grad(_Mode):
    """Nothing in this block (or decorated function) is recorded.

    >>> import flambeau as torch
    >>> x = torch.ones(1, requires_grad=True)
    >>> with torch.no_grad():
    ...     (x * 2).requires_grad
    False
    """

    def __new__(cls, function: Callable | None = None) -> Any:
        self = object.__new__(cls)
        return self if function is None else self(function)

    def __init__(self, function: Callable | None = None) -> None:
        self.before = True

    def __enter__(self) -> None:
        self.before = MODES.grad
        MODES.grad = False

    def __exit__(self, *exc: object) -> None:
        MODES.grad = self.before


class enable_grad(no_grad):
    """Operations in this block are recorded, also inside ``no_grad``."""

    def __enter__(self) -> None:
        self.before = MODES.grad
        MODES.grad = True


class set_grad_enabled(_Mode):
    """Recording on or off, at once; as a context manager until the block ends."""

    def __init__(self, mode: bool) -> None:
        self.before = MODES.grad
        self.mode = mode
        MODES.grad = bool(mode)

    def __call__(self, function: Callable) -> Callable:
        MODES.grad = self.before
        return super().__call__(function)

    def clone(self) -> Any:
        return set_grad_enabled(self.mode)

    def __enter__(self) -> None:
        MODES.grad = bool(self.mode)

    def __exit__(self, *exc: object) -> None:
        MODES.grad = self.before


def is_grad_enabled() -> bool:
    """Whether operations are being recorded in this thread."""
    return MODES.grad


FACES["torch"].update(no_grad=no_grad, enable_grad=enable_grad, set_grad_enabled=set_grad_enabled,
                      is_grad_enabled=is_grad_enabled)
