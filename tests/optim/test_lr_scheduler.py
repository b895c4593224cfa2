"""Schedules beside PyTorch's: rates, momenta, states, warnings, errors."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

import flambeau as fl

from .cases import assert_same

pytestmark = pytest.mark.parity


def half(epoch: int) -> float:
    return 0.5


class Decay:
    """A callable object, whose attributes are saved."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, epoch: float) -> float:
        return self.rate**epoch


SCHEDULES: list[tuple[str, dict[str, Any]]] = [
    ("LambdaLR", {"lr_lambda": Decay(0.9)}),
    ("LambdaLR", {"lr_lambda": [Decay(0.9), half]}),
    ("MultiplicativeLR", {"lr_lambda": half}),
    ("StepLR", {"step_size": 3}),
    ("MultiStepLR", {"milestones": [2, 5, 5, 9], "gamma": 0.5}),
    ("ConstantLR", {"factor": 0.25, "total_iters": 4}),
    ("LinearLR", {"start_factor": 0.2, "end_factor": 0.7, "total_iters": 6}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("PolynomialLR", {"total_iters": 8, "power": 1.7}),
    ("CosineAnnealingLR", {"T_max": 4, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.01}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": [0.1, 0.3], "step_size_up": 3, "step_size_down": 5}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 2, "mode": "triangular2"}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 2, "mode": "exp_range",
                  "gamma": 0.9}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 2, "scale_fn": Decay(0.8)}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 14}),
    ("OneCycleLR", {"max_lr": [0.5, 0.2], "epochs": 5, "steps_per_epoch": 3, "three_phase": True,
                    "anneal_strategy": "linear"}),
    ("SWALR", {"swa_lr": 0.05, "anneal_epochs": 4}),
    ("SWALR", {"swa_lr": [0.05, 0.3], "anneal_epochs": 3, "anneal_strategy": "linear"}),
]


def optimizer_of(t: ModuleType, name: str = "SGD", lr: Any = 0.2) -> Any:
    params = [t.nn.Parameter(t.zeros(2)) for _ in range(2)]
    options = {"momentum": 0.9} if name == "SGD" else {}
    groups = [{"params": params[:1]}, {"params": params[1:], "lr": 0.1}]
    return getattr(t.optim, name)(groups, lr=lr, **options)


def schedule(t: ModuleType, name: str, optimizer: Any, options: dict) -> Any:
    home = t.optim.swa_utils if name == "SWALR" else t.optim.lr_scheduler
    return getattr(home, name)(optimizer, **options)


def options_of(optimizer: Any) -> list:
    keys = ("lr", "momentum", "betas", "initial_lr", "max_lr", "min_lr", "swa_lr")
    return [{k: float(v) if hasattr(v, "item") else v for k, v in g.items() if k in keys}
            for g in optimizer.param_groups]


def follow(optimizer: Any, scheduler: Any, steps: int) -> list:
    seen = [options_of(optimizer)]
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
        seen.append([options_of(optimizer), [float(r) for r in scheduler.get_last_lr()]])
    return seen


def saved(state: dict) -> dict:
    """A state that can be compared: functions as their names."""
    return {k: dict(v) if isinstance(v, dict) else str(v) if callable(v) else v
            for k, v in state.items() if k not in ("anneal_func", "_anneal_strategy")}


@pytest.mark.parametrize("optimizer_name", ["SGD", "Adam"])
@pytest.mark.parametrize(("name", "options"), SCHEDULES)
def test_rates_and_states(name: str, options: dict, optimizer_name: str, torch_oracle: ModuleType
                          ) -> None:
    results = []
    for t in (fl, torch_oracle):
        optimizer = optimizer_of(t, optimizer_name)
        scheduler = schedule(t, name, optimizer, options)
        seen = follow(optimizer, scheduler, 7)
        state = scheduler.state_dict()
        kept = saved(state)
        again = optimizer_of(t, optimizer_name)
        resumed = schedule(t, name, again, options)
        again.load_state_dict(optimizer.state_dict())
        resumed.load_state_dict(state)
        results.append([seen, kept, follow(again, resumed, 6)])
    assert_same(*results, rtol=1e-12)


