"""The compiler: whole steps traced, checked at every call, and run as one program."""

from __future__ import annotations

from flambeau.compiler.entry import compile

__all__ = ["compile"]
