"""What a quick call gives where it does not give the step's result."""

from __future__ import annotations

__all__ = ["FAILED", "MISSED", "RAISED"]

# Nothing was done: something has changed. Nothing was done: a check inside of the step failed.
MISSED, FAILED = object(), object()
# Errors of a step's operators, for eager mode to raise in its own words.
RAISED = (ArithmeticError, IndexError, RuntimeError, ValueError)
