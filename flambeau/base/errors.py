"""Errors that teach: PyTorch's message, then the variables by name, the line, and the way out."""

from __future__ import annotations

import ast
import linecache
import os
import sys
import threading
import warnings
from collections.abc import Sequence
from itertools import islice
from types import CodeType, FrameType, ModuleType
from typing import Any

from flambeau.base import naming
from flambeau.base.messages import text

__all__ = ["NOTING", "call_site", "is_own", "name_in", "name_of", "place_in", "told", "user_frame",
           "warn_user"]

_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_LONGEST_NAME = 40


class _Noting(threading.local):
    """Whether this thread calls a function only to note what it does."""

    on = False


NOTING = _Noting()


def told(
    first: str, key: str, operands: Sequence[Any] = (), written: bool = True, **facts: Any
) -> str:
    """``first``, PyTorch's message, and below it who was involved, where, and what to do.

    ``operands`` are the tensors concerned, in the order of the call's operands (or, with
    ``written`` False, not of the running call at all); ``key`` names a text
    of ``flambeau.base.messages``, which may use ``name``, the first operand's name.
    """
    frame = user_frame()
    names = _names(frame, operands, _written_operands(frame) if written else [])
    facts.setdefault("prefix", "torch" if naming.prefix() == "torch" else naming.prefix())
    for at, name in enumerate(names):
        facts.setdefault(("name", "right", "third")[min(at, 2)], name)
    fix = facts.pop("key_fix", "")
    facts["fix"] = text(fix, **facts) if fix else ""
    lines = [
        text("tensor", name=n, dtype=_dtype(t), shape=list(t.shape))
        for n, t in zip(names, operands)
        if hasattr(t, "shape")
    ]
    where = call_site(frame)
    if where is not None:
        lines.append(text("at", **where))
    lines.append(text(key, **facts))
    return first + "\n\n" + "\n".join("  " + line for line in lines)


def _dtype(t: Any) -> str:
    return getattr(t.dtype, "name", str(t.dtype))


def user_frame() -> FrameType | None:
    """The innermost frame that is not flambeau's own."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    return frame


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, at the line of the program that called flambeau."""
    if NOTING.on:
        raise RuntimeError("a function that warns must run every time")
    target, frame, level = user_frame(), sys._getframe(1), 1
    while frame is not target and frame.f_back is not None:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level + 1)


def is_own(error: BaseException) -> bool:
    """Whether flambeau's own code raised the error, not the program's."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code.co_filename.startswith(_HERE)


def call_site(frame: FrameType | None) -> dict[str, Any] | None:
    """The file, line and text of the statement that a frame is at; None where it has no source."""
    if frame is None:
        return None
    file = frame.f_code.co_filename
    code = linecache.getline(file, frame.f_lineno, frame.f_globals).strip()
    if not code:
        return None
    return {"file": os.path.basename(file), "line": frame.f_lineno, "code": code}


def place_in(frame: FrameType | None, code: CodeType | None) -> tuple | None:
    """Where the innermost run of ``code`` among ``frame`` and its callers is.

    That is (line, end line, column, end column); None where ``code`` does not run, or where its
    places are not known.
    """
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    if frame is None or code is None:
        return None
    place = next(islice(code.co_positions(), frame.f_lasti // 2, None), None)
    return None if place is None or None in place else place


def name_of(value: Any, default: str = "x") -> str:
    """The user's name for ``value``, from the calling frame; ``default`` where it has none."""
    frame = user_frame()
    return _by_identity(frame, value) or default


def name_in(frame: FrameType | None, value: Any) -> str | None:
    """The name of ``value`` itself among a frame's variables; None where it has none."""
    scopes = () if frame is None else (frame.f_locals, frame.f_globals)
    return next((name for scope in scopes for name, held in scope.items()
                 if held is value and not name.startswith("_")), None)


def _names(frame: FrameType | None, operands: Sequence[Any], written: list[str]) -> list[str]:
    names = []
    for at, value in enumerate(operands):
        found = _by_identity(frame, value)
        if found is None and at < len(written) and len(written[at]) <= _LONGEST_NAME:
            found = written[at]
        names.append(found or "xyz"[min(at, 2)])
    return names


def _by_identity(frame: FrameType | None, value: Any) -> str | None:
    if frame is None:
        return None
    array = getattr(value, "_a", value)
    shared = None
    for scope in (frame.f_locals, frame.f_globals):
        for name, held in scope.items():
            if name.startswith("__"):
                continue
            if held is value:
                return name
            if shared is None and getattr(held, "_a", held) is array:
                shared = name
    return shared


def _written_operands(frame: FrameType | None) -> list[str]:
    """The operands of the running expression as the program spells them."""
    node = _expression(frame)
    found: list[ast.expr] = []
    if isinstance(node, ast.BinOp):
        found = [node.left, node.right]
    elif isinstance(node, ast.Subscript):
        found = [node.value]
    elif isinstance(node, ast.Compare):
        found = [node]
    elif isinstance(node, ast.Call):
        found = list(node.args)
        if isinstance(node.func, ast.Attribute) and not _is_module(frame, node.func.value):
            found = [node.func.value, *found]
    return [_spelled(n) for n in found]


def _spelled(node: ast.expr) -> str:
    """An expression as text that a method may follow."""
    text_of = ast.unparse(node)
    return f"({text_of})" if isinstance(node, (ast.BinOp, ast.Compare, ast.UnaryOp)) else text_of


def _is_module(frame: FrameType | None, node: ast.expr) -> bool:
    while isinstance(node, ast.Attribute):
        node = node.value
    if frame is None or not isinstance(node, ast.Name):
        return False
    held = frame.f_locals.get(node.id, frame.f_globals.get(node.id))
    return isinstance(held, ModuleType)


def _expression(frame: FrameType | None) -> ast.expr | None:
    """The expression that a frame is evaluating, from the position of its instruction."""
    if frame is None:
        return None
    positions = list(frame.f_code.co_positions())
    at = frame.f_lasti // 2
    if not 0 <= at < len(positions):
        return None
    first, last, start, end = positions[at]
    if first is None or last is None or start is None or end is None:
        return None
    lines = [
        linecache.getline(frame.f_code.co_filename, n, frame.f_globals).encode()
        for n in range(first, last + 1)
    ]
    if first == last:
        segment = lines[0][start:end]
    else:
        segment = b"".join([lines[0][start:], *lines[1:-1], lines[-1][:end]])
    try:
        return ast.parse(segment.decode().strip(), mode="eval").body
    except (SyntaxError, UnicodeDecodeError):
        return None
