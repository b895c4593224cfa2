"""Files exchanged with PyTorch itself, both ways."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity


def things(lib: Any) -> dict[str, Any]:
    """What programs save, made with either library from the same numbers."""
    lib.manual_seed(0)
    net = lib.nn.Sequential(lib.nn.Linear(3, 4), lib.nn.ReLU(), lib.nn.BatchNorm1d(4))
    optimizer = lib.optim.AdamW(net.parameters(), lr=0.1)
    net(lib.randn(5, 3)).sum().backward()
    optimizer.step()
    base = lib.arange(12.0)
    return {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "base": base,
            "view": base.view(3, 4)[1:, ::2], "half": base.half(), "brain": base.bfloat16(),
            "complex": lib.tensor([1 + 2j]), "bool": base > 3, "wide": base.to(lib.uint16),
            "byte": base.to(lib.float8_e5m2), "parameter": lib.nn.Parameter(base[:2].clone()),
            "plain": [1, 2.5, "x", None, (True,)], "dtype": lib.float64, "size": base.shape,
            "none": lib.empty(0, 3), "number": lib.tensor(5)}


def plain(thing: Any) -> Any:
    """A saved thing without its library: arrays with their layout, texts of the rest."""
    if hasattr(thing, "stride") and hasattr(thing, "storage_offset"):
        if thing.dtype in (torch.bfloat16, flambeau.bfloat16, torch.float8_e5m2,
                           flambeau.float8_e5m2):
            thing = thing.float()
        array = thing.detach().numpy()
        return type(thing).__name__, array.tolist(), str(array.dtype), thing.stride(), \
            thing.requires_grad
    if isinstance(thing, dict):
        return {k: plain(v) for k, v in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [plain(v) for v in thing]
    return repr(thing).replace("flambeau.", "torch.")


def moved(thing: Any, writer: Any, reader: Any, **options: Any) -> Any:
    file = io.BytesIO()
    writer.save(thing, file, **options)
    file.seek(0)
    return reader.load(file)


def test_both_ways() -> None:
    theirs, ours = things(torch), things(flambeau)
    assert plain(moved(theirs, torch, flambeau)) == plain(theirs)
    assert plain(moved(ours, flambeau, torch)) == plain(ours)


def test_legacy_format() -> None:
    theirs = things(torch)
    found = moved(theirs, torch, flambeau, _use_new_zipfile_serialization=False)
    assert plain(found) == plain(theirs)


def test_whole_modules() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    for writer, reader in ((torch, flambeau), (flambeau, torch)):
        net = writer.nn.Sequential(writer.nn.Linear(3, 4), writer.nn.Tanh(),
                                   writer.nn.LayerNorm(4)).eval()
        file = io.BytesIO()
        writer.save(net, file)
        file.seek(0)
        other = reader.load(file, weights_only=False)
        assert repr(other) == repr(net)
        want = net(writer.from_numpy(x)).detach().numpy()
        np.testing.assert_allclose(other(reader.from_numpy(x)).detach().numpy(), want, rtol=1e-5,
                                   atol=1e-6)


def test_sharing_survives() -> None:
    for writer, reader in ((torch, flambeau), (flambeau, torch)):
        base = writer.zeros(4)
        found = moved({"a": base, "b": base[1:3]}, writer, reader)
        found["a"][1] = 5
        assert found["b"].tolist() == [5, 0]


def test_optimizers_go_on() -> None:
    """A step after loading is the step that the saving library would make."""
    for writer, reader in ((torch, flambeau), (flambeau, torch)):
        w = writer.ones(3, requires_grad=True)
        optimizer = writer.optim.Adam([w], lr=0.1)
        (w * w).sum().backward()
        optimizer.step()
        state = moved({"w": w.detach(), "o": optimizer.state_dict()}, writer, reader)
        v = state["w"].clone().requires_grad_()
        other = reader.optim.Adam([v], lr=0.1)
        other.load_state_dict(state["o"])
        for _lib, parameter, stepper in ((writer, w, optimizer), (reader, v, other)):
            stepper.zero_grad()
            (parameter * parameter).sum().backward()
            stepper.step()
        np.testing.assert_allclose(v.detach().numpy(), w.detach().numpy(), rtol=1e-6)


def test_errors_have_the_same_type_and_begin_alike() -> None:
    def said(lib: Any, content: bytes) -> tuple:
        with pytest.raises(Exception) as caught:
            lib.load(io.BytesIO(content))
        return type(caught.value).__name__, str(caught.value)[:40]

    file = io.BytesIO()
    torch.save(torch.nn.ReLU(), file)
    for content in (file.getvalue(), file.getvalue()[:300]):
        assert said(torch, content) == said(flambeau, content)
