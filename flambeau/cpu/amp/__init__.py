"""Mixed precision on the CPU under its older names."""

from __future__ import annotations

from flambeau.cpu.amp import autocast_mode, grad_scaler
from flambeau.cpu.amp.autocast_mode import autocast
from flambeau.cpu.amp.grad_scaler import GradScaler

__all__ = ["GradScaler", "autocast"]
