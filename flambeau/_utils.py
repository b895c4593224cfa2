"""``torch._utils``: the functions that checkpoints name to rebuild tensors."""

from __future__ import annotations

from flambeau.serialization.rebuild import REBUILD

globals().update(REBUILD)
__all__ = sorted(REBUILD)
