"""What a translator learns beside the text."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from slrtune.config.errors import UserError
from slrtune.config.experiment import Experiment
from slrtune.config.rules import broken_rules
from slrtune.data.prepare import prepare_data
from slrtune.deploy.trained_model import read_trained_model
from slrtune.memory import predict, probe
from slrtune.models.dense_vit import DenseViT
from slrtune.training.lesson import sizes_of
from slrtune.training.tasks.extras import gloss_losses, keypoint_losses
from slrtune.training.trial import train_trial
from tests.data.videos import encode
from tests.spelled_colors import experiment, settings, spelled
from tests.training.toys import Reports

NUM_TRAIN, NUM_VAL = 96, 16


@pytest.fixture(scope="module")
def dotted_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four dark colours under a white dot that wanders; its middle is the only landmark."""
    root, rng = tmp_path_factory.mktemp("dotted"), np.random.default_rng(0)
    rows = [("path", "sentence", "split")]
    for number in range(NUM_TRAIN + NUM_VAL):
        text = "".join(rng.choice(list("rgbycm"), 4, replace=False))
        frames = spelled(text, rng) // 3
        places = wandering(number, len(frames))
        for frame, (x, y) in zip(frames, places, strict=True):
            frame[y - 4 : y + 4, x - 4 : x + 4] = 255
        encode(root / f"{number}.mp4", frames)
        np.save(root / f"{number}.npy", places[:, None] / 32)
        rows.append((f"{number}.mp4", text, "train" if number < NUM_TRAIN else "val"))
    with (root / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return root


def wandering(seed: int, num_frames: int) -> np.ndarray:
    """Whole pixels (T, 2) in a picture of 32."""
    rng = np.random.default_rng(seed)
    turns = np.linspace(0, rng.uniform(2, 6), num_frames) + rng.uniform(0, 6)
    circle = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    return (16 + rng.uniform(2, 11) * circle).round().astype(int)


def dotted(root: Path, cache_dir: Path, keypoints: Path | None, **training: Any) -> Experiment:
    values = settings(root, cache_dir)
    values["data"] |= {"keypoints": None if keypoints is None else str(keypoints), "num_frames": 8}
    values["model"]["dense_vit"] |= {"size": "tiny_resnet", "embed_dim": None, "depth": None}
    recipe = {"max_epochs": 6, "batch_size": 8, "encoder_learning_rate": 4e-3}
    values["training"] |= recipe | {"keypoint_weight": 10.0} | training
    return Experiment.model_validate(values)


def looking(
    root: Path, cache_dir: Path, keypoints: Path | None, regions: Any, **training: Any
) -> Experiment:
    """The same with a ViT of 16 patches a frame that looks at regions."""
    values = dotted(root, cache_dir, keypoints, keypoint_weight=0.0, **training).model_dump()
    vit = {"size": "tiny", "embed_dim": 32, "depth": 1, "patch_size": 8}
    values["model"]["dense_vit"] |= {**vit, "region_attention": regions}
    return Experiment.model_validate(values)


def test_a_translator_learns_where_the_landmarks_of_unseen_clips_are(
    dotted_root: Path, shared_cache: Path, tmp_path: Path
) -> None:
    settings = dotted(dotted_root, shared_cache, dotted_root)
    reports = Reports()
    train_trial(settings, tmp_path, reports)
    val = [wandering(number, 8) / 32 for number in range(NUM_TRAIN, NUM_TRAIN + NUM_VAL)]
    of_guessing = np.linalg.norm(np.concatenate(val) - 0.5, axis=1).mean()
    assert reports[0]["val_keypoint_error"] > 0.5 * of_guessing
    assert reports[-1]["val_keypoint_error"] < 0.35 * of_guessing
    # what was written is a model with the same outputs
    model = read_trained_model(tmp_path / "checkpoints" / "best.pt").build().eval()
    outputs = model(torch.zeros(1, 8, 3, 32, 32), None, torch.tensor([[1]]))
    assert outputs.extras["keypoints"].shape == (1, 8, 1, 2)


def test_a_translator_learns_where_to_look(
    dotted_root: Path, shared_cache: Path, tmp_path: Path
) -> None:
    reports = Reports()
    settings = looking(dotted_root, shared_cache, dotted_root, ((0, 1),))
    train_trial(settings, tmp_path, reports)
    of_chance = 1 / 16  # patches
    assert reports[-1]["val_region_attention"] > 10 * of_chance
    model = read_trained_model(tmp_path / "checkpoints" / "best.pt").build().eval()
    memory = model.encode(torch.zeros(1, 8, 3, 32, 32))
    assert memory.tokens.isfinite().all()


@pytest.mark.parametrize("size", ["tiny", "tiny_resnet", "mobilenetv3_large"])
def test_the_encoder_of_a_checkpoint_starts_another_translator(
    size: Literal["tiny", "tiny_resnet", "mobilenetv3_large"], tmp_path: Path
) -> None:
    def translator(vocab_size: int, pretrained: bool | str = False) -> DenseViT:
        return DenseViT(
            vocab_size, 2, 32, size=size, pretrained=pretrained, hidden_dim=32, pool_heads=4
        )

    first, path = translator(7), tmp_path / "best.pt"
    torch.save({"model": first.state_dict(), "glosses": [], "metrics": {"epoch": 1}}, path)
    second = translator(9, pretrained=str(path))
    for name, value in second.backbone.state_dict().items():
        assert torch.equal(value, first.backbone.state_dict()[name]), name


def test_a_translator_learns_which_glosses_unseen_clips_show(
    spelled_root: Path, shared_cache: Path, tmp_path: Path
) -> None:
    reports = Reports()
    settings = experiment(spelled_root, shared_cache, gloss_weight=1.0, max_epochs=12)
    train_trial(settings, tmp_path, reports)
    assert reports[0]["val_gloss_recall"] < 0.8
    assert reports[-1]["val_gloss_recall"] > 0.85


@pytest.mark.parametrize("extra", [{"gloss_weight": 0.2}, {"keypoint_weight": 1.0}, {}])
def test_the_memory_with_extras_is_predicted_as_it_is_measured(
    extra: dict[str, float], spelled_root: Path, dotted_root: Path, shared_cache: Path
) -> None:
    if "gloss_weight" in extra:
        settings = experiment(spelled_root, shared_cache, **extra)
    elif extra:
        settings = dotted(dotted_root, shared_cache, dotted_root, **extra)
    else:
        settings = looking(dotted_root, shared_cache, dotted_root, ((0, 1),))
    sizes = sizes_of(settings, prepare_data(settings.data, needs="sentence"))
    predicted = predict(settings, "cpu", sizes=sizes)
    measured = probe(settings, torch.device("cpu"), sizes=sizes)
    assert predicted.train_peak_gib == pytest.approx(measured.peak_gib, rel=0.03)


def test_landmarks_that_are_not_there_cannot_be_learnt(
    dotted_root: Path, shared_cache: Path, tmp_path: Path
) -> None:
    def message(keypoints: Path | None) -> str:
        settings = dotted(dotted_root, shared_cache, keypoints)
        prepared = prepare_data(settings.data, needs="sentence")
        with pytest.raises(UserError) as error:
            sizes_of(settings, prepared)
        return str(error.value)

    assert "those of split 'train' have none; set data.keypoints" in message(None)
    settings = looking(dotted_root, shared_cache, dotted_root, ((0, 2),))
    with pytest.raises(UserError, match=r"must be ranges of the 1 landmarks .* is \[0, 2\]"):
        sizes_of(settings, prepare_data(settings.data, needs="sentence"))
    values = dotted(dotted_root, shared_cache, dotted_root).model_dump()
    values["data"]["keypoint_swaps"] = ((0, 1),)
    settings = Experiment.model_validate(values)
    with pytest.raises(UserError, match=r"keypoint_swaps: must be pairs .* is \[0, 1\]"):
        sizes_of(settings, prepare_data(settings.data, needs="sentence"))
    for name, odd in (("many", np.zeros((8, 2, 2))), ("flat", np.zeros((8, 2)))):
        (tmp_path / name).mkdir()
        for file in dotted_root.glob("*.npy"):
            array = np.load(file) if name == "many" and file.stem != "5" else odd
            np.save(tmp_path / name / file.name, array)
    assert "has 1 and 5.mp4 has 2" in message(tmp_path / "many")
    assert "(frames, landmarks, 2 or more), but those of 0.mp4" in message(tmp_path / "flat")


def test_extras_are_for_translators() -> None:
    settings = Experiment.model_validate({"training": {"gloss_weight": 1, "keypoint_weight": 1}})
    broken = {rule.key for rule in broken_rules(settings, check_paths=False)}
    assert broken == {"training.gloss_weight", "training.keypoint_weight"}


def test_what_is_not_known_of_a_clip_loses_nothing_and_changes_no_other_clip() -> None:
    logits = torch.randn(2, 4)
    losses = gloss_losses(logits, [[2, 2, 4], []])
    wanted = -logits[0].log_softmax(dim=0)[[1, 3]].mean()
    torch.testing.assert_close(losses, torch.stack([wanted, torch.zeros(())]))
    predicted = torch.full((2, 3, 2, 2), 0.5, requires_grad=True)
    points = torch.full((2, 3, 2, 2), torch.nan)
    points[0, 1, 1] = torch.tensor([0.75, 0.25])
    losses = keypoint_losses(predicted, points)
    assert losses.tolist() == [0.5, 0.0]
    losses.sum().backward()
    assert predicted.grad is not None and predicted.grad.isfinite().all()
    assert predicted.grad.flatten().nonzero().numel() == 2
