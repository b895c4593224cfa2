"""Writers of event files: whatever a training program wants to be seen, by step."""

from __future__ import annotations

import os
import time
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog, TaggedRunMetadata
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from flambeau.utils.tensorboard import embedding, summaries
from flambeau.utils.tensorboard.arrays import as_array, figure_pixels

__all__ = ["FileWriter", "SummaryWriter"]


class FileWriter:
    """Writes events to one file in ``log_dir``, which a thread of its own does.

    ``max_queue`` events wait at most, for ``flush_secs`` seconds at most.
    """

    def __init__(self, log_dir: Any, max_queue: int = 10, flush_secs: float = 120,
                 filename_suffix: str = "") -> None:
        self._options = str(log_dir), max_queue, flush_secs, filename_suffix
        self._closed = False
        self.event_writer = EventFileWriter(*self._options)

    def get_logdir(self) -> str:
        """The folder that the file is in."""
        return self.event_writer.get_logdir()

    def add_event(self, event: Any, step: Any = None, walltime: float | None = None) -> None:
        """Write an ``Event``, with the time now unless one is given."""
        event.wall_time = time.time() if walltime is None else walltime
        if step is not None:
            event.step = int(step)
        self.event_writer.add_event(event)

    def add_summary(self, summary: Any, global_step: Any = None,
                    walltime: float | None = None) -> None:
        """Write a ``Summary``."""
        self.add_event(Event(summary=summary), global_step, walltime)

    def add_graph(self, graph_profile: tuple, walltime: float | None = None) -> None:
        """Write a graph and the statistics of a run of it."""
        graph, statistics = graph_profile
        self.add_event(Event(graph_def=graph.SerializeToString()), None, walltime)
        run = TaggedRunMetadata(tag="step1", run_metadata=statistics.SerializeToString())
        self.add_event(Event(tagged_run_metadata=run), None, walltime)

    def flush(self) -> None:
        """Have everything written that was added."""
        self.event_writer.flush()

    def close(self) -> None:
        """Flush, and close the file."""
        self.event_writer.close()
        self._closed = True

    def reopen(self) -> None:
        """After ``close``: go on, in a new file of the same folder."""
        if self._closed:
            self.event_writer = EventFileWriter(*self._options)
            self._closed = False


def _default_bins() -> list[float]:
    """Limits that grow by a tenth each, from 1e-12 to 1e20, on both sides of zero."""
    positive, limit = [], 1e-12
    while limit < 1e20:
        positive.append(limit)
        limit *= 1.1
    return [-x for x in reversed(positive)] + [0] + positive


