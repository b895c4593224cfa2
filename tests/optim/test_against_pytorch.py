"""Optimizers beside PyTorch's: numbers, states, errors."""

from __future__ import annotations

import copy
import pickle
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import flambeau as fl

from .cases import CASES, NAMES, array, assert_same, give_gradients, parameters, plain, train

pytestmark = pytest.mark.parity
TOLERANCE = {"float32": 2e-5, "float64": 1e-9, "complex64": 2e-5}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("name", "options"), CASES, ids=NAMES)
def test_steps(name: str, options: dict, dtype: str, torch_oracle: ModuleType) -> None:
    if dtype.startswith("complex") and options.get("fused"):
        pytest.skip("fused steps take no complex parameters")
    results = []
    for t in (fl, torch_oracle):
        params = parameters(t, dtype)
        optimizer = getattr(t.optim, name)(params, **options)
        train(t, optimizer, params, 6)
        results.append([plain(params), plain(optimizer.state_dict())])
    assert_same(*results, rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    ("name", "options"), [c for c in CASES if not {"fused", "foreach"} & c[1].keys()])
def test_half_types(name: str, options: dict, dtype: str, torch_oracle: ModuleType) -> None:
    results = []
    for t in (fl, torch_oracle):
        values = [t.tensor(array((40, 5), n).tolist()).to(getattr(t, dtype)) for n in range(5)]
        p = t.nn.Parameter(values[0])
        optimizer = getattr(t.optim, name)([p], **options)
        for grad in values[1:]:
            p.grad = grad
            optimizer.step()
        results.append(np.array(p.detach().float().tolist()))
    found, expected = results
    assert np.mean(found == expected) > 0.95
    np.testing.assert_allclose(found, expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(("name", "options"), CASES, ids=NAMES)
def test_a_state_goes_from_one_to_the_other(name: str, options: dict, torch_oracle: ModuleType
                                            ) -> None:
    sides = []
    for t in (fl, torch_oracle):
        params = parameters(t)
        optimizer = getattr(t.optim, name)(params, **options)
        train(t, optimizer, params, 3)
        sides.append((t, params, optimizer))
    ends = []
    for (t, params, _), (other, _, source) in (sides, sides[::-1]):
        optimizer = getattr(t.optim, name)(params, **options)
        optimizer.load_state_dict(converted(t, other, source.state_dict()))
        train(t, optimizer, params, 3, first=4)
        ends.append([plain(params), plain(optimizer.state_dict())])
    assert_same(*ends)


def converted(t: ModuleType, other: ModuleType, value: Any) -> Any:
    if isinstance(value, other.Tensor):
        return t.from_numpy(value.detach().numpy().copy())
    if isinstance(value, dict):
        return {k: converted(t, other, v) for k, v in value.items()}
    if isinstance(value, list):
        return [converted(t, other, v) for v in value]
    return value


@pytest.mark.parametrize(("name", "options"), CASES, ids=NAMES)
def test_layouts_and_numbers_that_are_tensors(name: str, options: dict, torch_oracle: ModuleType
                                              ) -> None:
    if {"foreach", "fused"} & options.keys():
        pytest.skip("lists refuse lr as a tensor; fused steps of PyTorch do not look at strides")
    results = []
    for t in (fl, torch_oracle):
        params = [t.nn.Parameter(t.from_numpy(array((4, 3), 0)).t()),
                  t.nn.Parameter(t.from_numpy(array((8, 6), 1))[::2])]
        optimizer = getattr(t.optim, name)(
            [{"params": params[:1]}, {"params": params[1:], "lr": t.tensor([0.05])}],
            **{**options, "lr": t.tensor(options["lr"], dtype=t.float64)})
        train(t, optimizer, params, 4)
        results.append([plain(params), [p.stride() for p in params], plain(optimizer.state_dict()),
                        repr(optimizer).replace("flambeau", "torch")])
    assert_same(*results, rtol=1e-7)


@pytest.mark.parametrize("copies", ["tied", "twice", "some_without"])
@pytest.mark.parametrize("name", ["SGD", "Adam", "NAdam", "ASGD", "Rprop"])
def test_parameters_that_share(name: str, copies: str, torch_oracle: ModuleType) -> None:
    options = {"momentum": 0.9} if name == "SGD" else {}
    results = []
    for t in (fl, torch_oracle):
        p, q, r = parameters(t, shapes=[(3, 4), (3, 4), (2,)])
        params = {"tied": [p, t.nn.Parameter(p.detach())], "twice": [p, q, p],
                  "some_without": [p, q, r]}[copies]
        if copies == "twice":
            with pytest.warns(UserWarning, match="duplicate parameters"):
                optimizer = getattr(t.optim, name)(params, lr=0.1, **options)
        else:
            optimizer = getattr(t.optim, name)(params, lr=0.1, **options)
        for step in range(4):
            give_gradients(t, params, step)
            if copies == "some_without" and step % 2:
                q.grad = None
            optimizer.step()
        results.append([plain(params), plain(optimizer.state_dict())])
    assert_same(*results)


@pytest.mark.parametrize("options", [
    {"params": 3}, {"params": []}, {"params": [3]}, {"params": "leaf"}, {"params": "product"},
    {"params": "set"}, {"params": "half_named"}, {"params": "mixed_names"}, {"lr": -1.0},
    {"betas": (1.0, 0.9)}, {"betas": (0.9, 1.5)}, {"eps": -1.0}, {"weight_decay": -0.1},
    {"betas": (0.9, 1)}, {"foreach": True, "fused": True}, {"fused": True, "differentiable": True},
    {"lr": "vector"}, {"lr": "tensor", "foreach": True}, {"capturable": True},
    {"differentiable": True}, {"foreach": True, "differentiable": True}, {"params": "twice"},
    {"params": "complex", "fused": True}], ids=str)
def test_errors(options: dict, torch_oracle: ModuleType) -> None:
    errors = []
    for t in (fl, torch_oracle):
        p, q = parameters(t, shapes=[(2,), (2,)])
        made = {"leaf": p, "product": [p * 2], "set": [{"params": {p}}],
                "half_named": [("p", p), q],
                "mixed_names": [{"params": [("p", p)]}, {"params": [q]}],
                "twice": [{"params": [p]}, {"params": [p]}], "vector": t.ones(2),
                "tensor": t.tensor(0.1),
                "complex": [t.nn.Parameter(t.ones(2, dtype=t.complex64))]}
        given = {k: made.get(v, v) if isinstance(v, str) else v for k, v in options.items()}
        params = given.pop("params", [p])
        with pytest.raises(Exception) as caught:
            optimizer = t.optim.Adam(params, **given)
            for x in optimizer.param_groups[0]["params"]:
                x.grad = t.ones_like(x.detach())
            optimizer.step()
        first = str(caught.value).split("\n")[0].replace("flambeau", "torch")
        errors.append((type(caught.value), first))
    assert errors[0] == errors[1]


@pytest.mark.parametrize("name", ["SGD", "Adam", "Adagrad"])
def test_a_scaler_reaches_fused_steps(name: str, torch_oracle: ModuleType) -> None:
    results = []
    for t in (fl, torch_oracle):
        params = parameters(t, "float32", [(33,)])
        optimizer = getattr(t.optim, name)(params, lr=0.1, fused=True)
        for step, found in enumerate((0.0, 1.0, 0.0)):
            give_gradients(t, params, step)
            optimizer.grad_scale, optimizer.found_inf = t.tensor(4.0), t.tensor(found)
            optimizer.step()
        results.append(plain([params, params[0].grad, optimizer.state_dict()]))
    assert_same(*results, rtol=2e-5)


def test_derivatives_go_through_a_step(torch_oracle: ModuleType) -> None:
    for name, options in [("SGD", {"momentum": 0.9, "nesterov": True}), ("Adagrad", {}),
                          ("NAdam", {}), ("RAdam", {}), ("Adadelta", {}), ("ASGD", {})]:
        results = []
        for t in (fl, torch_oracle):
            start = t.tensor(array((3,), 0), requires_grad=True)
            grad = t.tensor(array((3,), 1), requires_grad=True)
            p = start.clone()
            optimizer = getattr(t.optim, name)([p], lr=0.1, differentiable=True, **options)
            for scale in (1.0, 2.0):
                p.grad = grad * scale
                optimizer.step()
            (p * t.arange(1.0, 4.0)).sum().backward()
            results.append(plain([p, start.grad, grad.grad]))
        assert_same(*results, rtol=1e-6)


def test_copies_are_on_their_own() -> None:
    params = parameters(fl)
    optimizer = fl.optim.Adam(params, lr=0.1)
    train(fl, optimizer, params, 2)
    other = copy.deepcopy(optimizer)
    theirs = other.param_groups[0]["params"]
    assert list(other.state) == theirs
    before = plain(params)
    train(fl, other, theirs, 1)
    assert plain(params) == before
    again = pickle.loads(pickle.dumps(optimizer))
    train(fl, again, again.param_groups[0]["params"], 1)
    assert_same(plain(again.param_groups[0]["params"]), plain(theirs))
