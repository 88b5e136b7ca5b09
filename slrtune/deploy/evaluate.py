"""A checkpoint judged on a split of its data, which is how the test split is ever looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Literal

import torch

from slrtune.config.errors import UserError
from slrtune.config.paths import absolute
from slrtune.data.coverage import Coverage
from slrtune.data.loader import build_test_loader
from slrtune.data.prepare import prepare_data
from slrtune.data.prepared import PreparedData
from slrtune.data.rendered import Progress
from slrtune.data.views import Views
from slrtune.deploy.evaluation import Evaluation
from slrtune.deploy.trained_model import TrainedModel
from slrtune.training.evaluation import predict_split
from slrtune.training.lesson import needs_of
from slrtune.training.precision import resolve_precision
from slrtune.training.seeding import deterministic_kernels

_FEW_CLIPS = 4


def prepare_split(trained: TrainedModel, split: str, on_progress: Progress) -> PreparedData:
    """The data that the checkpoint was trained on, or those that the command line names.

    Raises:
        UserError: they are not there, or have no such split.
    """
    data = trained.experiment.data
    sources = [("root", data.root), *(("annotations", file) for file in data.annotations)]
    for key, path in [] if data.pack else sources:  # a pack is used where its videos are not
        if path is not None and not absolute(path).exists():
            raise UserError(
                f"data.{key}: must exist, but there is no {path}, which {trained.path.name} was "
                f"trained with; name it as it is here with --set data.{key}=PATH"
            )
    return prepare_data(data, on_progress, only_split=split, needs=needs_of(trained.experiment))


def evaluate(
    trained: TrainedModel,
    prepared: PreparedData,
    split: str,
    *,
    views: Views | None = None,
    batch_size: int | None = None,
    device: torch.device,
    on_clips: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Judge the checkpoint on every usable clip of ``split``.

    A clip of a gloss that the model does not know cannot be right: it counts as wrong, for the
    accuracy is that of the split as it is.

    Args:
        views: of each clip to average; None = the one that validation sees.
        batch_size: clips at once; None = as many as a micro-batch of the training had.
        on_clips: told (done, total).

    Raises:
        UserError: the model knows no gloss of the split, or the GPU's memory does not suffice.
    """
    views = views or Views()
    batch_size = batch_size or default_batch_size(trained)
    clip_ids = [
        clip_id
        for clip_id, record in enumerate(prepared.records)
        if record.split == split and record.is_usable
    ]
    records = [prepared.records[clip_id] for clip_id in clip_ids]
    glosses = _all_glosses(trained, [record.gloss for record in records], split)
    label_of = {gloss: label for label, gloss in enumerate(glosses)}
    # glosses of other splits have no clip here, and so any label will do
    model_labels = torch.tensor([label_of.get(gloss, 0) for gloss in prepared.glosses])
    precision = resolve_precision(trained.experiment.training.precision, device)
    model = trained.build().to(device)
    try:
        with deterministic_kernels(is_strict=False):
            predictions, cost = predict_split(
                model,
                build_test_loader(
                    prepared, split, views, batch_size, pin_memory=device.type == "cuda"
                ),
                model_labels,
                precision,
                device,
                lambda done: on_clips(done, len(records)),
            )
    except torch.OutOfMemoryError:
        raise UserError(
            f"--batch-size: {batch_size} clips at once must fit the GPU's memory, but do not; "
            f"lower it{' or take --device cpu' if batch_size == 1 else ''}"
        ) from None
    assert predictions.clip_ids.tolist() == clip_ids
    return Evaluation(
        trained=trained,
        split=split,
        views=views,
        records=records,
        glosses=glosses,
        predictions=predictions,
        coverage=Coverage.of([record for record in prepared.records if record.split == split]),
        cost=cost,
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        precision=precision.name,
        device=device_name(device),
        batch_size=batch_size,
    )


def default_batch_size(trained: TrainedModel) -> int:
    """Clips of a micro-batch of the training: what fitted with gradients fits without.

    A few where it was chosen automatically: another GPU, perhaps, than this one.
    """
    training = trained.experiment.training
    per_worker = max(training.batch_size // trained.experiment.resources.workers_per_trial, 1)
    if training.micro_batch_size == "auto":
        return min(per_worker, _FEW_CLIPS)
    return training.micro_batch_size or per_worker


def resolve_device(name: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """``auto`` is the GPU where there is one.

    Raises:
        UserError: ``cuda`` without a GPU.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "--device: must be a device that is there, but PyTorch finds no CUDA GPU; "
            "take --device cpu, or look at nvidia-smi"
        )
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


def _all_glosses(trained: TrainedModel, of_clips: list[str], split: str) -> tuple[str, ...]:
    """The model's glosses, and behind them those of the split that it does not know."""
    known = set(trained.glosses)
    unknown = sorted(set(of_clips) - known)
    if not known.intersection(of_clips):
        named = ", ".join(gloss for gloss, _ in Counter(of_clips).most_common(3))
        raise UserError(
            f"data.root: its glosses must be the model's, but {trained.path.name} knows none of "
            f"split '{split}' ({named} …; it knows {', '.join(trained.glosses[:3])} …); name the "
            "data that it was trained for with --set data.root=FOLDER"
        )
    return (*trained.glosses, *unknown)


def device_name(device: torch.device) -> str:
    """As it is written beside a measurement."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
