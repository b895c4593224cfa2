"""Operators that few programs use: a file of theirs is imported when a name in it is asked for."""

from __future__ import annotations

from flambeau.core.face import show_later

__all__ = ["FILES"]

TORCH, TENSOR, LINALG = ("torch",), ("Tensor",), ("linalg",)
FFT, WINDOWS = ("fft",), ("signal.windows",)
NN, SPECIAL = ("nn.functional",), ("special",)
BOTH, ALL = ("torch", "Tensor"), ("torch", "Tensor", "linalg")
TORCH_NN, BOTH_NN = ("torch", "nn.functional"), ("torch", "Tensor", "nn.functional")
BOTH_SPECIAL = ("torch", "Tensor", "special")
EVERYWHERE = ("torch", "Tensor", "nn.functional", "special")
AUTOCAST = ("autocast autocast_decrement_nesting autocast_increment_nesting clear_autocast_cache "
            "get_autocast_cpu_dtype get_autocast_dtype get_autocast_gpu_dtype "
            "is_autocast_cache_enabled is_autocast_cpu_enabled is_autocast_enabled "
            "set_autocast_cache_enabled set_autocast_cpu_dtype set_autocast_cpu_enabled "
            "set_autocast_dtype set_autocast_enabled set_autocast_gpu_dtype")
STORAGES = ("BFloat16Storage BoolStorage ByteStorage CharStorage ComplexDoubleStorage "
            "ComplexFloatStorage DoubleStorage FloatStorage HalfStorage IntStorage LongStorage "
            "ShortStorage")
SPARSE = ("ccol_indices_copy col_indices_copy crow_indices_copy indices_copy row_indices_copy "
          "sparse_bsc_tensor sparse_bsr_tensor sparse_compressed_tensor sparse_coo_tensor "
          "sparse_csc_tensor sparse_csr_tensor values_copy")
SPARSE_PARTS = ("_coalesced_ _dimI _dimV _indices _nnz _values ccol_indices coalesce col_indices "
                "crow_indices dense_dim indices is_coalesced row_indices sparse_dim sparse_mask "
                "sparse_resize_ sparse_resize_and_clear_ to_dense to_sparse to_sparse_bsc "
                "to_sparse_bsr to_sparse_coo to_sparse_csc to_sparse_csr values")
