"""Which operators autocast runs in a lower precision, which in float32, and which in the widest.

Names of public functions, wherever they show; those of PyTorch's CPU autocast, and those that are
made of them there.
"""

from __future__ import annotations

__all__ = ["FLOAT32", "LOWER", "LOWER_RESULT", "UNTOUCHED", "WIDEST"]

LOWER = frozenset((
    "__matmul__ __rmatmul__ addbmm addmm baddbmm bmm chain_matmul conv1d conv2d conv3d conv_tbc "
    "conv_transpose1d conv_transpose2d conv_transpose3d linear lstm matmul mm multi_dot prelu "
    "rnn_relu rnn_relu_cell rnn_tanh rnn_tanh_cell scaled_dot_product_attention vecdot").split())

# computed as ever, of results in the lower precision
LOWER_RESULT = frozenset("corrcoef cov pinv".split())

# made of products here, but not in PyTorch
UNTOUCHED = frozenset(("bilinear",))

FLOAT32 = frozenset((
    "adaptive_avg_pool3d adaptive_max_pool3d adaptive_max_pool3d_with_indices avg_pool3d "
    "binary_cross_entropy binary_cross_entropy_with_logits cdist cholesky cholesky_ex "
    "cholesky_inverse cholesky_solve cond cosine_embedding_loss cross_entropy ctc_loss eig "
    "eigh eigvals eigvalsh fft fft2 fftn fractional_max_pool2d "
    "fractional_max_pool2d_with_indices fractional_max_pool3d "
    "fractional_max_pool3d_with_indices geqrf grid_sample grid_sampler grid_sampler_2d "
    "grid_sampler_3d hfft hinge_embedding_loss householder_product huber_loss ifft ifft2 "
    "ifftn ihfft inv inv_ex inverse irfft irfft2 irfftn kl_div l1_loss linear_cross_entropy "
    "lstsq lu lu_solve margin_ranking_loss matrix_rank max_unpool1d max_unpool2d "
    "max_unpool3d mse_loss multi_margin_loss multilabel_margin_loss nanquantile nll_loss "
    "orgqr ormqr pinverse poisson_nll_loss polar prod qr quantile rfft rfft2 rfftn "
    "smooth_l1_loss soft_margin_loss solve stft svd svdvals tensorinv tensorsolve trace "
    "triangular_solve triplet_margin_loss view_as_complex").split())

# as narrow as the widest of their tensors
WIDEST = frozenset("cat concat concatenate index_copy stack".split())
