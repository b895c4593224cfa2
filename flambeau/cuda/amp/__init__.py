"""Mixed precision on CUDA devices under its older names: switched off, as there are none."""

from __future__ import annotations

from flambeau.cuda.amp import autocast_mode, common, grad_scaler
from flambeau.cuda.amp.autocast_mode import autocast, custom_bwd, custom_fwd
from flambeau.cuda.amp.common import amp_definitely_not_available
from flambeau.cuda.amp.grad_scaler import GradScaler

__all__ = ["GradScaler", "amp_definitely_not_available", "autocast", "custom_bwd", "custom_fwd"]
