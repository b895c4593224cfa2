"""Summaries: what is logged, as the protocol buffers that TensorBoard's plugins read."""

from __future__ import annotations

import io
import json
import struct
import wave
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.mesh import metadata as mesh_metadata
from tensorboard.plugins.mesh.plugin_data_pb2 import MeshPluginData
from tensorboard.plugins.pr_curve.plugin_data_pb2 import PrCurvePluginData
from tensorboard.plugins.text.plugin_data_pb2 import TextPluginData

from flambeau.base import messages
from flambeau.core.tensor import Tensor
from flambeau.ops.complex import view_as_real
from flambeau.utils.tensorboard.arrays import as_array, frames, pixels, rgb

__all__ = ["audio", "custom_scalars", "histogram", "histogram_raw", "image", "image_boxes", "mesh",
           "pillow", "pr_curve", "pr_curve_raw", "scalar", "tensor_proto", "text", "video"]

# More points of a precision-recall curve do not fit its message.
MOST_THRESHOLDS = 127
LEAST_COUNT = 1e-7


def _shape(sizes: Sequence[int]) -> TensorShapeProto:
    return TensorShapeProto(dim=[TensorShapeProto.Dim(size=n) for n in sizes])


def _metadata(plugin: str, content: bytes = b"") -> SummaryMetadata:
    return SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=plugin,
                                                                  content=content))


def _one(**facts: Any) -> Summary:
    return Summary(value=[Summary.Value(**facts)])


def scalar(tag: str, value: Any, new_style: bool = False, double_precision: bool = False) -> Any:
    """One number; in the new style as a tensor."""
    found = as_array(value).squeeze()
    if found.ndim:
        raise AssertionError("Tensor should contain one element (0 dimensions). "
                             f"Was given size: {found.size} and {found.ndim} dimensions.")
    number = float(found)
    if not new_style:
        return _one(tag=tag, simple_value=number)
    held = TensorProto(double_val=[number], dtype="DT_DOUBLE") if double_precision else \
        TensorProto(float_val=[number], dtype="DT_FLOAT")
    return _one(tag=tag, tensor=held, metadata=_metadata("scalars"))


def _numbers(t: Tensor) -> list:
    return as_array(t).reshape(-1).tolist() if t.dtype.name != "bfloat16" else \
        t.flatten().tolist()  # type: ignore[attr-defined]


def _half_numbers(t: Tensor) -> list[int]:
    """The bits of each value as a float32, which is how PyTorch fills this field."""
    return [struct.unpack("i", struct.pack("f", x))[0] for x in _numbers(t)]


def _complex_numbers(t: Tensor) -> list[float]:
    return _numbers(view_as_real(t))


_FIELDS: dict[str, tuple[str, str, Callable[[Tensor], list]]] = {
    "float16": ("DT_HALF", "half_val", _half_numbers),
    "bfloat16": ("DT_BFLOAT16", "half_val", _half_numbers),
    "float32": ("DT_FLOAT", "float_val", _numbers),
    "float64": ("DT_DOUBLE", "double_val", _numbers),
    "int8": ("DT_INT8", "int_val", _numbers),
    "uint8": ("DT_UINT8", "uint32_val", _numbers),
    "int16": ("DT_INT16", "int_val", _numbers),
    "int32": ("DT_INT32", "int_val", _numbers),
    "int64": ("DT_INT64", "int64_val", _numbers),
    "bool": ("DT_BOOL", "bool_val", _numbers),
    "complex64": ("DT_COMPLEX64", "scomplex_val", _complex_numbers),
    "complex128": ("DT_COMPLEX128", "dcomplex_val", _complex_numbers),
}


def tensor_proto(tag: str, tensor: Tensor) -> Any:
    """A whole tensor; ValueError where it is too large or of a dtype without a field."""
    if tensor.numel() * tensor.element_size() >= 1 << 31:  # type: ignore[attr-defined]
        raise ValueError("tensor is bigger than protocol buffer's hard limit of 2GB in size")
    if tensor.dtype.name not in _FIELDS:
        raise ValueError(f"{tag} has unsupported tensor dtype {tensor.dtype}")
    kind, field, numbers = _FIELDS[tensor.dtype.name]
    held = TensorProto(dtype=kind, tensor_shape=_shape(tensor.shape), **{field: numbers(tensor)})
    return _one(tag=tag, tensor=held, metadata=_metadata("tensor"))


def histogram_raw(tag: str, min: float, max: float, num: int, sum: float, sum_squares: float,
                  bucket_limits: Any, bucket_counts: Any) -> Any:
    """A histogram that is counted already."""
    return _one(tag=tag, histo=HistogramProto(
        min=min, max=max, num=num, sum=sum, sum_squares=sum_squares, bucket_limit=bucket_limits,
        bucket=bucket_counts))


