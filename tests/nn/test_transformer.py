"""Attention by heads and transformers: masks, warnings, and evaluation with padding."""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import flambeau as fl

X = np.random.default_rng(2).normal(size=(3, 5, 8)).astype(np.float32)
PADDING = np.zeros((3, 5), bool)
PADDING[1, 3:] = True


def both(torch_oracle: ModuleType, run: Any) -> tuple[list, list]:
    """What ``run(torch)`` gives in both packages, as arrays, and what it warns of."""
    found, told = [], []
    for torch in (fl, torch_oracle):
        torch.manual_seed(0)
        # Else what is warned of once a process depends on the tests before.
        torch.set_warn_always(True)
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                results = run(torch)
        finally:
            torch.set_warn_always(False)
        found.append([None if t is None else t.detach().numpy() for t in results])
        told.append([str(w.message) for w in caught if "nested tensors" not in str(w.message)])
    assert told[0] == told[1]
    return found[0], found[1]


def assert_same(pair: tuple[list, list]) -> None:
    for a, b in zip(*pair):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("average", [True, False])
def test_masks(need_weights: bool, average: bool, torch_oracle: ModuleType) -> None:
    def run(torch: Any) -> list:
        m = torch.nn.MultiheadAttention(8, 2, batch_first=True, add_bias_kv=True)
        x, padding = torch.from_numpy(X), torch.from_numpy(PADDING)
        mask = torch.zeros(5, 5)
        mask[0, 1] = -np.inf
        shown = {"need_weights": need_weights, "average_attn_weights": average}
        return [*m(x, x, x, **shown), *m(x, x, x, padding, attn_mask=mask == -np.inf, **shown),
                *m(x, x, x, attn_mask=mask.repeat(6, 1, 1), **shown),
                *m(x, x, x, padding, attn_mask=mask, **shown), *m(x[0], x[0], x[0], **shown),
                *m(x, x, x, attn_mask=mask, is_causal=True, **shown)]

    assert_same(both(torch_oracle, run))


@pytest.mark.parametrize("settings", [{}, {"norm_first": True}, {"activation": "gelu"},
                                      {"batch_first": False}, {"bias": False}])
@pytest.mark.parametrize("training", [True, False])
def test_encoder(settings: dict, training: bool, torch_oracle: ModuleType) -> None:
    """In evaluation padded positions are zeros where PyTorch leaves them out."""
    settings = {"batch_first": True, **settings}

    def run(torch: Any) -> list:
        layer = torch.nn.TransformerEncoderLayer(8, 2, 16, **settings)
        net = torch.nn.TransformerEncoder(layer, 2).train(training)
        x, padding = torch.from_numpy(X), torch.from_numpy(PADDING)
        if not settings["batch_first"]:
            x = x.transpose(0, 1)
        causal = torch.nn.Transformer.generate_square_subsequent_mask(5)
        with torch.set_grad_enabled(training):
            return [net(x), net(x, src_key_padding_mask=padding), net(x, mask=causal),
                    net(x, mask=causal, src_key_padding_mask=padding),
                    net(x, mask=causal, is_causal=True)]

    assert_same(both(torch_oracle, run))


def test_transformer(torch_oracle: ModuleType) -> None:
    def run(torch: Any) -> list:
        net = torch.nn.Transformer(8, 2, 2, 2, 16)
        x = torch.from_numpy(X)
        causal = net.generate_square_subsequent_mask(3)
        padding = torch.from_numpy(np.zeros((5, 3), bool))
        return [net(x, x, tgt_mask=causal), net(x[:, 0], x[:, 0]),
                net(x, x, tgt_mask=causal, tgt_is_causal=True, src_key_padding_mask=padding,
                    memory_key_padding_mask=padding)]

    assert_same(both(torch_oracle, run))


ERRORS = [
    (RuntimeError, "Need attn_mask if specifying the is_causal hint.", {"is_causal": True}),
    (RuntimeError, "The shape of the 2D attn_mask is", {"attn_mask": fl.zeros(3, 4)}),
    (AssertionError, "only bool and floating types of attn_mask are supported",
     {"attn_mask": fl.zeros(5, 5).long()}),
    (AssertionError, "For batched (3-D) `query`, expected `key_padding_mask` to be `None` or 2-D",
     {"key_padding_mask": fl.zeros(3)}),
    (AssertionError, "Expected key_padded_mask.shape[1] to be 5, but got 4",
     {"key_padding_mask": fl.zeros(3, 4)}),
]


@pytest.mark.parametrize(("kind", "text", "arguments"), ERRORS, ids=[t for _, t, _ in ERRORS])
def test_refused(kind: type, text: str, arguments: dict) -> None:
    m = fl.nn.MultiheadAttention(8, 2, batch_first=True)
    x = fl.from_numpy(X)
    with pytest.raises(kind) as caught:
        m(x, x, x, **arguments)
    assert str(caught.value).startswith(text)


def test_masks_of_two_dtypes_warn() -> None:
    m = fl.nn.MultiheadAttention(8, 2, batch_first=True)
    x = fl.from_numpy(X)
    with pytest.warns(UserWarning, match="mismatched key_padding_mask and attn_mask"):
        m(x, x, x, key_padding_mask=fl.from_numpy(PADDING), attn_mask=fl.zeros(5, 5))


def test_default_activation_is_known_where_functions_ask_their_arguments() -> None:
    import flambeau.overrides  # noqa: F401  (from here on public functions ask)

    for layer in (fl.nn.TransformerEncoderLayer(8, 2),
                  fl.nn.TransformerEncoderLayer(8, 2, activation="relu")):
        assert layer.activation_relu_or_gelu == 1
