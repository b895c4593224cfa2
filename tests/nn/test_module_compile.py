"""``Module.compile``: calls of the module itself run compiled."""

from __future__ import annotations

import copy

import flambeau as torch


def test_a_compiled_module_gives_what_it_gave() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    plain, x = copy.deepcopy(net), torch.randn(5, 3)
    assert net.compile() is None
    for _ in range(5):
        a, b = net(x), plain(x)
        torch.testing.assert_close(a, b)
        for out in (a, b):
            out.sum().backward()
    for p, q in zip(net.parameters(), plain.parameters()):
        torch.testing.assert_close(p.grad, q.grad)
    with torch.no_grad():
        for m in (net, plain):
            m[0].weight.mul_(2)
    torch.testing.assert_close(net(x), plain(x))
    assert net.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(copy.deepcopy(net)(x), plain(x))
