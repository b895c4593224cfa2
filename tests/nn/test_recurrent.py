"""Recurrent layers: whole sequences, packed ones, states, transforms and what is refused."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import flambeau as fl

RNG = np.random.default_rng(3)
KINDS = ("LSTM", "GRU", "RNN")


def sequence(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def values(found: Any) -> list[np.ndarray]:
    if isinstance(found, (tuple, list)):
        return [a for v in found for a in values(v)]
    return [] if found is None else [found.detach().numpy()]


def assert_close(got: Any, want: Any, tolerance: float = 1e-5) -> None:
    ours, theirs = values(got), values(want)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_where_kernels_run(kind: str, torch_oracle: ModuleType) -> None:
    """Wide layers and long sequences: results and gradients are PyTorch's."""
    x = sequence(17, 19, 33)
    found = []
    for torch in (fl, torch_oracle):
        torch.manual_seed(0)
        module = getattr(torch.nn, kind)(33, 37, 2, bidirectional=True)
        inputs = torch.from_numpy(x).requires_grad_()
        out, last = module(inputs)
        (out.cos().sum() + sum(s.sin().sum() for s in (last if kind == "LSTM" else [last]))
         ).backward()
        found.append([out, last, inputs.grad, [p.grad for p in module.parameters()]])
    assert_close(found[0][:2], found[1][:2])
    assert_close(found[0][2:], found[1][2:], 2e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_packed_sequences(kind: str, torch_oracle: ModuleType) -> None:
    """A packed batch gives what PyTorch gives; dropout draws the same numbers."""
    x = sequence(3, 6, 4)
    found = []
    for torch in (fl, torch_oracle):
        torch.manual_seed(0)
        module = getattr(torch.nn, kind)(4, 5, 2, dropout=0.5, bidirectional=True,
                                         batch_first=True)
        inputs = torch.from_numpy(x).requires_grad_()
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            inputs, [4, 6, 1], batch_first=True, enforce_sorted=False)
        out, last = module(packed)
        padded, lengths = torch.nn.utils.rnn.pad_packed_sequence(out, batch_first=True)
        padded.cos().sum().backward()
        found.append([padded, lengths, last, inputs.grad, [p.grad for p in module.parameters()],
                      torch.rand(2)])
    assert_close(found[0], found[1])


@pytest.mark.parametrize("kind", KINDS)
def test_packed_equals_each_alone(kind: str) -> None:
    module = getattr(fl.nn, kind)(4, 5, bidirectional=True)
    parts = [fl.from_numpy(sequence(n, 4)) for n in (5, 3, 3, 1)]
    out, _ = module(fl.nn.utils.rnn.pack_sequence(parts))
    padded, _ = fl.nn.utils.rnn.pad_packed_sequence(out)
    for i, part in enumerate(parts):
        alone, _ = module(part)
        assert_close(padded[:len(part), i], alone)


def test_cell_is_a_step() -> None:
    """Cells, one step at a time, give what the layer gives; gradients agree."""
    layer = fl.nn.LSTM(3, 4)
    cell = fl.nn.LSTMCell(3, 4)
    with fl.no_grad():
        for mine, its in zip(cell.parameters(), layer.parameters()):
            mine.copy_(its)
    x = fl.from_numpy(sequence(6, 2, 3))
    want, _ = layer(x)
    state, outs = None, []
    for part in x:
        state = cell(part, state)
        outs.append(state[0])
    got = fl.stack(outs)
    assert_close(got, want)
    got.sum().backward()
    want.sum().backward()
    assert_close([p.grad for p in cell.parameters()], [p.grad for p in layer.parameters()])


