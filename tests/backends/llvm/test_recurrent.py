"""Kernels of recurrent layers against the loops of NumPy, at every width of vectors."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from flambeau.backends import recurrence
from flambeau.backends.numpy import recurrent as loops

pytest.importorskip("llvmlite")

from flambeau.backends.llvm import jit, panels, recurrent  # noqa: E402

FORWARD = {"lstm": loops.lstm_forward, "gru": loops.gru_forward,
           "rnn_tanh": functools.partial(loops.rnn_forward, False),
           "rnn_relu": functools.partial(loops.rnn_forward, True)}
BACKWARD = {"lstm": loops.lstm_backward, "gru": loops.gru_backward,
            "rnn_tanh": functools.partial(loops.rnn_backward, False),
            "rnn_relu": functools.partial(loops.rnn_backward, True)}
GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


def results(kind: str, data: dict[str, Any]) -> list[np.ndarray]:
    """Everything that both ways give, with and without gradients of the last states."""
    x, states, w, steps, grads = (data[k] for k in ("x", "states", "w", "steps", "grads"))
    found = FORWARD[kind](x, *states, w, steps)
    kept, batch = found[1 + len(states):], len(states[0])
    back = BACKWARD[kind](grads, x, w, kept, steps, batch, (True,) * 8)
    less = BACKWARD[kind]([grads[0], *[None] * len(states)], x, w, kept, steps, batch,
                          (True,) * 8)
    return [a for a in (*found, *back, *less) if a is not None]


def problem(kind: str, dtype: type, sizes: list[int], inputs: int, units: int,
            reverse: bool) -> dict[str, Any]:
    rng = np.random.default_rng(1)

    def draw(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) * 0.5).astype(dtype)

    rows, batch, gates = sum(sizes), sizes[0], GATES[kind] * units
    count = 2 if kind == "lstm" else 1
    return {"x": draw(rows, inputs), "states": [draw(batch, units) for _ in range(count)],
            "w": loops.Weights(draw(gates, inputs), draw(gates, units), draw(gates), draw(gates)),
            "steps": loops.steps_of(rows, batch, sizes, reverse),
            "grads": [draw(rows, units), *[draw(batch, units) for _ in range(count)]]}


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("sizes", "units"), [([7, 7, 4, 1], 5), ([13] * 3, 33), ([1, 1], 16)])
@pytest.mark.parametrize("reverse", [False, True])
def test_as_the_loops(kind: str, dtype: type, sizes: list[int], units: int, reverse: bool,
                      monkeypatch: pytest.MonkeyPatch) -> None:
    compare(kind, problem(kind, dtype, sizes, 3, units, reverse), monkeypatch)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("vector_bytes", [16, 64])
def test_vectors_of_other_hosts(kind: str, vector_bytes: int,
                                monkeypatch: pytest.MonkeyPatch) -> None:
    """Code for other vectors than the host's runs here too, made of the host's instructions."""
    other = jit.host()._replace(vector_bytes=vector_bytes)
    monkeypatch.setattr(jit, "host", lambda: other)
    monkeypatch.setattr(recurrent, "_kernel", functools.cache(recurrent._kernel.__wrapped__))
    compare(kind, problem(kind, np.float32, [7, 7, 4, 1], 3, 19, False), monkeypatch)


def compare(kind: str, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels run, and give what the loops give."""
    monkeypatch.setattr(recurrence, "PATIENCE", 0)
    ran = []

    def noting(*args: Any) -> bool:
        ran.append(run(*args))
        return ran[-1]

    run = recurrence.run
    monkeypatch.setattr(recurrence, "run", noting)
    got = results(kind, data)
    assert ran == [True] * 3
    monkeypatch.setattr(recurrence, "run", lambda *args: False)
    tolerance = 2e-5 if data["x"].dtype == np.float32 else 1e-12
    for a, b in zip(got, results(kind, data), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_pack() -> None:
    matrix = np.arange(15.0).reshape(3, 5)
    packed = panels.pack(matrix, 2)
    assert packed.shape == (3, 3, 2)
    unpacked = packed.transpose(1, 0, 2).reshape(3, 6)
    np.testing.assert_array_equal(unpacked[:, :5], matrix)
    assert not unpacked[:, 5].any()


def test_what_does_not_fit_is_refused() -> None:
    """Nothing is written where an array or a step would be read beyond its end."""
    held = np.zeros((4, 3), np.float32)
    arrays = {"gates": held.copy(), "part": np.zeros((2, 3), np.float32),
              "h": np.ones((2, 3), np.float32), "before_h": held.copy(), "out": held.copy()}
    weight, steps = np.ones((3, 3), np.float32), np.array([[0, 2], [2, 2]])
    recurrent.run("rnn_tanh", arrays, weight, steps, 2, 1)
    assert arrays["out"].any()
    arrays["out"][:] = 0
    wrong: list[tuple[dict, np.ndarray, np.ndarray]] = [
        ({**arrays, "gates": held[:2]}, weight, steps),
        ({**arrays, "h": held[:2].astype(np.float64)}, weight, steps),
        (arrays, weight[:2], steps), (arrays, weight, np.array([[0, 2], [3, 2]])),
        (arrays, weight, np.array([[0, 3]])), (arrays, weight, np.array([[-1, 2]]))]
    for some, matrix, table in wrong:
        with pytest.raises(ValueError, match="fit"):
            recurrent.run("rnn_tanh", some, matrix, table, 2, 1)
    assert not arrays["out"].any()
