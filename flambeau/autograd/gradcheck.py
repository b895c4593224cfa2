"""Checking derivatives against finite differences."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.autograd.backward import grad
from flambeau.autograd.modes import enable_grad, no_grad
from flambeau.core.tensor import Tensor, wrap

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]

FAST_FAIL = ("Fast gradcheck failed but element-wise differences are small. This means that the "
             "test might've passed in slow_mode!")


class GradcheckError(RuntimeError):
    """A derivative that does not agree with finite differences, or cannot be checked."""


class _Check:
    """One function at one point: its inputs that are differentiated, and how it is checked."""

    def __init__(self, func: Callable, inputs: Any, settings: dict[str, Any]) -> None:
        self.func = func
        self.inputs = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
        self.settings = settings
        self.at = [i for i, t in enumerate(self.inputs)
                   if isinstance(t, Tensor) and t.requires_grad]
        self.rng = np.random.RandomState(0)

    def outputs(self, inputs: Sequence[Any] | None = None) -> list[Tensor]:
        """The differentiable outputs of the function."""
        found = self.func(*(self.inputs if inputs is None else inputs))
        found = found if isinstance(found, (tuple, list)) else (found,)
        return [o for o in found if isinstance(o, Tensor)
                and (o.dtype.is_floating_point or o.dtype.is_complex)]

    def close(self, a: np.ndarray, b: np.ndarray) -> bool:
        return bool(np.allclose(a, b, self.settings["rtol"], self.settings["atol"],
                                equal_nan=True))


def gradcheck(func: Callable, inputs: Any, *, eps: float = 1e-6, atol: float = 1e-5,
              rtol: float = 1e-3, raise_exception: bool = True, nondet_tol: float = 0.0,
              check_undefined_grad: bool = True, check_grad_dtypes: bool = False,
              check_batched_grad: bool = False, check_batched_forward_grad: bool = False,
              check_forward_ad: bool = False, check_backward_ad: bool = True,
              fast_mode: bool = False, masked: bool | None = None) -> bool:
    """Whether the derivatives of ``func`` agree with central differences of step ``eps``.

    Those of all inputs that require gradients are checked, best in float64. RuntimeError with
    the Jacobians where they differ, or False where not ``raise_exception``. ``fast_mode`` checks
    one random direction instead of every element.

    >>> import flambeau as torch
    >>> x = torch.rand(3, dtype=torch.float64, requires_grad=True)
    >>> torch.autograd.gradcheck(torch.sin, x)
    True
    """
    settings = dict(eps=eps, atol=atol, rtol=rtol, nondet_tol=nondet_tol,
                    undefined=check_undefined_grad, dtypes=check_grad_dtypes,
                    batched=check_batched_grad, batched_forward=check_batched_forward_grad,
                    forward=check_forward_ad, backward=check_backward_ad, fast=fast_mode)
    if not check_forward_ad and not check_backward_ad:
        raise AssertionError("Expected at least one of check_forward_ad or check_backward_ad to "
                             "be True")
    if check_batched_grad and not check_backward_ad:
        raise AssertionError("Setting check_batched_grad=True requires check_backward_ad to be "
                             "True")
    if check_batched_forward_grad and not check_forward_ad:
        raise AssertionError("Setting check_batched_forward_grad=True requires check_forward_ad "
                             "to be True")
    check = _Check(func, inputs, settings)
    try:
        _run(check)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _run(check: _Check) -> None:
    _check_inputs(check)
    with enable_grad():
        outputs = check.outputs()
    if not outputs:
        raise GradcheckError("No Tensors output floating point or complex dtype")
    if not any(o.requires_grad for o in outputs):
        _all_independent(check, outputs)
        return
    if check.settings["backward"]:
        (_fast if check.settings["fast"] else _slow)(check, outputs)
        _check_deterministic(check, outputs)
        if check.settings["batched"]:
            _check_batched(check, outputs)
        if check.settings["undefined"]:
            _check_undefined(check, outputs)
    if check.settings["forward"]:
        _check_forward(check)


def _check_inputs(check: _Check) -> None:
    if not check.at:
        raise ValueError("gradcheck expects at least one input tensor to require gradient, but "
                         "none of them have requires_grad=True.")
    for i in check.at:
        t = check.inputs[i]
        if t._a.dtype not in (np.float64, np.complex128):
            warnings.warn(f"Input #{i} requires gradient and is not a double precision floating "
                          "point or complex. This check will likely fail if all the inputs are "
                          "not of double precision floating point or complex. ", stacklevel=5)
        t.retain_grad()
        if any(s == 0 and n > 1 for s, n in zip(t._a.strides, t._a.shape)):
            raise RuntimeError(f"The {i}th input has a dimension with stride 0. gradcheck only "
                               "supports inputs that are non-overlapping to be able to compute "
                               "the numerical gradients correctly. You should call .contiguous on "
                               "the input before passing it to gradcheck.")


def _all_independent(check: _Check, outputs: Sequence[Tensor]) -> None:
    for i in check.at:
        for j, columns in enumerate(_numerical(check, i)):
            if not check.close(columns, np.zeros_like(columns)):
                raise GradcheckError(f"Numerical gradient for function expected to be zero: "
                                     f"output {j}, input {i}")


# Finite differences


def _shifted(check: _Check, at: int, moved: np.ndarray) -> list[np.ndarray]:
    """The outputs with input ``at`` moved to the values ``moved``."""
    given = [t.detach() if isinstance(t, Tensor) and t.requires_grad else t
             for t in check.inputs]
    given[at] = wrap(np.asarray(moved, check.inputs[at]._a.dtype))
    given = [t.requires_grad_() if i in check.at else t for i, t in enumerate(given)]
    with no_grad():
        return [np.array(o._a) for o in check.outputs(given)]


def _difference(check: _Check, at: int, direction: np.ndarray) -> list[np.ndarray]:
    eps = check.settings["eps"]
    start = np.array(check.inputs[at]._a)
    high = _shifted(check, at, start + eps * direction)
    low = _shifted(check, at, start - eps * direction)
    return [(h - m) / (2 * eps) for h, m in zip(high, low)]


def _numerical(check: _Check, at: int, step: complex = 1) -> list[np.ndarray]:
    """Per output its derivatives by the elements of input ``at``: (elements, outputs)."""
    a = check.inputs[at]._a
    columns: list[list] = []
    for k in range(a.size):
        unit = np.zeros(a.size, np.complex128 if a.dtype.kind == "c" else a.dtype)
        unit[k] = step
        columns.append([d.ravel() for d in _difference(check, at, unit.reshape(a.shape))])
    if not columns:
        outs = _shifted(check, at, np.array(a))
        return [np.zeros((0, o.size)) for o in outs]
    return [np.stack(c) for c in zip(*columns)]


# Backward


def _slow(check: _Check, outputs: Sequence[Tensor]) -> None:
    for i in check.at:
        t = check.inputs[i]
        steps = (1, 1j) if t.dtype.is_complex else (1,)
        found = [_numerical(check, i, s) for s in steps]
        for j, o in enumerate(outputs):
            numerical = [f[j] for f in found]
            weights = (1, 1j) if o.dtype.is_complex else (1,)
            for w in weights:
                analytical = _backward_rows(o, t, w)
                # The gradient of Re(conj(w) f): its real part along x, its imaginary along ix.
                expected = np.real(np.conj(w) * numerical[0])
                if len(numerical) > 1:
                    expected = expected + 1j * np.real(np.conj(w) * numerical[1])
                _compare(check, "", j, i, expected, analytical)


def _backward_rows(o: Tensor, t: Tensor, weight: complex) -> np.ndarray:
    """The gradient of each element of ``o``, weighted, by those of ``t``: (elements, outputs)."""
    columns = np.zeros((t._a.size, o._a.size), t._a.dtype)
    if not o.requires_grad:
        return columns
    for k in range(o._a.size):
        unit = np.zeros(o._a.size, o._a.dtype)
        unit[k] = weight
        g, = grad(o, t, wrap(unit.reshape(o._a.shape)), retain_graph=True, allow_unused=True)
        if g is not None:
            _check_gradient(g, t)
            columns[:, k] = g._a.ravel()
    return columns


def _check_gradient(g: Tensor, t: Tensor) -> None:
    if g._a.shape != t._a.shape:
        raise GradcheckError("grad is of incorrect size")
    if g.dtype.is_complex != t.dtype.is_complex:
        raise GradcheckError("grad is of incorrect type")


def _compare(check: _Check, kind: str, j: int, i: int, expected: np.ndarray,
             found: np.ndarray) -> None:
    if check.close(found, expected):
        return
    mode = " computed with forward mode" if kind else ""
    raise GradcheckError(f"Jacobian{mode} mismatch for output {j:d} with respect to input {i:d},\n"
                         f"numerical:{wrap(np.ascontiguousarray(expected))}\n"
                         f"analytical:{wrap(np.ascontiguousarray(found))}\n")


def _direction(check: _Check, a: np.ndarray) -> np.ndarray:
    """A random unit vector of the shape and kind of ``a``."""
    v = check.rng.standard_normal(a.shape)
    if a.dtype.kind == "c":
        v = v + 1j * check.rng.standard_normal(a.shape)
    norm = np.linalg.norm(v.ravel())
    return np.asarray(v / norm if norm else v, a.dtype)


def _fast(check: _Check, outputs: Sequence[Tensor]) -> None:
    """One direction per input and output: u' J v both ways."""
    weights = [_direction(check, o._a) for o in outputs]
    for i in check.at:
        t = check.inputs[i]
        along = _direction(check, t._a)
        moved = _difference(check, i, along)
        for j, (o, w) in enumerate(zip(outputs, weights)):
            expected = np.real(np.vdot(w, moved[j]))
            found = 0.0
            if o.requires_grad:
                g, = grad(o, t, wrap(w), retain_graph=True, allow_unused=True)
                if g is not None:
                    _check_gradient(g, t)
                    found = np.real(np.vdot(g._a, along))
            if not check.close(np.asarray(found), np.asarray(expected)):
                raise GradcheckError(
                    f"Jacobian mismatch for output {j:d} with respect to input {i:d},\n"
                    f"numerical:{expected}\nanalytical:{found}\n\n"
                    "The above quantities relating the numerical and analytical jacobians are "
                    "computed in fast mode: along one random direction.")


