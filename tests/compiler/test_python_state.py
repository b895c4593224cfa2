"""Python state of many kinds that a step reads or changes: never silently wrong."""

from __future__ import annotations

import collections
import contextvars
import dataclasses
import functools
import os
from collections.abc import Callable
from typing import Any

import pytest

import flambeau as torch
from flambeau import nn
from tests.compiler.harness import check

CASES: dict[str, tuple[Callable, bool]] = {}
ONES = torch.ones(2)


def case(compiles: bool = True) -> Callable[[Callable], Callable]:
    """Add a program; ``compiles`` says that calls must have run compiled."""

    def add(build: Callable) -> Callable:
        CASES[build.__name__] = (build, compiles)
        return build

    return add


def helper(x: Any) -> Any:
    return x + 1


@case()
def forward_of_a_module_is_patched(wrap: Any) -> Any:
    net = nn.Linear(2, 2)
    step = wrap(net)

    def call(i: int) -> Any:
        if i == 5:
            net.forward = lambda x: x * 2
        return step(torch.ones(1, 2)).detach()

    return call, list


@case()
def a_method_of_a_class_is_replaced(wrap: Any) -> Any:
    class Net(nn.Module):
        def forward(self, x: Any) -> Any:
            return self.part(x)

        def part(self, x: Any) -> Any:
            return x + 1

    net = Net()
    step = wrap(net)

    def call(i: int) -> Any:
        if i == 5:
            Net.part = lambda self, x: x * 3  # type: ignore[method-assign]
        return step(ONES)

    return call, list


@case()
def a_global_function_is_replaced(wrap: Any) -> Any:
    globals()["helper"] = lambda x: x + 1
    step = wrap(lambda x: helper(x))

    def call(i: int) -> Any:
        if i == 5:
            globals()["helper"] = lambda x: x - 1
        return step(ONES)

    return call, list


