"""SummaryWriter: TensorBoard's own reader finds what PyTorch's writer would have written."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import flambeau as fl

pytest.importorskip("tensorboard", reason="tensorboard is not installed")

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader  # noqa: E402

from flambeau.utils.tensorboard import FileWriter, SummaryWriter  # noqa: E402

Add = Callable[[Any, Any], Any]


def events(folder: Path) -> dict[str, list[Any]]:
    """Every event below a folder, by the subfolder, without its time."""
    found: dict[str, list[Any]] = {}
    for file in sorted(folder.rglob("events.out.tfevents.*")):
        where = str(file.parent.relative_to(folder))
        for event in EventFileLoader(str(file)).Load():
            event.wall_time = 0
            event.ClearField("source_metadata")
            found.setdefault(where, []).append(event)
    return found


def others(folder: Path) -> dict[str, bytes]:
    """The files beside the events."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*"))
            if file.is_file() and "tfevents" not in file.name}


def _figure() -> Any:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    figure, axes = pyplot.subplots(figsize=(2, 1))
    axes.plot([1, 3, 2])
    return figure


def _picture(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape)


def _hparams(w: Any, values: dict, domains: Any = None) -> None:
    w.add_hparams(values, {"accuracy": 0.5, "loss": 2}, domains, run_name="one", global_step=3)


CALLS: dict[str, Add] = {
    "scalar": lambda w, t: [w.add_scalar("a/b", 0.25, 3), w.add_scalar("a/b", 7)],
    "scalar of a tensor": lambda w, t: w.add_scalar("x", t.tensor([[2.5]], requires_grad=True), 1),
    "scalar of NumPy": lambda w, t: w.add_scalar("x", np.float32(2.5), np.int64(1)),
    "scalar of bfloat16": lambda w, t: w.add_scalar("x", t.tensor(2.5, dtype=t.bfloat16)),
    "scalar, new style": lambda w, t: [
        w.add_scalar("x", 0.1, 1, new_style=True),
        w.add_scalar("x", 0.1, 2, new_style=True, double_precision=True)],
    "scalar, not one": lambda w, t: w.add_scalar("x", t.ones(2)),
    "scalar of text": lambda w, t: w.add_scalar("x", "text"),
    "scalar of nothing": lambda w, t: w.add_scalar("x", None),
    "scalars": lambda w, t: [w.add_scalars("a/b", {"u": s, "v": t.tensor(2.0)}, s)
                             for s in range(2)],
    "histogram": lambda w, t: [w.add_histogram("h", t.linspace(-1, 3, 50), 1),
                               w.add_histogram("h", np.zeros(4), 2)],
    "histogram, bins": lambda w, t: [
        w.add_histogram("h", t.arange(100), bins=b) for b in ("auto", 5, [0, 10, 20, 90])],
    "histogram, few bins": lambda w, t: [
        w.add_histogram("h", t.linspace(-1, 3, 50), max_bins=n) for n in (7, 10, 100)],
    "histogram of nothing": lambda w, t: w.add_histogram("h", t.zeros(0)),
    "histogram, raw": lambda w, t: w.add_histogram_raw("h", 0, 3, 4, 6.0, 14.0, [1, 2, 3],
                                                       [1, 1, 2], 5),
    "histogram, raw, uneven": lambda w, t: w.add_histogram_raw("h", 0, 3, 4, 6, 14, [1], [1, 1]),
    "image": lambda w, t: w.add_image("i", t.from_numpy(_picture(3, 8, 6)), 2),
    "image of bytes": lambda w, t: w.add_image("i", (_picture(1, 8, 6) * 255).astype(np.uint8)),
    "image, orders": lambda w, t: [
        w.add_image("i", _picture(*shape), dataformats=order)
        for shape, order in (((8, 6, 3), "HWC"), ((8, 6), "HW"), ((6, 8), "wh"))],
    "image, twice a dimension": lambda w, t: w.add_image("i", _picture(8, 6, 3), 0, None, "HHW"),
    "images": lambda w, t: [w.add_images("i", _picture(n, c, 4, 5))
                            for n, c in ((3, 3), (9, 1), (16, 3))],
    "images, order": lambda w, t: w.add_images("i", _picture(3, 4, 5, 3), dataformats="NHWC"),
    "image with boxes": lambda w, t: [
        w.add_image_with_boxes("i", t.ones(3, 30, 40), t.tensor([[2, 3, 20, 25], [0, 0, 9, 9]]),
                               labels=labels) for labels in (None, ["cat", "dog"], "cat")],
    "figure": lambda w, t: w.add_figure("f", _figure(), 1),
    "figures": lambda w, t: w.add_figure("f", [_figure(), _figure()]),
    "audio": lambda w, t: w.add_audio("s", t.linspace(-1, 1, 50).reshape(1, 50), 1, 8000),
    "audio, loud": lambda w, t: w.add_audio("s", 2 * t.linspace(-1, 1, 50)),
    "audio of two channels": lambda w, t: w.add_audio("s", t.zeros(2, 5)),
    "text": lambda w, t: w.add_text("note", "**hello** 你好", 4),
    "pr curve": lambda w, t: [
        w.add_pr_curve("p", t.tensor([0, 1, 1, 0, 1]), t.tensor([0.1, 0.8, 0.5, 0.6, 1.0]), 1, n)
        for n in (127, 10, 500)],
    "pr curve, weights": lambda w, t: w.add_pr_curve(
        "p", np.array([0, 1, 1]), np.array([0.1, 0.8, 0.5]), weights=np.array([1.0, 2.0, 0.5])),
    "pr curve, raw": lambda w, t: w.add_pr_curve_raw(
        "p", [3, 2], [1, 0], [0, 1], [0, 1], [0.75, 1], [1, 0.66], 1, 2),
    "custom scalars": lambda w, t: w.add_custom_scalars(
        {"c": {"one": ["Multiline", ["a", "b"]], "two": ["Margin", ["a", "b", "c"]]}}),
    "custom charts": lambda w, t: [w.add_custom_scalars_multilinechart(["a", "b"]),
                                   w.add_custom_scalars_marginchart(["a", "b", "c"], "x", "y")],
    "custom chart of two": lambda w, t: w.add_custom_scalars_marginchart(["a", "b"]),
    "mesh": lambda w, t: w.add_mesh(
        "m", t.arange(12.0).reshape(1, 4, 3), t.ones(1, 4, 3, dtype=t.int32),
        t.tensor([[[0, 1, 2]]]), {"camera": {"fov": 75}}, 1),
    "points": lambda w, t: w.add_mesh("m", t.arange(12.0).reshape(1, 4, 3)),
    "hparams": lambda w, t: _hparams(w, {"lr": 0.1, "n": 3, "name": "x", "on": True, "no": None}),
    "hparams of a tensor": lambda w, t: _hparams(w, {"lr": t.tensor([0.5])}),
    "hparams, domains": lambda w, t: _hparams(w, {"lr": 0.5, "a": "x", "on": True},
                                              {"lr": [0.5, 1.0], "a": ["x", "y"], "on": [True]}),
    "hparams, wrong domain": lambda w, t: _hparams(w, {"lr": 0.5}, {"lr": ["a"]}),
    "hparams, wrong value": lambda w, t: _hparams(w, {"lr": [1]}),
    "hparams, no dict": lambda w, t: w.add_hparams([], {}),
    "embedding": lambda w, t: w.add_embedding(
        t.arange(12.0).reshape(4, 3), ["a", "b", "c", "d"], t.from_numpy(_picture(4, 3, 5, 5)), 7),
    "embedding, columns": lambda w, t: w.add_embedding(
        np.arange(6).reshape(2, 3), [["a", 1], ["b", 2]], tag="x/y", metadata_header=["u", "v"]),
    "embeddings": lambda w, t: [w.add_embedding(t.ones(2, 2), global_step=s) for s in range(2)],
    "embedding, few labels": lambda w, t: w.add_embedding(t.ones(2, 2), ["a"]),
    "embedding, one dimension": lambda w, t: w.add_embedding(t.ones(2)),
}
for _name in ("float16", "bfloat16", "float32", "float64", "int8", "uint8", "int16", "int32",
              "int64", "bool", "complex64", "complex128"):
    CALLS[f"tensor, {_name}"] = lambda w, t, name=_name: w.add_tensor(
        "t", t.tensor([[0, 1], [2, 3]]).to(getattr(t, name)), 1)


