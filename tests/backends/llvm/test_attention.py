"""Attention kernels against float64: odd sizes, masks, causality, queries that see nothing."""

import functools

import numpy as np
import pytest

import flambeau as torch
from flambeau.backends import attention_kernels, large, threads

SHAPES = [(2, 3, 5, 7, 4, 4), (1, 2, 128, 128, 32, 32), (2, 2, 50, 70, 33, 17),
          (1, 1, 1, 1, 1, 1), (1, 3, 100, 30, 16, 24), (2, 2, 30, 100, 9, 8)]
MASKS = {
    "none": lambda rng, b, h, n, s: None,
    "causal": lambda rng, b, h, n, s: None,
    "boolean": lambda rng, b, h, n, s: rng.random((n, s)) > 0.3,
    "added": lambda rng, b, h, n, s: rng.normal(size=(b, h, n, s)),
    "of items": lambda rng, b, h, n, s: rng.normal(size=(b, 1, n, s)),
    "of heads": lambda rng, b, h, n, s: rng.normal(size=(1, h, 1, s)),
}


@pytest.fixture(autouse=True)
def always_kernels(monkeypatch):
    monkeypatch.setattr(attention_kernels, "MIN_WORK", 0)


def weights_of(q, k, mask, scale, causal):
    scores = q @ k.swapaxes(-1, -2) * scale
    if mask is not None:
        scores = scores + (np.where(mask, 0, -np.inf) if mask.dtype == bool else mask)
    if causal:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
    peak = scores.max(-1, keepdims=True)
    powers = np.exp(scores - np.where(peak == -np.inf, 0, peak))
    total = powers.sum(-1, keepdims=True)
    return powers / np.where(total == 0, 1, total)


def reference(g, q, k, v, mask, scale, causal):
    p = weights_of(q, k, mask, scale, causal)
    products = g @ v.swapaxes(-1, -2)
    slopes = p * (products - (p * products).sum(-1, keepdims=True)) * scale
    turned = slopes.swapaxes(-1, -2)
    return p @ v, slopes @ k, turned @ q, p.swapaxes(-1, -2) @ g


def operands(shape, dtype):
    b, h, n, s, e, w = shape
    rng = np.random.default_rng(0)
    sizes = [(b, h, n, w), (b, h, n, e), (b, h, s, e), (b, h, s, w)]
    return [rng.normal(size=size).astype(dtype) for size in sizes]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_against_float64(shape, name, dtype):
    arrays = operands(shape, dtype)
    mask = MASKS[name](np.random.default_rng(1), *shape[:4])
    causal = name == "causal"
    wide = [a.astype("f8") for a in arrays]
    wants = reference(*wide, mask, 0.3, causal)
    if mask is not None and mask.dtype != bool:
        mask = mask.astype(dtype)
    found = [attention_kernels.attend(*arrays[1:], mask, 0.3, causal),
             *attention_kernels.gradients(*arrays, mask, 0.3, causal)]
    for array, want in zip(found, wants):
        assert array.dtype == dtype and array.shape == want.shape
        scale = max(1, np.abs(want).max())
        assert np.abs(array - want).max() <= (2e-5 if dtype == "f4" else 1e-12) * scale


def test_a_query_that_sees_no_key_gives_zeros():
    g, q, k, v = operands((1, 2, 30, 20, 8, 8), "f4")
    mask = np.ones((30, 20), bool)
    mask[3] = False
    assert not attention_kernels.attend(q, k, v, mask, 1.0, False)[..., 3, :].any()
    grads = attention_kernels.gradients(g, q, k, v, mask, 1.0, False)
    assert all(np.isfinite(a).all() for a in grads) and not grads[0][..., 3, :].any()


def test_scores_too_large_for_exp():
    g, q, k, v = operands((1, 1, 40, 40, 8, 8), "f4")
    want = reference(*[a.astype("f8") for a in (g, q, k, v)], None, 500.0, False)[0]
    found = attention_kernels.attend(q, k, v, None, 500.0, False)
    np.testing.assert_allclose(found, want, rtol=1e-2, atol=1e-2)


