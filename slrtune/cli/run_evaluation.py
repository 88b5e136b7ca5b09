"""An evaluation from the user's side: find, prepare, judge, write, show."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from slrtune.cli.console import progress_bar, say
from slrtune.cli.evaluation_tables import print_evaluation
from slrtune.cli.folders import checkpoint_of
from slrtune.cli.translation_tables import print_translation_evaluation
from slrtune.config.errors import UserError
from slrtune.config.overrides import Overrides
from slrtune.config.paths import absolute
from slrtune.data.views import Views
from slrtune.deploy.evaluate import evaluate, prepare_split, resolve_device
from slrtune.deploy.evaluate_translation import evaluate_translation
from slrtune.deploy.evaluation_files import (
    METRICS_FILE,
    PICTURE_FILE,
    PREDICTIONS_FILE,
    write_evaluation,
)
from slrtune.deploy.trained_model import TrainedModel, read_trained_model
from slrtune.deploy.translation_files import TRANSLATIONS_FILE, write_translation_evaluation
from slrtune.deploy.translator import METHODS, check_methods, trained_methods


@dataclass(frozen=True)
class Request:
    """What the command line asks for; see `slrtune.cli.evaluate.evaluate`."""

    checkpoint: Path
    runs_dir: Path
    split: str
    views: Views
    batch_size: int | None
    overrides: Overrides
    out: Path | None
    device: Literal["auto", "cpu", "cuda"]
    methods: Sequence[str] = ()


def run(request: Request) -> None:
    """Evaluate, write the results, and show them.

    Raises:
        UserError: checkpoint, data, split, device or folder cannot be used.
    """
    device = resolve_device(request.device)
    place, checkpoint = checkpoint_of(request.checkpoint, request.runs_dir)
    trained = read_trained_model(checkpoint, request.overrides)
    _say_what(trained, request.split)
    if trained.tokenizer is not None:
        _run_translation(request, trained, place, device)
        return
    if request.methods:
        raise UserError(
            f"--decode: is for translators, but {checkpoint} is a model of glosses; leave it out"
        )
    with progress_bar() as show:
        prepared = prepare_split(trained, request.split, show)
        folder = _output_folder(request, place)
        evaluation = evaluate(
            trained,
            prepared,
            request.split,
            views=request.views,
            batch_size=request.batch_size,
            device=device,
            on_clips=lambda done, total: show("evaluating clips", done, total),
        )
    print_evaluation(evaluation)
    with _disk_errors_explained(folder):
        write_evaluation(evaluation, folder)
    _say_files(folder, PREDICTIONS_FILE)
    say(f"  {'confusions':<13}{folder / PICTURE_FILE}")


def _run_translation(
    request: Request, trained: TrainedModel, place: Path, device: torch.device
) -> None:
    training = trained.experiment.training
    methods = check_methods(training, request.methods, METHODS) or trained_methods(training)
    if len(request.views) > 1:
        raise UserError(
            "--views, --crops: are for models of glosses, whose probabilities can be averaged, but "
            f"{trained.path} translates; leave them out"
        )
    with progress_bar() as show:
        prepared = prepare_split(trained, request.split, show)
        folder = _output_folder(request, place)
        evaluation = evaluate_translation(
            trained,
            prepared,
            request.split,
            methods,
            batch_size=request.batch_size,
            device=device,
            on_clips=lambda done, total: show("translating clips", done, total),
        )
    print_translation_evaluation(evaluation)
    with _disk_errors_explained(folder):
        write_translation_evaluation(evaluation, folder)
    _say_files(folder, TRANSLATIONS_FILE)


def _say_files(folder: Path, clips_file: str) -> None:
    say(f"  {'all figures':<13}{folder / METRICS_FILE}")
    say(f"  {'every clip':<13}{folder / clips_file}")


def _output_folder(request: Request, place: Path) -> Path:
    """Made before the clips are judged: it would be a pity to find out afterwards that it cannot
    be written to."""
    views = request.views
    suffix = "" if len(views) == 1 else f"_{views.num_temporal}x{views.num_crops}_views"
    beside = place if place.is_dir() else place.parent
    # the split's name comes from the data, and may hold anything
    name = f"evaluation_{request.split.replace('/', '-')}{suffix}"
    folder = absolute(request.out) if request.out is not None else beside / name
    with _disk_errors_explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    return folder


def _say_what(trained: TrainedModel, split: str) -> None:
    data, metrics = trained.experiment.data, trained.metrics
    objective = trained.experiment.objective
    what = f"{len(trained.glosses)} glosses"
    if trained.tokenizer is not None:
        what = f"{trained.tokenizer.vocab_size} tokens ({trained.tokenizer.kind})"
    say(
        f"{trained.path}: {trained.experiment.model.name}, {what}, epoch {int(metrics['epoch'])} "
        f"with {objective.label} {objective.text(metrics[objective.metric])}"
    )
    used_for = {
        data.train_split: "the weights were trained on",
        data.val_split: "the epoch and the settings were chosen by",
    }
    if split in used_for:
        say(f"Split {split} is what {used_for[split]}: not a figure to report", style="yellow")


@contextmanager
def _disk_errors_explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"--out: must be a folder that can be written to, but {error} ({folder}); "
            "name another one with --out"
        ) from None
