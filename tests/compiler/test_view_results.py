"""Results that are views: of what a step makes, and of what it was given."""

import numpy as np
import pytest

import flambeau as torch
from flambeau.core import dispatch

VIEWS = {
    "row of a sum": lambda x: (x + 1)[0],
    "column of a sum": lambda x: (x + 1)[:, 2],
    "turned": lambda x: (x * 2).t(),
    "every second": lambda x: (x * 2)[:, ::2],
    "whole and part": lambda x: ((y := x + 1), y[1], y[1:3, 1]),
    "expanded": lambda x: (x[:, :1] + 1).expand(4, 6),
    "parts": lambda x: (x * 3).unbind(0),
    "diagonal": lambda x: (x * 3).diagonal(),
    "unfolded": lambda x: (x * 3).unfold(1, 4, 2),
    "bits": lambda x: (x * 3).view(torch.int32),
    "of the input": lambda x: x[0],
    "input reshaped": lambda x: x.view(10, 4),
    "input turned twice": lambda x: x.t().t()[1:],
    "input cut off": lambda x: x.detach(),
    "input and sum": lambda x: (x[1], x + 1, x.t()[2]),
    "nothing": lambda x: (x + 1)[0:0],
}


def leaves_of(result):
    return list(result) if isinstance(result, tuple) else [result]


def shares(a, x):
    return np.may_share_memory(a.detach().numpy(), x.detach().numpy())


@pytest.fixture(params=["python", "native"])
def makers(request, monkeypatch):
    if request.param == "native":
        dispatch.load_native_views()
        return
    for name, function in dispatch.VIEW_MAKERS.items():
        monkeypatch.setattr(dispatch, name, function)


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("grad", [False, True])
def test_views_as_in_eager_mode(name, grad, makers):
    function = VIEWS[name]
    step = torch.compile(function)
    kept = []
    for turn in range(6):
        torch.manual_seed(turn)
        x = torch.randn(4, 10, requires_grad=grad)
        found, want = leaves_of(step(x)), leaves_of(function(x))
        for a, b in zip(found, want, strict=True):
            assert torch.equal(a, b) and a.stride() == b.stride() and a.dtype == b.dtype
            assert a.requires_grad == b.requires_grad
            assert shares(a, x) == shares(b, x)
            if b.requires_grad and b.numel():
                got, = torch.autograd.grad(a.square().sum(), x, retain_graph=True)
                expected, = torch.autograd.grad(b.square().sum(), x, retain_graph=True)
                assert torch.allclose(got, expected)
        kept.append((found, [b.detach().clone() for b in want]))
    for found, want in kept:
        assert all(map(torch.equal, found, want))


def test_results_share_the_memory_that_they_shared(makers):
    step = torch.compile(lambda x: ((y := x + 1), y[1], x[0]))
    for _ in range(5):
        x = torch.zeros(3, 4)
        whole, row, first = step(x)
        row.fill_(7)
        first.fill_(5)
        assert whole[1].tolist() == [7.0] * 4
        assert x[0].tolist() == [5.0] * 4
        assert first._base is x and first._version == x._version


@pytest.mark.parametrize("function", [lambda x: x.view(10, 4), lambda x: x.view(10, 4) + 1,
                                      lambda x: x.expand(3, 4, 10).sum(), lambda x: x[1] * 2])
def test_generated_views_are_traced(function, makers):
    step = torch.compile(function)
    x = torch.randn(4, 10)
    for _ in range(4):
        assert torch.equal(step(x), function(x))
    assert "1 programs" in str(torch.compiler.explain(step))


@pytest.mark.parametrize("function", [
    lambda x: x.masked_fill(x > 0, 1).view(-1), lambda x: x.softmax(1).view(-1) * 2,
    lambda x: torch.cat([x, x]).view(-1), lambda x: x.cumsum(0).view(2, -1)])
def test_results_that_lie_row_by_row_are_seen_flat(function):
    step = torch.compile(function)
    for _ in range(3):
        x = torch.randn(4, 6).t()
        assert torch.allclose(step(x), function(x))


def _whole_and_row(x):
    y = x * 2
    return y, y[1]


def _two_rows(x):
    y = x.sin()
    return y[0], y[1:]


def _turned_twice(x):
    y = x.sin() @ x.t()
    return y.t(), y.t()[1:], y


def _chunks(x):
    y = x * x
    return y.chunk(2, 1)


def _loss_and_number(x):
    loss = (x * x).sum()
    return loss, loss.detach()


SHARED = [_whole_and_row, _two_rows, _turned_twice, _chunks, _loss_and_number]


def _changed(step, x, change):
    """What a program does with results that share memory: changes some, and goes back."""
    leaf = x.clone().requires_grad_()
    results = leaves_of(step(leaf))
    failed = None
    try:
        change(results)
        sum([(r * r).sum() for r in results if r.requires_grad]).backward()
    except RuntimeError as error:
        failed = str(error).splitlines()[0]
    own = [r.detach().clone() for r in results]
    told = [(r._version, r._base is not None, r.requires_grad) for r in results]
    return own, told, leaf.grad, failed


@pytest.mark.parametrize("change", [
    lambda r: None, lambda r: r[0].mul_(3), lambda r: r[-1].add_(1), lambda r: r[1].zero_(),
    lambda r: (r[0].mul_(2), r[1].mul_(3)), lambda r: r[-1].data.add_(1)])
@pytest.mark.parametrize("function", SHARED)
def test_results_with_a_history_share_memory(function, change, makers):
    step = torch.compile(function)
    for turn in range(5):
        torch.manual_seed(turn)
        x = torch.randn(4, 10)
        found, want = _changed(step, x, change), _changed(function, x, change)
        assert found[1] == want[1] and found[3] == want[3]
        for a, b in zip([*found[0], found[2]], [*want[0], want[2]], strict=True):
            assert a is b is None or torch.allclose(a, b)
    assert "1 programs" in str(torch.compiler.explain(step))


def test_results_that_share_memory_name_their_steps(makers):
    x = torch.randn(4, 10, requires_grad=True)
    for function in SHARED:
        step = torch.compile(function)
        for _ in range(4):
            found = [r.grad_fn for r in leaves_of(step(x))]
        want = [r.grad_fn for r in leaves_of(function(x))]
        assert [f is None for f in found] == [f is None for f in want]
