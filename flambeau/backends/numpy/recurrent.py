"""Recurrent layers over whole sequences: one product for all inputs, then a loop over time.

Rows of a sequence stand together per time step: (rows, features), where a step is a pair (first
row, how many). Sequences of a packed batch end at different times, the longest first, so a step
changes the first rows of the states and leaves the others as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from flambeau.backends import recurrence
from flambeau.backends.products import dot

__all__ = ["Weights", "gru_backward", "gru_forward", "lstm_backward", "lstm_forward",
           "rnn_backward", "rnn_forward", "steps_of"]

ndarray = np.ndarray
Steps = Sequence[tuple[int, int]]


class Weights(NamedTuple):
    """A layer's weights: of the input, of the state, their biases, and LSTM's projection."""

    ih: ndarray
    hh: ndarray
    b_ih: ndarray | None = None
    b_hh: ndarray | None = None
    hr: ndarray | None = None


def steps_of(rows: int, batch: int, sizes: Sequence[int] | None, reverse: bool) -> Steps:
    """The steps in the order they are taken; ``sizes`` has each one's rows, None for ``batch``.

    >>> steps_of(3, 2, [2, 1], True)
    [(2, 1), (0, 2)]
    """
    if sizes is None:
        sizes = [batch] * (rows // batch if batch else 0)
    found, at = [], 0
    for n in sizes:
        found.append((at, n))
        at += n
    return found[::-1] if reverse else found


def sigmoid_in_place(a: ndarray) -> None:
    """Replace every item by 1 / (1 + exp(-item))."""
    np.negative(a, out=a)
    np.exp(a, out=a)
    a += 1
    np.reciprocal(a, out=a)


def _inputs(x: ndarray, w: Weights) -> ndarray:
    """What the inputs of all steps add to the gates, and the biases: (rows, gates)."""
    z = dot(x, w.ih.T)
    if w.b_ih is not None:
        z += w.b_ih if w.b_hh is None else w.b_ih + w.b_hh
    elif w.b_hh is not None:
        z += w.b_hh
    return z


def _weight_grads(d_in: ndarray, d_state: ndarray, x: ndarray, before: ndarray, w: Weights,
                  needs: Sequence[bool]) -> list[ndarray | None]:
    """Gradients of the input, both weights and both biases, where ``needs`` says so."""
    sums = d_in.sum(0) if needs[3] else None
    state_sums = None
    if needs[4]:
        state_sums = d_state.sum(0) if sums is None or d_in is not d_state else sums.copy()
    return [dot(d_in, w.ih) if needs[0] else None,
            dot(d_in.T, x) if needs[1] else None,
            dot(d_state.T, before) if needs[2] else None,
            sums, state_sums]


def _start(g: ndarray | None, batch: int, like: ndarray) -> ndarray:
    """The gradient that arrives at a last state, to be changed; zeros where there is none."""
    shape = (batch, like.shape[1])
    return np.zeros(shape, like.dtype) if g is None else np.array(g, like.dtype, order="C")


def _filled(arrays: dict[str, Any], like: ndarray) -> dict[str, Any]:
    """The arrays with zeros for a gradient that is not there, and each of them dense."""
    g = arrays["g_out"]
    arrays["g_out"] = np.zeros_like(like) if g is None else np.ascontiguousarray(g)
    return arrays


# Long short-term memory: gates i, f, g, o


def lstm_step(z: ndarray, c: ndarray, out: ndarray) -> None:
    """Activate the gates ``z`` in place, move ``c`` on and write o * tanh(c) to ``out``."""
    n = c.shape[1]
    candidate = np.tanh(z[:, 2 * n:3 * n])
    sigmoid_in_place(z)
    z[:, 2 * n:3 * n] = candidate
    c *= z[:, n:2 * n]
    candidate *= z[:, :n]
    c += candidate
    np.tanh(c, out=out)
    out *= z[:, 3 * n:]


def lstm_forward(x: ndarray, h: ndarray, c: ndarray, w: Weights,
                 steps: Steps) -> tuple[ndarray, ...]:
    """Results (rows, P), last h and c, and what backward needs: gates, h and c before each step.

    With a projection the unprojected results (rows, H) are last.
    """
    gates = _inputs(x, w)
    rows, width = len(x), c.shape[1]
    state_weight = w.hh.T
    h, c = np.array(h, order="C"), np.array(c, order="C")
    before_h, before_c = np.empty((rows, h.shape[1]), x.dtype), np.empty((rows, width), x.dtype)
    raw = np.empty((rows, width), x.dtype)
    out = raw if w.hr is None else np.empty((rows, h.shape[1]), x.dtype)
    arrays = {"gates": gates, "part": np.empty((len(h), 4 * width), x.dtype), "h": h, "c": c,
              "before_h": before_h, "before_c": before_c, "out": out}
    if w.hr is None and recurrence.run("lstm", arrays, state_weight, steps, len(h)):
        return out, h, c, gates, before_h, before_c
    for at, n in steps:
        now = slice(at, at + n)
        before_h[now], before_c[now] = h[:n], c[:n]
        z = gates[now]
        z += h[:n].dot(state_weight)
        lstm_step(z, c[:n], raw[now])
        if w.hr is not None:
            np.dot(raw[now], w.hr.T, out=out[now])
        h[:n] = out[now]
    kept = (gates, before_h, before_c)
    return (out, h, c, *kept) if w.hr is None else (out, h, c, *kept, raw)


def lstm_step_back(gates: ndarray, before_c: ndarray, dh: ndarray, dc: ndarray,
                   out: ndarray) -> None:
    """Write the gradients of the gates before activation to ``out``; move ``dc`` a step back."""
    n = dc.shape[1]
    i, f, g, o = (gates[:, k * n:(k + 1) * n] for k in range(4))
    ended = np.tanh(f * before_c + i * g)
    dc += dh * o * (1 - ended * ended)
    out[:, :n] = dc * g * i * (1 - i)
    out[:, n:2 * n] = dc * before_c * f * (1 - f)
    out[:, 2 * n:3 * n] = dc * i * (1 - g * g)
    out[:, 3 * n:] = dh * ended * o * (1 - o)
    dc *= f


def lstm_backward(grads: Sequence[ndarray | None], x: ndarray, w: Weights,
                  kept: Sequence[ndarray], steps: Steps, batch: int,
                  needs: Sequence[bool]) -> list[ndarray | None]:
    """Gradients of x, h, c, w_ih, w_hh, b_ih, b_hh and w_hr from those of out, h and c."""
    gates, before_h, before_c = kept[:3]
    g_out, g_h, g_c = grads
    dh, dc = _start(g_h, batch, before_h), _start(g_c, batch, before_c)
    d_gates = np.empty_like(gates)
    d_out = np.empty_like(before_h if w.hr is not None else before_h[:0])
    arrays = {"gates": gates, "before_c": before_c, "g_out": g_out, "h": dh, "c": dc,
              "d_gates": d_gates}
    if w.hr is None and recurrence.run("lstm_back", _filled(arrays, before_h), w.hh, steps, batch):
        steps = ()
    for at, n in reversed(steps):
        now = slice(at, at + n)
        d = dh[:n]
        if g_out is not None:
            d += g_out[now]
        if w.hr is not None:
            d_out[now] = d
            d = d.dot(w.hr)
        lstm_step_back(gates[now], before_c[now], d, dc[:n], d_gates[now])
        np.dot(d_gates[now], w.hh, out=dh[:n])
    inner = _weight_grads(d_gates, d_gates, x, before_h, w, (needs[0], *needs[3:7]))
    projected = d_out.T.dot(kept[3]) if w.hr is not None and needs[7] else None
    return [inner[0], dh, dc, *inner[1:], projected]


# Gated recurrent unit: gates r, z, n; the reset gate acts on the state's part of n


def gru_step(z: ndarray, part: ndarray, h: ndarray, new: ndarray) -> None:
    """Activate the gates ``z`` in place, given the state's ``part`` in them; move ``h`` on.

    ``new`` is the state's part of n, with its bias.
    """
    n = h.shape[1]
    both = z[:, :2 * n]
    both += part[:, :2 * n]
    sigmoid_in_place(both)
    candidate = z[:, 2 * n:]
    candidate += z[:, :n] * new
    np.tanh(candidate, out=candidate)
    h -= candidate
    h *= z[:, n:2 * n]
    h += candidate


def gru_inputs(x: ndarray, w: Weights) -> tuple[ndarray, ndarray | None]:
    """What the inputs add to the gates, with r's and z's state biases, and n's state bias."""
    z = _inputs(x, w._replace(b_hh=None))
    if w.b_hh is None:
        return z, None
    n = w.hh.shape[1]
    z[:, :2 * n] += w.b_hh[:2 * n]
    return z, w.b_hh[2 * n:]


