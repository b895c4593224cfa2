"""Files that TensorBoard's projector reads: points, their labels, their pictures."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf import text_format
from tensorboard.compat import tf
from tensorboard.plugins.projector.projector_config_pb2 import EmbeddingInfo

from flambeau.utils.tensorboard.arrays import as_array, grid
from flambeau.utils.tensorboard.summaries import pillow

__all__ = ["encoded_tag", "info", "joined", "open_folder", "write", "write_config",
           "write_labels", "write_points", "write_sprites"]


def joined(folder: str, name: str) -> str:
    """A path by the rules of the folder's file system, which need not be the local one."""
    gfile = tf.io.gfile
    if hasattr(gfile, "join"):
        return gfile.join(folder, name)
    return gfile.get_filesystem(folder).join(folder, name)


def encoded_tag(tag: str) -> str:
    """``tag`` as the name of one folder."""
    for mark in "%/\\":
        tag = tag.replace(mark, f"%{ord(mark):02x}")
    return tag


def open_folder(path: str) -> None:
    """Make a folder; NotADirectoryError where a file is in its place."""
    gfile = tf.io.gfile
    if not gfile.exists(path):
        gfile.makedirs(path)
    elif gfile.isdir(path):
        print("warning: Embedding dir exists, did you set global_step for add_embedding()?")
    else:
        raise NotADirectoryError(f"Path: `{path}` exists, but is a file. Cannot proceed.")


def write(path: str, content: bytes) -> None:
    """A file's whole content."""
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(content)


def write_points(folder: str, points: np.ndarray) -> None:
    """One point a line."""
    lines = ["\t".join([str(x.item()) for x in point]) + "\n" for point in points]
    write(joined(folder, "tensors.tsv"), "".join(lines).encode())


def write_labels(folder: str, labels: Sequence, header: Sequence[str] | None) -> None:
    """One label a line; with a header, as many columns as it has."""
    if header:
        if len(header) != len(labels[0]):
            raise AssertionError("len of header must be equal to the number of columns in "
                                 "metadata")
        lines = ["\t".join(map(str, row)) for row in (header, *labels)]
    else:
        lines = [str(label) for label in labels]
    write(joined(folder, "metadata.tsv"), ("\n".join(lines) + "\n").encode())


def write_sprites(folder: str, images: Any) -> None:
    """Pictures (n, channels, height, width), values 0 to 1, as one square picture."""
    pictures = as_array(images)
    arranged = grid(pictures, math.ceil(len(pictures) ** 0.5)).transpose(1, 2, 0)
    square = np.zeros((arranged.shape[1], arranged.shape[1], 3))
    square[:len(arranged)] = arranged
    file = io.BytesIO()
    pillow("Image").fromarray((square * 255).clip(0, 255).astype(np.uint8)).save(file, "PNG")
    write(joined(folder, "sprite.png"), file.getvalue())


def write_config(folder: str, config: Any) -> None:
    """The list of all embeddings, written anew, since not every file system appends."""
    content = text_format.MessageToString(config)
    write(joined(folder, "projector_config.pbtxt"), content.encode())


def info(subfolder: str, step: int, tag: str, labels: Any, images: Any) -> Any:
    """What the projector is told of one embedding."""
    found = EmbeddingInfo()
    found.tensor_name = f"{tag}:{str(step).zfill(5)}"
    found.tensor_path = joined(subfolder, "tensors.tsv")
    if labels is not None:
        found.metadata_path = joined(subfolder, "metadata.tsv")
    if images is not None:
        found.sprite.image_path = joined(subfolder, "sprite.png")
        found.sprite.single_image_dim.extend([images.shape[3], images.shape[2]])
    return found
