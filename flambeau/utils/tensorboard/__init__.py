"""``torch.utils.tensorboard``: writing event files that TensorBoard shows."""

from __future__ import annotations

try:
    # An optional package, which reads and writes the files.
    from tensorboard.summary.writer.record_writer import RecordWriter
except ImportError as error:
    raise ImportError("writing for TensorBoard takes the package tensorboard: "
                      "pip install tensorboard", name=error.name) from error

from flambeau.utils.tensorboard.writer import FileWriter, SummaryWriter

__all__ = ["FileWriter", "RecordWriter", "SummaryWriter"]