def test_nan_stays_in_its_head():
    g, q, k, v = operands((1, 3, 40, 40, 8, 8), "f4")
    q[0, 1, 7, 2] = np.nan
    missing = np.isnan(attention_kernels.attend(q, k, v, None, 1.0, False))
    assert missing[0, 1, 7].all() and missing.sum() == 8


def layouts(arrays):
    """The same numbers in other strides: heads after rows, parts of wider rows, reversed, gaps."""
    turned = [np.ascontiguousarray(a.swapaxes(1, 2)).swapaxes(1, 2) for a in arrays]
    wide = [np.concatenate([a, a, a], -1)[..., a.shape[-1]:2 * a.shape[-1]] for a in arrays]
    back = [np.ascontiguousarray(a[:, ::-1, ::-1])[:, ::-1, ::-1] for a in arrays]
    inside = [np.ascontiguousarray(a.swapaxes(2, 3)).swapaxes(2, 3) for a in arrays]
    return {"turned": turned, "wide": wide, "back": back, "inside": inside}


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("name", ["turned", "wide", "back", "inside"])
def test_strides_change_nothing(name, causal):
    arrays = operands((2, 3, 37, 41, 9, 20), "f4")
    other = layouts(arrays)[name]
    for found, want in zip(
            [attention_kernels.attend(*other[1:], None, 0.3, causal),
             *attention_kernels.gradients(*other, None, 0.3, causal)],
            [attention_kernels.attend(*arrays[1:], None, 0.3, causal),
             *attention_kernels.gradients(*arrays, None, 0.3, causal)]):
        np.testing.assert_array_equal(found, want)


def test_heads_that_share_keys_and_values():
    g, q, k, v = operands((2, 4, 40, 40, 16, 16), "f4")
    shared = [np.broadcast_to(a[:, :1], a.shape) for a in (k, v)]
    dense = [a.copy() for a in shared]
    for found, want in zip(
            [attention_kernels.attend(q, *shared, None, 0.3, True),
             *attention_kernels.gradients(g, q, *shared, None, 0.3, True)],
            [attention_kernels.attend(q, *dense, None, 0.3, True),
             *attention_kernels.gradients(g, q, *dense, None, 0.3, True)]):
        np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("heads", [1, 6])
def test_results_do_not_depend_on_the_number_of_threads(heads):
    arrays = operands((1, heads, 100, 90, 16, 16), "f4")
    before, founds = threads.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            threads.set_num_threads(count)
            founds.append([attention_kernels.attend(*arrays[1:], None, 0.3, True),
                           *attention_kernels.gradients(*arrays, None, 0.3, True)])
    finally:
        threads.set_num_threads(before)
    for found in founds[1:]:
        for array, first in zip(found, founds[0]):
            np.testing.assert_array_equal(array, first)


def test_what_is_not_covered_is_none(monkeypatch):
    _, q, k, v = operands((1, 2, 30, 20, 8, 8), "f4")
    cases = [(q[0], k[0], v[0], None), (q, k.astype("f8"), v, None), (q[:, :1], k, v, None),
             (q, k, v, np.ones((1, 30, 20))), (q.astype("c8"), k, v, None),
             (q, k, v, np.ones((30, 20), "i4")), (q, k[:, :, :0], v[:, :, :0], None)]
    for case in cases:
        assert attention_kernels.attend(*case, 1.0, False) is None
    monkeypatch.setattr(large, "load", functools.cache(lambda: None))
    assert attention_kernels.attend(q, k, v, None, 1.0, False) is None


@pytest.mark.parametrize("causal", [True, False])
def test_eager_attention_is_the_same_without_kernels(causal, monkeypatch):
    arrays = operands((2, 3, 40, 40, 16, 16), "f8")
    founds = []
    for load in (large.load, functools.cache(lambda: None)):
        monkeypatch.setattr(large, "load", load)
        q, k, v = (torch.tensor(a.swapaxes(1, 2)).transpose(1, 2).requires_grad_()
                   for a in arrays[1:])
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
        out.backward(torch.tensor(arrays[0]))
        founds.append([out.detach().numpy(), *[t.grad.numpy() for t in (q, k, v)]])
    for array, want in zip(*founds):
        np.testing.assert_allclose(array, want, rtol=1e-9, atol=1e-11)
