"""The distribution ``torch`` that ``importlib.metadata`` finds while flambeau stands in for it."""

from __future__ import annotations

import os
from importlib.metadata import Distribution
from typing import NoReturn

__all__ = ["TorchDistribution"]


class TorchDistribution(Distribution):
    """Has a name, a version and a summary that says whose it is; no files and no requirements."""

    def __init__(self, version: str) -> None:
        self._text = (
            "Metadata-Version: 2.1\n"
            "Name: torch\n"
            f"Version: {version}\n"
            "Summary: flambeau, standing in for torch in this process\n"
        )

    def read_text(self, filename: str) -> str | None:
        return self._text if filename in ("METADATA", "PKG-INFO") else None

    def locate_file(self, path: str | os.PathLike[str]) -> NoReturn:
        raise FileNotFoundError(f"flambeau stands in for torch and has no file of it: {path}")