def _check_deterministic(check: _Check, outputs: Sequence[Tensor]) -> None:
    tol = check.settings["nondet_tol"]
    leaves = [check.inputs[i] for i in check.at]
    for o in outputs:
        if not o.requires_grad:
            continue
        weight = wrap(_direction(check, o._a))
        twice = [grad(o, leaves, weight, retain_graph=True, allow_unused=True) for _ in range(2)]
        for a, b in zip(*twice):
            if a is not None and b is not None and not np.allclose(
                    a._a, b._a, rtol=0, atol=tol, equal_nan=True):
                raise GradcheckError(
                    "Backward is not reentrant, i.e., running backward with same input and "
                    "grad_output multiple times gives different values, although analytical "
                    "gradient matches numerical gradient."
                    f"The tolerance for nondeterminism was {tol}.")


def _check_batched(check: _Check, outputs: Sequence[Tensor]) -> None:
    leaves = [check.inputs[i] for i in check.at]
    for j, o in enumerate(outputs):
        if not o.requires_grad:
            continue
        weights = [_direction(check, o._a) for _ in range(2)]
        apart = [grad(o, leaves, wrap(w), retain_graph=True, allow_unused=True) for w in weights]
        together = grad(o, leaves, wrap(np.stack(weights)), retain_graph=True, allow_unused=True,
                        is_grads_batched=True)
        for i, (g, ones) in enumerate(zip(together, zip(*apart))):
            if g is not None and not check.close(g._a, np.stack([x._a for x in ones])):
                raise GradcheckError(
                    f"For output {j} and input {i}:\n\ngradcheck or gradgradcheck failed while "
                    "testing batched gradient computation.")


