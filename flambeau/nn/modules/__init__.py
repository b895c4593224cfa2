"""The modules: layers, containers and losses, all of them subclasses of Module."""

# ruff: noqa: F403
from __future__ import annotations

from typing import Any

from flambeau.base.missing import missing_attribute
from flambeau.nn.modules import (
    activation,
    adaptive,
    batchnorm,
    channelshuffle,
    container,
    conv,
    distance,
    dropout,
    flatten,
    fold,
    instancenorm,
    lazy_layers,
    linear,
    loss,
    module,
    normalization,
    padding,
    pixelshuffle,
    pooling,
    rnn,
    sparse,
    transformer,
    upsampling,
)
from flambeau.nn.modules.activation import *
from flambeau.nn.modules.adaptive import *
from flambeau.nn.modules.batchnorm import *
from flambeau.nn.modules.channelshuffle import *
from flambeau.nn.modules.container import *
from flambeau.nn.modules.conv import *
from flambeau.nn.modules.distance import *
from flambeau.nn.modules.dropout import *
from flambeau.nn.modules.flatten import *
from flambeau.nn.modules.fold import *
from flambeau.nn.modules.instancenorm import *
from flambeau.nn.modules.lazy_layers import *
from flambeau.nn.modules.linear import *
from flambeau.nn.modules.loss import *
from flambeau.nn.modules.module import Module
from flambeau.nn.modules.normalization import *
from flambeau.nn.modules.padding import *
from flambeau.nn.modules.pixelshuffle import *
from flambeau.nn.modules.pooling import *
from flambeau.nn.modules.rnn import *
from flambeau.nn.modules.sparse import *
from flambeau.nn.modules.transformer import *
from flambeau.nn.modules.upsampling import *

_FAMILIES = (activation, adaptive, batchnorm, channelshuffle, container, conv, distance, dropout,
             flatten, fold, instancenorm, lazy_layers, linear, loss, normalization, padding,
             pixelshuffle, pooling, rnn, sparse, transformer, upsampling)
__all__ = ["Module", *[name for family in _FAMILIES for name in family.__all__]]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    raise missing_attribute(__name__, name, globals())
