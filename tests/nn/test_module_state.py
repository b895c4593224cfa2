"""state_dict and load_state_dict: names, versions, hooks, and what does not fit."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from types import ModuleType
from typing import Any

import pytest

import flambeau as fl
from tests.nn.side_by_side import Record, lines_of


def whole(torch: Any, extra: bool = False) -> Any:
    """A module with every kind of state."""

    class Whole(torch.nn.Module):
        _version = 3

        def __init__(self):
            super().__init__()
            self.lin = torch.nn.Linear(2, 2)
            self.register_buffer("b", torch.ones(2))
            self.register_buffer("hidden", torch.ones(2), persistent=False)
            self.register_buffer("none", None)
            self.register_parameter("no", None)
            self.s = torch.nn.Parameter(torch.tensor(2.0))

    class Extra(Whole):
        def get_extra_state(self):
            return {"e": 1}

        def set_extra_state(self, state):
            self.seen = state

    return Extra() if extra else Whole()


def given_out(torch: Any, show: Record) -> None:
    m, x = whole(torch), whole(torch, extra=True)
    show((m.state_dict(), m.state_dict()._metadata, x.state_dict(prefix="p.")))
    show([t.requires_grad for t in m.state_dict(keep_vars=True).values()])
    show(lambda: m.state_dict(OrderedDict(), "q.", True))
    show(m.state_dict(destination={}))
    state = m.state_dict()
    state["lin.weight"][0, 0] = 7
    show(m.lin.weight[0, 0])
    back = pickle.loads(pickle.dumps(state))
    show((back, back._metadata))
    show(lambda: m.get_extra_state())
    show(lambda: m.set_extra_state(1))


def taken_in(torch: Any, show: Record) -> None:
    m, x, one = whole(torch), whole(torch, extra=True), torch.ones(2, 2)
    state = m.state_dict()
    for changed in ({}, {"lin.weight": one * 3}, {"lin.weight": torch.ones(2, 3)}, {"zz": 1},
                    {"lin.weight": 3}, {"lin.q": one, "z.y": 1}, {"s": torch.ones(1) * 5},
                    {"s": torch.ones(2)}, {"hidden": torch.ones(2)}, {"none": one},
                    {"lin.weight": one.to(torch.float64)}, {"lin.weight": one.to(torch.int64)}):
        for strict in (True, False):
            show(lambda given=changed, strict=strict: m.load_state_dict({**state, **given}, strict))
            show(lambda given=changed, strict=strict: m.load_state_dict(given, strict))
    show((m.lin.weight, m.s))
    show(lambda: m.load_state_dict(3))
    show(lambda: m.load_state_dict([("a", 1)]))
    show(lambda: (x.load_state_dict(x.state_dict()), x.seen))
    show(lambda: x.load_state_dict(state))
    show(lambda: m.load_state_dict(x.state_dict()))
    found = m.load_state_dict({}, strict=False)
    show((repr(found), found.missing_keys, m.load_state_dict(state) == ([], [])))


def assigned(torch: Any, show: Record) -> None:
    m = whole(torch)
    state = {k: v.clone() for k, v in m.state_dict().items()}
    before = m.lin.weight
    show(m.load_state_dict(state, assign=True))
    show((m.lin.weight is before, m.lin.weight.requires_grad, m.b is state["b"]))
    state["lin.weight"] = torch.nn.Parameter(torch.ones(2, 2), requires_grad=False)
    m.load_state_dict(state, assign=True)
    show((m.lin.weight is state["lin.weight"], m.lin.weight.requires_grad))


def hooks_of_giving(torch: Any, show: Record) -> None:
    m = whole(torch)
    handles = [
        m.register_state_dict_pre_hook(lambda m, p, keep: show(("before", p, keep))),
        m.register_state_dict_post_hook(lambda m, s, p, meta: show(("after", list(s), p, meta))),
        m._register_state_dict_hook(lambda m, s, p, meta: OrderedDict(list(s.items())[:1])),
        m.lin.register_state_dict_pre_hook(lambda m, p, keep: show(("lin", p, keep)))]
    show(m.state_dict(prefix="x."))
    for handle in handles:
        handle.remove()

    def returns(*args):
        return 3

    m.register_state_dict_post_hook(returns)
    show(lambda: m.state_dict())
    show(lambda: m._register_state_dict_hook(returns))


def hooks_of_taking(torch: Any, show: Record) -> None:
    m = whole(torch)
    state = m.state_dict()

    def before(m, s, prefix, meta, strict, missing, unexpected, errors):
        show((type(m).__name__, list(s), prefix, meta, strict, missing, unexpected, errors))
        s.pop("b")

    handles = [m.register_load_state_dict_pre_hook(before), m.register_load_state_dict_post_hook(
        lambda m, keys: show(keys) or keys.missing_keys.clear())]
    show(lambda: m.load_state_dict(state))
    show(list(state))
    for handle in handles:
        handle.remove()
    m._register_load_state_dict_pre_hook(lambda s, prefix, *rest: show((list(s), prefix)))
    show(lambda: copy.deepcopy(m).load_state_dict(state))
    m.register_load_state_dict_post_hook(lambda m, keys: 3)
    show(lambda: m.load_state_dict(state))


def versions(torch: Any, show: Record) -> None:
    class Versioned(torch.nn.Module):
        _version = 2

        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.ones(1))

        def _load_from_state_dict(self, state, prefix, metadata, *rest):
            show((prefix, metadata.get("version"), list(state)))
            super()._load_from_state_dict(state, prefix, metadata, *rest)

    net = torch.nn.Sequential(Versioned(), torch.nn.Sequential(Versioned()))
    show(lambda: net.load_state_dict(net.state_dict()))
    show(lambda: net.load_state_dict(dict(net.state_dict())))


PROGRAMS = [given_out, taken_in, assigned, hooks_of_giving, hooks_of_taking, versions]


@pytest.mark.parity
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_as_pytorch(program: Any, torch_oracle: ModuleType) -> None:
    assert lines_of(program, fl) == lines_of(program, torch_oracle)


def test_a_state_fits_its_own_module() -> None:
    net, other = whole(fl), whole(fl)
    assert str(other.load_state_dict(net.state_dict())) == "<All keys matched successfully>"
    assert all(fl.equal(a, b) for a, b in zip(net.parameters(), other.parameters()))


def test_what_does_not_fit_leaves_the_rest_loaded() -> None:
    net = fl.nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        net.load_state_dict({"weight": fl.ones(3, 3), "bias": fl.zeros(2)})
    assert net.bias.tolist() == [0.0, 0.0]
