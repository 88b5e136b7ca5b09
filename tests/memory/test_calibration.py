from __future__ import annotations

import json
from pathlib import Path

import pytest

from slrtune.memory import Calibration, MemoryPredictor
from tests.memory.tiny import SIZES, tiny


def test_finished_trials_scale_later_predictions(tmp_path: Path):
    experiment = tiny("cnn", tmp_path)
    predictor = MemoryPredictor("H100", SIZES)
    before = predictor.predict(experiment)
    raw = predictor.uncalibrated_gib(experiment)
    assert raw == pytest.approx(before.train_allocated_gib)
    calibration = Calibration(tmp_path, "H100")
    for ratio in (1.1, 1.1, 1.1, 3.0):  # one trial that shared its GPU
        calibration.add(raw, ratio * raw)
    after = predictor.predict(experiment)
    assert after.train_allocated_gib == pytest.approx(1.1 * raw)
    assert predictor.uncalibrated_gib(experiment) == raw
    assert MemoryPredictor("T4", SIZES).predict(experiment).parts["calibration"] == 0.0


def test_two_trials_are_too_few_to_learn_from(tmp_path: Path):
    calibration = Calibration(tmp_path, "H100")
    for _ in range(2):
        calibration.add(1.0, 1.3)
    assert calibration.scale() == 1.0
    calibration.add(1.0, 1.3)
    assert calibration.scale() == pytest.approx(1.3)


def test_a_calibration_stays_small_and_follows_the_newest_trials(tmp_path: Path):
    calibration = Calibration(tmp_path, "RTX 4090")
    for _ in range(150):
        calibration.add(1.0, 0.9)
    for _ in range(201):
        calibration.add(1.0, 1.2)
    (file,) = (tmp_path / "calibration").glob("*.json")
    assert file.name == "RTX-4090.json"
    assert len(json.loads(file.read_text())["pairs"]) == 200
    assert calibration.scale() == pytest.approx(1.2)


def test_absurd_measurements_teach_only_so_much(tmp_path: Path):
    calibration = Calibration(tmp_path, "cuda")
    for measured in (float("inf"), float("nan"), 0.0, 100.0, 100.0, 100.0):
        calibration.add(1.0, measured)
    assert calibration.scale() == 1.5


@pytest.mark.parametrize("content", ["", "[]", '{"pairs": [[1]]}', '{"pairs": "no"}', "\x00\xff"])
def test_a_damaged_calibration_is_ignored_with_a_warning_and_mended(
    tmp_path: Path, caplog, content
):
    calibration = Calibration(tmp_path, "cuda")
    for _ in range(3):
        calibration.add(1.0, 1.3)
    (file,) = (tmp_path / "calibration").glob("*.json")
    file.write_text(content)
    assert calibration.scale() == 1.0
    assert "damaged" in caplog.text
    for _ in range(3):
        calibration.add(1.0, 1.2)
    assert calibration.scale() == pytest.approx(1.2)
