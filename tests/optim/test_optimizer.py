"""The base of optimizers: groups, hooks, saving, zeroing, and functional forms."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

import flambeau as fl
from flambeau.optim.optimizer import Optimizer, required

from .cases import CASES, array, assert_same, parameters, plain, train


def sgd(**options: Any) -> tuple[fl.optim.SGD, fl.nn.Parameter]:
    w = fl.nn.Parameter(fl.ones(2))
    return fl.optim.SGD([w], lr=0.5, **options), w


def test_hooks_run_in_order() -> None:
    optimizer, w = sgd()
    calls: list[str] = []
    handles = [
        optimizer.register_step_pre_hook(lambda o, a, k: calls.append("own before")),
        fl.optim.optimizer.register_optimizer_step_pre_hook(
            lambda o, a, k: calls.append("all before")),
        optimizer.register_step_post_hook(lambda o, a, k: calls.append("own after")),
        fl.optim.optimizer.register_optimizer_step_post_hook(
            lambda o, a, k: calls.append("all after"))]
    try:
        optimizer.step()
    finally:
        for handle in handles:
            handle.remove()
    assert calls == ["all before", "own before", "own after", "all after"]
    optimizer.step()
    assert len(calls) == 4


def test_a_hook_may_change_the_arguments() -> None:
    optimizer, _ = sgd()
    optimizer.register_step_pre_hook(lambda o, args, kwargs: ((o, lambda: 7.0), {}))
    assert optimizer.step() == 7.0
    optimizer.register_step_pre_hook(lambda o, args, kwargs: 3)
    with pytest.raises(RuntimeError, match="must return None or a tuple of"):
        optimizer.step()


def test_hooks_of_saving_and_loading() -> None:
    optimizer, _ = sgd()
    calls: list[str] = []
    optimizer.register_state_dict_pre_hook(lambda o: calls.append("save"))
    optimizer.register_state_dict_post_hook(lambda o, s: {**s, "more": 1})
    optimizer.register_state_dict_post_hook(lambda o, s: calls.append("first"), prepend=True)
    optimizer.register_load_state_dict_pre_hook(
        lambda o, s: {k: v for k, v in s.items() if k != "more"})
    optimizer.register_load_state_dict_post_hook(lambda o: calls.append("loaded"))
    saved = optimizer.state_dict()
    assert saved["more"] == 1
    optimizer.load_state_dict(saved)
    assert calls == ["save", "first", "loaded"]


def test_a_closure_is_recorded_and_its_loss_returned() -> None:
    optimizer, w = sgd()

    def closure() -> fl.Tensor:
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    with fl.no_grad():
        assert optimizer.step(closure).item() == 2.0
        assert not fl.is_grad_enabled()
    assert w.tolist() == [0.0, 0.0]


def test_zero_grad() -> None:
    optimizer, w = sgd()
    (w * 2).sum().backward()
    grad = w.grad
    optimizer.zero_grad(set_to_none=False)
    assert w.grad is grad
    assert grad.tolist() == [0.0, 0.0]
    optimizer.zero_grad()
    assert w.grad is None
    w.grad = (w * 3).detach().requires_grad_() * 1
    optimizer.zero_grad(set_to_none=False)
    assert not w.grad.requires_grad
    assert w.grad.grad_fn is None


def test_state_dict_holds_the_tensors_themselves() -> None:
    params = parameters(fl)
    optimizer = fl.optim.Adam(params)
    train(fl, optimizer, params, 1)
    saved = optimizer.state_dict()
    assert saved["state"][1]["exp_avg"] is optimizer.state[params[1]]["exp_avg"]
    other = fl.optim.Adam(parameters(fl, "float32"))
    other.load_state_dict(saved)
    states = list(other.state.values())
    assert states[1]["exp_avg"].dtype is fl.float32
    assert states[1]["step"] is optimizer.state[params[1]]["step"]


@pytest.mark.parametrize("change", ["groups", "size"])
def test_a_state_that_does_not_fit_changes_nothing(change: str) -> None:
    optimizer, w = sgd(momentum=0.9)
    w.grad = fl.ones(2)
    optimizer.step()
    saved = optimizer.state_dict()
    if change == "groups":
        saved["param_groups"].append(saved["param_groups"][0])
        text = "different number of parameter groups"
    else:
        saved["param_groups"][0]["params"] = [0, 1]
        text = "doesn't match the size"
    saved["param_groups"][0]["lr"] = 9.0
    with pytest.raises(ValueError, match=text):
        optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_names_stay_and_are_taken_over() -> None:
    w, b = (fl.nn.Parameter(fl.ones(1)) for _ in range(2))
    optimizer = fl.optim.SGD([("w", w), ("b", b)], lr=0.1)
    saved = optimizer.state_dict()
    assert saved["param_groups"][0]["param_names"] == ["w", "b"]
    del saved["param_groups"][0]["param_names"]
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["param_names"] == ["w", "b"]
    saved["param_groups"][0]["param_names"] = ["x", "y"]
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["param_names"] == ["x", "y"]


def test_a_class_of_ones_own() -> None:
    class Descent(Optimizer):
        def __init__(self, params: Any, lr: Any = required) -> None:
            super().__init__(params, {"lr": lr})

        def step(self, closure: Any = None) -> None:
            for group in self.param_groups:
                for p in group["params"]:
                    p.data.add_(p.grad, alpha=-group["lr"])

    w = fl.nn.Parameter(fl.ones(2))
    with pytest.raises(ValueError, match="required optimization parameter lr"):
        Descent([w])
    optimizer = Descent([{"params": w, "lr": 0.25}])
    calls = []
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    w.grad = fl.ones(2)
    optimizer.step()
    assert w.tolist() == [0.75, 0.75]
    assert calls == [1]
    assert repr(optimizer) == "Descent (\nParameter Group 0\n    lr: 0.25\n)"


def test_late_groups_and_a_state_of_an_older_version() -> None:
    params = parameters(fl)
    optimizer = fl.optim.NAdam(params[:1])
    optimizer.add_param_group({"params": params[1], "lr": 0.5})
    train(fl, optimizer, params[:2], 1)
    state = optimizer.__getstate__()
    for held in state["state"].values():
        held["step"], held["mu_product"] = 1, float(held["mu_product"])
    del state["param_groups"][0]["decoupled_weight_decay"]
    again = fl.optim.NAdam.__new__(fl.optim.NAdam)
    again.__setstate__(state)
    train(fl, again, params[:2], 1)
    assert again.state[params[0]]["step"].item() == 2.0
    assert again.param_groups[0]["decoupled_weight_decay"] is False


FUNCTIONS = {
    "adam": (["exp_avg", "exp_avg_sq", "max_exp_avg_sq", "step"],
             {"amsgrad": True, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8}),
    "adamw": (["exp_avg", "exp_avg_sq", "max_exp_avg_sq", "step"],
              {"amsgrad": False, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8}),
    "sgd": (["none"], {"momentum": 0.9, "dampening": 0.0, "nesterov": True}),
    "adamax": (["exp_avg", "exp_inf", "step"], {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8}),
    "nadam": (["exp_avg", "exp_avg_sq", "one", "step"],
              {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "momentum_decay": 4e-3}),
    "radam": (["exp_avg", "exp_avg_sq", "step"], {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8}),
    "adagrad": (["sum", "step"], {"lr_decay": 0.1, "eps": 1e-8}),
    "adadelta": (["square_avg", "acc_delta", "step"], {"rho": 0.9, "eps": 1e-6}),
    "rmsprop": (["square_avg", "grad_avg", "buffer", "step"],
                {"alpha": 0.9, "eps": 1e-8, "momentum": 0.5, "centered": True}),
    "rprop": (["prev", "one_each", "step"], {
        "step_size_min": 1e-6, "step_size_max": 50, "etaminus": 0.5, "etaplus": 1.2}),
    "asgd": (["ax", "one", "eta", "step"], {"lambd": 0.01, "t0": 1.0, "alpha": 0.75}),
}


@pytest.mark.parity
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functional_forms(name: str, torch_oracle: ModuleType) -> None:
    states, options = FUNCTIONS[name]
    if name != "rprop":
        options = {**options, "lr": 0.1, "weight_decay": 0.1}
    results = []
    for t in (fl, torch_oracle):
        values = [t.tensor(array((3, 2), n)) for n in (0, 1)]
        lists = {"none": [None, None],
                 "step": [t.tensor(0.0) for _ in values],
                 "one": [t.tensor(1.0) for _ in values], "eta": [t.tensor(0.1) for _ in values],
                 "one_each": [t.full_like(v, 0.1) for v in values]}
        columns = [lists.get(s) or [t.zeros_like(v) for v in values] for s in states]
        __import__(f"{t.__name__}.optim._functional")
        function = getattr(t.optim._functional, name)
        for step in (3, 4):
            grads = [t.tensor(array((3, 2), step * n)) for n in (1, 2)]
            function(values, grads, *columns, maximize=True, **options)
        results.append(plain([values, columns]))
    assert_same(*results)


def test_functional_forms_want_tensors_for_steps() -> None:
    w = [fl.zeros(1)]
    with pytest.raises(RuntimeError, match="`state_steps` argument must contain a list"):
        fl.optim._functional.adamax(w, w, w, w, [1], eps=1e-8, beta1=0.9, beta2=0.9, lr=0.1,
                                    weight_decay=0)


def test_parameters_swapped_for_a_while() -> None:
    params, others = parameters(fl), parameters(fl)
    optimizer = fl.optim.Adam(params)
    swap = fl.optim.swap_in_optimizer_params_and_state
    with pytest.raises(RuntimeError, match="requires initialized optimizer state"):
        with swap(optimizer, {}, optimizer.state_dict()):
            pass
    train(fl, optimizer, params, 1)
    saved = optimizer.state_dict()
    named = {str(n): p for n, p in enumerate(others)}
    with swap(optimizer, named, saved):
        train(fl, optimizer, others, 1)
    assert optimizer.param_groups[0]["params"] == params
    assert optimizer.state[params[0]]["step"].item() == 2.0
    del saved["param_groups"][0]["eps"]
    with pytest.raises(RuntimeError, match=r"Keys only in live: \['eps'\]"):
        with swap(optimizer, named, saved):
            pass


def test_every_optimizer_is_there() -> None:
    assert {name for name, _ in CASES} < set(fl.optim.__all__)
    for name in fl.optim.__all__:
        assert getattr(fl.optim, name) is not None
    with pytest.raises(AttributeError, match="The nearest name that is there: .*Adam"):
        _ = fl.optim.Adamm