@pytest.mark.parametrize(("name", "options"), SCHEDULES)
def test_a_rate_that_is_a_tensor_stays_the_same_tensor(name: str, options: dict,
                                                       torch_oracle: ModuleType) -> None:
    results = []
    for t in (fl, torch_oracle):
        rate = t.tensor(0.2)
        optimizer = optimizer_of(t, lr=rate)
        held = optimizer.param_groups[0]["lr"]
        scheduler = schedule(t, name, optimizer, options)
        results.append(follow(optimizer, scheduler, 5))
        assert optimizer.param_groups[0]["lr"] is held is rate
    assert_same(*results, rtol=1e-5)


def sequential(t: ModuleType, optimizer: Any) -> Any:
    s = t.optim.lr_scheduler
    parts = [s.LinearLR(optimizer, 0.1, total_iters=3), s.CosineAnnealingLR(optimizer, 4),
             s.StepLR(optimizer, 2)]
    return s.SequentialLR(optimizer, parts, milestones=[3, 7])


def chained(t: ModuleType, optimizer: Any) -> Any:
    s = t.optim.lr_scheduler
    return s.ChainedScheduler([s.ConstantLR(optimizer, 0.1, 3), s.ExponentialLR(optimizer, 0.9)])


def nested(t: ModuleType, optimizer: Any) -> Any:
    s = t.optim.lr_scheduler
    inner = s.SequentialLR(optimizer, [s.StepLR(optimizer, 1), s.ExponentialLR(optimizer, 0.5)],
                           milestones=[2])
    return s.SequentialLR(optimizer, [inner, s.ConstantLR(optimizer)], milestones=[4])


@pytest.mark.parametrize("make", [sequential, chained, nested])
def test_schedules_made_of_others(make: Callable, torch_oracle: ModuleType) -> None:
    results = []
    for t in (fl, torch_oracle):
        optimizer = optimizer_of(t)
        scheduler = make(t, optimizer)
        seen = follow(optimizer, scheduler, 6)
        again = optimizer_of(t)
        resumed = make(t, again)
        again.load_state_dict(optimizer.state_dict())
        resumed.load_state_dict(scheduler.state_dict())
        results.append([seen, follow(again, resumed, 5)])
    assert_same(*results, rtol=1e-12)


@pytest.mark.parametrize("options", [
    {}, {"patience": 1, "mode": "max", "factor": 0.5}, {"patience": 0, "cooldown": 2},
    {"patience": 1, "threshold": 0.2, "threshold_mode": "abs", "min_lr": [0.05, 0.0]},
    {"patience": 0, "eps": 0.05}])
def test_plateau(options: dict, torch_oracle: ModuleType) -> None:
    losses = [1.0, 0.9, 0.95, 0.95, 0.95, 0.5, 0.6, 0.6, 0.7, 0.7, 0.8, 0.9, 1.0, 1.0]
    results = []
    for t in (fl, torch_oracle):
        optimizer = optimizer_of(t)
        scheduler = t.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
        seen = []
        for loss in losses:
            scheduler.step(t.tensor(loss))
            seen.append([scheduler.get_last_lr(), scheduler.num_bad_epochs, scheduler.in_cooldown])
        results.append([seen, saved(scheduler.state_dict())])
    assert_same(*results)


@pytest.mark.parametrize(("name", "options"), SCHEDULES)
def test_closed_forms(name: str, options: dict, torch_oracle: ModuleType) -> None:
    results = []
    for t in (fl, torch_oracle):
        optimizer = optimizer_of(t)
        scheduler = schedule(t, name, optimizer, options)
        seen = []
        for epoch in (4, 2, 7):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                scheduler.step(epoch)
            seen.append([options_of(optimizer), [str(w.message) for w in caught]])
        results.append(seen)
    assert_same(*results, rtol=1e-12)


def test_warnings(torch_oracle: ModuleType) -> None:
    def early(t: ModuleType, optimizer: Any, scheduler: Any) -> None:
        scheduler.step()

    def overridden(t: ModuleType, optimizer: Any, scheduler: Any) -> None:
        optimizer.step = lambda: None
        scheduler.step()

    def outside(t: ModuleType, optimizer: Any, scheduler: Any) -> None:
        scheduler.get_lr()

    for act in (early, overridden, outside):
        texts = []
        for t in (fl, torch_oracle):
            optimizer = optimizer_of(t)
            scheduler = t.optim.lr_scheduler.StepLR(optimizer, 2)
            with pytest.warns(UserWarning) as caught:
                act(t, optimizer, scheduler)
            texts.append([str(w.message) for w in caught])
            assert t is not fl or caught[0].filename == __file__
        assert texts[0] == texts[1]


