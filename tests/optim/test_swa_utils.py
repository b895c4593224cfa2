"""Averages of models beside PyTorch's."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

import flambeau as fl

from .cases import array, assert_same, plain


def model(t: ModuleType) -> Any:
    net = t.nn.Sequential(t.nn.Linear(3, 4), t.nn.BatchNorm1d(4), t.nn.Linear(4, 2))
    for n, p in enumerate(net.parameters()):
        p.data.copy_(t.tensor(array(tuple(p.shape), n, "float32")))
    return net


def move(t: ModuleType, net: Any, step: int) -> None:
    for n, p in enumerate(net.parameters()):
        p.data.add_(t.tensor(array(tuple(p.shape), 10 * step + n, "float32")))
    for buffer in net.buffers():
        buffer.add_(step)


def kinds(t: ModuleType) -> dict[str, dict]:
    utils = t.optim.swa_utils
    return {
        "mean": {}, "ema": {"multi_avg_fn": utils.get_ema_multi_avg_fn(0.8)},
        "swa": {"multi_avg_fn": utils.get_swa_multi_avg_fn()},
        "ema one": {"avg_fn": utils.get_ema_avg_fn(0.8)},
        "swa one": {"avg_fn": utils.get_swa_avg_fn()},
        "own": {"avg_fn": lambda average, current, count: average + current * count},
        "buffers": {"use_buffers": True},
        "ema buffers": {"use_buffers": True, "multi_avg_fn": utils.get_ema_multi_avg_fn(0.8)},
    }


@pytest.mark.parity
@pytest.mark.parametrize("kind", kinds(fl))
def test_averages(kind: str, torch_oracle: ModuleType) -> None:
    results = []
    for t in (fl, torch_oracle):
        net = model(t)
        average = t.optim.swa_utils.AveragedModel(net, **kinds(t)[kind])
        for step in range(4):
            move(t, net, step)
            average.update_parameters(net)
        x = t.tensor(array((5, 3), 0, "float32"))
        results.append([plain(dict(average.state_dict())), plain(average.eval()(x))])
    assert_same(*results, rtol=1e-5)


@pytest.mark.parity
def test_statistics_of_batch_norms(torch_oracle: ModuleType) -> None:
    results = []
    for t in (fl, torch_oracle):
        net = model(t).eval()
        loader = [t.tensor(array((6, 3), n, "float32")) for n in range(3)]
        t.optim.swa_utils.update_bn([loader[0], (loader[1], 1), [loader[2]]], net)
        assert not net.training
        results.append([plain(dict(net.state_dict())), net[1].momentum])
    assert_same(*results, rtol=1e-5)


def test_what_is_refused() -> None:
    utils = fl.optim.swa_utils
    for make in (utils.get_ema_multi_avg_fn, utils.get_ema_avg_fn):
        with pytest.raises(ValueError, match="Invalid decay value 1.5 provided"):
            make(1.5)
    with pytest.raises(AssertionError, match="Only one of avg_fn"):
        utils.AveragedModel(fl.nn.Linear(1, 1), avg_fn=utils.get_swa_avg_fn(),
                            multi_avg_fn=utils.get_swa_multi_avg_fn())
