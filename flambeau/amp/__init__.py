"""Mixed precision: autocast and the scaling of gradients."""

from __future__ import annotations

from typing import Any

from flambeau.amp import autocast_mode, grad_scaler
from flambeau.amp.autocast_mode import autocast, custom_bwd, custom_fwd, is_autocast_available
from flambeau.amp.grad_scaler import GradScaler
from flambeau.base.missing import missing_attribute

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]


def __getattr__(name: str) -> Any:
    raise missing_attribute(__name__, name, globals())
