"""What a quick call gives where it does not give the step's result."""

from __future__ import annotations

__all__ = ["FAILED", "MISSED"]

# Nothing was done: something has changed. Nothing was done: a check inside of the step failed.
MISSED, FAILED = object(), object()
