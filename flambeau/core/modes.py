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


MODES = _Modes()
# Not empty while any thread is in inference mode: spares the others a look at their modes.
INFERENCE: list[bool] = []