class SummaryWriter:
    """Writes what ``tensorboard --logdir`` shows, into ``log_dir``.

    That is runs/DATE_HOST plus ``comment`` by default. Every method takes a tag, which names the
    series, and the ``global_step`` that it belongs to. Values are tensors, arrays or numbers.
    ``purge_step`` hides what an earlier, crashed run wrote from that step on.

    >>> import tempfile
    >>> from flambeau.utils.tensorboard import SummaryWriter
    >>> with tempfile.TemporaryDirectory() as folder, SummaryWriter(folder) as writer:
    ...     for step in range(10):
    ...         writer.add_scalar("loss", 1 / (step + 1), step)
    """

    def __init__(self, log_dir: Any = None, comment: str = "", purge_step: int | None = None,
                 max_queue: int = 10, flush_secs: float = 120,
                 filename_suffix: str = "") -> None:
        if not log_dir:
            # Only a writer without a folder needs them.
            import socket
            from datetime import datetime

            now = datetime.now().strftime("%b%d_%H-%M-%S")
            log_dir = os.path.join("runs", f"{now}_{socket.gethostname()}{comment}")
        self.log_dir = log_dir
        self.purge_step = purge_step
        self.max_queue = max_queue
        self.flush_secs = flush_secs
        self.filename_suffix = filename_suffix
        self.file_writer: FileWriter | None = None
        self.all_writers: dict[str, FileWriter] | None = None
        self.default_bins = _default_bins()
        self._projector = ProjectorConfig()
        self._get_file_writer()

    def _open(self, folder: str) -> FileWriter:
        return FileWriter(folder, self.max_queue, self.flush_secs, self.filename_suffix)

    def _get_file_writer(self) -> FileWriter:
        """The writer of ``log_dir``, opened again where it was closed."""
        if self.file_writer is None or self.all_writers is None:
            writer = self.file_writer = self._open(self.log_dir)
            self.all_writers = {writer.get_logdir(): writer}
            if self.purge_step is not None:
                writer.add_event(Event(step=self.purge_step, file_version="brain.Event:2"))
                started = SessionLog(status=SessionLog.START)
                writer.add_event(Event(step=self.purge_step, session_log=started))
                self.purge_step = None
        return self.file_writer

    def _write(self, summary: Any, step: Any = None, walltime: float | None = None) -> None:
        self._get_file_writer().add_summary(summary, step, walltime)

    def get_logdir(self) -> Any:
        """The folder that is written to."""
        return self.log_dir

    def add_scalar(self, tag: str, scalar_value: Any, global_step: Any = None,
                   walltime: float | None = None, new_style: bool = False,
                   double_precision: bool = False) -> None:
        """A number."""
        self._write(summaries.scalar(tag, scalar_value, new_style, double_precision), global_step,
                    walltime)

    def add_scalars(self, main_tag: str, tag_scalar_dict: dict[str, Any], global_step: Any = None,
                    walltime: float | None = None) -> None:
        """Several numbers for one chart, each in a folder of its own."""
        walltime = time.time() if walltime is None else walltime
        above = self._get_file_writer().get_logdir()
        assert self.all_writers is not None
        for tag, value in tag_scalar_dict.items():
            folder = f"{above}/{main_tag.replace('/', '_')}_{tag}"
            if folder not in self.all_writers:
                self.all_writers[folder] = self._open(folder)
            self.all_writers[folder].add_summary(summaries.scalar(main_tag, value), global_step,
                                                 walltime)

    def add_tensor(self, tag: str, tensor: Any, global_step: Any = None,
                   walltime: float | None = None) -> None:
        """All values of a tensor."""
        self._write(summaries.tensor_proto(tag, tensor), global_step, walltime)

    def add_histogram(self, tag: str, values: Any, global_step: Any = None,
                      bins: Any = "tensorflow", walltime: float | None = None,
                      max_bins: int | None = None) -> None:
        """How values are distributed; ``bins`` as ``numpy.histogram`` takes them."""
        if isinstance(bins, str) and bins == "tensorflow":
            bins = self.default_bins
        self._write(summaries.histogram(tag, values, bins, max_bins), global_step, walltime)

    def add_histogram_raw(self, tag: str, min: float, max: float, num: int, sum: float,
                          sum_squares: float, bucket_limits: Any, bucket_counts: Any,
                          global_step: Any = None, walltime: float | None = None) -> None:
        """A histogram that is counted already: right limits, and counts, of as many bins."""
        if len(bucket_limits) != len(bucket_counts):
            raise ValueError("len(bucket_limits) != len(bucket_counts), see the document.")
        self._write(summaries.histogram_raw(tag, min, max, num, sum, sum_squares, bucket_limits,
                                            bucket_counts), global_step, walltime)

    def add_image(self, tag: str, img_tensor: Any, global_step: Any = None,
                  walltime: float | None = None, dataformats: str = "CHW") -> None:
        """A picture, of bytes or of values between 0 and 1; takes the package pillow."""
        self._write(summaries.image(tag, img_tensor, dataformats=dataformats), global_step,
                    walltime)

    def add_images(self, tag: str, img_tensor: Any, global_step: Any = None,
                   walltime: float | None = None, dataformats: str = "NCHW") -> None:
        """A batch of pictures as one grid."""
        self.add_image(tag, img_tensor, global_step, walltime, dataformats)

    def add_image_with_boxes(self, tag: str, img_tensor: Any, box_tensor: Any,
                             global_step: Any = None, walltime: float | None = None,
                             rescale: float = 1, dataformats: str = "CHW",
                             labels: Any = None) -> None:
        """A picture with rectangles, rows of (x1, y1, x2, y2), and perhaps labels."""
        labels = [labels] if isinstance(labels, str) else labels
        if labels is not None and len(labels) != box_tensor.shape[0]:
            labels = None
        self._write(summaries.image_boxes(tag, img_tensor, box_tensor, rescale, dataformats,
                                          labels), global_step, walltime)

    def add_figure(self, tag: str, figure: Any, global_step: Any = None, close: bool = True,
                   walltime: float | None = None) -> None:
        """A matplotlib figure, or a list of them as one grid; closed afterwards by default."""
        self.add_image(tag, figure_pixels(figure, close), global_step, walltime,
                       "NCHW" if isinstance(figure, list) else "CHW")

    def add_video(self, tag: str, vid_tensor: Any, global_step: Any = None, fps: float = 4,
                  walltime: float | None = None) -> None:
        """Videos (n, time, channels, height, width) as a GIF; takes the package pillow."""
        self._write(summaries.video(tag, vid_tensor, fps), global_step, walltime)

    def add_audio(self, tag: str, snd_tensor: Any, global_step: Any = None,
                  sample_rate: int = 44100, walltime: float | None = None) -> None:
        """Sound, shape (1, length), between -1 and 1."""
        self._write(summaries.audio(tag, snd_tensor, sample_rate), global_step, walltime)

    def add_text(self, tag: str, text_string: str, global_step: Any = None,
                 walltime: float | None = None) -> None:
        """Text, which is shown as Markdown."""
        self._write(summaries.text(tag, text_string), global_step, walltime)

    def add_graph(self, model: Any, input_to_model: Any = None, verbose: bool = False,
                  use_strict_trace: bool = True) -> None:
        """The operations of a model, as it computes ``input_to_model`` (a tensor or a tuple)."""
        # Few programs draw a graph.
        from flambeau.utils.tensorboard.graph import model_graph

        self._get_file_writer().add_graph(model_graph(model, input_to_model, verbose))

    def add_pr_curve(self, tag: str, labels: Any, predictions: Any, global_step: Any = None,
                     num_thresholds: int = 127, weights: Any = None,
                     walltime: float | None = None) -> None:
        """Precision against recall: true labels (0 or 1) and predictions between 0 and 1."""
        self._write(summaries.pr_curve(tag, as_array(labels), as_array(predictions),
                                       num_thresholds, weights), global_step, walltime)

    def add_pr_curve_raw(self, tag: str, true_positive_counts: Any, false_positive_counts: Any,
                         true_negative_counts: Any, false_negative_counts: Any, precision: Any,
                         recall: Any, global_step: Any = None, num_thresholds: int = 127,
                         weights: Any = None, walltime: float | None = None) -> None:
        """A precision-recall curve that is computed already."""
        self._write(summaries.pr_curve_raw(
            tag, true_positive_counts, false_positive_counts, true_negative_counts,
            false_negative_counts, precision, recall, num_thresholds, weights), global_step,
            walltime)

    def add_mesh(self, tag: str, vertices: Any, colors: Any = None, faces: Any = None,
                 config_dict: dict | None = None, global_step: Any = None,
                 walltime: float | None = None) -> None:
        """Points in space (batch, n, 3), their colors, triangles of them."""
        self._write(summaries.mesh(tag, vertices, colors, faces, config_dict), global_step,
                    walltime)

    def add_custom_scalars(self, layout: dict) -> None:
        """Charts of several scalars: {category: {chart: ["Multiline" or "Margin", tags]}}."""
        self._write(summaries.custom_scalars(layout))

    def add_custom_scalars_multilinechart(self, tags: list[str], category: str = "default",
                                          title: str = "untitled") -> None:
        """One chart of several scalars."""
        self.add_custom_scalars({category: {title: ["Multiline", tags]}})

    def add_custom_scalars_marginchart(self, tags: list[str], category: str = "default",
                                       title: str = "untitled") -> None:
        """One chart of a scalar between a lower and an upper one."""
        if len(tags) != 3:
            raise AssertionError(f"Expected 3 tags, got {len(tags)}.")
        self.add_custom_scalars({category: {title: ["Margin", tags]}})

    def add_hparams(self, hparam_dict: dict, metric_dict: dict,
                    hparam_domain_discrete: dict | None = None, run_name: str | None = None,
                    global_step: Any = None) -> None:
        """Hyperparameters and what came of them, as a run of its own beside this one."""
        # Few programs compare hyperparameters.
        from flambeau.utils.tensorboard.hyperparameters import hparams

        if type(hparam_dict) is not dict or type(metric_dict) is not dict:
            raise TypeError("hparam_dict and metric_dict should be dictionary.")
        parts = hparams(hparam_dict, metric_dict, hparam_domain_discrete)
        folder = os.path.join(self._get_file_writer().get_logdir(), run_name or str(time.time()))
        with SummaryWriter(folder) as beside:
            for part in parts:
                beside._write(part, global_step)
            for name, value in metric_dict.items():
                beside.add_scalar(name, value, global_step)

    def add_embedding(self, mat: Any, metadata: Any = None, label_img: Any = None,
                      global_step: Any = None, tag: str = "default",
                      metadata_header: Any = None) -> None:
        """Points (n, features) for the projector, with a label and a picture for each."""
        points = as_array(mat)
        step = 0 if global_step is None else global_step
        if metadata is not None and len(points) != len(metadata):
            raise AssertionError("#labels should equal with #data points")
        if label_img is not None and len(points) != label_img.shape[0]:
            raise AssertionError("#images should equal with #data points")
        if points.ndim != 2:
            raise AssertionError("mat should be 2D, where mat.size(0) is the number of data points")
        above = self._get_file_writer().get_logdir()
        below = f"{str(step).zfill(5)}/{embedding.encoded_tag(tag)}"
        folder = os.path.join(above, below)
        embedding.open_folder(folder)
        if metadata is not None:
            embedding.write_labels(folder, metadata, metadata_header)
        if label_img is not None:
            embedding.write_sprites(folder, label_img)
        embedding.write_points(folder, points)
        self._projector.embeddings.append(embedding.info(below, step, tag, metadata, label_img))
        embedding.write_config(above, self._projector)

    def flush(self) -> None:
        """Have everything written that was added."""
        for writer in (self.all_writers or {}).values():
            writer.flush()

    def close(self) -> None:
        """Flush, and close the files; adding more opens new ones."""
        for writer in (self.all_writers or {}).values():
            writer.flush()
            writer.close()
        self.file_writer = self.all_writers = None

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
