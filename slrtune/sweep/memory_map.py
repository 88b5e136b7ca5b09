"""Predicted memory on a grid: micro-batch size by chunk size by depth, for each model family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from slrtune.config.errors import ConfigError
from slrtune.config.search_space import SearchSpace, value_at
from slrtune.config.validate import experiment_from_dict, with_params
from slrtune.sweep.forecast import Predictor

_MICRO_BATCHES = (1, 2, 4, 8, 16, 32)
_CHUNK_KEYS = {
    "cnn_transformer": "model.cnn_transformer.frame_chunk_size",
    "timesformer": "model.timesformer.attention_chunk_size",
    "dense_vit": "model.dense_vit.frame_chunk_size",
}
_MAX_CHUNKS = 4
_MAX_DEPTHS = 3


@dataclass(frozen=True)
class MemoryMap:
    """Predicted peak memory in training of one model family.

    Attributes:
        family: model name.
        chunk_key: the setting on the vertical axis.
        micro_batches: clips per forward-backward.
        chunks: chunk sizes; None = all at once.
        depths: blocks of the transformer.
        peak_gib: by (depth, chunk, micro-batch); None where the settings do not go together.
    """

    family: str
    chunk_key: str
    micro_batches: tuple[int, ...]
    chunks: tuple[int | None, ...]
    depths: tuple[int, ...]
    peak_gib: tuple[tuple[tuple[float | None, ...], ...], ...]


def map_memory(
    space: SearchSpace,
    predictor: Predictor,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[MemoryMap]:
    """A map for each model family that the space can draw; other settings as in its base."""
    families = _values(space, "model.name")
    axes = {family: _axes(space, family) for family in families}
    total = sum(len(chunks) * len(depths) * len(_MICRO_BATCHES) for chunks, depths in axes.values())
    done = 0

    def peak(params: dict[str, Any]) -> float | None:
        nonlocal done
        done += 1
        on_progress(done, total)
        try:
            experiment = experiment_from_dict(with_params(space.base, params), space.name)
        except ConfigError:
            return None
        return predictor.predict(experiment).train_peak_gib

    workers = space.base.resources.workers_per_trial
    return [
        MemoryMap(
            family,
            _CHUNK_KEYS[family],
            _MICRO_BATCHES,
            chunks,
            depths,
            tuple(
                tuple(
                    tuple(
                        peak(
                            {
                                "model.name": family,
                                f"model.{family}.depth": depth,
                                _CHUNK_KEYS[family]: chunk,
                                "training.batch_size": micro * workers,
                                "training.micro_batch_size": micro,
                            }
                        )
                        for micro in _MICRO_BATCHES
                    )
                    for chunk in chunks
                )
                for depth in depths
            ),
        )
        for family, (chunks, depths) in axes.items()
    ]


def _axes(space: SearchSpace, family: str) -> tuple[tuple[int | None, ...], tuple[int, ...]]:
    chunks = _thinned(_values(space, _CHUNK_KEYS[family]), _MAX_CHUNKS)
    depths = _thinned(_values(space, f"model.{family}.depth"), _MAX_DEPTHS)
    return tuple(chunks), tuple(depths)


def _values(space: SearchSpace, key: str) -> list[Any]:
    """All values that the space can draw for a whole-number or choice key, small ones first."""
    searched = next((p for p in space.parameters if p.key == key), None)
    if searched is None:
        return [value_at(space.base, key)]
    if searched.choices is not None:
        return sorted(searched.choices, key=lambda value: (value is None, value))
    low, high = searched.extremes()
    return list(range(int(low), int(high) + 1, int(searched.step or 1)))


def _thinned(values: Sequence[Any], count: int) -> list[Any]:
    """At most ``count`` of the values, evenly, with the first and the last."""
    if len(values) <= count:
        return list(values)
    return [values[round(i * (len(values) - 1) / (count - 1))] for i in range(count)]