def gru_forward(x: ndarray, h: ndarray, w: Weights, steps: Steps) -> tuple[ndarray, ...]:
    """Results (rows, H), last h, and for backward: gates, the state's part of n, h before."""
    rows, width = len(x), h.shape[1]
    gates, bias = gru_inputs(x, w)
    h = np.array(h, order="C")
    out, news, before = (np.empty((rows, width), x.dtype) for _ in range(3))
    arrays = {"gates": gates, "part": np.empty((len(h), 3 * width), x.dtype), "h": h,
              "bias": np.zeros(width, x.dtype) if bias is None else np.ascontiguousarray(bias),
              "news": news, "before_h": before, "out": out}
    if recurrence.run("gru", arrays, w.hh.T, steps, len(h)):
        return out, h, gates, news, before
    for at, n in steps:
        now = slice(at, at + n)
        before[now] = h[:n]
        part = h[:n].dot(w.hh.T)
        if bias is None:
            news[now] = part[:, 2 * width:]
        else:
            np.add(part[:, 2 * width:], bias, out=news[now])
        gru_step(gates[now], part, h[:n], news[now])
        out[now] = h[:n]
    return out, h, gates, news, before


def gru_step_back(gates: ndarray, news: ndarray, before: ndarray, dh: ndarray, d_in: ndarray,
                  d_state: ndarray) -> None:
    """Write the gradients of both parts of the gates; ``dh`` becomes what skips the gates."""
    n = dh.shape[1]
    r, z, c = (gates[:, k * n:(k + 1) * n] for k in range(3))
    d_new = dh * (1 - z) * (1 - c * c)
    d_in[:, :n] = d_new * news * r * (1 - r)
    d_in[:, n:2 * n] = dh * (before - c) * z * (1 - z)
    d_in[:, 2 * n:] = d_new
    d_state[:, :2 * n] = d_in[:, :2 * n]
    np.multiply(d_new, r, out=d_state[:, 2 * n:])
    dh *= z


