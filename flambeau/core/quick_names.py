"""Which functions of tensors are called quickly where a program calls them often.

Those whose results depend on the elements of tensors through operators alone, and on the default
dtype: that look at no element, draw no random numbers, and change nothing.
"""

from __future__ import annotations

__all__ = ["QUICK_NAMES"]

_PLAIN = """
abs absolute acos acosh add addcdiv addcmul all amax amin aminmax any asin asinh atan atan2 atanh
bitwise_and bitwise_or bitwise_xor bmm cat ceil clamp clamp_max clamp_min clip clone concat
concatenate cos cosh cumprod cumsum diff div divide dot embedding eq erf erfc exp exp2 expm1 flip
floor floor_divide fmax fmin fmod frac gather ge gt hstack hypot index_add index_copy
index_select isfinite isinf isnan kron le lerp log log10 log1p log2 log_softmax logaddexp
logaddexp2 logcumsumexp logical_and logical_not logical_or logical_xor logsumexp lt masked_fill
matmul max maximum mean min minimum mm mul multiply mv nan_to_num ne neg negative norm outer pow
prelu prod reciprocal relu remainder roll round rsqrt scatter scatter_add selu sigmoid sin sinh
softmax sort sqrt square stack std sub subtract sum take take_along_dim tan tanh tensordot topk
tril triu true_divide trunc var vstack where
"""
_MAKING = """
arange eye full full_like linspace ones ones_like tril_indices triu_indices zeros zeros_like
"""
# By the place that shows them.
QUICK_NAMES: dict[str, frozenset[str]] = {place: frozenset(names.split()) for place, names in {
    "torch": f"{_PLAIN} {_MAKING}",
    "Tensor": f"{_PLAIN} bool double float long new_full new_ones new_zeros to",
    "nn.functional": """
adaptive_avg_pool1d adaptive_avg_pool2d avg_pool1d avg_pool2d binary_cross_entropy_with_logits
celu cosine_similarity cross_entropy elu embedding gelu glu group_norm hardsigmoid hardswish
hardtanh huber_loss interpolate kl_div l1_loss layer_norm leaky_relu linear log_softmax
logsigmoid margin_ranking_loss max_pool1d max_pool2d mish mse_loss nll_loss normalize pad
pairwise_distance prelu relu relu6 rms_norm selu silu smooth_l1_loss softmax softmin softplus
softsign tanhshrink threshold
""",
    "linalg": "norm vector_norm",
}.items()}
