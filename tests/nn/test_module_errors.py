"""An error inside modules keeps its type and first line, and says where in the tree it arose."""

from __future__ import annotations

import pytest

import flambeau as fl

nn = fl.nn
FIRST = "mat1 and mat2 shapes cannot be multiplied (2x4 and 5x4)"


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAMBEAU_LANG", "en")


class Block(nn.Module):
    """Modules in a list, which is not called itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(5, 4)])

    def forward(self, x: fl.Tensor) -> fl.Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def test_the_path_from_the_outermost_module() -> None:
    model = nn.Sequential(nn.Sequential(nn.Identity(), Block()))
    with pytest.raises(RuntimeError) as caught:
        model(fl.ones(2, 4))
    lines = str(caught.value).splitlines()
    assert lines[0] == FIRST and lines[1] == ""
    assert lines[-1] == ("  in module model.0.1.layers.1: "
                         "Linear(in_features=5, out_features=4, bias=True)")
    assert str(caught.value).count("in module") == 1


def test_a_module_without_a_name_goes_by_its_class() -> None:
    with pytest.raises(RuntimeError, match="in module Sequential.0: Linear"):
        nn.Sequential(nn.Linear(5, 4))(fl.ones(2, 4))


def test_in_chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAMBEAU_LANG", "zh")
    net = nn.Sequential(nn.Linear(5, 4))
    with pytest.raises(RuntimeError, match="位于模块 net.0：Linear"):
        net(fl.ones(2, 4))


class Raises(nn.Module):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def forward(self, x: object) -> object:
        raise self.error


@pytest.mark.parametrize("error", [ValueError("mine"), KeyError("k"), OSError(2, "gone"),
                                   RuntimeError()])
def test_errors_of_the_program_stay_and_get_a_note(error: Exception) -> None:
    net, text, args = nn.Sequential(Raises(error)), str(error), error.args
    with pytest.raises(type(error)) as caught:
        net(1)
    assert str(caught.value) == text and caught.value.args == args
    assert caught.value.__notes__ == ["in module net.0: Raises"]


def test_an_error_that_is_raised_again_has_one_line() -> None:
    inner = nn.Linear(5, 4)
    outer = nn.Sequential(inner)
    with pytest.raises(RuntimeError) as first:
        inner(fl.ones(2, 4))
    with pytest.raises(RuntimeError, match="in module outer.0: Linear") as second:
        outer(fl.ones(2, 4))
    assert "in module inner:" in str(first.value)
    assert str(second.value).count("in module") == 1


def test_a_module_whose_text_fails_does_not_hide_the_error() -> None:
    class Silent(Block):
        def extra_repr(self) -> str:
            raise ZeroDivisionError

        def forward(self, x: object) -> object:
            raise LookupError("the error")

    with pytest.raises(LookupError, match="the error"):
        Silent()(1)
    with pytest.raises(LookupError, match="the error"):
        nn.Sequential(Silent())(1)


def test_an_error_that_is_caught_inside_does_no_harm() -> None:
    class Either(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(5, 4), nn.Linear(4, 4)

        def forward(self, x: fl.Tensor) -> fl.Tensor:
            try:
                return self.a(x)
            except RuntimeError:
                return self.b(x)

    assert Either()(fl.ones(2, 4)).shape == (2, 4)