ERRORS: list[tuple[str, dict[str, Any]]] = [
    ("ConstantLR", {"factor": 1.5}), ("LinearLR", {"start_factor": 0.0}),
    ("LinearLR", {"end_factor": 1.5}), ("LambdaLR", {"lr_lambda": [half]}),
    ("MultiplicativeLR", {"lr_lambda": 3}), ("CosineAnnealingWarmRestarts", {"T_0": 0}),
    ("CosineAnnealingWarmRestarts", {"T_0": 2, "T_mult": 0}),
    ("CosineAnnealingWarmRestarts", {"T_0": 2, "eta_min": "a"}),
    ("CyclicLR", {"base_lr": [0.1], "max_lr": 1}), ("CyclicLR", {
        "base_lr": 0.1, "max_lr": 1, "mode": "none"}),
    ("OneCycleLR", {"max_lr": 0.1}), ("OneCycleLR", {"max_lr": 0.1, "total_steps": 0}),
    ("OneCycleLR", {"max_lr": 0.1, "epochs": 1.5, "steps_per_epoch": 2}),
    ("OneCycleLR", {"max_lr": 0.1, "total_steps": 5, "pct_start": 2}),
    ("OneCycleLR", {"max_lr": 0.1, "total_steps": 5, "anneal_strategy": "no"}),
    ("ReduceLROnPlateau", {"factor": 1.0}), ("ReduceLROnPlateau", {"mode": "no"}),
    ("ReduceLROnPlateau", {"threshold_mode": "no"}), ("ReduceLROnPlateau", {"min_lr": [1]}),
    ("StepLR", {"step_size": 2, "last_epoch": 3}), ("SequentialLR", {
        "schedulers": [], "milestones": []}),
    ("SWALR", {"swa_lr": 0.1, "anneal_epochs": -1}),
    ("SWALR", {"swa_lr": 0.1, "anneal_strategy": "no"}),
]


@pytest.mark.parametrize(("name", "options"), ERRORS)
def test_errors(name: str, options: dict, torch_oracle: ModuleType) -> None:
    errors = []
    for t in (fl, torch_oracle):
        with pytest.raises(Exception) as caught:
            schedule(t, name, optimizer_of(t), options)
        errors.append((type(caught.value), str(caught.value)))
    assert errors[0] == errors[1]


def test_errors_of_combinations(torch_oracle: ModuleType) -> None:
    results = []
    for t in (fl, torch_oracle):
        s = t.optim.lr_scheduler
        texts = []
        one, two = optimizer_of(t), t.optim.Rprop([t.zeros(1)])
        step, plateau = s.StepLR(one, 1), s.ReduceLROnPlateau(one)
        for name, *args in (("ChainedScheduler", []), ("ChainedScheduler", [step, plateau]),
                            ("SequentialLR", two, [step], []), ("SequentialLR", one, [step], [3]),
                            ("StepLR", 3, 1), ("SequentialLR", one, [3], []),
                            ("CyclicLR", two, 0.1, 1), ("OneCycleLR", two, 0.1, 5)):
            with pytest.raises((TypeError, ValueError, AttributeError)) as caught:
                getattr(s, name)(*args)
            texts.append((type(caught.value).__name__, str(caught.value).replace(
                "flambeau", "torch").split(" has ")[0]))
        results.append(texts)
    assert results[0] == results[1]


def test_one_cycle_ends(torch_oracle: ModuleType) -> None:
    for t in (fl, torch_oracle):
        optimizer = optimizer_of(t)
        scheduler = t.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=2)
        with pytest.raises(ValueError, match="Tried to step 3 times"):
            follow(optimizer, scheduler, 3)


def test_an_optimizer_with_a_schedule_is_not_kept_alive() -> None:
    import gc
    import weakref

    optimizer = optimizer_of(fl)
    fl.optim.lr_scheduler.StepLR(optimizer, 1)
    ref = weakref.ref(optimizer)
    del optimizer
    gc.collect()
    assert ref() is None


def test_modules_and_older_names() -> None:
    assert issubclass(fl.optim.lr_scheduler._LRScheduler, fl.optim.lr_scheduler.LRScheduler)
    assert fl.optim.lr_scheduler.StepLR.__module__ == "flambeau.optim.lr_scheduler"
