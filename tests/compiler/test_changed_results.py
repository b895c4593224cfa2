"""Results of in-place operators that are needed to go back and changed before: an error there."""

import pytest

import flambeau as torch

CHANGES = {
    "again": lambda o: o.mul_(0.5),
    "without history": lambda o: o.detach().mul_(0.5),
    "a part": lambda o: o[0].detach().mul_(0.5),
}


@pytest.mark.parametrize("name", ["relu_", "sigmoid_", "exp_", "tanh_"])
@pytest.mark.parametrize("change", CHANGES)
def test_backward_says_what_was_changed(name, change):
    def step(x):
        o = x * 1
        getattr(o, name)()
        CHANGES[change](o)
        o.mean().backward()

    for function in (step, torch.compile(step)):
        for _ in range(3):
            with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                function(torch.randn(3, 4, requires_grad=True))


def test_changes_that_nobody_needs_are_fine():
    def step(x):
        o = (x * 1).relu_()
        o.data.mul_(0.5)
        o.mean().backward()
        return x.grad

    compiled = torch.compile(step)
    for turn in range(4):
        torch.manual_seed(turn)
        x = torch.randn(3, 4)
        found, want = (f(x.clone().requires_grad_()) for f in (compiled, step))
        assert torch.equal(found, want)
