"""The ways a step may be run, arrays or tensors: one rule, one result."""

from __future__ import annotations

import math

import numpy as np
import pytest

import flambeau as fl
from flambeau.backends import large
from flambeau.optim import stepping

from .cases import CASES, NAMES, array, assert_same, parameters, plain, train


@pytest.mark.parametrize(("name", "options"), CASES, ids=NAMES)
def test_tensors_give_what_arrays_give(name: str, options: dict,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for on_tensors in (False, True):
        params = parameters(fl)
        optimizer = getattr(fl.optim, name)(params, **options)
        if on_tensors:
            monkeypatch.setattr(stepping, "run", lambda *args: False)
        train(fl, optimizer, params, 5)
        results.append(plain([params, optimizer.state_dict()]))
    assert_same(*results, rtol=1e-11)


@pytest.mark.parametrize(("name", "options"), [
    c for c in CASES if c[0] not in ("SGD", "Rprop") and not {"fused", "foreach"} & c[1].keys()])
def test_steps_that_are_tensors_give_what_numbers_give(name: str, options: dict) -> None:
    cls = getattr(fl.optim, name)
    results = []
    for tensors in (False, True):
        params = parameters(fl)
        optimizer = cls(params, **options)
        for step in range(1, 8):
            train(fl, optimizer, params, 1, first=step) if not tensors else None
            if tensors:
                _step_on_tensors(optimizer, params, step)
        results.append(plain([params, optimizer.state_dict()]))
    assert_same(*results, rtol=1e-6)


def _step_on_tensors(optimizer: fl.optim.Optimizer, params: list, step: int) -> None:
    """What a step does while a function is traced: plans of tensors."""
    cls = type(optimizer)
    plan, numbers = cls.plan, cls.numbers

    def of_tensors(group: dict, *values: object) -> tuple:
        return plan(group, *[fl.tensor(float(v), dtype=fl.float64) for v in values])

    cls.plan = staticmethod(of_tensors)
    optimizer.defaults["differentiable"] = True
    optimizer.param_groups[0]["differentiable"] = True
    try:
        with fl.no_grad():
            for p in params:
                p.requires_grad_(False)
            train(fl, optimizer, params, 1, first=step)
    finally:
        cls.plan = staticmethod(plan)
        optimizer.defaults["differentiable"] = False
        optimizer.param_groups[0]["differentiable"] = False
    assert numbers


@pytest.mark.parametrize("name", ["Adam", "RMSprop", "Adamax", "SGD"])
def test_gradcheck_of_a_step(name: str) -> None:
    options = {"SGD": {"momentum": 0.9}, "RMSprop": {"centered": True, "momentum": 0.5},
               "Adam": {"amsgrad": True, "weight_decay": 0.1}}.get(name, {})

    def two_steps(start: fl.Tensor, grad: fl.Tensor) -> fl.Tensor:
        p = start.clone()
        optimizer = getattr(fl.optim, name)([p], lr=0.1, eps=0.5, differentiable=True, **options) \
            if name != "SGD" else fl.optim.SGD([p], lr=0.1, differentiable=True, **options)
        for scale in (1.0, 2.0):
            p.grad = grad * scale
            optimizer.step()
        return p

    start, grad = (fl.tensor(array((3,), n), requires_grad=True) for n in (0, 1))
    if name == "SGD":
        # the momentum starts detached from the first gradient
        (two_steps(start, grad)).sum().backward()
        np.testing.assert_allclose(grad.grad.tolist(), [-0.2] * 3)
    else:
        assert fl.autograd.gradcheck(two_steps, (start, grad))


@pytest.mark.skipif(not large.available(), reason="generated kernels are off")
def test_a_large_group_is_one_kernel_run(monkeypatch: pytest.MonkeyPatch) -> None:
    multi = pytest.importorskip("flambeau.backends.llvm.multi")
    runs = []
    real = multi.MultiKernel.run

    def counted(self: object, arrays: list, *rest: object) -> bool:
        runs.append(len(arrays))
        return real(self, arrays, *rest)

    monkeypatch.setattr(multi.MultiKernel, "run", counted)
    params = parameters(fl, "float32", [(300, 200), (300,), (10, 300), (10,)])
    optimizer = fl.optim.Adam(params)
    train(fl, optimizer, params, 3)
    assert runs == [16] * 3


def test_without_generated_kernels(python: object) -> None:
    code = """
import numpy as np, flambeau as fl
def step():
    rng = np.random.default_rng(0)
    p = fl.nn.Parameter(fl.from_numpy(rng.standard_normal((200, 300)).astype("f4")))
    optimizer = fl.optim.Adam([p], lr=0.1, weight_decay=0.1)
    for _ in range(3):
        p.grad = fl.from_numpy(rng.standard_normal((200, 300)).astype("f4"))
        optimizer.step()
    return p.detach().numpy().tobytes().hex()[:4000]
print(step())
"""
    outputs = [python("-c", code, FLAMBEAU_BACKEND=backend).stdout for backend in ("", "numpy")]
    assert len(outputs[0]) > 1000
    assert outputs[0] == outputs[1]


def test_a_step_counts_as_a_change() -> None:
    w = fl.nn.Parameter(fl.ones(3))
    optimizer = fl.optim.Adam([w], lr=0.1)
    loss = (w * w).sum()
    w.grad = fl.ones(3)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_inference_tensors_are_refused_before_anything_changes() -> None:
    w = fl.nn.Parameter(fl.ones(3))
    with fl.inference_mode():
        frozen = fl.ones(3)
    w.grad = fl.ones(3)
    optimizer = fl.optim.Adam([frozen, w], lr=0.1)
    frozen.grad = fl.ones(3)
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
        optimizer.step()
    assert w.tolist() == frozen.tolist() == [1.0] * 3


def test_numbers_of_a_state_that_do_not_fit_the_parameter() -> None:
    w = fl.nn.Parameter(fl.ones(4))
    optimizer = fl.optim.SGD([w], lr=0.5, momentum=0.5)
    w.grad = fl.ones(4)
    optimizer.step()
    optimizer.state[w]["momentum_buffer"] = fl.ones(4, dtype=fl.float64)
    optimizer.step()
    assert w.dtype is fl.float32
    np.testing.assert_allclose(w.tolist(), [1 - 0.5 - 0.75] * 4)
    optimizer.state[w]["momentum_buffer"] = fl.ones(3)
    with pytest.raises(RuntimeError, match="must match"):
        optimizer.step()


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_lbfgs_minimises(search: str | None) -> None:
    a = fl.tensor(array((6, 6), 0))
    matrix = a @ a.T + fl.eye(6, dtype=fl.float64)
    w = fl.nn.Parameter(fl.zeros(6, dtype=fl.float64))
    goal = fl.tensor(array((6,), 1))
    optimizer = fl.optim.LBFGS([w], lr=0.5 if search is None else 1, max_iter=100,
                               line_search_fn=search)

    def closure() -> fl.Tensor:
        optimizer.zero_grad()
        loss = 0.5 * w @ matrix @ w - goal @ w
        loss.backward()
        return loss

    for _ in range(5):
        optimizer.step(closure)
    np.testing.assert_allclose((matrix @ w).tolist(), goal.tolist(), atol=1e-3)


def test_every_rule_makes_the_loss_of_a_bowl_smaller() -> None:
    for name, options in [*CASES, ("Adafactor", {"lr": 0.1}), ("Muon", {"lr": 0.1})]:
        shapes = [(3, 4)] if name == "Muon" else [(3, 4), (3,)]
        params = parameters(fl, shapes=shapes)
        optimizer = getattr(fl.optim, name)(params, **options)
        sign = -1 if options.get("maximize") else 1
        losses = []
        for _ in range(30):
            optimizer.zero_grad()
            loss = sign * sum((p * p).sum() for p in params)
            loss.backward()
            losses.append(sign * loss.item())
            optimizer.step()
        assert math.isfinite(losses[-1])
        assert min(losses[5:]) < losses[0], (name, options)
