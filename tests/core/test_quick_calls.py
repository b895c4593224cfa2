"""Quick calls give what the functions give: the same bits, histories and errors."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import flambeau as torch
import flambeau.nn.functional as F
from flambeau.backends import large
from flambeau.base import dtypes
from flambeau.core import call_plan, modes, quick_calls
from flambeau.core.dispatch import Output
from flambeau.core.face import FACES
from flambeau.core.node import Node
from flambeau.core.quick_names import QUICK_NAMES

pytestmark = pytest.mark.skipif(not large.available(), reason="there are no generated kernels")
ODD = (float("nan"), float("inf"), -float("inf"), -0.0, 0.0, 3.0, -2.5)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], Any]]:
    """What makes a function quick, from its first call on."""
    monkeypatch.setattr(quick_calls, "EVERY", 1)
    monkeypatch.setattr(quick_calls, "OFTEN", 1)
    made = []

    def make(function: Any) -> Any:
        found = quick_calls.quicken(function)
        if found is None:
            pytest.skip("this interpreter's objects are not known")
        monkeypatch.setattr(dtypes, "ON_DEFAULT", [quick_calls._forget])
        made.append(found)
        return found

    yield make
    for each in reversed(made):
        each.undo()


def values(shape: tuple, dtype: Any, seed: int, odd: bool = False) -> Any:
    random = np.random.default_rng(seed)
    a = random.normal(size=shape)
    if odd:
        a.reshape(-1)[:len(ODD)] = ODD[:a.size]
    return torch.tensor(a.tolist(), dtype=dtype)


IMAGE, LINE = ((2, 3, 6, 5), 3), ((2, 3, 7), 4)
X, Y, Z = ((4, 5), 0), ((4, 5), 1), ((4, 5), 2)
INDEX = torch.tensor([[0, 3, 1, 1, 2], [2, 2, 0, 3, 3]])
ROWS = torch.tensor([3, 0, 0])
MASK = torch.tensor([[True, False, True, True, False]] * 4)
CLASSES = torch.tensor([1, 0, 4, 4])
# The function, how it is called, the floating tensors that it is given.
CASES: dict[str, tuple[Any, Callable, tuple]] = {
    "relu": (F.relu, lambda f, x: f(x), (X,)),
    "a method": (torch.Tensor.exp, lambda f, x: f(x), (X,)),
    "elu": (F.elu, lambda f, x: f(x, 0.5), (X,)),
    "softplus": (F.softplus, lambda f, x: f(x, beta=2.0), (X,)),
    "hardtanh": (F.hardtanh, lambda f, x: f(x, -0.5, 0.5), (X,)),
    "glu": (F.glu, lambda f, x: f(x), (((4, 6), 0),)),
    "clamp": (torch.clamp, lambda f, x: f(x, -0.5, 0.5), (X,)),
    "clamp by tensors": (torch.clamp, lambda f, x, y, z: f(x, y, z), (X, Y, Z)),
    "add with alpha": (torch.add, lambda f, x, y: f(x, y, alpha=0.3), (X, Y)),
    "add, broadcast": (torch.add, lambda f, x, y: f(x, y), (X, ((5,), 1))),
    "lerp": (torch.lerp, lambda f, x, y: f(x, y, 0.3), (X, Y)),
    "addcmul": (torch.addcmul, lambda f, x, y, z: f(x, y, z, value=2.0), (X, Y, Z)),
    "where": (torch.where, lambda f, x, y: f(MASK, x, y), (X, Y)),
    "where a number": (torch.where, lambda f, x: f(MASK, x, 0.0), (X,)),
    "masked_fill": (torch.masked_fill, lambda f, x: f(x, MASK, -1.5), (X,)),
    "nan_to_num": (torch.nan_to_num, lambda f, x: f(x), (X,)),
    "eq": (torch.eq, lambda f, x, y: f(x, y), (X, X)),
    **{f"padded, {mode}": (F.pad, lambda f, x, mode=mode: f(x, (1, 2, 2, 1), mode=mode), (IMAGE,))
       for mode in ("constant", "reflect", "replicate", "circular")},
    "padded by a number": (F.pad, lambda f, x: f(x, (1, 0), value=-1.5), (X,)),
    "cropped": (F.pad, lambda f, x: f(x, (-1, 1)), (X,)),
    **{f"resized, {mode}": (F.interpolate, lambda f, x, mode=mode: f(x, size=(7, 4), mode=mode),
                            (IMAGE,)) for mode in ("nearest", "bilinear", "bicubic")},
    "enlarged": (F.interpolate, lambda f, x: f(x, scale_factor=2), (LINE,)),
    "mean_pool": (F.avg_pool2d, lambda f, x: f(x, 2, 1), (IMAGE,)),
    "mean_pool of parts": (F.adaptive_avg_pool2d, lambda f, x: f(x, (3, 1)), (IMAGE,)),
    "max_pool": (F.max_pool2d, lambda f, x: f(x, 2), (IMAGE,)),
    "max_pool, apart": (F.max_pool2d, lambda f, x: f(x, 2, 1, dilation=2), (IMAGE,)),
    "softmax": (F.softmax, lambda f, x: f(x, dim=0), (X,)),
    "log_softmax": (torch.log_softmax, lambda f, x: f(x, -1), (X,)),
    "logsumexp": (torch.logsumexp, lambda f, x: f(x, 1, keepdim=True), (X,)),
    "sum": (torch.sum, lambda f, x: f(x, 1), (X,)),
    "sum of all": (torch.sum, lambda f, x: f(x), (X,)),
    "mean": (torch.mean, lambda f, x: f(x, (0, 1)), (X,)),
    "mean of all": (torch.mean, lambda f, x: f(x), (X,)),
    "var": (torch.var, lambda f, x: f(x, 1, correction=0), (X,)),
    "norm": (torch.norm, lambda f, x: f(x), (X,)),
    "prod": (torch.prod, lambda f, x: f(x), (X,)),
    "max": (torch.max, lambda f, x: f(x), (X,)),
    "max along": (torch.max, lambda f, x: f(x, 1), (X,)),
    "min along, kept": (torch.min, lambda f, x: f(x, 0, keepdim=True), (X,)),
    "amin": (torch.amin, lambda f, x: f(x, 0), (X,)),
    "sort": (torch.sort, lambda f, x: f(x, 0), (X,)),
    "sort down": (torch.sort, lambda f, x: f(x, descending=True), (X,)),
    "topk": (torch.topk, lambda f, x: f(x, 3), (X,)),
    "the least": (torch.topk, lambda f, x: f(x, 2, 0, largest=False), (X,)),
    "cumsum": (torch.cumsum, lambda f, x: f(x, 0), (X,)),
    "cumprod": (torch.cumprod, lambda f, x: f(x, 1), (X,)),
    "mm": (torch.mm, lambda f, x, y: f(x, y), (X, ((5, 3), 1))),
    "mv": (torch.mv, lambda f, x, y: f(x, y), (X, ((5,), 1))),
    "dot": (torch.dot, lambda f, x, y: f(x, y), (((7,), 0), ((7,), 1))),
    "bmm": (torch.bmm, lambda f, x, y: f(x, y), (((2, 3, 4), 0), ((2, 4, 5), 1))),
    "linear": (F.linear, lambda f, x, w, b: f(x, w, b), (X, ((3, 5), 1), ((3,), 2))),
    "gather": (torch.gather, lambda f, x: f(x, 0, INDEX), (X,)),
    "index_select": (torch.index_select, lambda f, x: f(x, 0, ROWS), (X,)),
    "embedding": (F.embedding, lambda f, x: f(ROWS, x), (X,)),
    "scatter": (torch.scatter, lambda f, x, y: f(x, 0, INDEX, y), (X, Y)),
    "scatter_add": (torch.scatter_add, lambda f, x, y: f(x, 0, INDEX, y), (X, Y)),
    "index_add": (torch.index_add, lambda f, x, y: f(x, 0, ROWS, y), (X, ((3, 5), 1))),
    "cat": (torch.cat, lambda f, x, y: f([x, y], 1), (X, ((4, 2), 1))),
    "stack": (torch.stack, lambda f, x, y: f((x, y), dim=-1), (X, Y)),
    "roll": (torch.roll, lambda f, x: f(x, 2, 1), (X,)),
    "roll in two dimensions": (torch.roll, lambda f, x: f(x, (-1, 7), (0, 1)), (X,)),
    "tril": (torch.tril, lambda f, x: f(x), (X,)),
    "triu": (torch.triu, lambda f, x: f(x, 1), (((2, 3, 4), 0),)),
    "take": (torch.take, lambda f, x: f(x, INDEX), (X,)),
    "flip": (torch.flip, lambda f, x: f(x, (0, 1)), (X,)),
    "mse_loss": (F.mse_loss, lambda f, x, y: f(x, y), (X, Y)),
    "cross_entropy": (F.cross_entropy, lambda f, x: f(x, CLASSES), (X,)),
    "layer_norm": (F.layer_norm, lambda f, x, w, b: f(x, (5,), w, b, 1e-5),
                   (X, ((5,), 1), ((5,), 2))),
    "group_norm": (F.group_norm, lambda f, x: f(x, 2), (((2, 4, 3), 0),)),
}


WHOLE = torch.tensor([[0, 3, -1, 7], [2, 2, 0, 5]])
TRUE = torch.tensor([[True, False, True, True], [False, False, True, False]])
# Of whole numbers and truths.
OTHERS: dict[str, tuple[Any, Callable]] = {
    "float of whole numbers": (torch.Tensor.float, lambda f: f(WHOLE)),
    "double of truths": (torch.Tensor.double, lambda f: f(TRUE)),
    "long of truths": (torch.Tensor.long, lambda f: f(TRUE)),
    "bool of whole numbers": (torch.Tensor.bool, lambda f: f(WHOLE)),
    "to another dtype": (torch.Tensor.to, lambda f: f(TRUE, torch.float32)),
    "whole numbers by floats": (torch.mul, lambda f: f(WHOLE, torch.full((4,), 0.3))),
    "truths by floats": (torch.mul, lambda f: f(torch.full((2, 4), 0.3), TRUE)),
    "truths counted": (torch.sum, lambda f: f(TRUE)),
    "truths counted in rows": (torch.sum, lambda f: f(TRUE, 1)),
    "whole numbers summed": (torch.sum, lambda f: f(WHOLE, 0)),
    "whole numbers compared": (torch.eq, lambda f: f(WHOLE, 2)),
    "whole numbers divided": (torch.div, lambda f: f(WHOLE, WHOLE)),
    "all": (torch.all, lambda f: f(TRUE, 0)), "any": (torch.any, lambda f: f(TRUE)),
    "not": (torch.logical_not, lambda f: f(TRUE)),
    "whole numbers sorted": (torch.sort, lambda f: f(WHOLE)),
    "the greatest": (torch.max, lambda f: f(WHOLE, 1)),
    "truths gathered": (torch.gather, lambda f: f(TRUE, 1, WHOLE.clamp(0, 3))),
    "truths joined": (torch.cat, lambda f: f([TRUE, TRUE], 1)),
    "truths chosen": (torch.where, lambda f: f(TRUE, TRUE, torch.logical_not(TRUE))),
    "triangle of whole numbers": (torch.tril, lambda f: f(WHOLE, -1)),
    "taken": (torch.take, lambda f: f(TRUE, WHOLE.clamp(0, 7))),
    "a copy": (torch.clone, lambda f: f(TRUE))}


def parts(found: Any) -> list[Any]:
    return [found] if isinstance(found, torch.Tensor) else list(found)


def history(edge: Any) -> Any:
    """What a node is, and where its gradients go."""
    if isinstance(edge, Output):
        return edge.nr, history(edge.node)
    if not isinstance(edge, Node):
        return edge
    versions = edge.versions or (0,) * len(edge.saved)
    changes = [versions[at] for at, kind in edge.op.saved_tensors if kind != "out"]
    return (type(edge), edge.shape, edge.dtype, edge.outputs, changes, len(edge.saved),
            [history(e) for e in edge.next])


def bits(t: Any) -> tuple:
    return t.dtype, t.shape, t.stride(), t.detach().numpy().tobytes()


def assert_alike(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    for a, b in zip(parts(found), parts(expected), strict=True):
        assert type(a) is type(b)
        assert bits(a) == bits(b)
        assert history(a._node) == history(b._node)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CASES)
def test_results_have_the_same_bits(quick: Any, name: str, dtype: Any) -> None:
    function, call, shapes = CASES[name]
    known = quick(function)
    for seed in range(4):
        given = [values(shape, dtype, 10 * seed + n, odd=seed > 1) for shape, n in shapes]
        assert_alike(call(function, *given), call(known.original, *given))
    assert known.uses() == 3


@pytest.mark.parametrize("name", CASES)
def test_histories_and_gradients_are_the_same(quick: Any, name: str) -> None:
    function, call, shapes = CASES[name]
    known = quick(function)
    for seed in range(3):
        given = [values(shape, torch.float32, 10 * seed + n) for shape, n in shapes]
        recorded = call(known.original, *[t.requires_grad_() for t in given])
        if not parts(recorded)[0].requires_grad:
            return
        given[0] = given[0] * 1
        with torch.no_grad():
            given[-1].add_(0.5)
        found, expected = call(function, *given), call(known.original, *given)
        assert_alike(found, expected)
        for r, e in zip(parts(found), parts(expected)):
            if r.requires_grad:
                gradients = [torch.autograd.grad((t * t).sum(), given, allow_unused=True,
                                                 retain_graph=True) for t in (r, e)]
                for a, b in zip(*gradients):
                    assert (a is None) == (b is None)
                    assert a is None or bits(a) == bits(b)
    assert known.uses() >= 2


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_recorded_without_gradients(quick: Any, name: str) -> None:
    function, call, shapes = CASES[name]
    known = quick(function)
    given = [values(shape, torch.float32, n).requires_grad_() for shape, n in shapes]
    with torch.no_grad():
        for _ in range(3):
            assert_alike(call(function, *given), call(known.original, *given))
    assert known.uses() == 2


@pytest.mark.parametrize("name", OTHERS)
def test_whole_numbers_and_truths(quick: Any, name: str) -> None:
    function, call = OTHERS[name]
    known = quick(function)
    for _ in range(4):
        assert_alike(call(function), call(known.original))
    assert known.uses() == 3


def test_dimensions_of_one_element_may_lie_anyhow(quick: Any) -> None:
    known = quick(FACES["torch"]["exp"])
    column = values((5, 1), torch.float32, 0)
    for _ in range(3):
        for t in (column, column.t(), column.t().contiguous(), column[:1], column.expand(5, 1)):
            assert_alike(known.function(t), known.original(t))


def test_what_needs_no_conversion_is_returned_itself(quick: Any) -> None:
    known = quick(torch.Tensor.to)
    for t in (torch.ones(3), torch.ones(2, requires_grad=True), torch.ones(2, 3)[0]):
        for _ in range(3):
            assert t.to("cpu") is t
            assert t.to(torch.float32) is t
    assert known.uses() == 14


def test_casts_of_odd_numbers(quick: Any) -> None:
    known = quick(torch.Tensor.bool)
    for seed in range(3):
        x = values((3, 4), torch.float32, seed, odd=True)
        assert_alike(x.bool(), known.original(x))
    assert known.uses() == 2
    known = quick(torch.Tensor.float)
    for seed in range(3):
        x = torch.tensor([2**24 + 1, 2**62 + seed, -(2**63), -1 - seed, 0])
        assert_alike(x.float(), known.original(x))
    assert known.uses() == 2


MADE: dict[str, tuple[Any, Callable]] = {
    "zeros": (torch.zeros, lambda f: f(3, 4)), "ones": (torch.ones, lambda f: f((2,), dtype=bool)),
    "full": (torch.full, lambda f: f((2, 3), 1.5)), "arange": (torch.arange, lambda f: f(5)),
    "linspace": (torch.linspace, lambda f: f(0, 1, 7)), "eye": (torch.eye, lambda f: f(3)),
    "zeros_like": (torch.zeros_like, lambda f: f(torch.ones(3))),
    "full_like": (torch.full_like, lambda f: f(torch.ones(3), 2)),
    "new_zeros": (torch.Tensor.new_zeros, lambda f: f(torch.ones(3), 2, 2)),
    "tril_indices": (torch.tril_indices, lambda f: f(3, 3))}


@pytest.mark.parametrize("name", MADE)
def test_what_is_made_of_numbers_is_new_each_time(quick: Any, name: str) -> None:
    function, call = MADE[name]
    known = quick(function)
    for _ in range(4):
        found = call(function)
        assert_alike(found, call(known.original))
        found.logical_not_()
    assert known.uses() == 3
    try:
        torch.set_default_dtype(torch.float64)
        assert_alike(call(function), call(known.original))
    finally:
        torch.set_default_dtype(torch.float32)
    assert_alike(call(function), call(known.original))


def test_leaves_are_made_as_ever(quick: Any) -> None:
    quick(torch.zeros)
    for _ in range(3):
        assert torch.zeros(3, requires_grad=True).requires_grad
        with pytest.raises(RuntimeError):
            torch.zeros(3, dtype=torch.int64, requires_grad=True)
        with torch.inference_mode():
            assert torch.zeros(3).is_inference()


def test_other_arguments_are_told_apart(quick: Any) -> None:
    known = quick(torch.clamp)
    x = values((3, 4), torch.float32, 0)
    for _ in range(2):
        for low in (0, 0.0, -0.0, 0.5, True, None, float("nan"), -(1 << 62)):
            for t in (x, x.double(), x[0], x.t(), x[1:1], x[0, 0], x.to(torch.int64),
                      torch.nn.Parameter(x)):
                assert_alike(torch.clamp(t, low, 0.75), known.original(t, low, 0.75))


def test_numbers_out_of_range_are_refused_as_ever(quick: Any) -> None:
    x = values((4, 5), torch.float32, 0)
    for function, call in ((torch.gather, lambda f, i: f(x, 0, i)),
                           (torch.scatter_add, lambda f, i: f(x, 0, i, x[:1, :2])),
                           (F.embedding, lambda f, i: f(i, x)),
                           (torch.index_select, lambda f, i: f(x, 0, i[0]))):
        known = quick(function)
        for _ in range(3):
            call(function, torch.tensor([[1, 0]]))
        assert known.uses() == 2
        for wrong in (4, -1):
            with pytest.raises((RuntimeError, IndexError)) as found:
                call(function, torch.tensor([[1, wrong]]))
            with pytest.raises(type(found.value)) as expected:
                call(known.original, torch.tensor([[1, wrong]]))
            assert str(found.value).splitlines()[0] == str(expected.value).splitlines()[0]


def test_probabilities_are_looked_at_every_time(quick: Any) -> None:
    known = quick(F.binary_cross_entropy)
    target = torch.zeros(3)
    for _ in range(4):
        F.binary_cross_entropy(torch.full((3,), 0.5), target)
    with pytest.raises(RuntimeError, match="between 0 and 1"):
        F.binary_cross_entropy(torch.full((3,), 1.5), target)
    assert not known.uses()


def test_what_changes_its_argument_has_no_plan(quick: Any) -> None:
    known = quick(F.elu)
    x = values((4, 5), torch.float32, 0)
    expected = x.clone()
    for _ in range(3):
        F.elu(x, inplace=True)
        known.original(expected, inplace=True)
        assert bits(x) == bits(expected)
    known = quick(F.batch_norm)
    mean, var = torch.zeros(5), torch.ones(5)
    for _ in range(20):
        F.batch_norm(x, mean, var, training=True)
    assert not known.uses() and mean.any()


def test_warnings_come_every_time_from_the_program(quick: Any) -> None:
    known = quick(F.mse_loss)
    for _ in range(3):
        with pytest.warns(UserWarning, match="target size") as told:
            F.mse_loss(torch.ones(3), torch.ones(1))
        assert [w.filename for w in told] == [__file__]
    assert not known.uses()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        F.mse_loss(torch.ones(3), torch.ones(3))


def test_other_threads_may_warn_meanwhile() -> None:
    """Making a plan changes nothing that all threads share."""
    filters = list(warnings.filters)
    seen = []

    def look(x: Any) -> Any:
        seen.append(list(warnings.filters) == filters)
        return x * 2

    assert call_plan.plan_of(look, (torch.ones(3),), {}, False) is not None
    assert seen == [True]


def test_large_arrays_have_no_plan() -> None:
    wide = torch.ones(1 << 15)
    assert call_plan.plan_of(torch.exp, (wide,), {}, True) is None
    tall = torch.ones(1 << 8, 1)
    assert call_plan.plan_of(torch.add, (tall, tall.t().contiguous()), {}, True) is None


def test_out_and_spellings_of_names(quick: Any) -> None:
    known = quick(torch.sum)
    x, out = values((3, 4), torch.float32, 0), torch.empty(0)
    for _ in range(3):
        assert torch.sum(x, 1, out=out) is out
        assert_alike(torch.sum(x, axis=0, keepdims=True), known.original(x, 0, True))
    assert bits(out) == bits(known.original(x, 1))


def test_transforms_modes_and_hooks_are_not_passed_over(quick: Any) -> None:
    known = quick(F.softmax)
    x = values((4, 5), torch.float32, 0)
    w = values((4, 5), torch.float32, 1).requires_grad_()
    for _ in range(2):
        F.softmax(x, 0)
        F.softmax(w, 0)
    uses = known.uses()
    assert bits(torch.vmap(lambda t: F.softmax(t, 0), 1, 1)(x)) == bits(known.original(x, 0))
    assert bits(torch.func.grad(lambda t: F.softmax(t, 0).sum())(x)) == bits(
        torch.func.grad(lambda t: known.original(t, 0).sum())(x))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        F.softmax(w, 0)
    assert kept
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.autograd.detect_anomaly():
            assert F.softmax(w, 0).grad_fn.trace
    with torch.inference_mode():
        assert F.softmax(x, 0).is_inference()
        assert F.softmax(w, 0).is_inference()
    assert known.uses() == uses
    assert not F.softmax(x, 0).is_inference()


def test_a_subclass_is_asked(quick: Any) -> None:
    quick(FACES["torch"]["add"])

    class Own(torch.Tensor):
        pass

    x = torch.ones(3)
    for _ in range(3):
        torch.add(x, x)
        assert type(torch.add(x.as_subclass(Own), x)) is Own


def test_a_function_mode_is_asked(quick: Any) -> None:
    quick(FACES["torch"]["exp"])
    asked = []

    class Mode(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: tuple = (),
                               kwargs: Any = None) -> Any:
            asked.append(func.__name__)
            return func(*args, **(kwargs or {}))

    x = torch.ones(3)
    for _ in range(3):
        torch.exp(x)
    with Mode():
        torch.exp(x)
        x.exp()
    assert asked == ["exp", "exp"]


def test_compiled_functions_trace_what_is_quick(quick: Any) -> None:
    quick(F.softmax)
    x = values((4, 5), torch.float32, 0)
    for _ in range(3):
        F.softmax(x, 1)

    @torch.compile
    def f(t: Any) -> Any:
        return F.softmax(t, 1) * 2

    for seed in range(3):
        t = values((4, 5), torch.float32, seed)
        assert torch.allclose(f(t), F.softmax(t, 1) * 2)


def test_a_change_of_what_was_saved_is_noticed(quick: Any) -> None:
    quick(torch.sigmoid)
    quick(torch.mul)
    w = values((4,), torch.float32, 0).requires_grad_()
    for _ in range(3):
        out = torch.sigmoid(w)
    out.detach().mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()
    for _ in range(3):
        x = values((4,), torch.float32, 1)
        x.add_(1)
        out = torch.mul(w, x)
    out.sum().backward()
    out = torch.mul(w, x)
    x.add_(1)
    with pytest.raises(RuntimeError, match="is at version 2; expected version 1"):
        out.sum().backward()


def test_second_gradients(quick: Any) -> None:
    quick(torch.tanh)
    w = values((4,), torch.float64, 0).requires_grad_()
    torch.tanh(w), torch.tanh(w)
    assert torch.autograd.gradgradcheck(torch.tanh, (w,))


def test_a_function_without_plans_gets_its_code_back(
        quick: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick_calls, "REVIEW", 8)
    known = quick(torch.flip)
    x = values((4, 5), torch.float16, 0)
    for _ in range(20):
        torch.flip(x, (0,))
    assert torch.flip.__code__ is known.code


def test_functions_stay_what_they_are(quick: Any) -> None:
    before = inspect.signature(F.elu), F.elu.__name__, F.elu.__doc__
    quick(F.elu)
    assert (inspect.signature(F.elu), F.elu.__name__, F.elu.__doc__) == before
    for _ in range(3):
        with pytest.raises(TypeError):
            F.elu()
        with pytest.raises(TypeError):
            F.elu(torch.ones(2), 1.0, False, 4)


def test_names_are_those_of_functions() -> None:
    for place, names in QUICK_NAMES.items():
        for name in names:
            found = getattr(torch.Tensor, name, None) if place == "Tensor" else FACES[place][name]
            assert found is None or inspect.isfunction(found), name


def _used(quick: Any, function: Any, *args: Any) -> None:
    known = quick(function)
    for _ in range(8):
        function(*args)
    assert known.uses()


def test_autocast_that_was_on_before_is_heard(quick: Any) -> None:
    x, w = torch.randn(4, 5), torch.randn(3, 5)
    with torch.autocast("cpu"):
        F.linear(x, w)
    _used(quick, F.linear, x, w)
    with torch.autocast("cpu"):
        assert F.linear(x, w).dtype is torch.bfloat16
        with torch.autocast("cpu", enabled=False):
            assert F.linear(x, w).dtype is torch.float32
        for _ in range(8):
            assert F.linear(x, w).dtype is torch.bfloat16
    assert F.linear(x, w).dtype is torch.float32
    assert not modes.PAUSED


def test_modes_and_records_that_were_there_before_are_asked(quick: Any) -> None:
    seen = []

    class Mode(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (),
                               kwargs: Any = None) -> Any:
            seen.append(function.__name__)
            return function(*args, **(kwargs or {}))

    x = torch.randn(4, 5)
    with Mode(), torch.profiler.profile():
        torch.logaddexp(x, x)
    _used(quick, torch.logaddexp, x, x)
    seen.clear()
    with Mode(), torch.profiler.profile() as records:
        torch.logaddexp(x, x)
    assert seen == ["logaddexp"]
    assert [e.key for e in records.key_averages()] == ["aten::logaddexp"]
    assert not modes.PAUSED


def test_plans_are_not_made_while_one_is_made(quick: Any) -> None:
    first, second = quick(F.mse_loss), quick(F.mse_loss)
    with pytest.warns(UserWarning, match="target size") as told:
        F.mse_loss(torch.ones(3), torch.ones(1))
    assert len(told) == 1
    assert not first.uses() and not second.uses()
