"""``TorchFunctionMode``: what it is asked about, in which order, and that nothing stays behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

import flambeau
from flambeau.overrides import TorchFunctionMode
from tests.outcome import assert_same_outcome

LOG = (
    "O = t.overrides;; L = [];; "
    "C = type('C', (O.TorchFunctionMode,), {'__init__': lambda s, n='m': setattr(s, 'n', n), "
    "'__torch_function__': lambda s, f, ts, a=(), k=None: "
    "(L.append((s.n, O.resolve_name(f), len(a))), f(*a, **(k or {})))[1]});; "
    "x = t.ones(2, 2);; w = t.ones(2, requires_grad=True);; ")
STATEMENTS = [
    "t.add(x, x, alpha=2)", "x + 1", "1 - x", "x @ x", "-x", "x[0]", "x.sum(dim=0)", "x == x",
    "x > 0", "x.shape", "x.dtype", "x.requires_grad", "w.grad", "x.data", "x.T", "x.size()",
    "x.add_(1)", "x.__setitem__(0, 1)", "setattr(w, 'grad', None)", "t.zeros(2)", "t.tensor([1.])",
    "t.randn(2)", "t.arange(3)", "t.cat([x, x])", "t.stack([x])", "float(x[0, 0])", "len(x)",
    "x.tolist()", "x.numpy()", "x.detach()", "x.to(t.float64)", "x.clone()", "bool(x[0, 0])",
    "(w * 2).sum().backward()", "str(x)", "[r for r in x]", "hash(x)", "t.is_tensor(x)",
    "t.manual_seed(0)", "t.from_numpy(np.ones(2))", "isinstance(x, t.Tensor)", "t.allclose(x, x)",
    "t.nn.functional.relu(x)", "t.nn.functional.linear(x, x)", "t.linalg.norm(x)",
    "t.nn.ReLU()(x)", "t.where(x > 0, x, x)", "x.mean()",
    "t.nn.functional.cross_entropy(x, t.tensor([0, 1]))", "t.max(x)", "x.view(4)", "x.add(1)"]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_what_a_mode_is_asked_about(statement: str, torch_oracle: ModuleType) -> None:
    assert_same_outcome(f"{LOG}m = C();; m.__enter__();; {statement};; "
                        "m.__exit__(None, None, None);; (L, O._get_current_function_mode_stack())",
                        torch_oracle)


PROGRAMS = [
    "a, b = C('a'), C('b');; a.__enter__();; b.__enter__();; y = x * 2;; a.__enter__();; y = y - 1"
    ";; O._pop_mode();; O._pop_mode();; y = y / 3;; O._pop_mode();; y = y + 1;; (L, y)",
    "S = type('S', (t.Tensor,), {});; s = x.as_subclass(S);; m = C();; m.__enter__();; y = s + 1;; "
    "z = t.add(x, s);; s.shape;; D = t._C.DisableTorchFunctionSubclass();; D.__enter__();; "
    "u = s + 1;; D.__exit__();; A = t._C.DisableTorchFunction();; A.__enter__();; v = t.exp(s);; "
    "A.__exit__();; O._pop_mode();; (L, type(y), type(z), type(u), type(v))",
    "N = type('N', (O.TorchFunctionMode,), {'__torch_function__': "
    "lambda *a, **k: NotImplemented});; O._push_mode(N());; t.add(x, 1)",
    "N = type('N', (O.TorchFunctionMode,), {'__torch_function__': "
    "lambda *a, **k: NotImplemented});; O._push_mode(N());; x + 1",
    "O._push_mode(O.BaseTorchFunctionMode());; y = x + 1;; O._pop_mode();; y",
    "H = {t.add: 1, t.Tensor.add: 2, t.Tensor.shape.__get__: 3, t.nn.functional.relu: 4, "
    "t.zeros: 5};; M = type('M', (O.TorchFunctionMode,), {'__torch_function__': "
    "lambda s, f, ts, a=(), k=None: H.get(f)});; O._push_mode(M());; "
    "y = (t.add(x, x), x + x, x.add(x), x.shape, t.nn.functional.relu(x), t.zeros(2), x.sum());; "
    "O._pop_mode();; y",
    "t.set_default_device('cpu');; m = C();; m.__enter__();; y = t.ones(2);; O._pop_mode();; "
    "t.set_default_device(None);; (L, y)",
    "m = C();; m.__enter__();; l = t.nn.Linear(2, 2);; L.clear();; y = l(x);; O._pop_mode();; L"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_as_pytorch(program: str, torch_oracle: ModuleType) -> None:
    try:
        assert_same_outcome(LOG + program, torch_oracle)
    finally:
        for package in (flambeau, torch_oracle):
            while package._C._len_torch_function_stack():
                package.overrides._pop_mode()


class Named(TorchFunctionMode):
    """Notes the names of what it is asked about."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (),
                           kwargs: dict | None = None) -> Any:
        self.seen.append(func.__name__)
        return func(*args, **(kwargs or {}))


