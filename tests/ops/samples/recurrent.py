"""Samples of recurrent layers and cells."""

from __future__ import annotations

import numpy as np

from tests.ops.sample import Sample

RNG = np.random.default_rng(41)
STEPS, BATCH, INPUTS, WIDTH, SMALL = 3, 2, 2, 3, 2
SEQUENCE = RNG.normal(size=(STEPS, BATCH, INPUTS))
PACKED, SIZES = RNG.normal(size=(4, INPUTS)), np.array([2, 1, 1])
HALF = (True, 1, 0.0, False, False, False)


def states(count: int = 1, width: int = WIDTH) -> np.ndarray:
    """First states of ``count`` layers and directions."""
    return RNG.normal(size=(count, BATCH, width))


def layer(gates: int, inputs: int = INPUTS, width: int = WIDTH, biases: bool = True) -> list:
    """The weights of a layer, away from the kinks of relu."""
    found = [RNG.normal(size=(gates * WIDTH, inputs)), RNG.normal(size=(gates * WIDTH, width))]
    return found + [RNG.normal(size=gates * WIDTH) for _ in range(2 * biases)]


def both_ways(gates: int) -> list:
    """The weights of two layers in both directions."""
    return (layer(gates) + layer(gates) + layer(gates, 2 * WIDTH) + layer(gates, 2 * WIDTH))


def of_one_state(gates: int) -> list[Sample]:
    """Samples of layers with one state."""
    return [
        Sample((SEQUENCE, states(), layer(gates), *HALF)),
        Sample((SEQUENCE.swapaxes(0, 1), states(), layer(gates, biases=False), False, 1, 0.0,
                True, False, True)),
        Sample((PACKED, SIZES, states(4), both_ways(gates), True, 2, 0.0, True, True))]


def cell(gates: int, first: object) -> list[Sample]:
    """Samples of one step."""
    return [Sample((SEQUENCE[0], first, *layer(gates))),
            Sample((SEQUENCE[0], first, *layer(gates, biases=False)))]


SAMPLES = {
    "lstm": [
        Sample((SEQUENCE, (states(), states()), layer(4), *HALF)),
        Sample((SEQUENCE, (states(1, SMALL), states()),
                [*layer(4, width=SMALL), RNG.normal(size=(SMALL, WIDTH))], *HALF)),
        Sample((SEQUENCE.swapaxes(0, 1), (states(), states()), layer(4, biases=False), False, 1,
                0.0, True, False, True)),
        Sample((PACKED, SIZES, (states(4), states(4)), both_ways(4), True, 2, 0.0, True, True))],
    "gru": of_one_state(3),
    "rnn_tanh": of_one_state(1),
    "rnn_relu": of_one_state(1),
    "lstm_cell": cell(4, (states()[0], states()[0])),
    "gru_cell": cell(3, states()[0]),
    "rnn_tanh_cell": cell(1, states()[0]),
    "rnn_relu_cell": cell(1, states()[0]),
}