def written(writer: Any, t: Any, add: Add, folder: Path) -> tuple:
    error = None
    try:
        add(writer, t)
    except Exception as raised:
        error = type(raised).__name__, str(raised).splitlines()[0][:40]
    writer.close()
    return error, events(folder), others(folder)


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
def test_same_events_as_torch(name: str, tmp_path: Path, torch_oracle: ModuleType) -> None:
    from torch.utils.tensorboard import SummaryWriter as Theirs

    want = written(Theirs(tmp_path / "torch"), torch_oracle, CALLS[name], tmp_path / "torch")
    got = written(SummaryWriter(tmp_path / "ours"), fl, CALLS[name], tmp_path / "ours")
    assert got[0] == want[0]
    if name != "embedding, few labels" and name != "embedding, one dimension":
        assert got[1:] == want[1:]


def test_purging(tmp_path: Path) -> None:
    with SummaryWriter(tmp_path, purge_step=5) as writer:
        writer.add_scalar("a", 1.0, 6)
    found = events(tmp_path)["."]
    assert [event.step for event in found if event.HasField("session_log")] == [5]


def test_closing_and_going_on(tmp_path: Path) -> None:
    writer = SummaryWriter(tmp_path, filename_suffix=".mine")
    writer.add_scalar("a", 1.0, 1)
    writer.flush()
    assert len([e for e in events(tmp_path)["."] if e.summary.value]) == 1
    writer.close()
    writer.close()
    writer.flush()
    assert all(file.name.endswith(".mine") for file in tmp_path.iterdir())
    assert writer.get_logdir() == tmp_path


def test_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    SummaryWriter(comment="_mine").close()
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.endswith("_mine")


def test_a_video_is_an_animation(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    with SummaryWriter(tmp_path) as writer:
        writer.add_video("v", fl.rand(3, 5, 3, 8, 6), 1, fps=10)
        writer.add_video("w", (fl.rand(1, 2, 1, 8, 6) * 255).to(fl.uint8))
    values = [v for event in events(tmp_path)["."] for v in event.summary.value]
    first, second = [image.open(io.BytesIO(v.tensor.string_val[2])) for v in values]
    assert (first.n_frames, first.size, first.info["duration"]) == (5, (24, 8), 100)
    assert (second.n_frames, second.size) == (2, (6, 8))


def test_file_writer(tmp_path: Path) -> None:
    from tensorboard.compat.proto.summary_pb2 import Summary

    writer = FileWriter(tmp_path)
    writer.add_summary(Summary(value=[Summary.Value(tag="a", simple_value=2)]), 3, walltime=5.0)
    writer.close()
    writer.reopen()
    writer.reopen()
    writer.add_summary(Summary(value=[Summary.Value(tag="a", simple_value=4)]), 4)
    writer.close()
    steps = sorted(event.step for event in events(tmp_path)["."] if event.summary.value)
    assert steps == [3, 4] and writer.get_logdir() == str(tmp_path)