def _codes() -> list:
    found = []
    for value in vars(flambeau.Tensor).values():
        for function in (getattr(value, "fget", value), getattr(value, "fset", None)):
            found.append(getattr(function, "__code__", None))
    return found


def test_methods_are_as_before_when_a_mode_is_over() -> None:
    with Named():  # imports what is imported late
        pass
    before = _codes()
    with pytest.raises(ValueError), Named() as mode:
        assert _codes() != before
        raise ValueError
    assert all(a is b for a, b in zip(before, _codes()))
    assert flambeau.ones(2).add(1).tolist() == [2.0, 2.0]
    assert not mode.seen


def test_autocast_that_begins_inside_a_mode_goes_on_after_it(
        python: Callable[..., Any]) -> None:
    run = python("-c", """
import flambeau as torch
from flambeau.overrides import BaseTorchFunctionMode, TorchFunctionMode
x = torch.ones(2, 2)
with BaseTorchFunctionMode(), torch.autocast("cpu"):
    print((x @ x).dtype)
print((x @ x).dtype)
with torch.autocast("cpu"):
    print((x @ x).dtype, torch.mm(x, x).dtype)
class Count(TorchFunctionMode):
    seen = 0
    def __torch_function__(self, func, types, args=(), kwargs=None):
        Count.seen += 1
        return func(*args, **(kwargs or {}))
with Count(), torch.autocast("cpu"):
    y = x @ x
print(y.dtype, Count.seen)
""")
    assert run.stdout.split("\n")[:4] == [
        "flambeau.bfloat16", "flambeau.float32", "flambeau.bfloat16 flambeau.bfloat16",
        "flambeau.bfloat16 1"], run.stderr


def test_a_mode_is_asked_in_its_own_thread_only() -> None:
    x = flambeau.ones(2)
    with Named() as mode:
        thread = threading.Thread(target=lambda: x + 1)
        thread.start()
        thread.join()
        assert not mode.seen
        _ = x + 1
    assert mode.seen == ["add"]


def test_a_mode_around_a_compiled_function_is_asked() -> None:
    @flambeau.compile
    def step(x: Any) -> Any:
        return x * 2 + 1

    x = flambeau.ones(4)
    for _ in range(3):
        assert step(x).tolist() == [3.0] * 4
    with Named() as mode:
        for _ in range(2):
            assert step(x).tolist() == [3.0] * 4
    assert mode.seen.count("mul") == mode.seen.count("add") == 2
    assert step(x).tolist() == [3.0] * 4


def test_a_mode_inside_a_compiled_function_is_asked_at_every_call() -> None:
    mode = Named()

    @flambeau.compile
    def step(x: Any) -> Any:
        y = x * 2
        with mode:
            y = y + 1
        return y - 1

    x = flambeau.ones(4)
    for count in range(1, 5):
        assert step(x).tolist() == [2.0] * 4
        assert mode.seen.count("add") == count
        assert "mul" not in mode.seen and "sub" not in mode.seen


def test_classes_of_flambeau_override_nothing_under_the_name_of_torch(
        python: Callable[..., Any]) -> None:
    run = python("-c", """
import flambeau
flambeau.as_torch()
import torch, torch.overrides
class M(torch.Tensor): pass
layer, x = torch.nn.Linear(2, 2), torch.ones(2, 2).as_subclass(M)
print(type(layer(x)).__name__, type(torch.exp(layer.weight)).__name__,
      torch.overrides.has_torch_function((layer.weight,)))
""")
    assert run.stdout == "M Tensor False\n", run.stderr
