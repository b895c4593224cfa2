"""Finding the operation whose backward failed or gave NaN."""

from __future__ import annotations

import warnings
from typing import Any

from flambeau.autograd.modes import Mode
from flambeau.core.face import FACES
from flambeau.core.modes import MODES

__all__ = ["detect_anomaly", "set_detect_anomaly"]


class set_detect_anomaly(Mode):
    """Anomaly detection on or off, at once; as a context manager until the block ends.

    Where it is on, every operation remembers where it was called; an error in backward shows
    that place, and (with ``check_nan``) a NaN that backward makes is an error.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self.before = MODES.anomaly, MODES.anomaly_nan
        self.settings = bool(mode), bool(check_nan)
        MODES.anomaly, MODES.anomaly_nan = self.settings

    def clone(self) -> Any:
        return type(self)(*self.settings)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        MODES.anomaly, MODES.anomaly_nan = self.before


class detect_anomaly(Mode):
    """Anomaly detection in this block.

    >>> import flambeau as torch
    >>> x = torch.zeros(1, requires_grad=True)
    >>> with torch.autograd.detect_anomaly():  # doctest: +SKIP
    ...     (x.sqrt() * 0).sum().backward()
    RuntimeError: Function 'SqrtBackward0' returned nan values in its 0th output.
    """

    def __init__(self, check_nan: bool = True) -> None:
        self.check_nan = check_nan
        self.before = False, True
        warnings.warn("Anomaly Detection has been enabled. This mode will increase the runtime "
                      "and should only be enabled for debugging.", stacklevel=2)

    def clone(self) -> Any:
        return set_detect_anomaly(True, self.check_nan)

    def __enter__(self) -> None:
        self.before = MODES.anomaly, MODES.anomaly_nan
        MODES.anomaly, MODES.anomaly_nan = True, self.check_nan

    def __exit__(self, *exc: object) -> None:
        MODES.anomaly, MODES.anomaly_nan = self.before


def is_anomaly_enabled() -> bool:
    """Whether anomaly detection is on in this thread."""
    return MODES.anomaly


def is_anomaly_check_nan_enabled() -> bool:
    """Whether anomaly detection looks for NaN."""
    return MODES.anomaly_nan


def set_anomaly_enabled(enabled: bool, check_nan: bool = True) -> None:
    """Anomaly detection on or off in this thread."""
    for at, (name, value) in enumerate((("enabled", enabled), ("check_nan", check_nan))):
        if not isinstance(value, bool):
            raise TypeError(f"set_anomaly_enabled(): argument '{name}' (position {at + 1}) must be "
                            f"bool, not {type(value).__name__}")
    MODES.anomaly, MODES.anomaly_nan = enabled, check_nan


FACES["torch"].update(is_anomaly_enabled=is_anomaly_enabled,
                      is_anomaly_check_nan_enabled=is_anomaly_check_nan_enabled,
                      set_anomaly_enabled=set_anomaly_enabled)
