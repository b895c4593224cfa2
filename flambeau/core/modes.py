"""What each thread is doing: recording gradients or not, inference, anomaly detection."""

from __future__ import annotations

import threading
from typing import Any


class _Modes(threading.local):
    grad = True
    inference = False
    anomaly = False
    anomaly_nan = True
    task: Any = None
    depth = 0
    # The dtype that autocast has operators run in; None while it is off.
    lower: Any = None
    # What notes every operation, while a step is traced for compilation.
    tracer: Any = None


MODES = _Modes()
# The level of what stands in for arrays while it is traced: below every transform.
TRACED = 0.25
# Not empty while any thread is in inference mode or runs a transform: then new tensors are
# marked as made there, and otherwise nobody need look.
INFERENCE: list[bool] = []
# Not empty while no function may be called quickly, one for each reason: what it reads would not be
# seen, or something else is to be called in its place.
PAUSED: list[bool] = []
# The modes of all threads that are asked about functions of tensors.
FUNCTION_MODES: list[object] = []


def pause(paused: bool) -> None:
    """Begin to let no function be called quickly, or end it."""
    if paused:
        PAUSED.append(True)
    else:
        PAUSED.pop()
