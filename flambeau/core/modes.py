"""What each thread is doing: recording gradients or not, inference, anomaly detection."""

from __future__ import annotations

import threading


class _Modes(threading.local):
    grad = True
    inference = False
    anomaly = False
    anomaly_nan = True
    recorded_views = True


MODES = _Modes()
