"""What a program logs as NumPy arrays: pictures as height x width x 3, batches as one grid."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.base.dtypes import BY_NAME
from flambeau.base.messages import text
from flambeau.core.tensor import Tensor
from flambeau.ops.copy import cast, detach

__all__ = ["as_array", "figure_pixels", "frames", "grid", "pixels", "rgb"]


def as_array(x: Any) -> np.ndarray:
    """A tensor, an array or a number as an array; NotImplementedError for anything else."""
    if isinstance(x, np.ndarray):
        return x
    if np.isscalar(x):
        return np.array([x])
    if isinstance(x, Tensor):
        if x.dtype is BY_NAME["bfloat16"]:
            x = cast(detach(x), BY_NAME["float16"])
        return detach(x).numpy()  # type: ignore[attr-defined]
    raise NotImplementedError(f"Got {type(x)}, but numpy array or torch tensor are expected.")


def pixels(a: np.ndarray) -> np.ndarray:
    """Values of 0 to 1 (or, where they are bytes, of 0 to 255) as bytes."""
    wide = a.astype(np.float32) * (1 if a.dtype == np.uint8 else 255)
    return wide.clip(0, 255).astype(np.uint8)


def rgb(a: np.ndarray, dataformats: str) -> np.ndarray:
    """A picture, or a batch of them as one grid, of shape (height, width, 3 or more).

    ``dataformats`` names the dimensions: "CHW", "NHWC", "HW", ... AssertionError where it does not
    fit.
    """
    if len(set(dataformats)) != len(dataformats):
        raise AssertionError("You can not use the same dimension shorthand twice. "
                             f"input_format: {dataformats}")
    if a.ndim != len(dataformats):
        raise AssertionError("size of input tensor and input format are different. "
                             f"tensor shape: {a.shape}, input_format: {dataformats}")
    given = dataformats.upper()

    def ordered(wanted: str) -> np.ndarray:
        return a.transpose([given.find(axis) for axis in wanted])

    if len(given) == 4:
        return grid(ordered("NCHW")).transpose(1, 2, 0)
    if len(given) == 2:
        return np.stack([ordered("HW")] * 3, 2)
    picture = ordered("HWC")
    return np.concatenate([picture] * 3, 2) if picture.shape[2] == 1 else picture


def grid(images: np.ndarray, columns: int = 8) -> np.ndarray:
    """Pictures (n, 1 or 3, height, width) side by side in rows, shape (3, height, width)."""
    if images.shape[1] == 1:
        images = np.concatenate([images] * 3, 1)
    if images.ndim != 4 or images.shape[1] != 3:
        raise AssertionError("Input should be a 4D numpy array with 3 channels")
    count, _, height, width = images.shape
    columns = min(count, columns)
    canvas = np.zeros((3, height * -(-count // columns), width * columns), images.dtype)
    for at, image in enumerate(images):
        top, left = at // columns * height, at % columns * width
        canvas[:, top:top + height, left:left + width] = image
    return canvas


def frames(video: np.ndarray) -> np.ndarray:
    """Videos (n, time, channels, height, width) side by side, shape (time, height, width, c)."""
    if video.dtype == np.uint8:
        video = video.astype(np.float32) / 255
    count, time, channels, height, width = video.shape
    # As many as a power of two, black ones added.
    whole = 1 << (count - 1).bit_length()
    black = np.zeros((whole - count, time, channels, height, width))
    rows = 2 ** ((count.bit_length() - 1) // 2)
    tiles = np.concatenate((video, black)) if len(black) else video
    tiles = tiles.reshape(rows, whole // rows, time, channels, height, width)
    return tiles.transpose(2, 0, 4, 1, 5, 3).reshape(time, rows * height, -1, channels)


def figure_pixels(figure: Any, close: bool = True) -> np.ndarray:
    """A matplotlib figure drawn, shape (3, height, width), bytes; of a list, one for each."""
    try:
        # Optional: only figures need them.
        import matplotlib.pyplot as plt
        from matplotlib.backends.backend_agg import FigureCanvasAgg
    except ImportError as error:
        raise ImportError(text("no_matplotlib"), name=error.name) from error
    if isinstance(figure, list):
        return np.stack([figure_pixels(one, close) for one in figure])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = canvas.get_width_height()
    drawn = np.frombuffer(canvas.buffer_rgba(), np.uint8).reshape(height, width, 4)
    if close:
        plt.close(figure)
    return np.moveaxis(drawn[:, :, :3], 2, 0)
