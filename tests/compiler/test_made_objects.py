"""Objects of the program's own classes that a compiled step makes, and returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.backends import large
from flambeau.compiler.entry import unit_of

pytestmark = pytest.mark.skipif(not large.available(), reason="needs llvmlite")


@dataclasses.dataclass
class Output:
    loss: torch.Tensor
    parts: list = dataclasses.field(default_factory=list)
    count: int = 0


@dataclasses.dataclass(frozen=True)
class Frozen:
    value: torch.Tensor


class Layer:
    def __init__(self) -> None:
        self.keys: Any = None
        self.ready = False

    def update(self, keys: torch.Tensor) -> torch.Tensor:
        self.keys = keys if self.keys is None else torch.cat([self.keys, keys])
        self.ready = True
        return self.keys


class Cache:
    def __init__(self, layers: int) -> None:
        self.layers = [Layer() for _ in range(layers)]
        self.name = "cache"


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value: torch.Tensor) -> None:
        self.value = value


def calls(step: Callable, x: torch.Tensor, times: int = 6) -> list:
    return [step(x + i) for i in range(times)]


def test_a_dataclass_is_built_anew_at_every_call() -> None:
    def step(x: torch.Tensor) -> Output:
        y = x * 2
        return Output(y.sum(), [y, {"z": y + 1}], y.shape[0])

    compiled = torch.compile(step)
    x = torch.randn(3)
    found, expected = calls(compiled, x), calls(step, x)
    assert unit_of(compiled).runs >= 4
    assert len({id(f) for f in found}) == len({id(f.parts) for f in found}) == len(found)
    for a, b in zip(found, expected):
        assert type(a) is Output and a.count == b.count == 3
        assert torch.allclose(a.loss, b.loss) and torch.equal(a.parts[0], b.parts[0])
        assert torch.equal(a.parts[1]["z"], b.parts[1]["z"])


def test_objects_inside_objects_and_classes_that_set_nothing_later() -> None:
    def step(x: torch.Tensor) -> tuple:
        cache = Cache(2)
        for layer in cache.layers:
            x = layer.update(x * 2)
        cache.layers[0].update(x)
        return SimpleNamespace(out=Frozen(x)), cache

    compiled = torch.compile(step)
    x = torch.randn(3)
    for (a, cache), (b, expected) in zip(calls(compiled, x), calls(step, x)):
        assert torch.equal(a.out.value, b.out.value) and cache.name == "cache"
        assert [la.ready for la in cache.layers] == [True, True]
        for one, other in zip(cache.layers, expected.layers):
            assert torch.equal(one.keys, other.keys)
        cache.layers.clear()
    assert unit_of(compiled).runs >= 4


def test_gradients_go_back_from_an_attribute() -> None:
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    compiled = torch.compile(lambda x: Output(net(x).square().sum()))
    x = torch.randn(4, 3)
    net(x).square().sum().backward()
    expected = net.weight.grad.clone()
    for _ in range(4):
        net.weight.grad = net.bias.grad = None
        compiled(x).loss.backward()
        assert torch.allclose(net.weight.grad, expected, atol=1e-5)
    assert unit_of(compiled).runs


held = Output(torch.zeros(()))


def changed(x: torch.Tensor) -> Output:
    held.loss = x * 2
    return held


def twice(x: torch.Tensor) -> tuple:
    made = Output(x * 2)
    return made, made


def in_slots(x: torch.Tensor) -> Slotted:
    return Slotted(x * 2)


class Counted:
    made = 0

    def __init__(self, value: torch.Tensor) -> None:
        Counted.made += 1
        self.value = value


def counted(x: torch.Tensor) -> Counted:
    return Counted(x * 2)


def closed(x: torch.Tensor) -> SimpleNamespace:
    y = x * 2
    return SimpleNamespace(y=y, call=lambda: y)


@pytest.mark.filterwarnings("ignore:.*runs compiled in parts", "ignore:.*is not compiled")
@pytest.mark.parametrize("step", [changed, twice, in_slots, counted, closed])
def test_what_is_more_than_its_attributes_comes_from_python(step: Callable) -> None:
    compiled, x = torch.compile(step), torch.randn(3)
    before = Counted.made
    for i in range(5):
        found = compiled(x + i)
        if step is changed:
            assert found is held and torch.equal(held.loss, (x + i) * 2)
        elif step is twice:
            assert found[0] is found[1] and torch.equal(found[0].loss, (x + i) * 2)
        elif step is closed:
            assert found.call() is found.y and torch.equal(found.y, (x + i) * 2)
        else:
            assert torch.equal(found.value, (x + i) * 2)
    assert Counted.made - before == (5 if step is counted else 0)