def _check_undefined(check: _Check, outputs: Sequence[Tensor]) -> None:
    """A backward of several outputs must take a missing gradient for one of zeros."""
    leaves = [check.inputs[i] for i in check.at]
    live = [o for o in outputs if o.requires_grad]
    if len(live) < 2:
        return
    weights = [wrap(_direction(check, o._a)) for o in live]
    for skip in range(len(live)):
        zeros = [wrap(np.zeros_like(w._a)) if k == skip else w for k, w in enumerate(weights)]
        full = grad(live, leaves, zeros, retain_graph=True, allow_unused=True)
        rest = [k for k in range(len(live)) if k != skip]
        part = grad([live[k] for k in rest], leaves, [weights[k] for k in rest],
                    retain_graph=True, allow_unused=True)
        for a, b in zip(full, part):
            x, y = [np.zeros(()) if v is None else v._a for v in (a, b)]
            if not np.allclose(x, y, equal_nan=True):
                raise GradcheckError("Expected backward function to handle undefined output grads."
                                     " Please look at 'Notes about undefined output gradients' in "
                                     '"tools/autograd/derivatives.yaml"')


# Forward mode


def _check_forward(check: _Check) -> None:
    for i in check.at:
        t = check.inputs[i]
        a = t._a
        if check.settings["fast"]:
            units = [_direction(check, a)]
        else:
            steps = (1, 1j) if a.dtype.kind == "c" else (1,)
            units = [_unit(a, k, s) for s in steps for k in range(a.size)]
        for unit in units:
            expected = _difference(check, i, unit)
            for j, (e, f) in enumerate(zip(expected, _pushed(check, i, unit))):
                _compare(check, "forward", j, i, e, np.zeros_like(e) if f is None else f)


