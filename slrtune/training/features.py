"""Training on the features of a frozen encoder: each frame goes through it once, ever."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, DataLoader

from slrtune.config.errors import UserError
from slrtune.config.experiment import Experiment
from slrtune.data.dataset import ClipDataset, WholeClipDataset
from slrtune.data.feature_cache import (
    FeatureFile,
    FeatureStore,
    feature_file_bytes,
    write_features,
)
from slrtune.data.prepare import disk_errors_explained
from slrtune.data.prepared import PreparedData
from slrtune.data.rendered import cache_dir
from slrtune.data.workers import process_context
from slrtune.models.registry import FrameFeatureModel, VideoModel
from slrtune.training.normalization import frame_layout, normalize_frames
from slrtune.training.precision import Precision, resolve_precision

_VERSION = 1  # raise it when the same settings give other features


class FeatureClassifier(nn.Module):
    """The part of a model behind its frozen encoder, with the parameters of the whole model."""

    def __init__(self, model: FrameFeatureModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, F) features of frames to (B, G) logits."""
        return self.model.classify_features(features)


def cached_features(
    experiment: Experiment, prepared: PreparedData, model: VideoModel, device: torch.device
) -> FeatureFile:
    """The features of all clips to train and to validate on; computed if nobody has before.

    Of every packed frame as validation sees it, so no augmentation of pixels takes part. Several
    workers and trials may call it: one computes, the others wait for it.

    Args:
        model: with the encoder's final weights. Moved to ``device``.

    Raises:
        UserError: the model has no features of single frames, or the disk has no room for them.
    """
    if not isinstance(model, FrameFeatureModel):
        raise UserError(
            f"training.cache_features: {experiment.model.name} has no features of single frames; "
            "set it to false"
        )
    data = experiment.data
    splits = [
        prepared.dataset(split, is_training=False, seed=0)
        for split in (data.train_split, data.val_split)
    ]
    precision = resolve_precision(experiment.training.precision, device)
    encoder = _Encoder(model, device, precision, data.num_frames)
    key = _key(experiment, prepared, model, splits, precision)
    probe = encoder.features(torch.zeros(1, 3, data.image_size, data.image_size).byte())
    lengths = [len(split.packed_frames(i)) for split in splits for i in range(len(split))]
    num_bytes = feature_file_bytes(lengths, probe.shape[1] * probe.dtype.itemsize)

    def build(path: Path) -> None:
        clips = _whole_clips(splits, data.image_size, data.num_loader_workers)
        pairs = ((clip_id, encoder.features(frames)) for clip_id, frames in clips)
        write_features(path, probe.dtype, probe.shape[1], pairs)

    store = FeatureStore(cache_dir(data) / "features", data.cache_size_gib)
    with disk_errors_explained(cache_dir(data)):
        return store.open(key, num_bytes, build)


class _Encoder:
    """Computes as validation does, at most ``num_frames`` frames at once."""

    def __init__(
        self, model: FrameFeatureModel, device: torch.device, precision: Precision, num_frames: int
    ) -> None:
        self._model, self._device = model.to(device).eval(), device
        self._layout = frame_layout(model)
        self._precision, self._num_frames = precision, num_frames

    @torch.no_grad()
    def features(self, frames: Tensor) -> Tensor:
        """uint8 (T', C, H, W) to (T', F) on the CPU, in the type that the encoder computes in."""
        parts = []
        for part in frames.split(self._num_frames):
            with self._precision.autocast(is_inference=True):
                normalized = normalize_frames(part.to(self._device).unsqueeze(0), self._layout)
                parts.append(self._model.frame_features(normalized)[0].cpu())
        return torch.cat(parts)


def _whole_clips(
    splits: Sequence[ClipDataset], image_size: int, num_workers: int
) -> Iterator[tuple[int, Tensor]]:
    whole: ConcatDataset[tuple[int, Tensor]] = ConcatDataset(
        [WholeClipDataset(split, image_size) for split in splits]
    )
    context = process_context() if num_workers else None
    yield from DataLoader(
        whole,
        batch_size=None,
        num_workers=num_workers,
        multiprocessing_context=context,
        generator=torch.Generator(),
    )


def _key(
    experiment: Experiment,
    prepared: PreparedData,
    model: VideoModel,
    splits: Sequence[ClipDataset],
    precision: Precision,
) -> str:
    """Changes with everything that decides the features."""
    facts = {
        "version": _VERSION,
        "model": experiment.model.name,
        "backbone": getattr(experiment.model.section, "backbone", None),
        "weights": encoder_digest(model),
        "image_size": experiment.data.image_size,
        "precision": [precision.name, precision.device_type],
        "clips": prepared.pack.facts.key,
        "clip_ids": [clip.clip_id for split in splits for clip in split.clips],
    }
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]


def encoder_digest(model: VideoModel) -> str:
    """Hash of the encoder's weights and statistics, on whatever device they are."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        if name.startswith(model.encoder_prefixes):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
