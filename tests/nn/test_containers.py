"""Sequential, ModuleList, ModuleDict, ParameterList and ParameterDict."""

from __future__ import annotations

from collections import OrderedDict
from types import ModuleType
from typing import Any

import pytest

import flambeau as fl
from tests.nn.side_by_side import Record, lines_of


def sequential(torch: Any, show: Record) -> None:
    nn = torch.nn
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    for at in (0, -1, slice(0, 2), slice(None, None, 2), 7, -4, True, 1.5, "0"):
        show(lambda at=at: net[at])
    show((net, len(net), net(torch.ones(1, 2)), list(net.state_dict()), [*net][1]))
    show(net + nn.Sequential(nn.Tanh()))
    show(lambda: net + 3)
    for times in (2, 0, "a", 1.5):
        show(lambda times=times: net * times)
        show(lambda times=times: times * nn.Sequential(nn.ReLU()))
    grown = nn.Sequential(nn.ReLU())
    grown += nn.Sequential(nn.Tanh())
    grown *= 2
    show((grown, grown[0] is grown[2]))
    show(grown.append(nn.Identity()).extend([nn.Tanh()]).insert(1, nn.Sigmoid()))
    show(lambda: grown.insert(-2, nn.SiLU()))
    show(lambda: grown.insert(99, nn.ReLU()))
    show(lambda: grown.insert(0, 3))
    show(lambda: nn.Sequential(3))
    show(lambda: nn.Sequential([nn.ReLU()]))
    del grown[1]
    del grown[0:2]
    show((grown, grown.pop(0), grown.pop(slice(0, 2)), grown))
    named = nn.Sequential(OrderedDict(a=nn.Linear(2, 2), b=nn.ReLU()))
    named[0] = nn.Tanh()
    show((named, named.a, named[0:1], nn.Sequential()))
    show([n for n in dir(grown) if n.isdigit()])


def module_list(torch: Any, show: Record) -> None:
    nn = torch.nn
    held = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2), nn.ReLU()])
    show((held, len(held), held[0:2], held[-1], nn.ModuleList(), nn.ReLU() in held))
    held.append(nn.Tanh()).extend([nn.Tanh()])
    held.insert(0, nn.Identity())
    held += [nn.Sigmoid()]
    show(held)
    held[1] = nn.SiLU()
    del held[0]
    del held[-2:]
    show((held, held.pop(-1), held + [nn.ReLU()], list(held.state_dict())))
    for act in (lambda: held.extend(3), lambda: held(3), lambda: held[10], lambda: held.append(3),
                lambda: held["0"], lambda: held.__delitem__(9)):
        show(act)


def module_dict(torch: Any, show: Record) -> None:
    nn = torch.nn
    held = nn.ModuleDict({"x": nn.ReLU(), "y": nn.Linear(1, 1)})
    show((held, list(held), "x" in held, list(held.keys()), len(held), held.pop("x"), held))
    held["z"] = nn.Tanh()
    held.update([("q", nn.ReLU())])
    held.update(nn.ModuleDict({"r": nn.ReLU()}))
    del held["y"]
    show((held, list(held.values()), [k for k, _ in held.items()]))
    for act in (lambda: held.update(3), lambda: held.update([3]), lambda: held.update([[1, 2, 3]]),
                lambda: held["nope"], lambda: held.__setitem__("keys", nn.ReLU()),
                lambda: held.__setitem__("a.b", nn.ReLU()), lambda: held.__setitem__(3, nn.ReLU()),
                lambda: held.pop("nope"), lambda: held(1)):
        show(act)
    held.clear()
    show(held)


def parameter_list(torch: Any, show: Record) -> None:
    nn = torch.nn
    held = nn.ParameterList([torch.ones(2), nn.Parameter(torch.zeros(2, 3)), 3, "a"])
    show((held, len(held), held[0], held[-1], held[0:2], list(held)[2]))
    held.append(torch.ones(1)).extend([1.0])
    held += [torch.tensor(2.0)]
    held[0] = torch.zeros(3)
    show((held, list(held.state_dict()), nn.ParameterList()))
    for act in (lambda: held(1), lambda: held.extend(torch.ones(2)), lambda: held.extend(3),
                lambda: held[9], lambda: held.__setitem__(9, 3)):
        show(act)


def parameter_dict(torch: Any, show: Record) -> None:
    nn, one = torch.nn, torch.ones(1)
    held = nn.ParameterDict({"b": torch.ones(2), "a": torch.zeros(1), "c": 5})
    show((held, list(held), list(held.items()), list(held.values()), list(reversed(held))))
    show((held | nn.ParameterDict({"z": one}), held.copy() == held, "a" in held, len(held)))
    show((held.get("q"), held.get("q", 3), held.pop("a"), held.popitem()[0]))
    show((held.setdefault("n", one), held.setdefault("n", 3), held.fromkeys(["u", "v"], one)))
    held |= nn.ParameterDict({"m": one})
    held.update([("k", torch.zeros(2))])
    held.update(OrderedDict(y=one, x=one))
    show((held, list(held.keys()), nn.ParameterDict()))
    for act in (lambda: held[3], lambda: held.update(3), lambda: held.update([3]),
                lambda: held.update([[1, 2, 3]]), lambda: held(3), lambda: held["none"],
                lambda: held.__setitem__("values", one), lambda: held.pop("none")):
        show(act)


def deprecated(torch: Any, show: Record) -> None:
    show(lambda: torch.nn.Container(a=torch.nn.ReLU()))


PROGRAMS = [sequential, module_list, module_dict, parameter_list, parameter_dict, deprecated]


@pytest.mark.parity
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_as_pytorch(program: Any, torch_oracle: ModuleType) -> None:
    assert lines_of(program, fl) == lines_of(program, torch_oracle)


def test_a_refused_key_leaves_no_trace() -> None:
    held = fl.nn.ParameterDict()
    for key in (3, "keys"):
        with pytest.raises((TypeError, KeyError)):
            held[key] = fl.ones(1)
    assert len(held) == 0
    held.clear()


def test_a_sequence_trains() -> None:
    fl.manual_seed(0)
    net = fl.nn.Sequential(fl.nn.Linear(1, 8), fl.nn.Tanh(), fl.nn.Linear(8, 1))
    x = fl.linspace(-1, 1, 20)[:, None]
    losses = []
    for _ in range(40):
        net.zero_grad()
        loss = ((net(x) - x * x) ** 2).mean()
        loss.backward()
        with fl.no_grad():
            for p in net.parameters():
                p -= 0.3 * p.grad
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3