def histogram(tag: str, values: Any, bins: Any, max_bins: int | None = None) -> Any:
    """How many values lie in each of the bins, as ``numpy.histogram`` takes them."""
    x = as_array(values).astype(float).reshape(-1)
    if not x.size:
        raise ValueError("The input has no element.")
    counts, limits = np.histogram(x, bins=bins)
    if max_bins is not None and len(counts) > max_bins:
        counts, limits = _fewer(counts, limits, len(counts) // max_bins)
    filled = np.flatnonzero(counts)
    if not filled.size:
        raise ValueError("The histogram is empty, please file a bug report.")
    first, last = int(filled[0]), int(filled[-1])
    # Only right ends are written: an empty bin on the left tells where the first one begins.
    before = counts[first - 1:first] if first else np.zeros(1, counts.dtype)
    return histogram_raw(tag, x.min(), x.max(), len(x), x.sum(), x.dot(x),
                         limits[first:last + 2].tolist(),
                         np.concatenate([before, counts[first:last + 1]]).tolist())


def _fewer(counts: np.ndarray, limits: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Every ``step`` bins as one; the last is shorter."""
    missing = -len(counts) % step
    joined = np.pad(counts, (0, missing)).reshape(-1, step).sum(1)
    return joined, np.append(limits[:-1:step], limits[-1])


def _encoded(picture: np.ndarray, rescale: float = 1, boxes: Any = None,
             labels: Sequence[str] | None = None) -> Any:
    """A picture of bytes (height, width, channels) as a PNG."""
    Image = pillow("Image")
    height, width, channels = picture.shape
    drawn = Image.fromarray(picture)
    if boxes is not None:
        _draw_boxes(drawn, boxes, labels)
    size = int(width * rescale), int(height * rescale)
    file = io.BytesIO()
    drawn.resize(size, Image.Resampling.LANCZOS).save(file, format="PNG")
    return Summary.Image(height=height, width=width, colorspace=channels,
                         encoded_image_string=file.getvalue())


def pillow(name: str) -> Any:
    """A module of the package pillow."""
    try:
        # Optional: only pictures need it.
        from importlib import import_module
        return import_module(f"PIL.{name}")
    except ImportError as error:
        raise ImportError(messages.text("no_pillow"), name=error.name) from error


def _draw_boxes(picture: Any, boxes: np.ndarray, labels: Sequence[str] | None) -> None:
    draw = pillow("ImageDraw").Draw(picture)
    font = pillow("ImageFont").load_default()
    for at, (left, top, right, bottom) in enumerate(boxes[:, :4]):
        draw.line([(left, top), (left, bottom), (right, bottom), (right, top), (left, top)],
                  width=2, fill="Red")
        label = None if labels is None else labels[at]
        if not label:
            continue
        x0, y0, x1, y1 = font.getbbox(label)
        width, height = x1 - x0, y1 - y0
        margin = np.ceil(0.05 * height)
        draw.rectangle([(left, bottom - height - 2 * margin), (left + width, bottom)], fill="Red")
        draw.text((left + margin, bottom - height - margin), label, fill="black", font=font)


def image(tag: str, tensor: Any, rescale: float = 1, dataformats: str = "NCHW") -> Any:
    """A picture, or a batch as one grid, of bytes or of values between 0 and 1."""
    return _one(tag=tag, image=_encoded(pixels(rgb(as_array(tensor), dataformats)), rescale))


def image_boxes(tag: str, tensor: Any, boxes: Any, rescale: float = 1, dataformats: str = "CHW",
                labels: Sequence[str] | None = None) -> Any:
    """A picture with rectangles (x of left, y of top, x of right, y of bottom) and their labels."""
    picture = pixels(rgb(as_array(tensor), dataformats))
    return _one(tag=tag, image=_encoded(picture, rescale, as_array(boxes), labels))


def video(tag: str, tensor: Any, fps: float = 4) -> Any:
    """Videos (n, time, channels, height, width) side by side, as an animated GIF."""
    shown = pixels(frames(as_array(tensor)))
    Image = pillow("Image")
    first, *rest = [Image.fromarray(frame if frame.shape[2] > 1 else frame[:, :, 0])
                    for frame in shown]
    file = io.BytesIO()
    first.save(file, format="GIF", save_all=True, append_images=rest, duration=1000 / fps, loop=0)
    _, height, width, channels = shown.shape
    return _one(tag=tag, image=Summary.Image(height=height, width=width, colorspace=channels,
                                             encoded_image_string=file.getvalue()))


def audio(tag: str, tensor: Any, sample_rate: int = 44100) -> Any:
    """One channel of sound between -1 and 1, as a WAV file."""
    sound = as_array(tensor).squeeze()
    if abs(sound).max() > 1:
        print("warning: audio amplitude out of range, auto clipped.")
        sound = sound.clip(-1, 1)
    if sound.ndim != 1:
        raise AssertionError("input tensor should be 1 dimensional.")
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(sample_rate)
        writer.writeframes((sound * np.iinfo(np.int16).max).astype("<i2").tobytes())
    return _one(tag=tag, audio=Summary.Audio(
        sample_rate=sample_rate, num_channels=1, length_frames=len(sound),
        encoded_audio_string=file.getvalue(), content_type="audio/wav"))


def text(tag: str, said: str) -> Any:
    """Text, which TensorBoard shows as Markdown."""
    held = TensorProto(dtype="DT_STRING", string_val=[said.encode()], tensor_shape=_shape([1]))
    content = TextPluginData(version=0).SerializeToString()
    return _one(tag=f"{tag}/text_summary", metadata=_metadata("text", content), tensor=held)


def custom_scalars(layout: dict[str, dict[str, Sequence]]) -> Any:
    """Charts of several scalars: {category: {chart: ["Multiline" or "Margin", tags]}}."""
    categories = [layout_pb2.Category(title=title, chart=[_chart(*c) for c in charts.items()])
                  for title, charts in layout.items()]
    content = layout_pb2.Layout(category=categories).SerializeToString()
    held = TensorProto(dtype="DT_STRING", string_val=[content], tensor_shape=TensorShapeProto())
    return _one(tag="custom_scalars__config__", tensor=held, metadata=_metadata("custom_scalars"))


def _chart(title: str, facts: Sequence) -> Any:
    kind, tags = facts[0], facts[1]
    if kind != "Margin":
        return layout_pb2.Chart(title=title,
                                multiline=layout_pb2.MultilineChartContent(tag=tags))
    if len(tags) != 3:
        raise AssertionError("len(tags) != 3")
    series = layout_pb2.MarginChartContent.Series(value=tags[0], lower=tags[1], upper=tags[2])
    return layout_pb2.Chart(title=title, margin=layout_pb2.MarginChartContent(series=[series]))


def pr_curve(tag: str, labels: np.ndarray, predictions: np.ndarray, num_thresholds: int = 127,
             weights: Any = None) -> Any:
    """Precision against recall of predictions (0 to 1) of labels (0 or 1), over thresholds."""
    points = min(num_thresholds, MOST_THRESHOLDS)
    positive = labels.astype(np.float64)
    weight = 1.0 if weights is None else weights
    bucket = np.floor(predictions * (points - 1)).astype(np.int32)

    def above(weigh: np.ndarray) -> np.ndarray:
        counts, _ = np.histogram(bucket, bins=points, range=(0, points - 1), weights=weigh)
        return np.cumsum(counts[::-1])[::-1]

    tp, fp = above(positive * weight), above((1 - positive) * weight)
    tn, fn = fp[0] - fp, tp[0] - tp
    precision = tp / np.maximum(LEAST_COUNT, tp + fp)
    recall = tp / np.maximum(LEAST_COUNT, tp + fn)
    return pr_curve_raw(tag, tp, fp, tn, fn, precision, recall, points)


def pr_curve_raw(tag: str, tp: Any, fp: Any, tn: Any, fn: Any, precision: Any, recall: Any,
                 num_thresholds: int = 127, weights: Any = None) -> Any:
    """A precision-recall curve that is computed already."""
    rows = np.stack((tp, fp, tn, fn, precision, recall))
    content = PrCurvePluginData(version=0, num_thresholds=min(num_thresholds, MOST_THRESHOLDS))
    held = TensorProto(dtype="DT_FLOAT", float_val=rows.reshape(-1).tolist(),
                       tensor_shape=_shape(rows.shape[:2]))
    return _one(tag=tag, tensor=held,
                metadata=_metadata("pr_curves", content.SerializeToString()))


def mesh(tag: str, vertices: Any, colors: Any = None, faces: Any = None,
         config_dict: dict | None = None) -> Any:
    """Points (batch, n, 3), with colors, and triangles of them."""
    given = [(part, kind) for part, kind in (
        (vertices, MeshPluginData.VERTEX), (faces, MeshPluginData.FACE),
        (colors, MeshPluginData.COLOR)) if part is not None]
    components = mesh_metadata.get_components_bitmask([kind for _, kind in given])
    config = "{}" if config_dict is None else json.dumps(config_dict, sort_keys=True)
    values = []
    for part, kind in given:
        a = as_array(part)
        held = TensorProto(dtype="DT_FLOAT", float_val=a.reshape(-1).tolist(),
                           tensor_shape=_shape(a.shape[:3]))
        values.append(Summary.Value(
            tag=mesh_metadata.get_instance_name(tag, kind), tensor=held,
            metadata=mesh_metadata.create_summary_metadata(
                tag, None, kind, components, a.shape, None, json_config=config)))
    return Summary(value=values)
