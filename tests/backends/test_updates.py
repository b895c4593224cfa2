"""Updates of rows of arrays: NumPy and generated kernels to the same bits, and what is refused."""

from __future__ import annotations

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from flambeau.backends import large, libm, updates

SHAPES = [(40, 50), (7,), (), (0, 3), (2, 3, 5), (9000,)]
VALUES = {"gain": 0.1, "keep": 0.75, "rate": -0.3, "eps": 1e-8}


def rule(o: updates.Writer, sign: int, param: updates.Value, grad: updates.Value,
         mean: updates.Value, top: updates.Value) -> dict:
    g = o.plain("neg", grad) if sign < 0 else grad
    m = o.lerp(mean, g, "gain", near=True)
    t = o.plain("maximum", o.plain("mul", top, "keep"), o.plain("abs", g))
    size = o.plain("add", o.plain("sqrt", t), "eps")
    p = o.add_quotient(o.add_product(param, m, g, "gain"), m, size, "rate")
    p = o.select(o.compare("gt", p, 0.5), o.add_scaled(p, g, "rate"), p)
    return {mean: m, top: t, param: p}


def rows(dtype: np.dtype, shapes: list = SHAPES, order: str = "C") -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    found = []
    for shape in shapes:
        for column in range(4):
            x = rng.standard_normal(shape)
            x = np.abs(x) if column == 3 else x
            found.append(np.asarray(x, order=order).astype(dtype, order="K").reshape(shape))
    return found


@pytest.fixture
def kernels() -> None:
    if not large.available():
        pytest.skip("no generated kernels here")


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_ways_agree_to_the_bit(dtype: type, sign: int, kernels: None) -> None:
    update = updates.update_of(rule, sign, 4)
    plain, made = rows(np.dtype(dtype)), rows(np.dtype(dtype))
    memory = updates.Memory()
    for _ in range(3):
        assert updates._run_rows(update, plain, VALUES)
        assert updates.run(update, made, VALUES, memory)
    for a, b in zip(plain, made):
        np.testing.assert_array_equal(a, b)


def test_the_kernel_takes_all_rows_at_once(kernels: None) -> None:
    update = updates.update_of(rule, 1, 4)
    arrays = rows(np.dtype(np.float32))
    memory = updates.Memory()
    scalars = np.array([VALUES[n] for n in update.scalars], np.float32)
    assert update.kernel("f32").run(arrays, scalars, updates._tables(memory))
    arrays[1] = arrays[1].T
    assert not update.kernel("f32").run(arrays, scalars, updates._tables(memory))


@pytest.mark.parametrize("change", ["dtype", "size", "order", "readonly", "type"])
def test_a_kernel_refuses_what_is_not_plain(change: str, kernels: None) -> None:
    update = updates.update_of(rule, 1, 4)
    arrays = rows(np.dtype(np.float32), [(40, 50), (6, 4)])
    before = [a.copy() for a in arrays]
    bad = {"dtype": arrays[6].astype(np.float64), "size": np.ones((6, 5), np.float32),
           "order": np.asfortranarray(arrays[6]), "readonly": arrays[6].copy(),
           "type": arrays[6].tolist()}[change]
    if change == "readonly":
        bad.flags.writeable = False
    arrays[6] = bad
    scalars = np.ones(len(update.scalars), np.float32)
    assert not update.kernel("f32").run(arrays, scalars, updates._tables(None))
    for at in (0, 1, 2, 3, 4, 5, 7):
        np.testing.assert_array_equal(arrays[at], before[at])


def test_the_way_without_the_direct_entry(monkeypatch: pytest.MonkeyPatch, kernels: None) -> None:
    from flambeau.backends.llvm import multi

    update = updates.update_of(rule, 1, 4)
    direct, other = rows(np.dtype(np.float32)), rows(np.dtype(np.float32))
    assert updates.run(update, direct, VALUES)
    monkeypatch.setattr(multi, "_entry", lambda: multi._run_table_by_ctypes)
    assert updates.run(update, other, VALUES, updates.Memory())
    for a, b in zip(direct, other):
        np.testing.assert_array_equal(a, b)


def test_rows_that_share_memory_are_updated_one_after_another() -> None:
    update = updates.update_of(rule, 1, 4)
    once = rows(np.dtype(np.float32), [(100, 400)])
    twice = [a.copy() for a in once]
    assert updates.run(update, once + once, VALUES, updates.Memory())
    for _ in range(2):
        assert updates.run(update, twice, VALUES)
    for a, b in zip(once, twice):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("order", ["C", "F"])