# Per file of this folder (or module elsewhere): the names it shows, and where.
FILES: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "activation": (
        ("prelu relu relu_", BOTH_NN),
        ("celu celu_ selu selu_ threshold threshold_", TORCH_NN),
        ("elu elu_ gelu leaky_relu leaky_relu_ logsigmoid mish silu softplus", NN),
        ("softsign tanhshrink", NN)),
    "adaptive_pool": (
        ("adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d_with_indices", NN),
        ("adaptive_max_pool2d adaptive_max_pool2d_with_indices adaptive_max_pool3d", NN),
        ("adaptive_max_pool3d_with_indices fractional_max_pool2d", NN),
        ("fractional_max_pool2d_with_indices fractional_max_pool3d", NN),
        ("fractional_max_pool3d_with_indices lp_pool1d lp_pool2d lp_pool3d max_unpool1d", NN),
        ("max_unpool2d max_unpool3d", NN), ("adaptive_avg_pool1d adaptive_max_pool1d", TORCH_NN)),
    "attention": (("scaled_dot_product_attention", NN),),
    "blends": (("addcdiv addcmul lerp", BOTH), ("addcdiv_ addcmul_ lerp_", TENSOR)),
    "by_element": (("apply_ fill_diagonal_ map2_ map_", TENSOR),),
    "cholesky": (("cholesky", ALL), ("cholesky_inverse cholesky_solve", BOTH),
                 ("cholesky_ex", LINALG)),
    "class_loss": (("cross_entropy multi_margin_loss multilabel_soft_margin_loss nll_loss", NN),),
    "contract": (("cdist einsum", TORCH), ("bilinear", TORCH_NN)),
    "conv": (
        ("conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d", TORCH_NN),
        ("conv_transpose3d", TORCH_NN), ("convolution", TORCH)),
    "ctc": (("ctc_loss", TORCH_NN),),
    "deviation": (
        ("dist norm renorm std trace var", BOTH), ("std_mean var_mean", TORCH),
        ("logsumexp", BOTH_SPECIAL), ("vector_norm", LINALG), ("renorm_", TENSOR)),
    "distance": (("cosine_similarity pairwise_distance pdist", TORCH_NN),),
    "dropout": (
        ("alpha_dropout dropout feature_alpha_dropout", TORCH_NN),
        ("alpha_dropout_ dropout_ feature_alpha_dropout_ feature_dropout", TORCH),
        ("feature_dropout_ native_dropout", TORCH), ("dropout1d dropout2d dropout3d", NN)),
    "eigen": (("eig eigh eigvals eigvalsh", LINALG),),
    "embedding": (("embedding", TORCH_NN), ("embedding_bag one_hot", NN)),
    "facts": (
        ("get_device is_distributed is_inference is_nonzero is_signed result_type", TORCH),
        ("addmv_ as_strided_ detach_ square_ xlogy_", TORCH), ("is_same_size", BOTH),
        ("__delitem__ __idiv__ __long__ __nonzero__ as_subclass const_data_ptr cuda", TENSOR),
        ("_make_subclass", TENSOR),
        ("dim_order is_nonzero is_pinned is_set_to module_load pin_memory", TENSOR)),
    "fft": (("fft fft2 fftfreq fftn fftshift hfft hfft2 hfftn ifft ifft2 ifftn ifftshift", FFT),
            ("ihfft ihfft2 ihfftn irfft irfft2 irfftn rfft rfft2 rfftfreq rfftn", FFT)),
    "files": (("from_file", TORCH),),
    "flambeau.accelerator.streams": (("AcceleratorError Event OutOfMemoryError Stream", TORCH),),
    "flambeau.amp.autocast_mode": ((AUTOCAST, TORCH),),
    "flambeau.amp.grad_scaler": (("GradScaler", TORCH),),
    "flambeau.compiler.entry": (("compile", TORCH),),
    "flambeau.ops.sparse": (
        (SPARSE, TORCH), (SPARSE_PARTS, TENSOR), ("resize_as_sparse_", BOTH),
        ("_embedding _embedding_bag _gather", ("sparse",))),
    "flambeau.serialization": (("load save", TORCH),),
    "flambeau.storage": (("is_storage TypedStorage", TORCH), (STORAGES, TORCH),
                         ("storage", TENSOR)),
    "hash": (("hash_tensor", BOTH),),
    "heads": (("multi_head_attention_forward", NN),),
    "histogram": (("histogram", BOTH), ("histogramdd", TORCH)),
    "ldl": (("ldl_factor ldl_factor_ex ldl_solve", LINALG),),
    "linalg": (("det slogdet", ALL), ("logdet inverse", BOTH),
               ("LinAlgError inv inv_ex solve solve_ex", LINALG)),
    "linear_loss": (("linear_cross_entropy", NN),),
    "lobpcg": (("lobpcg", TORCH),),
    "local_norm": (("local_response_norm normalize", NN),),
    "loss": (
        ("binary_cross_entropy binary_cross_entropy_with_logits gaussian_nll_loss", NN),
        ("huber_loss l1_loss mse_loss smooth_l1_loss soft_margin_loss", NN),
        ("kl_div poisson_nll_loss", TORCH_NN)),
    "lowrank": (("pca_lowrank svd_lowrank", TORCH),),
    "lstsq": (("lstsq", LINALG),),
    "lu": (("lu lu_solve", ALL), ("lu_unpack", TORCH), ("lu_factor lu_factor_ex", LINALG)),
    "matrix_functions": (("matrix_exp matrix_power", ALL), ("diagonal vander vecdot", LINALG)),
    "matrix_norms": (("cond matrix_norm norm", LINALG),),
    "norm": (
        ("native_batch_norm native_group_norm native_layer_norm", TORCH),
        ("batch_norm group_norm instance_norm layer_norm", TORCH_NN)),
    "old_names": (
        ("frobenius_norm nuclear_norm set_default_tensor_type to_dlpack vander", TORCH),),
    "pair_loss": (
        ("cosine_embedding_loss hinge_embedding_loss margin_ranking_loss", TORCH_NN),
        ("triplet_margin_loss", TORCH_NN),
        ("multilabel_margin_loss triplet_margin_with_distance_loss", NN)),
    "part_scatter": (("as_strided_scatter diagonal_scatter select_scatter slice_scatter", BOTH),),
    "patches": (
        ("channel_shuffle native_channel_shuffle pixel_shuffle pixel_unshuffle", TORCH_NN),
        ("fold pad unfold", NN), ("constant_pad_nd", TORCH)),
    "piecewise": (
        ("glu hardsigmoid hardswish hardtanh hardtanh_ relu6 softshrink", NN),
        ("hardshrink", BOTH_NN), ("rrelu rrelu_", TORCH_NN)),
    "polynomials": (
        ("chebyshev_polynomial_t chebyshev_polynomial_u chebyshev_polynomial_v", SPECIAL),
        ("chebyshev_polynomial_w hermite_polynomial_h hermite_polynomial_he", SPECIAL),
        ("laguerre_polynomial_l legendre_polynomial_p shifted_chebyshev_polynomial_t", SPECIAL),
        ("shifted_chebyshev_polynomial_u shifted_chebyshev_polynomial_v", SPECIAL),
        ("shifted_chebyshev_polynomial_w", SPECIAL)),
    "pool": (
        ("avg_pool1d max_pool1d max_pool1d_with_indices max_pool2d max_pool3d", TORCH_NN),
        ("avg_pool2d avg_pool3d max_pool2d_with_indices max_pool3d_with_indices", NN)),
    "product": (
        ("addbmm addmm addmv addr baddbmm inner kron", BOTH),
        ("addbmm_ addmm_ addmv_ addr_ baddbmm_", TENSOR), ("chain_matmul tensordot", TORCH),
        ("cross", ALL), ("multi_dot", LINALG)),
    "qr": (("qr", ALL), ("geqrf orgqr ormqr", BOTH), ("householder_product", LINALG)),
    "recurrent_stack": (
        ("gru gru_cell lstm lstm_cell rnn_relu rnn_relu_cell rnn_tanh rnn_tanh_cell", TORCH),),
    "resize": (
        ("affine_grid grid_sample interpolate upsample upsample_bilinear", NN),
        ("upsample_nearest", NN),
        ("affine_grid_generator grid_sampler grid_sampler_2d grid_sampler_3d", TORCH)),
    "rms_norm": (("rms_norm", TORCH_NN),),
    "sampling": (
        ("bernoulli multinomial", BOTH),
        ("_dirichlet_grad _sample_dirichlet _standard_gamma _standard_gamma_grad", TORCH),
        ("binomial normal poisson", TORCH)),
    "scan": (
        ("cummax cummin cumprod cumsum diff logcumsumexp", BOTH), ("cumprod_ cumsum_", TENSOR),
        ("cumulative_trapezoid gradient trapezoid trapz", TORCH)),
    "scatter": (
        ("index_add index_copy index_fill index_reduce scatter scatter_add", BOTH),
        ("scatter_reduce", BOTH),
        ("index_add_ index_copy_ index_fill_ index_reduce_ scatter_ scatter_add_", TENSOR),
        ("scatter_reduce_", TENSOR)),
    "search": (
        ("bincount corrcoef cov histc unique unique_consecutive", BOTH),
        ("bucketize isin searchsorted", TORCH)),
    "segments": (("segment_reduce _segment_reduce", TORCH),),
    "sharing": (("is_shared share_memory_", TENSOR),),
    "softmax": (("log_softmax softmax", EVERYWHERE), ("gumbel_softmax softmin", NN)),
    "solvers": (("triangular_solve", BOTH), ("solve_triangular tensorinv tensorsolve", LINALG)),
    "sort": (
        ("argsort kthvalue median mode msort nanmedian nanquantile quantile sort topk", BOTH),),
    "special": (
        ("digamma erf erfc erfinv i0 polygamma xlogy", BOTH_SPECIAL),
        ("digamma_ erf_ erfc_ erfinv_ i0_ igamma igammac lgamma lgamma_ mvlgamma", BOTH),
        ("airy_ai bessel_j0 bessel_j1 bessel_y0 bessel_y1 entr erfcx exp2 expit expm1", SPECIAL),
        ("gammainc gammaincc gammaln i0e i1 i1e log1p log_ndtr modified_bessel_i0", SPECIAL),
        ("modified_bessel_i1 modified_bessel_k0 modified_bessel_k1 multigammaln ndtr", SPECIAL),
        ("ndtri psi scaled_modified_bessel_k0 scaled_modified_bessel_k1 sinc", SPECIAL),
        ("spherical_bessel_j0 xlog1py zeta", SPECIAL),
        ("igamma_ igammac_ mvlgamma_ polygamma_ xlogy_", TENSOR)),
    "spectral": (("svd", ALL), ("pinverse", BOTH),
                 ("matrix_rank pinv svdvals", LINALG)),
    "stft": (("istft stft", BOTH),),
    "view_copies": (
        ("alias_copy as_strided_copy detach_copy diagonal_copy expand_copy permute_copy", TORCH),
        ("select_copy slice_copy split_copy split_with_sizes_copy squeeze_copy t_copy", TORCH),
        ("transpose_copy unbind_copy unfold_copy unsqueeze_copy view_as_complex_copy", TORCH),
        ("view_as_real_copy view_copy", TORCH), ("narrow_copy", BOTH)),
    "weight_norm": (("_weight_norm norm_except_dim", TORCH),),
    "windows": (("bartlett_window blackman_window hamming_window hann_window kaiser_window", TORCH),
                ("bartlett blackman cosine exponential gaussian general_cosine", WINDOWS),
                ("general_hamming hamming hann kaiser nuttall", WINDOWS)),
}

for _file, _shown in FILES.items():
    for _names, _places in _shown:
        show_later(_file if "." in _file else f"{__package__}.{_file}", _names, *_places)
