"""Functions, classes, objects and libraries are patched between calls: never silently wrong."""

from __future__ import annotations

import types
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import flambeau as torch
import flambeau.nn.functional as F
from flambeau import nn
from flambeau.compiler import words
from tests.compiler.harness import check

ONES = torch.ones(2)
CASES: dict[str, Callable] = {}


def case(build: Callable) -> Callable:
    """Add a program: ``build(step(wrap, function), on)``."""
    CASES[build.__name__] = build
    return build


def calls(step: Callable, at: dict[int, Callable]) -> Callable:
    """A call of ``step`` that changes something before the calls of these numbers."""

    def call(i: int) -> Any:
        if i in at:
            at[i]()
        return step(ONES * i)

    return call


@case
def defaults(wrap: Any) -> Callable:
    def step(x: Any, k: float = 1.0, *, m: float = 2.0) -> Any:
        return x * k + m

    return calls(wrap(step), {
        5: lambda: setattr(step, "__defaults__", (5.0,)),
        9: lambda: step.__kwdefaults__.update(m=7.0),
        13: lambda: setattr(step, "__kwdefaults__", {"m": -1.0})})


@case
def the_code_of_a_function(wrap: Any) -> Callable:
    def helper(x: Any) -> Any:
        return x * 2

    def other(x: Any) -> Any:
        return x * 3

    return calls(wrap(lambda x: helper(x) + 1),
                 {8: lambda: setattr(helper, "__code__", other.__code__)})


@case
def a_class_hides_its_base(wrap: Any) -> Callable:
    class Base(nn.Module):
        scale = 2.0

    class Net(Base):
        def forward(self, x: Any) -> Any:
            return x * self.scale

    return calls(wrap(Net()), {5: lambda: setattr(Net, "scale", 3.0),
                               9: lambda: delattr(Net, "scale"),
                               13: lambda: setattr(Base, "scale", 9.0)})


@case
def an_attribute_that_was_not_there(wrap: Any) -> Callable:
    class Holder:
        pass

    holder = Holder()
    return calls(wrap(lambda x: x * getattr(holder, "rate", 1.0)), {
        5: lambda: setattr(holder, "rate", 3.0), 9: lambda: setattr(Holder, "rate", 4.0),
        13: lambda: delattr(holder, "rate")})


@case
def the_class_of_an_object(wrap: Any) -> Callable:
    class One:
        def run(self, x: Any) -> Any:
            return x * 2

    class Two(One):
        def run(self, x: Any) -> Any:
            return x * 5

    held = One()
    return calls(wrap(lambda x: held.run(x)), {8: lambda: setattr(held, "__class__", Two)})


@case
def the_dict_of_an_object(wrap: Any) -> Callable:
    class Borg:
        rate = 2.0

    borg = Borg()
    borg.rate = 3.0
    return calls(wrap(lambda x: x * borg.rate),
                 {8: lambda: setattr(borg, "__dict__", {"rate": 7.0})})


@case
def what_python_calls_by_itself(wrap: Any) -> Callable:
    class Scale:
        def __call__(self, x: Any) -> Any:
            return x * 2

    return calls(wrap(Scale()), {8: lambda: setattr(Scale, "__call__", lambda self, x: x + 100)})


@case
def read_only_and_weak_mappings(wrap: Any) -> Callable:
    rates = {"k": 1.0}
    shown = types.MappingProxyType(rates)
    held = nn.Identity()
    held.k = 1.0  # type: ignore[assignment]
    weak = weakref.WeakValueDictionary({"a": held})
    return calls(wrap(lambda x: x * shown["k"] + weak["a"].k), {
        6: lambda: rates.update(k=5.0), 12: lambda: setattr(held, "k", 9.0)})


@case
def a_module_that_is_read_dynamically(wrap: Any) -> Callable:
    settings = types.ModuleType("settings_of_a_program")
    settings.rate_1 = 1.0  # type: ignore[attr-defined]
    return calls(wrap(lambda x: x * getattr(settings, f"rate_{len(x.shape)}")),
                 {8: lambda: setattr(settings, "rate_1", 5.0)})


@case
def hooks_of_all_modules(wrap: Any) -> Callable:
    held: list = []
    hook = nn.modules.module.register_module_forward_hook
    net = nn.Linear(2, 2)
    return calls(wrap(lambda x: net(x).detach()), {
        6: lambda: held.append(hook(lambda m, args, out: out * 10)), 12: lambda: held[0].remove()})




@pytest.fixture(params=[True, False], ids=["words", "lookups"])
def places(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks by words of memory, and without them."""
    if not request.param:
        monkeypatch.setattr(words, "_classes_have_versions", lambda: False)
        monkeypatch.setattr(words, "_dicts_have_versions", lambda: False)
        monkeypatch.setattr(words, "_FUNCTION", (0,))


@pytest.mark.usefixtures("places")
@pytest.mark.parametrize("name", CASES)
def test_the_program(name: str) -> None:
    check(lambda wrap: (CASES[name](wrap), list))


@pytest.mark.usefixtures("places")
@pytest.mark.parametrize(("owner", "name", "step"), [
    (torch, "relu", lambda x: torch.relu(x)),
    (F, "gelu", lambda x: F.gelu(x)),
    (torch.Tensor, "exp", lambda x: x.exp()),
    (F, "relu", nn.ReLU()),
    (nn.ReLU, "forward", nn.ReLU()),
    (torch.Tensor, "added_later", lambda x: x.added_later(x) if hasattr(x, "added_later") else x),
], ids=["torch", "functional", "method", "inside a module", "forward", "added"])
def test_the_library(owner: Any, name: str, step: Callable) -> None:
    patched = pytest.MonkeyPatch()

    def build(wrap: Any) -> Any:
        def patch() -> None:
            patched.setattr(owner, name, lambda *args, **options: torch.full((2,), 7.0),
                            raising=False)

        return calls(wrap(step), {7: patch, 14: patched.undo}), list

    check(build)
