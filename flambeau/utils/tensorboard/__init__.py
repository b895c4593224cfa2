"""``torch.utils.tensorboard``: writing event files that TensorBoard shows."""

from __future__ import annotations

from flambeau.base.messages import text

try:
    # An optional package, which reads and writes the files.
    from tensorboard.summary.writer.record_writer import RecordWriter
except ImportError as error:
    raise ImportError(text("no_tensorboard"), name=error.name) from error

from flambeau.utils.tensorboard.writer import FileWriter, SummaryWriter

__all__ = ["FileWriter", "RecordWriter", "SummaryWriter"]