def gru_backward(grads: Sequence[ndarray | None], x: ndarray, w: Weights,
                 kept: Sequence[ndarray], steps: Steps, batch: int,
                 needs: Sequence[bool]) -> list[ndarray | None]:
    """Gradients of x, h, w_ih, w_hh, b_ih and b_hh from those of out and h."""
    gates, news, before = kept
    g_out, g_h = grads
    dh = _start(g_h, batch, before)
    d_in, d_state = np.empty_like(gates), np.empty_like(gates)
    arrays = {"gates": gates, "news": news, "before_h": before, "g_out": g_out, "h": dh,
              "d_in": d_in, "d_gates": d_state}
    if recurrence.run("gru_back", _filled(arrays, before), w.hh, steps, batch):
        steps = ()
    for at, n in reversed(steps):
        now = slice(at, at + n)
        d = dh[:n]
        if g_out is not None:
            d += g_out[now]
        gru_step_back(gates[now], news[now], before[now], d, d_in[now], d_state[now])
        d += d_state[now].dot(w.hh)
    inner = _weight_grads(d_in, d_state, x, before, w, (needs[0], *needs[2:]))
    return [inner[0], dh, *inner[1:]]


# One gate: tanh or relu


def rnn_forward(relu: bool, x: ndarray, h: ndarray, w: Weights,
                steps: Steps) -> tuple[ndarray, ...]:
    """Results (rows, H), last h, and for backward: the results again, h before each step."""
    held = _inputs(x, w)
    h = np.array(h, order="C")
    before = np.empty((len(x), h.shape[1]), x.dtype)
    name, out = "rnn_relu" if relu else "rnn_tanh", np.empty_like(held)
    arrays = {"gates": held, "part": np.empty_like(h), "h": h, "before_h": before, "out": out}
    if recurrence.run(name, arrays, w.hh.T, steps, len(h)):
        return out, h, held, before
    for at, n in steps:
        now = slice(at, at + n)
        before[now] = h[:n]
        z = held[now]
        z += h[:n].dot(w.hh.T)
        if relu:
            np.maximum(z, 0, out=z)
        else:
            np.tanh(z, out=z)
        h[:n] = z
    return held.copy(), h, held, before


def rnn_backward(relu: bool, grads: Sequence[ndarray | None], x: ndarray, w: Weights,
                 kept: Sequence[ndarray], steps: Steps, batch: int,
                 needs: Sequence[bool]) -> list[ndarray | None]:
    """Gradients of x, h, w_ih, w_hh, b_ih and b_hh from those of out and h."""
    held, before = kept
    g_out, g_h = grads
    dh = _start(g_h, batch, before)
    d_gate = np.empty_like(held)
    back = w.hh.conj()
    arrays = {"gates": held, "g_out": g_out, "h": dh, "d_gates": d_gate}
    name = "rnn_relu_back" if relu else "rnn_tanh_back"
    if recurrence.run(name, _filled(arrays, before), back, steps, batch):
        steps, slope = (), held
    else:
        slope = (held > 0).astype(x.dtype) if relu else 1 - held * held.conj()
    for at, n in reversed(steps):
        now = slice(at, at + n)
        d = dh[:n]
        if g_out is not None:
            d += g_out[now]
        np.multiply(d, slope[now], out=d_gate[now])
        np.dot(d_gate[now], back, out=d)
    inner = _weight_grads(d_gate, d_gate, x.conj(), before.conj(), w._replace(ih=w.ih.conj()),
                          (needs[0], *needs[2:]))
    return [inner[0], dh, *inner[1:]]
