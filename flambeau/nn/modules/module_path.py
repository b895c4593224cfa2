"""Where in a tree of modules an error arose: a line below the error's message."""

from __future__ import annotations

from typing import Any

from flambeau.base.errors import is_own, name_in, user_frame
from flambeau.base.messages import text

__all__ = ["note_path"]


class Trail:
    """The way of an error outward: the module that raised it, and its path so far."""

    def __init__(self, module: Any) -> None:
        self.inner = module
        self.last = module
        self.path = ""
        self.line = ""


def note_path(module: Any, error: Exception) -> None:
    """Say in the error that it passed through ``module``; called from the innermost outward.

    The type and the first line stay; the path is added to the lines below it.
    """
    trail = getattr(error, "_trail", None)
    try:
        if trail is None:
            trail = error._trail = Trail(module)  # type: ignore[attr-defined]
        elif trail.last is not module:
            step = _path_to(module, trail.last)
            if step is None:
                return
            trail.path = f"{step}.{trail.path}" if trail.path else step
            trail.last = module
        _rewrite(error, trail, name_in(user_frame(), module))
    except Exception:
        return  # A module whose own text fails must not hide the error that is being raised.


def _path_to(module: Any, inner: Any) -> str | None:
    return next((path for path, m in module.named_modules() if m is inner), None)


def _rewrite(error: Exception, trail: Trail, root: str | None) -> None:
    root = root or type(trail.last).__name__
    path = f"{root}.{trail.path}" if trail.path else root
    kind = trail.inner._get_name()
    extra = trail.inner.extra_repr()
    shown = f"{kind}({extra})" if extra and "\n" not in extra else kind
    line = text("module", path=path, module=shown)
    _put(error, trail.line, line)
    trail.line = line


def _put(error: Exception, before: str, line: str) -> None:
    """Add ``line`` to the message of an error of flambeau's own, or to another's notes."""
    if len(error.args) == 1 and not isinstance(error, KeyError) and is_own(error):
        message = str(error.args[0])
        if before:
            message = message.removesuffix(f"\n  {before}").removesuffix("\n")
        gap = "" if "\n\n" in message else "\n"
        error.args = (f"{message}{gap}\n  {line}",)
        return
    notes = getattr(error, "__notes__", [])
    if before in notes:
        notes.remove(before)
    error.add_note(line)
