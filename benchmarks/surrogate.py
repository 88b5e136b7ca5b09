"""A surrogate of training sign language models on one 8 GiB GPU: learning curves and peak memory.

Nothing here was trained. It is a fixed, plausible stand-in that costs microseconds, for comparing
searchers over many seeds; its constants were set before any searcher was run on it, and say:

- accuracy rises with frames, depth and (slightly) batch, with diminishing returns; every model has
  its best learning rate, which grows with the batch (linear scaling) and falls with depth; dropout,
  weight decay and label smoothing matter a little; a learning rate far too high learns nothing;
- an epoch's accuracy approaches that limit exponentially, larger models more slowly, with noise
  that is a function of configuration and epoch alone;
- memory is weights, optimizer state and activations. These grow with batch, frames and depth, and
  shrink with smaller chunks and with activation checkpointing, which cost time and no accuracy;
- so the best configurations lie at the edge of what fits, and more than half of the space does not.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slrtune.config.experiment import Experiment
from slrtune.config.search_space import Parameter, SearchSpace
from slrtune.config.validate import experiment_from_dict

GPU_GIB = 8.0
MAX_EPOCHS = 27
_CONTEXT_GIB = 0.5
# A real predictor is off by some percent (benchmarks/results has ours).
_PREDICTION_ERROR = 0.03

_CNN, _VIT = "cnn_transformer", "timesformer"


def search_space() -> SearchSpace:
    """11 parameters, 6 or 7 of them at a time: two model families with their own."""
    base = experiment_from_dict({"training": {"max_epochs": MAX_EPOCHS}}, "surrogate")
    cnn, vit = (("model.name", (_CNN,)),), (("model.name", (_VIT,)),)
    parameters = (
        Parameter("model.name", choices=(_CNN, _VIT)),
        Parameter("training.batch_size", choices=(8, 16, 32, 64)),
        Parameter("data.num_frames", choices=(8, 16, 32)),
        Parameter("training.learning_rate", low=1e-5, high=1e-2, log=True),
        Parameter("training.weight_decay", low=1e-3, high=0.3, log=True),
        Parameter("training.label_smoothing", low=0.0, high=0.2, step=0.05),
        Parameter("model.cnn_transformer.depth", low=1, high=8, when=cnn),
        Parameter("model.cnn_transformer.frame_chunk_size", choices=(16, 64, 256), when=cnn),
        Parameter("model.cnn_transformer.dropout", low=0.0, high=0.4, step=0.1, when=cnn),
        Parameter("model.timesformer.depth", low=2, high=12, step=2, when=vit),
        Parameter("model.timesformer.activation_checkpointing", choices=(False, True), when=vit),
    )
    return SearchSpace("surrogate", base, parameters)


@dataclass(frozen=True)
class Truth:
    """What a configuration does.

    Attributes:
        memory_gib: training peak.
        inference_gib: inference peak.
        epoch_s: seconds per epoch.
        limit: accuracy that training approaches.
        time_constant: epochs to 63 % of it.
        key: names the configuration.
    """

    memory_gib: float
    inference_gib: float
    epoch_s: float
    limit: float
    time_constant: float
    key: str

    def accuracy(self, epoch: int) -> float:
        """Validation top-1 after an epoch."""
        learned = self.limit * (1.0 - math.exp(-epoch / self.time_constant))
        return min(1.0, max(0.01, learned + _noise(f"{self.key} {epoch}", 0.006)))

    @property
    def predicted_gib(self) -> float:
        """What a predictor would say."""
        return self.memory_gib * (1.0 + _noise(f"{self.key} predicted", _PREDICTION_ERROR))


def truth_of(params: Mapping[str, Any]) -> Truth:
    """Look a configuration up."""
    is_cnn = params["model.name"] == _CNN
    batch, frames = params["training.batch_size"], params["data.num_frames"]
    clips_frames = batch * frames
    if is_cnn:
        depth = params["model.cnn_transformer.depth"]
        chunk = min(params["model.cnn_transformer.frame_chunk_size"], clips_frames)
        weights_gib = 0.1 + 0.012 * depth
        # The CNN's activations live for one chunk at a time, what leaves it for all frames.
        activations_gib = 0.035 * chunk + 0.004 * clips_frames * (1 + 0.25 * depth)
        epoch_s = (12 + 1.5 * frames + 0.8 * depth) * (1.15 if chunk < 64 else 1)
        best_rate = 8e-4 * (batch / 32) / (1 + 0.08 * depth)
        dropout_loss = 0.05 * abs(params["model.cnn_transformer.dropout"] - 0.2)
        capacity = 1 - math.exp(-depth / 2.5)
        limit = 0.56 + 0.10 * capacity + 0.07 * math.log2(frames / 8) - dropout_loss
        time_constant = 3.0 + 0.3 * depth
    else:
        depth = params["model.timesformer.depth"]
        is_checkpointed = params["model.timesformer.activation_checkpointing"]
        weights_gib = 0.05 + 0.16 * depth
        per_block = 0.0015 if is_checkpointed else 0.008
        activations_gib = clips_frames * per_block * depth + 0.003 * clips_frames
        epoch_s = (10 + 1.2 * frames * depth / 4) * (1.35 if is_checkpointed else 1.0)
        best_rate = 2e-4 * (batch / 32) / (1 + 0.05 * depth)
        capacity = 1 - math.exp(-depth / 5)
        limit = 0.50 + 0.22 * capacity + 0.075 * math.log2(frames / 8)
        time_constant = 4.0 + 0.35 * depth
    decades_off = math.log10(params["training.learning_rate"] / best_rate)
    limit -= 0.12 * decades_off**2 if decades_off < 0.6 else 0.12 * 0.36 + 0.6 * (decades_off - 0.6)
    limit -= 0.02 * abs(math.log10(params["training.weight_decay"] / 0.05))
    limit -= 0.15 * abs(params["training.label_smoothing"] - 0.1)
    limit += 0.008 * math.log2(batch / 8)
    return Truth(
        memory_gib=_CONTEXT_GIB + 4 * weights_gib + activations_gib,
        inference_gib=_CONTEXT_GIB + weights_gib + 0.1 * activations_gib,
        epoch_s=epoch_s,
        limit=max(0.02, limit),
        # a small learning rate also takes longer
        time_constant=time_constant * (1 + max(0.0, -decades_off)),
        key=json.dumps(dict(params), sort_keys=True),
    )


@dataclass(frozen=True)
class _Predicted:
    train_peak_gib: float
    inference_peak_gib: float


class SurrogatePredictor:
    """Predicts the surrogate's memory, as wrongly as a real one."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space

    def predict(self, experiment: Experiment) -> _Predicted:
        """The memory of a configuration of the space."""
        params: dict[str, Any] = {}
        for parameter in self._space.parameters:
            if self._space.is_drawn(parameter, params):
                value: Any = experiment
                for part in parameter.key.split("."):
                    value = getattr(value, part)
                params[parameter.key] = value
        truth = truth_of(params)
        return _Predicted(truth.predicted_gib, truth.inference_gib)


def _noise(key: str, deviation: float) -> float:
    seed = hashlib.sha256(key.encode()).digest()
    return random.Random(seed).gauss(0.0, deviation)