@case()
def a_property_hides_the_state(wrap: Any) -> Any:
    class Holder:
        held = 1.0

        @property
        def doubled(self) -> float:
            return self.held * 2

    holder = Holder()
    step = wrap(lambda x: x * holder.doubled)

    def call(i: int) -> Any:
        holder.held = float(i // 3)
        return step(ONES)

    return call, list


@case()
def the_environment_changes(wrap: Any) -> Any:
    os.environ["FLAMBEAU_TEST_RATE"] = "1"
    step = wrap(lambda x: x * float(os.environ["FLAMBEAU_TEST_RATE"]))

    def call(i: int) -> Any:
        os.environ["FLAMBEAU_TEST_RATE"] = str(i // 4)
        return step(ONES)

    return call, list


@case(False)
def the_seed_is_set_inside(wrap: Any) -> Any:
    def step(x: Any) -> Any:
        torch.manual_seed(7)
        return x + torch.rand(2)

    step = wrap(step)
    return lambda i: step(ONES), list


@case(False)
def the_random_state_is_read(wrap: Any) -> Any:
    step = wrap(lambda x: torch.rand(2) + torch.get_rng_state().float().mean())
    return lambda i: step(ONES), list


@case(False)
def a_closure_is_changed_inside(wrap: Any) -> Any:
    count = 0

    def step(x: Any) -> Any:
        nonlocal count
        count += 1
        return x * count

    step = wrap(step)
    return lambda i: (step(ONES), count), list


@case(False)
def a_cache_keeps_tensors(wrap: Any) -> Any:
    @functools.lru_cache
    def scaled(k: int) -> Any:
        return torch.arange(3.0) * k

    step = wrap(lambda x, k: x + scaled(k))
    return lambda i: step(torch.ones(3), i // 4), list


@case()
def an_attribute_of_a_tensor_changes(wrap: Any) -> Any:
    w = torch.ones(2)
    w.scale = 2.0
    step = wrap(lambda x: x * w * w.scale)

    def call(i: int) -> Any:
        if i == 5:
            w.scale = 5.0
        return step(ONES)

    return call, list


@case()
def a_dataclass_changes(wrap: Any) -> Any:
    @dataclasses.dataclass
    class Batch:
        x: Any
        scale: float

    batch = Batch(torch.ones(2), 2.0)
    step = wrap(lambda b: b.x * b.scale)

    def call(i: int) -> Any:
        if i == 8:
            batch.scale = 3.0
        if i == 14:
            batch.x = torch.full((2,), 7.0)
        return step(batch)

    return call, list


@case(False)
def a_new_object_at_every_call(wrap: Any) -> Any:
    @dataclasses.dataclass
    class Batch:
        x: Any

    step = wrap(lambda b: b.x * 2)
    return lambda i: step(Batch(ONES * i)), list


@case()
def nested_results(wrap: Any) -> Any:
    pair = collections.namedtuple("pair", "a b")
    step = wrap(lambda x: pair(x + 1, {"k": [x * 2, 3]}))
    return lambda i: step(ONES * i), list


@case()
def a_deque_and_a_set_change(wrap: Any) -> Any:
    recent = collections.deque([1.0, 2.0], maxlen=3)
    seen = {1, 2}
    step = wrap(lambda x: x * sum(recent) + len(seen))

    def call(i: int) -> Any:
        if i == 8:
            recent.append(5.0)
        if i == 14:
            seen.add(9)
        return step(ONES)

    return call, list


@case()
def a_context_variable_is_set_for_a_while(wrap: Any) -> Any:
    rate = contextvars.ContextVar("rate", default=1.0)
    step = wrap(lambda x: x * rate.get())

    def call(i: int) -> Any:
        token = rate.set(2.0) if i % 7 == 5 else None
        try:
            return step(ONES * i)
        finally:
            if token is not None:
                rate.reset(token)

    return call, list


@case()
def a_context_variable_changes(wrap: Any) -> Any:
    rate = contextvars.ContextVar("rate", default=1.0)
    step = wrap(lambda x: x * rate.get())

    def call(i: int) -> Any:
        rate.set(float(i // 3))
        return step(ONES)

    return call, list


@case(False)
def a_list_argument_is_changed_inside(wrap: Any) -> Any:
    def step(held: Any) -> Any:
        held.append(held[-1] * 2)
        return held[-1]

    step = wrap(step)

    def call(i: int) -> Any:
        held = [ONES * i]
        return step(held), held

    return call, list


@case(False)
def a_dict_argument_is_changed_inside(wrap: Any) -> Any:
    def step(held: Any) -> Any:
        held["y"] = held["x"] * 2
        return held["y"] + 1

    step = wrap(step)

    def call(i: int) -> Any:
        held = {"x": ONES * i}
        return step(held), held

    return call, list


@case(False)
def a_buffer_is_set_anew(wrap: Any) -> Any:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(()))

        def forward(self, x: Any) -> Any:
            self.count = self.count + 1
            return x * self.count

    net = Net()
    step = wrap(net)
    return lambda i: step(ONES), lambda: [net.count]


@case()
def a_function_with_its_own_backward(wrap: Any) -> Any:
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (x,) = ctx.saved_tensors
            return g * 3 * x

    w = torch.ones(2, requires_grad=True)

    def step(x: Any) -> Any:
        w.grad = None
        Square.apply(w * x).sum().backward()
        return w.grad

    step = wrap(step)
    return lambda i: step(ONES * i), list


@case()
def second_derivatives(wrap: Any) -> Any:
    w = torch.ones(2, requires_grad=True)

    def step(x: Any) -> Any:
        (g,) = torch.autograd.grad((w * x).pow(3).sum(), w, create_graph=True)
        return torch.autograd.grad(g.pow(2).sum(), w)[0]

    step = wrap(step)
    return lambda i: step(ONES * i), list


@case()
def inference_mode_comes_and_goes(wrap: Any) -> Any:
    step = wrap(lambda x: x * 2)

    def call(i: int) -> Any:
        with torch.inference_mode(i % 2 == 1):
            return step(ONES * i) + 0

    return call, list


@case()
def buffers_are_swapped(wrap: Any) -> Any:
    a, b = torch.zeros(3), torch.ones(3)

    def step() -> Any:
        kept = a.clone()
        a.copy_(b)
        b.copy_(kept)
        return a + 0

    step = wrap(step)
    return lambda i: step(), lambda: [a, b]


@case()
def sizes_from_none_to_many(wrap: Any) -> Any:
    step = wrap(lambda a, b, c: (a * 2, (a.sum() + b) * 2, c.exp().sum(), torch.cat([a, a])))
    arguments = torch.ones(0, 3), torch.tensor(2.0), torch.ones(70_000) * 0.1
    return lambda i: step(*arguments), list


@case()
def half_types_and_integers(wrap: Any) -> Any:
    step = wrap(lambda a, b, n: (a * 2 + b.float(), (b * b).sum(), b.softmax(0), n // 2 + n % 3,
                                 a.half() @ a.half(), a * 1j + 1, n.bool() & (n > 1)))
    return (lambda i: step(torch.ones(3, 3), torch.ones(3, dtype=torch.bfloat16) * i,
                           torch.arange(4)), list)


@pytest.mark.parametrize("name", CASES)
def test_as_eager_mode(name: str) -> None:
    build, compiles = CASES[name]
    check(build, compiled=compiles, warns=not compiles, least=10 if compiles else 0)
