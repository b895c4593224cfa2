"""Whether sparse tensors are checked when they are made."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from flambeau.ops.sparse.make import INVARIANTS

__all__ = ["check_sparse_tensor_invariants"]


class check_sparse_tensor_invariants:
    """Check the indices of every sparse tensor that is made: in a block, a function, or from on.

    >>> import flambeau as torch
    >>> with torch.sparse.check_sparse_tensor_invariants():
    ...     torch.sparse_coo_tensor([[5]], [1.0], (2,))
    Traceback (most recent call last):
    RuntimeError: size is inconsistent with indices: for dim 0, size is 2 but found index 5
    """

    def __init__(self, enable: bool = True) -> None:
        self.state = enable
        self.saved_state: bool | None = None

    @staticmethod
    def is_enabled() -> bool:
        """Whether tensors are checked."""
        return INVARIANTS.checked

    @staticmethod
    def enable() -> None:
        """Check from here on."""
        INVARIANTS.checked = True

    @staticmethod
    def disable() -> None:
        """Check no more."""
        INVARIANTS.checked = False

    def __enter__(self) -> None:
        if self.saved_state is not None:
            raise RuntimeError("This context manager instance is already activated. Use a different"
                               " context manager instance for context nesting.")
        self.saved_state = INVARIANTS.checked
        INVARIANTS.checked = self.state

    def __exit__(self, *exc: object) -> None:
        if self.saved_state is None:
            raise AssertionError("the block was not entered")
        INVARIANTS.checked = self.saved_state
        self.saved_state = None

    def __call__(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            with type(self)(self.state):
                return function(*args, **kwargs)

        return checked
