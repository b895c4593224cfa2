"""PyTorch's interface and numbers, in Python, faster on a CPU."""

import numpy as _np

from flambeau.base import dtypes as _dtypes

_np.seterr(all="ignore")

from flambeau import autograd, ops  # noqa: E402
from flambeau.ops import arithmetic, copy, create, reduce, shape  # noqa: E402
from flambeau.core.face import FACES as _FACES  # noqa: E402
from flambeau.core.tensor import Tensor  # noqa: E402

globals().update(_FACES["torch"])
globals().update(_dtypes.BY_NAME)
globals().update(_dtypes.ALIASES)