def test_complex_parameters_are_two_real_ones(order: str) -> None:
    def descend(o: updates.Writer, s: None, p: updates.Value, g: updates.Value) -> dict:
        return {p: o.add_scaled(p, g, "rate")}

    update = updates.update_of(descend, None, 2)
    rng = np.random.default_rng(1)
    p, g = (np.asarray(rng.standard_normal((6, 5)) + 1j * rng.standard_normal((6, 5)), order=order)
            for _ in range(2))
    expected = p - 0.3 * g
    assert updates.run(update, [p, g], VALUES)
    np.testing.assert_allclose(p, expected, rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_types_round_after_every_operator_or_once(dtype: type) -> None:
    def twice(o: updates.Writer, s: None, p: updates.Value) -> dict:
        return {p: o.plain("sub", o.plain("add", p, "big"), "big")}

    p = np.array([1.001, 0.3], dtype)
    values = {"big": 100.0}
    stepwise, once = p.copy(), p.copy()
    assert updates.run(updates.update_of(twice, None, 1), [stepwise], values)
    assert updates.run(updates.update_of(twice, None, 1, rounds=False), [once], values)
    wide = p.astype(np.float32)
    rounded = (wide + np.float32(100)).astype(dtype).astype(np.float32) - np.float32(100)
    np.testing.assert_array_equal(stepwise, rounded.astype(dtype))
    np.testing.assert_array_equal(once, (wide + np.float32(100) - np.float32(100)).astype(dtype))


@pytest.mark.parametrize("rounds", [True, False])
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_kernels_for_half_types_give_the_bits_of_numpy(dtype: type, rounds: bool) -> None:
    def adam(o: updates.Writer, s: None, p: updates.Value, g: updates.Value,
             m: updates.Value) -> dict:
        average = o.lerp(m, g, "weight", near=True)
        bound = o.plain("add", o.plain("sqrt", o.plain("mul", g, g)), 1e-3)
        kept = o.select(o.compare("gt", g, 0.0), o.detached(average), m)
        return {p: o.add_quotient(p, average, bound, "rate"), m: kept}

    update = updates.update_of(adam, None, 3, rounds)
    rng = np.random.default_rng(3)
    arrays = [rng.standard_normal(n).astype(dtype) for n in (40_000, 77) for _ in range(3)]
    arrays[0][:5] = [np.nan, np.inf, -np.inf, 1e-7, -0.0]
    expected = [a.copy() for a in arrays]
    values = {"weight": 0.3, "rate": -0.01}
    scalars = [np.float32(values[name]) for name in update.scalars]
    with np.errstate(all="ignore"):
        for at in (0, 3):
            update.calculate(expected[at:at + 3], scalars)
        assert updates.run(update, arrays, values)
    for found, want in zip(arrays, expected, strict=True):
        found, want = found.astype(np.float32), want.astype(np.float32)
        np.testing.assert_array_equal(found, want)
        same_sign = np.signbit(found) == np.signbit(want)
        assert (same_sign | np.isnan(want)).all()


@pytest.mark.parametrize("arrays", [
    [1, 2, 3, 4],
    [np.ones(3, np.float32), np.ones(3), np.ones(3, np.float32), np.ones(3, np.float32)],
    [np.ones(3), np.ones(4), np.ones(3), np.ones(3)],
    [np.ones(3, np.int64)] * 4,
])
def test_what_cannot_be_updated_is_left_alone(arrays: list) -> None:
    before = [np.array(a) for a in arrays]
    assert not updates.run(updates.update_of(rule, 1, 4), arrays, VALUES)
    for a, b in zip(arrays, before):
        np.testing.assert_array_equal(a, b)


def test_fused_rounds_once() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((2, 200))
    z = -x * y * (1 + rng.integers(-2, 3, 200) * 2.0**-52)
    exact = [float(Fraction(a) * Fraction(b) + Fraction(c)) for a, b, c in zip(x, y, z)]
    np.testing.assert_array_equal(libm.fused(x, y, z), exact)
    a, b, c = (t.astype(np.float32) for t in (x, y, z))
    wide = a.astype(np.float64) * b + c
    np.testing.assert_array_equal(updates.fma(a, b, c), wide.astype(np.float32))
