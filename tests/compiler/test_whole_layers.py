"""Layers that a compiled step runs whole: their kernels, between tables of fused ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from flambeau.backends import large
from flambeau.compiler.entry import unit_of
from tests.compiler.harness import check, train_step

F = nn.functional


class Recurrent(nn.Module):
    def __init__(self, kind: str, **options: Any) -> None:
        super().__init__()
        self.layer = getattr(nn, kind)(5, 6, batch_first=True, **options)
        width = 12 if options.get("bidirectional") else options.get("proj_size") or 6
        self.last = nn.Linear(width, 3)

    def forward(self, x: Any) -> Any:
        return self.last(self.layer(x)[0].mean(1))


class Attending(nn.Module):
    def __init__(self, causal: bool = True, mask: Any = None) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 8)
        self.mix, self.last = nn.Linear(8, 24), nn.Linear(8, 3)
        self.causal, self.mask = causal, mask

    def forward(self, x: Any) -> Any:
        parts = self.mix(self.table(x)).split(8, dim=2)
        q, k, v = (p.view(4, 6, 2, 4).transpose(1, 2) for p in parts)
        y = F.scaled_dot_product_attention(q, k, v, self.mask, is_causal=self.causal)
        return self.last(y.transpose(1, 2).reshape(4, 6, 8).mean(1))


class Pictures(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.drop, self.last = nn.Dropout(0.25), nn.Linear(36, 3)

    def forward(self, x: Any) -> Any:
        return self.last(self.drop(F.max_pool2d(F.relu(self.conv(x)), 2)).flatten(1))


def symbols() -> Any:
    return torch.randint(0, 7, (4, 6))


CASES = {
    "LSTM": (lambda: Recurrent("LSTM"), lambda: torch.randn(4, 7, 5)),
    "projected LSTM": (lambda: Recurrent("LSTM", proj_size=2), lambda: torch.randn(4, 7, 5)),
    "GRU both ways": (lambda: Recurrent("GRU", bidirectional=True),
                      lambda: torch.randn(4, 7, 5)),
    "RNN of two layers": (lambda: Recurrent("RNN", num_layers=2), lambda: torch.randn(4, 7, 5)),
    "attention": (Attending, symbols),
    "masked attention": (lambda: Attending(False, torch.ones(6, 6, dtype=torch.bool).tril()),
                         symbols),
    "convolution": (Pictures, lambda: torch.randn(4, 2, 6, 6))}


@pytest.mark.parametrize("name", CASES)
def test_training(name: str) -> None:
    network, inputs = CASES[name]

    def build(wrap: Any) -> Any:
        net, x, y = network(), inputs(), torch.randint(0, 3, (4,))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
        step = train_step(net, optimizer, wrap)
        return lambda i: step(x, y), lambda: [*net.parameters()]

    wrap = check(build, least=17)
    unit = unit_of(wrap.made[0])
    assert unit.programs[0].fast is not None and unit.slow_runs == 0 or not large.available()
    names = {n.op.name for n in unit.programs[0].trace.graph.nodes if n.op is not None}
    assert not any("softmax" in n for n in names)


def test_a_failing_check_behind_a_whole_layer_changes_nothing() -> None:
    """A class that is out of range is met after dropout has drawn and the layer has run."""
    net, x = Pictures(), torch.randn(4, 2, 6, 6)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    step = train_step(net, optimizer, torch.compile)

    def state() -> list:
        held = [*net.parameters(), *[p.grad for p in net.parameters()]]
        return [*[t.tolist() for t in held], torch.get_rng_state().tolist()]

    for i in range(4):
        step(x, torch.full((4,), i % 3))
    assert unit_of(step).programs
    before = state()
    with pytest.raises(IndexError, match="Target 9 is out of bounds"):
        step(x, torch.full((4,), 9))
    assert state() == before
    step(x, torch.full((4,), 2))
    assert state() != before


def test_results_of_whole_layers_are_new_at_every_call() -> None:
    layer = nn.GRU(3, 4)
    run = torch.compile(lambda x: layer(x)[0], fullgraph=True)
    with torch.no_grad():
        kept = [run(torch.full((2, 1, 3), float(i))) for i in range(6)]
        for i, found in enumerate(kept):
            np.testing.assert_allclose(found.numpy(),
                                       layer(torch.full((2, 1, 3), float(i)))[0].numpy(),
                                       rtol=1e-6)


def test_a_module_whose_result_keeps_what_views_in_its_history_are_of() -> None:
    """``torch.compile(net)``: backward goes back through a pooled picture, laid flat."""

    def build(wrap: Any) -> Any:
        net, x, y = Pictures().eval(), torch.randn(4, 2, 6, 6), torch.randint(0, 3, (4,))
        run = wrap(lambda x: net(x))

        def step(i: int) -> Any:
            net.zero_grad()
            loss = F.cross_entropy(run(x), y)
            loss.backward()
            return loss

        return step, lambda: [*net.parameters()]

    check(build, least=17)


def test_copies_of_transposed_values_are_kernels() -> None:
    run = torch.compile(lambda x, y: (x.transpose(0, 1).reshape(40, 20) * 2, x.mT + y),
                        fullgraph=True)
    x, y = torch.randn(20, 4, 10), torch.randn(20, 10, 4)
    for _ in range(3):
        found = run(x, y)
    assert torch.equal(found[0], x.transpose(0, 1).reshape(40, 20) * 2)
    assert torch.equal(found[1], x.mT + y)
