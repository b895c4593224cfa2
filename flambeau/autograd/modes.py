"""Switching the recording of gradients on and off, per thread."""

from __future__ import annotations

import functools
import inspect
import sys
import warnings
from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from flambeau.core.face import FACES
from flambeau.core.modes import INFERENCE, MODES

__all__ = ["enable_grad", "inference_mode", "is_grad_enabled", "is_inference_mode_enabled",
           "no_grad", "set_grad_enabled", "set_multithreading_enabled"]


class Mode:
    """A context manager that is a decorator as well: of functions, generators and classes."""

    def __call__(self, function: Callable) -> Callable:
        if inspect.isclass(function):
            warnings.warn("Decorating classes is deprecated and will be disabled in future "
                          "versions. You should only decorate functions or methods. To preserve "
                          "the current behavior of class decoration, you can directly decorate "
                          "the `__init__` method and nothing else.", FutureWarning, stacklevel=2)
            function.__init__ = self._wrap(function.__init__)  # type: ignore[method-assign]
            return function
        if inspect.isgeneratorfunction(function):
            return self._wrap_generator(function)
        return self._wrap(function)

    def _wrap(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self.clone():
                return function(*args, **kwargs)

        return wrapped

    def _wrap_generator(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return run_within(self, function(*args, **kwargs))

        return wrapped

    def clone(self) -> Any:
        """A fresh context manager of the same settings."""
        return type(self)()

    def __enter__(self) -> None:
        raise NotImplementedError

    def __exit__(self, *exc: object) -> None:
        raise NotImplementedError


def run_within(mode: Mode, generator: Generator) -> Generator:
    """Run each step of ``generator`` in ``mode``, and what happens between them outside."""
    step: Callable = generator.__next__
    given: tuple = ()
    try:
        while True:
            try:
                with mode.clone():
                    value = step(*given)
            except StopIteration as done:
                return done.value
            try:
                sent = yield value
            except GeneratorExit:
                raise
            except BaseException:
                step, given = generator.throw, (sys.exc_info()[1],)
            else:
                step, given = generator.send, (sent,)
    finally:
        with mode.clone():
            generator.close()


class no_grad(Mode):
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
    """Operations in this block are recorded, also inside ``no_grad``.

    >>> import flambeau as torch
    >>> x = torch.ones(1, requires_grad=True)
    >>> with torch.no_grad(), torch.enable_grad():
    ...     (x * 2).requires_grad
    True
    """

    def __enter__(self) -> None:
        self.before = MODES.grad
        # In inference mode nothing is recorded, whatever is asked.
        MODES.grad = not MODES.inference


class set_grad_enabled(Mode):
    """Recording on or off, at once; as a context manager until the block ends."""

    def __init__(self, mode: bool) -> None:
        if not isinstance(mode, (bool, np.bool_)):
            raise TypeError("set_grad_enabled(): argument 'enabled' (position 1) must be bool, not "
                            f"{type(mode).__name__}")
        self.before = MODES.grad
        self.mode = bool(mode)
        _record(self.mode)

    def __call__(self, function: Callable) -> Callable:
        MODES.grad = self.before
        return super().__call__(function)

    def clone(self) -> Any:
        return set_grad_enabled(self.mode)

    def __enter__(self) -> None:
        _record(self.mode)

    def __exit__(self, *exc: object) -> None:
        MODES.grad = self.before

    def __repr__(self) -> str:
        return f"{type(self).__module__}.{type(self).__qualname__}(mode={self.mode})"


def _record(mode: bool) -> None:
    MODES.grad = mode and not MODES.inference


class inference_mode(Mode):
    """As ``no_grad``; and the tensors made here can never be part of a recorded computation.

    Outside, such a tensor may be read but not be saved for backward, given ``requires_grad``,
    or changed in place. ``inference_mode(False)`` ends the mode for a block.

    >>> import flambeau as torch
    >>> with torch.inference_mode():
    ...     y = torch.ones(2) * 2
    >>> y.is_inference(), y.clone().is_inference()
    (True, False)
    """

    def __new__(cls, mode: bool | Callable = True) -> Any:
        self = object.__new__(cls)
        if isinstance(mode, (bool, int)):
            return self
        self.__init__(True)  # type: ignore[misc]
        return self(mode)

    def __init__(self, mode: bool = True) -> None:
        self.mode = bool(mode)
        self.before: list[tuple[bool, bool]] = []

    def clone(self) -> Any:
        return inference_mode(self.mode)

    def __enter__(self) -> None:
        self.before.append((MODES.grad, MODES.inference))
        MODES.grad = not self.mode
        MODES.inference = self.mode
        INFERENCE.append(self.mode)

    def __exit__(self, *exc: object) -> None:
        INFERENCE.pop()
        MODES.grad, MODES.inference = self.before.pop()


def is_grad_enabled() -> bool:
    """Whether operations are being recorded in this thread."""
    return MODES.grad


def is_inference_mode_enabled() -> bool:
    """Whether this thread is in inference mode."""
    return MODES.inference


FACES["torch"].update(no_grad=no_grad, enable_grad=enable_grad, set_grad_enabled=set_grad_enabled,
                      is_grad_enabled=is_grad_enabled, inference_mode=inference_mode,
                      is_inference_mode_enabled=is_inference_mode_enabled)
for _class in (no_grad, enable_grad, set_grad_enabled, inference_mode):
    _class.__module__ = "flambeau.autograd.grad_mode"


class set_multithreading_enabled(Mode):
    """Whether backward may use threads of devices: kept, and of no effect on the CPU.

    Backward runs in the thread that calls it, as PyTorch's does there.
    """

    enabled = True

    def __init__(self, mode: bool) -> None:
        self.before = set_multithreading_enabled.enabled
        self.mode = mode
        set_multithreading_enabled.enabled = mode

    def clone(self) -> Any:
        return type(self)(self.mode)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        set_multithreading_enabled.enabled = self.before