def test_changing_results_leaves_gradients_right() -> None:
    """What backward needs is not what the caller gets: results may be overwritten."""
    module = fl.nn.GRU(3, 4)
    x = fl.from_numpy(sequence(5, 2, 3))
    module(x)[0].mul(2.0).sum().backward()
    want = [p.grad.clone() for p in module.parameters()]
    module.zero_grad()
    out, _ = module(x)
    out.mul_(2.0)
    out.sum().backward()
    assert_close([p.grad for p in module.parameters()], want)
    module.zero_grad()
    total = module(x)[0].mul(2.0).sum()
    total.backward(retain_graph=True)
    module.zero_grad()
    total.backward()
    assert_close([p.grad for p in module.parameters()], want)


@pytest.mark.parametrize("kind", KINDS)
def test_transforms(kind: str) -> None:
    """vmap, jvp and grad nest around a layer."""
    module = getattr(fl.nn, kind)(3, 4).double()
    xs = fl.from_numpy(RNG.normal(size=(2, 5, 2, 3)))

    def value(x: Any) -> Any:
        return module(x)[0].cos().sum()

    assert_close(fl.vmap(value)(xs), fl.stack([value(x) for x in xs]))
    gradients = fl.vmap(fl.func.grad(value))(xs)
    for x, g in zip(xs, gradients):
        leaf = x.clone().requires_grad_()
        value(leaf).backward()
        assert_close(g, leaf.grad)
    direction = fl.from_numpy(RNG.normal(size=(5, 2, 3)))
    _, slope = fl.func.jvp(value, (xs[0],), (direction,))
    assert_close(slope, (gradients[0] * direction).sum())
    curved = fl.func.jvp(fl.func.grad(value), (xs[0],), (direction,))[1]
    moved = [fl.func.grad(value)(xs[0] + sign * 1e-6 * direction) for sign in (1, -1)]
    assert_close(curved, (moved[0] - moved[1]) / 2e-6, 1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_refused(kind: str, torch_oracle: ModuleType) -> None:
    """Inputs and states that do not fit raise what PyTorch raises."""
    def state(torch: Any, *shape: int) -> Any:
        t = torch.zeros(*shape)
        return (t, t) if kind == "LSTM" else t

    calls = [
        lambda t, m: m(t.zeros(3)), lambda t, m: m(t.zeros(5, 2, 4)),
        lambda t, m: m(t.zeros(0, 2, 3)), lambda t, m: m(t.zeros(5, 2, 3).double()),
        lambda t, m: m(t.zeros(5, 2, 3), state(t, 1, 3, 4)),
        lambda t, m: m(t.zeros(5, 2, 3), state(t, 2, 4)),
        lambda t, m: m(t.zeros(5, 3), state(t, 1, 1, 4)),
        lambda t, m: m(t.zeros(1, 1, 5, 3)),
    ]
    for call in calls:
        told = []
        for torch in (fl, torch_oracle):
            with pytest.raises(Exception) as caught:  # noqa: PT011
                call(torch, getattr(torch.nn, kind)(3, 4))
            told.append((caught.type, str(caught.value).split("\n")[0].replace("torch.", "")
                         .replace("flambeau.", "")))
        assert told[0] == told[1]


def test_arguments_of_functions() -> None:
    x, h = fl.zeros(3, 1, 2), fl.zeros(1, 1, 1)
    weights = [fl.ones(4, 2), fl.ones(4, 1)]
    rest = (False, 1, 0.0, False, False, False)
    with pytest.raises(RuntimeError, match="lstm expects two hidden states"):
        fl.lstm(x, (h,), weights, *rest)
    with pytest.raises(RuntimeError, match="got an incorrect number of RNN parameters"):
        fl.lstm(x, (h, h), weights[:1], *rest)
    with pytest.raises(TypeError, match="invalid combination of arguments"):
        fl.lstm(x, h, weights, *rest)
    with pytest.raises(TypeError, match=r"gru_cell\(\): argument 'hx' \(position 2\) must be"):
        fl.gru_cell(x[0], 3, *weights)
    with pytest.raises(RuntimeError, match="hidden0 has inconsistent hidden_size"):
        fl.rnn_tanh_cell(x[0], fl.zeros(1, 5), fl.ones(1, 2), fl.ones(1, 1))
