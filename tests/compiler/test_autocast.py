"""Compiled steps inside and around autocast give what eager ones give."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import flambeau as torch

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def network() -> tuple:
    torch.manual_seed(0)
    net = torch.nn.Linear(8, 8)
    return net, torch.optim.SGD(net.parameters(), lr=0.1), torch.randn(4, 8)


@pytest.mark.parametrize("on", [lambda i: i % 2 == 1, lambda i: i > 5, lambda i: i < 5])
def test_autocast_around_the_call_is_seen(on: Callable) -> None:
    net, _, x = network()

    def step() -> tuple:
        y = net(x)
        return y.float().pow(2).mean(), y

    compiled = torch.compile(step)
    for i in range(20):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=on(i)):
            want, found = step(), compiled()
        assert found[1].dtype is want[1].dtype, i
        assert found[0].item() == pytest.approx(want[0].item(), rel=1e-6), i


def losses(compile: Callable) -> list[float]:
    """Of 20 steps, whose forward runs in bfloat16."""
    net, optimizer, x = network()

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = net(x).float().pow(2).mean()
        loss.backward()
        optimizer.step()
        return loss

    run = compile(step)
    return [run().item() for _ in range(20)]


def test_autocast_inside_a_step() -> None:
    # A last bit more or less of a weight can be one of bfloat16's bits later.
    assert losses(lambda f: f) == pytest.approx(losses(torch.compile), rel=5e-3)
