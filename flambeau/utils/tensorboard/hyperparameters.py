"""The three summaries by which TensorBoard's hparams plugin knows a run."""

from __future__ import annotations

from typing import Any

from google.protobuf import struct_pb2
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import (
    DataType,
    Experiment,
    HParamInfo,
    MetricInfo,
    MetricName,
    Status,
)
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)

from flambeau.core.tensor import Tensor
from flambeau.utils.tensorboard.arrays import as_array

__all__ = ["hparams"]


def hparams(values: dict, metrics: dict, domains: dict | None = None) -> tuple[Any, Any, Any]:
    """The experiment, the start and the end of a session with these hyperparameters.

    ``domains`` lists, per name, the values that a hyperparameter may have. TypeError for what is
    no dict or no list of the right type, ValueError for a value that is no number, text or tensor.
    """
    domains = domains or {}
    _check(values, metrics, domains)
    session = SessionStartInfo()
    infos = []
    for name, value in values.items():
        if value is None:
            continue
        if isinstance(value, Tensor):
            value = float(as_array(value).reshape(-1)[0])
        # Bools are numbers here, as in PyTorch.
        if isinstance(value, (int, float)):
            session.hparams[name].number_value = value
            kind, field = "DATA_TYPE_FLOAT64", "number_value"
        elif isinstance(value, str):
            session.hparams[name].string_value = value
            kind, field = "DATA_TYPE_STRING", "string_value"
        else:
            raise ValueError("value should be one of int, float, str, bool, or torch.Tensor")
        infos.append(HParamInfo(name=name, type=DataType.Value(kind),
                                domain_discrete=_domain(domains.get(name), field)))
    experiment = Experiment(hparam_infos=infos, metric_infos=[
        MetricInfo(name=MetricName(tag=name)) for name in metrics])
    end = SessionEndInfo(status=Status.Value("STATUS_SUCCESS"))
    return (_summary(metadata.EXPERIMENT_TAG, experiment=experiment),
            _summary(metadata.SESSION_START_INFO_TAG, session_start_info=session),
            _summary(metadata.SESSION_END_INFO_TAG, session_end_info=end))


def _check(values: Any, metrics: Any, domains: Any) -> None:
    for name, given in (("hparam_dict", values), ("metric_dict", metrics),
                        ("hparam_domain_discrete", domains)):
        if not isinstance(given, dict):
            raise TypeError(f"parameter: {name} should be a dictionary, nothing logged.")
    for name, allowed in domains.items():
        if (name not in values or not isinstance(allowed, list)
                or not all(isinstance(x, type(values[name])) for x in allowed)):
            raise TypeError(f"parameter: hparam_domain_discrete[{name}] should be a list of same "
                            f"type as hparam_dict[{name}].")


def _domain(allowed: list | None, field: str) -> Any:
    if allowed is None:
        return None
    return struct_pb2.ListValue(values=[struct_pb2.Value(**{field: x}) for x in allowed])


def _summary(tag: str, **content: Any) -> Any:
    held = HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **content)
    return Summary(value=[Summary.Value(tag=tag, metadata=SummaryMetadata(
        plugin_data=SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME,
                                               content=held.SerializeToString())))])
