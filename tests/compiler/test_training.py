"""Whole training steps, compiled, against eager ones."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.compiler import compile
from tests.compiler.harness import check, train_step

F = nn.functional


class Net(nn.Module):
    def __init__(self, dropout: float = 0.0, norm: bool = False) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.norm = nn.BatchNorm1d(8) if norm else nn.Identity()
        self.drop = nn.Dropout(dropout)
        self.last = nn.Linear(8, 3)

    def forward(self, x: Any) -> Any:
        return self.last(self.drop(torch.relu(self.norm(self.first(x)))))


def data() -> tuple:
    return torch.randn(12, 6), torch.randint(0, 3, (12,))


def state_of(net: Any, optimizer: Any = None) -> list:
    tensors = list(net.state_dict().values())
    if optimizer is not None:
        for held in optimizer.state.values():
            tensors += [v for v in held.values() if isinstance(v, torch.Tensor)]
    return tensors


OPTIMIZERS = {
    "SGD": {"lr": 0.1}, "momentum": {"lr": 0.1, "momentum": 0.9, "nesterov": True},
    "Adam": {"lr": 0.01}, "AdamW": {"lr": 0.01, "weight_decay": 0.1},
    "RMSprop": {"lr": 0.01}, "Adagrad": {"lr": 0.1}, "Adadelta": {}, "Adamax": {"lr": 0.01},
    "NAdam": {"lr": 0.01}, "RAdam": {"lr": 0.01}, "amsgrad": {"lr": 0.01, "amsgrad": True}}
CLASSES = {"momentum": "SGD", "amsgrad": "Adam"}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name: str) -> None:
    def build(wrap: Any) -> Any:
        net = Net()
        kind = getattr(torch.optim, CLASSES.get(name, name))
        optimizer = kind(net.parameters(), **OPTIMIZERS[name])
        step = train_step(net, optimizer, wrap)
        x, y = data()
        return lambda i: step(x, y), lambda: state_of(net, optimizer)

    check(build, least=17)


def test_batch_norm_statistics() -> None:
    def build(wrap: Any) -> Any:
        net = Net(norm=True)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        step = train_step(net, optimizer, wrap)

        def call(i: int) -> Any:
            net.train(i % 7 != 6)
            return step(*data())

        return call, lambda: state_of(net)

    check(build, least=10)


def test_dropout_draws_the_same_numbers() -> None:
    def build(wrap: Any) -> Any:
        net = Net(dropout=0.5)
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        step = train_step(net, optimizer, wrap)

        def call(i: int) -> Any:
            net.train(i < 10)
            return step(*data())

        return call, lambda: state_of(net, optimizer)

    check(build)


def test_learning_rate_schedule_outside() -> None:
    def build(wrap: Any) -> Any:
        net = Net()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 6, 0.5)
        step = train_step(net, optimizer, wrap)
        x, y = data()

        def call(i: int) -> Any:
            loss = step(x, y)
            schedule.step()
            return loss, optimizer.param_groups[0]["lr"]

        return call, lambda: state_of(net)

    check(build, least=8)


def test_learning_rate_schedule_inside() -> None:
    def build(wrap: Any) -> Any:
        net = Net()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        x, y = data()

        @wrap
        def step() -> Any:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            schedule.step()
            return loss

        return (lambda i: (step(), optimizer.param_groups[0]["lr"]), lambda: state_of(net))

    check(build, compiled=False, warns=True)


def test_hyperparameters_change() -> None:
    def build(wrap: Any) -> Any:
        net = Net()
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
        step = train_step(net, optimizer, wrap)
        x, y = data()

        def call(i: int) -> Any:
            if i == 6:
                optimizer.param_groups[0]["weight_decay"] = 0.5
            if i == 12:
                optimizer.param_groups[0]["betas"] = (0.8, 0.9)
            return step(x, y)

        return call, lambda: state_of(net, optimizer)

    check(build, least=12)


def test_state_is_loaded() -> None:
    def build(wrap: Any) -> Any:
        net = Net()
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        step = train_step(net, optimizer, wrap)
        x, y = data()
        saved = {}

        def call(i: int) -> Any:
            if i == 5:
                saved.update(net={k: v.clone() for k, v in net.state_dict().items()})
            if i == 10:
                net.load_state_dict(saved["net"])
            if i == 14:
                optimizer.load_state_dict(optimizer.state_dict())
            if i == 17:
                net.last.weight = nn.Parameter(torch.zeros(3, 8))
                optimizer.param_groups[0]["params"][2] = net.last.weight
            return step(x, y)

        return call, lambda: state_of(net)

    check(build, least=10)


def test_a_layer_is_frozen() -> None:
    def build(wrap: Any) -> Any:
        net = Net()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        step = train_step(net, optimizer, wrap)
        x, y = data()

        def call(i: int) -> Any:
            if i == 8:
                net.first.requires_grad_(False)
            if i == 14:
                net.first.requires_grad_(True)
            return step(x, y)

        return call, lambda: state_of(net)

    check(build, least=10)


def test_gradient_clipping() -> None:
    def build(wrap: Any) -> Any:
        net = Net()
        optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
        x, y = data()

        @wrap
        def step() -> Any:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(net.parameters(), 0.5)
            optimizer.step()
            return loss, norm

        return lambda i: step(), lambda: state_of(net)

    check(build, least=15)


def test_gradients_accumulate() -> None:
    def build(wrap: Any) -> Any:
        net = Net()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

        @wrap
        def micro(x: Any, y: Any) -> Any:
            loss = F.cross_entropy(net(x), y) / 4
            loss.backward()
            return loss

        def call(i: int) -> Any:
            loss = micro(*data())
            if i % 4 == 3:
                optimizer.step()
                optimizer.zero_grad()
            return loss

        return call, lambda: [*state_of(net), *net.parameters()]

    check(build)


def test_hooks() -> None:
    def build(wrap: Any) -> Any:
        net = Net()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        step = train_step(net, optimizer, wrap)
        x, y = data()
        scale = {"by": 2.0}

        def call(i: int) -> Any:
            if i == 5:
                net.first.weight.register_hook(lambda g: g * scale["by"])
            if i == 9:
                scale["by"] = 0.5
            if i == 12:
                net.first.register_forward_hook(lambda m, a, out: out * 0.9)
            return step(x, y)

        return call, lambda: state_of(net)

    check(build, least=8)


def test_no_grad_inside() -> None:
    def build(wrap: Any) -> Any:
        net, average = Net(), Net()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        x, y = data()

        @wrap
        def step() -> Any:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for a, p in zip(average.parameters(), net.parameters()):
                    a.lerp_(p, 0.1)
            return loss.detach()

        return lambda i: step(), lambda: [*state_of(net), *state_of(average)]

    check(build, least=15)


def test_nested_compile() -> None:
    def build(wrap: Any) -> Any:
        net = Net()
        inner = wrap(net)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        step = train_step(inner, optimizer, wrap)
        x, y = data()
        return lambda i: (step(x, y), inner(x)), lambda: state_of(net)

    check(build)


def test_transforms_inside() -> None:
    def build(wrap: Any) -> Any:
        w = torch.randn(3)
        x = torch.randn(5, 3)

        @wrap
        def step(x: Any) -> Any:
            def loss(w: Any, x: Any) -> Any:
                return (w * x).sin().sum()

            each = torch.func.vmap(torch.func.grad(loss), (None, 0))(w, x)
            w.sub_(0.1 * each.mean(0))
            return each

        return lambda i: step(x * i), lambda: w

    check(build)


def test_a_learning_loop_of_several_batches() -> None:
    def build(wrap: Any) -> Any:
        net = Net()
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        batches = [data() for _ in range(3)]

        @wrap
        def epoch(batches: Any) -> Any:
            total = 0.0
            for x, y in batches:
                optimizer.zero_grad()
                loss = F.cross_entropy(net(x), y)
                loss.backward()
                optimizer.step()
                total = total + loss.detach()
            return total

        return lambda i: epoch(batches), lambda: state_of(net, optimizer)

    check(build)


def test_weights_that_are_shared() -> None:
    def build(wrap: Any) -> Any:
        embed = nn.Embedding(7, 4)
        out = nn.Linear(4, 7, bias=False)
        out.weight = embed.weight
        optimizer = torch.optim.SGD([embed.weight], lr=0.1)

        @wrap
        def step(t: Any) -> Any:
            optimizer.zero_grad()
            loss = F.cross_entropy(out(embed(t)), t)
            loss.backward()
            optimizer.step()
            return loss

        return lambda i: step(torch.tensor([1, 2, 3, i % 7])), lambda: embed.weight

    check(build)


def test_two_threads() -> None:
    w = torch.zeros(1000)
    step = compile(lambda x: (w + x).sum() * 2)
    found: dict[int, list] = {}

    def work(k: int) -> None:
        found[k] = [float(step(torch.full((1000,), float(k)))) for _ in range(200)]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == {k: [2000.0 * k] * 200 for k in range(4)}


def test_two_threads_that_train() -> None:
    nets = [Net() for _ in range(2)]
    for net in nets[1:]:
        net.load_state_dict(nets[0].state_dict())
    x, y = data()
    losses: dict[int, list] = {}

    def work(k: int) -> None:
        optimizer = torch.optim.SGD(nets[k].parameters(), lr=0.1)
        step = train_step(nets[k], optimizer, compile)
        losses[k] = [float(step(x, y)) for _ in range(60)]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_worker() -> None:
    w = torch.zeros(100_000)
    step = compile(lambda x: (w + x).exp())
    for _ in range(3):
        step(torch.zeros(100_000))
    child = os.fork()
    if child == 0:
        good = all(torch.equal(step(torch.zeros(100_000)), torch.ones(100_000)) for _ in range(5))
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert torch.equal(step(torch.zeros(100_000)), torch.ones(100_000))


def test_a_bad_target_is_refused() -> None:
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    step = train_step(net, optimizer, compile)
    x, y = data()
    for _ in range(5):
        step(x, y)
    before = [p.detach().clone() for p in net.parameters()]
    y[3] = 3
    with pytest.raises(IndexError, match="Target 3 is out of bounds"):
        step(x, y)
    assert all(torch.equal(a, p) for a, p in zip(before, net.parameters()))
    y[3] = -100
    assert step(x, y).isfinite()


def test_dropout_of_a_transposed_tensor_draws_in_the_order_of_its_memory() -> None:
    def build(wrap: Any) -> Any:
        @wrap
        def step(x: Any) -> Any:
            turned = x.transpose(0, 1)
            return F.dropout(turned), torch.rand_like(turned), torch.empty_like(turned).normal_()

        return lambda i: step(torch.ones(3, 4)), list

    check(build)
