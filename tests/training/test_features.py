from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from slrtune.config.errors import UserError
from slrtune.config.experiment import Experiment
from slrtune.config.rules import broken_rules
from slrtune.data.augment import evaluation_view
from slrtune.data.loader import build_loader
from slrtune.data.prepare import prepare_data
from slrtune.models import create_model
from slrtune.models.registry import VideoModel, list_models, model_class
from slrtune.training import features
from slrtune.training.features import FeatureClassifier, cached_features
from slrtune.training.normalization import model_inputs
from slrtune.training.trial import train_trial
from tests.training.test_trial import experiment
from tests.training.toys import CPU, Reports

FROZEN = {"freeze_epochs": 9, "max_epochs": 3, "learning_rate": 0.01}


@pytest.fixture
def own_cache(data, tmp_path: Path) -> dict[str, Any]:
    """The prepared clips, in a cache folder without features."""
    cache_dir = tmp_path / "cache"
    cache_dir.mkdir()
    for folder in data["cache_dir"].glob("clips-*"):
        (cache_dir / folder.name).symlink_to(folder)
    return {**data, "cache_dir": cache_dir}


def model_of(settings: Experiment) -> VideoModel:
    torch.manual_seed(settings.training.seed)
    section = settings.model.section.model_dump()
    return create_model(settings.model.name, num_classes=3, num_frames=2, image_size=32, **section)


def feature_files(settings: Experiment) -> set[str]:
    return {path.stem for path in (settings.data.cache_dir / "features").glob("*.arrow")}


@pytest.fixture
def computed(monkeypatch) -> list[int]:
    """Number of frames of each clip that went through the encoder; a probe has one."""
    calls: list[int] = []
    original = features._Encoder.features

    def counting(self, frames):
        calls.append(len(frames))
        return original(self, frames)

    monkeypatch.setattr(features._Encoder, "features", counting)
    return calls


def test_a_trial_on_features_equals_a_frozen_one_on_the_same_pixels(
    tmp_path: Path, own_cache, monkeypatch
):
    monkeypatch.setattr(
        "slrtune.data.dataset.needed_part",
        lambda frames, image_size, change: (evaluation_view(frames, image_size), None),
    )
    cached, uncached = Reports(), Reports()
    train_trial(experiment(own_cache, cache_features=True, **FROZEN), tmp_path / "a", cached)
    train_trial(experiment(own_cache, **FROZEN), tmp_path / "b", uncached)
    assert uncached[-1]["train_loss"] < 0.9 * uncached[0]["train_loss"]
    for ours, theirs in zip(cached, uncached, strict=True):
        for name in ("train_loss", "val_loss", "val_top1", "val_top5"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4)


def test_cached_features_give_the_logits_of_the_pixels(own_cache):
    settings = experiment(own_cache, cache_features=True, **FROZEN)
    prepared, model = prepare_data(settings.data), model_of(settings)
    file = cached_features(settings, prepared, model, CPU)
    loaders = [
        build_loader(
            prepared,
            settings.data,
            is_training=False,
            batch_size=4,
            micro_batch_size=4,
            seed=0,
            features=each,
        )
        for each in (file, None)
    ]
    model.eval()
    with torch.no_grad():
        for of_features, of_pixels in zip(*loaders, strict=True):
            assert of_features.frames.ndim == 3
            torch.testing.assert_close(
                FeatureClassifier(model)(model_inputs(of_features, torch.channels_last)),
                model(model_inputs(of_pixels, torch.channels_last)),
            )
    file.close()


def test_features_are_computed_once_and_anew_when_what_decides_them_changes(own_cache, computed):
    def compute(**training) -> int:
        settings = experiment(own_cache, cache_features=True, **{**FROZEN, **training})
        before = len(computed)
        prepared = prepare_data(settings.data)
        cached_features(settings, prepared, model_of(settings), CPU).close()
        assert all(number == 4 for number in computed[before + 1 :])
        return len(computed) - before - 1

    assert compute() == 24  # 18 clips to train on, 6 to validate
    assert compute(learning_rate=0.5, batch_size=18, micro_batch_size=9) == 0
    assert compute(seed=7) == 24  # other random weights
    assert compute(precision="bf16") == 24


def test_a_resumed_trial_on_features_is_exact(tmp_path: Path, own_cache):
    def train(folder: Path, stop_epoch: int | None = None) -> list[dict[str, float]]:
        reports = Reports(stop_epoch)
        recipe = {**FROZEN, "cache_features": True, "mixup_alpha": 0.4, "class_balance": 1.0}
        train_trial(experiment(own_cache, **recipe), folder, reports)
        return [{name: m[name] for name in ("train_loss", "val_loss")} for m in reports]

    unbroken = train(tmp_path / "unbroken")
    train(tmp_path / "resumed", stop_epoch=1)
    assert train(tmp_path / "resumed") == unbroken


def test_a_set_that_does_not_fit_is_refused(tmp_path: Path, own_cache):
    settings = experiment({**own_cache, "cache_size_gib": 1e-6}, cache_features=True, **FROZEN)
    with pytest.raises(UserError, match=r"data\.cache_size_gib: must hold the features"):
        train_trial(settings, tmp_path, Reports())
    assert feature_files(settings) == set()


@pytest.mark.parametrize("name", list_models())
def test_the_rules_know_which_models_have_features_of_frames(name):
    settings = Experiment.model_validate(
        {"model": {"name": name}, "training": {"cache_features": True, "freeze_epochs": 50}}
    )
    is_refused = any(
        broken.key == "training.cache_features"
        for broken in broken_rules(settings, check_paths=False)
    )
    assert is_refused is not model_class(name).has_frame_features