def _unit(a: np.ndarray, k: int, step: complex) -> np.ndarray:
    unit = np.zeros(a.size, a.dtype)
    unit[k] = step
    return unit.reshape(a.shape)


def _pushed(check: _Check, at: int, direction: np.ndarray) -> list:
    from flambeau.autograd import forward_ad  # which few programs need

    given = list(check.inputs)
    with forward_ad.dual_level():
        given[at] = forward_ad.make_dual(given[at].detach(), wrap(direction))
        tangents = [forward_ad.unpack_dual(o).tangent for o in check.outputs(given)]
        return [None if t is None else np.array(t.detach()._a) for t in tangents]


def gradgradcheck(func: Callable, inputs: Any, grad_outputs: Any = None, *, eps: float = 1e-6,
                  atol: float = 1e-5, rtol: float = 1e-3, gen_non_contig_grad_outputs: bool = False,
                  raise_exception: bool = True, nondet_tol: float = 0.0,
                  check_undefined_grad: bool = True, check_grad_dtypes: bool = False,
                  check_batched_grad: bool = False, check_fwd_over_rev: bool = False,
                  check_rev_over_rev: bool = True, fast_mode: bool = False,
                  masked: bool = False) -> bool:
    """As ``gradcheck``, of the gradients of ``func``, by its inputs and by ``grad_outputs``.

    ``grad_outputs`` are random where they are not given.

    >>> import flambeau as torch
    >>> x = torch.rand(3, dtype=torch.float64, requires_grad=True)
    >>> torch.autograd.gradgradcheck(torch.sin, x)
    True
    """
    if not check_fwd_over_rev and not check_rev_over_rev:
        raise AssertionError("Expected at least one of check_fwd_over_rev or check_rev_over_rev "
                             "to be True")
    check = _Check(func, inputs, {})
    with enable_grad():
        outputs = check.outputs()
    if grad_outputs is None:
        seeds = [_random_seed(check, o, gen_non_contig_grad_outputs) for o in outputs]
    else:
        seeds = list(grad_outputs) if isinstance(grad_outputs, (tuple, list)) else [grad_outputs]
    count = len(seeds)

    def slopes(*args: Any) -> tuple:
        given, weights = args[:-count], args[-count:]
        given = tuple([t.requires_grad_() if i in check.at and t._node is None else t
                       for i, t in enumerate(given)])
        outs = check.outputs(given)
        live = [(o, w) for o, w in zip(outs, weights) if o.requires_grad]
        leaves = [given[i] for i in check.at]
        with enable_grad():
            found = grad([o for o, _ in live], leaves, [w for _, w in live], create_graph=True,
                         allow_unused=True)
        return tuple([g for g in found if g is not None])

    def recorded(*args: Any) -> tuple:
        with enable_grad():
            return slopes(*args)

    return gradcheck(recorded, (*check.inputs, *seeds), eps=eps, atol=atol, rtol=rtol,
                     raise_exception=raise_exception, nondet_tol=nondet_tol,
                     check_undefined_grad=check_undefined_grad,
                     check_grad_dtypes=check_grad_dtypes, check_batched_grad=check_batched_grad,
                     check_forward_ad=check_fwd_over_rev, check_backward_ad=check_rev_over_rev,
                     fast_mode=fast_mode)


def _random_seed(check: _Check, o: Tensor, apart: bool) -> Tensor:
    held = np.complex128 if o._a.dtype.kind == "c" else np.float64
    values = np.asarray(check.rng.uniform(0.1, 1, o._a.shape), held)
    if apart and values.ndim:
        values = np.repeat(values, 2, -1)[..., ::2]
    return wrap(values).requires_grad_()
