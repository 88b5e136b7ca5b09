"""A trained model as training left it: weights, settings and glosses of a ``best.pt``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slrtune.config.addresses import shown
from slrtune.config.errors import UserError
from slrtune.config.experiment import Experiment
from slrtune.config.overrides import Overrides
from slrtune.config.validate import experiment_from_dict
from slrtune.models.registry import VideoModel
from slrtune.text.tokenizer import TextTokenizer
from slrtune.training.checkpoint import CorruptCheckpointError, read_checkpoint
from slrtune.training.construction import OutputSizes, build_model

BEST = "best.pt"
_KEYS = ("model", "experiment", "glosses", "metrics")


@dataclass(frozen=True)
class TrainedModel:
    """Content of a checkpoint.

    Attributes:
        path: the file.
        sha256: of the file, in hexadecimal.
        experiment: how it was trained, with what the command line changes.
        glosses: the place of a gloss is its label.
        tokenizer: of a translator; None of other models.
        clip_s: median seconds of a translator's training clips; None where not known.
        num_keypoints: landmarks that it finds in each frame.
        metrics: of the epoch whose weights these are.
        weights: state of the model, on the CPU.
    """

    path: Path
    sha256: str
    experiment: Experiment
    glosses: tuple[str, ...]
    tokenizer: TextTokenizer | None
    clip_s: float | None
    num_keypoints: int
    metrics: Mapping[str, float]
    weights: Mapping[str, Any]

    @property
    def sizes(self) -> OutputSizes:
        """What the model has outputs for."""
        vocab_size = self.tokenizer.vocab_size if self.tokenizer is not None else 0
        return OutputSizes(len(self.glosses), vocab_size, num_keypoints=self.num_keypoints)

    def build(self) -> VideoModel:
        """The model with its weights, on the CPU. Nothing is downloaded.

        Raises:
            UserError: the settings do not fit the weights.
        """
        model = build_model(self.experiment, self.sizes, is_pretrained=False)
        try:
            model.load_state_dict(self.weights)
        except RuntimeError as error:
            first = " ".join(str(error).split("\n\t")[-1].split())[:200]
            raise UserError(
                f"{self.path}: its weights must fit its settings, but {first}; leave out --set of "
                "model keys, data.num_frames and data.image_size"
            ) from None
        return model


def find_checkpoint(path: Path) -> Path:
    """The checkpoint file that is meant by a file, or by the folder of a run, trial or sweep.

    Raises:
        UserError: there is none, saying what would make one.
    """
    if path.is_file():
        return path
    if not path.exists():
        raise UserError(
            f"{shown(path)}: there is no such checkpoint; name a {BEST}, or a folder of `slrtune "
            "train` or `slrtune sweep`, such as runs/<name>"
        )
    for candidate in (path / BEST, path / "checkpoints" / BEST):
        if candidate.is_file():
            return candidate
    if (path / "sweep.json").exists():
        cure = f"`slrtune results {shown(path)}` writes it once a trial has finished an epoch"
    elif (path.parent / "sweep.json").exists():
        cure = (
            "a sweep keeps those of its best trials only (sweep.keep_checkpoints), and of trials "
            "that have finished an epoch"
        )
    elif (path / "experiment.json").exists() or (path / "checkpoints").is_dir():
        cure = "it is there once training has finished an epoch"
    else:
        cure = "name a folder of `slrtune train` or `slrtune sweep`, or a checkpoint file"
    raise UserError(f"{shown(path)}: must hold a {BEST}, but holds none; {cure}")


def read_trained_model(path: Path, overrides: Overrides | None = None) -> TrainedModel:
    """Read a checkpoint file.

    Args:
        overrides: settings that win over those it was trained with, such as ``data.root``.

    Raises:
        UserError: it is damaged or no ``best.pt``; or an override is wrong.
    """
    rule = f"must be a {BEST} that slrtune wrote"
    try:
        content: Any = read_checkpoint(path)
        sha256 = _sha256(path)
    except OSError as error:
        raise UserError(f"{path}: {rule}, but cannot be read: {error}") from None
    except CorruptCheckpointError as error:
        what = str(error).splitlines()[0].removeprefix(f"{path} ")[:200]
        raise UserError(f"{path}: {rule}, but {what}; restore or train it again") from None
    if not isinstance(content, dict) or any(key not in content for key in _KEYS):
        raise UserError(f"{path}: {rule}, but {_what_else(content)}; name a {BEST}")
    try:
        settings = json.loads(content["experiment"])
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: {rule}, but its settings are no JSON ({error})") from None
    tokenizer = content.get("tokenizer")
    return TrainedModel(
        path=path,
        sha256=sha256,
        experiment=experiment_from_dict(settings, str(path), overrides or Overrides()),
        glosses=tuple(content["glosses"]),
        tokenizer=None if tokenizer is None else TextTokenizer.from_json(tokenizer),
        clip_s=content.get("clip_s"),
        num_keypoints=content.get("num_keypoints", 0),
        metrics=content["metrics"],
        weights=content["model"],
    )


def _what_else(content: Any) -> str:
    if not isinstance(content, dict):
        return f"holds a {type(content).__name__}"
    if "experiment" in content:
        return "is one for continuing a training"
    missing = ", ".join(key for key in _KEYS if key not in content)
    return f"is a checkpoint of another kind (without {missing})"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
