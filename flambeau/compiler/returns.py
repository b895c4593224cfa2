"""Whether a number that a step reads from a tensor can go nowhere but into its result."""

from __future__ import annotations

import dis
import functools
from types import CodeType, FrameType

__all__ = ["goes_to_result"]

# What moves values about and builds containers of them, and computes nothing.
_MOVES = frozenset((
    "BUILD_CONST_KEY_MAP", "BUILD_LIST", "BUILD_MAP", "BUILD_TUPLE", "CACHE", "COPY", "LOAD_CONST",
    "LOAD_DEREF", "LOAD_FAST", "LOAD_FAST_BORROW", "LOAD_FAST_BORROW_LOAD_FAST_BORROW",
    "LOAD_FAST_CHECK", "LOAD_FAST_LOAD_FAST", "NOP", "PRECALL", "PUSH_NULL", "STORE_FAST",
    "STORE_FAST_LOAD_FAST", "STORE_FAST_STORE_FAST", "SWAP"))
_METHODS = frozenset(("detach", "item"))


def goes_to_result(frame: FrameType | None, function: CodeType | None) -> bool:
    """Whether ``frame`` runs ``function`` and does nothing more but build and return its result."""
    return frame is not None and frame.f_code is function and _only_returns(
        frame.f_code, frame.f_lasti)


@functools.lru_cache(maxsize=1024)
def _only_returns(code: CodeType, at: int) -> bool:
    """Whether the instructions behind ``at`` only move values on the way to a return."""
    waiting = 0
    for step in dis.get_instructions(code):
        if step.offset <= at:
            continue
        if step.opname in ("LOAD_METHOD", "LOAD_ATTR") and step.argval in _METHODS:
            waiting += 1
        elif step.opname == "CALL" and step.arg == 0 and waiting:
            waiting -= 1
        elif step.opname == "RETURN_VALUE":
            return True
        elif step.opname not in _MOVES:
            return False
    return False
