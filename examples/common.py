"""What the examples share: a progress bar and a picture's file."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["progress", "save_picture"]


def progress(items: Iterable[Any], told: str, quiet: bool = False) -> Iterator[Any]:
    """The items, with a bar on the terminal where tqdm is installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return iter(items)
    return iter(tqdm(items, desc=told, disable=quiet, dynamic_ncols=True, mininterval=0.5))


def save_picture(figure: Any, path: Path) -> None:
    """Write a matplotlib figure, and say where."""
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    print(f"picture: {path}")
