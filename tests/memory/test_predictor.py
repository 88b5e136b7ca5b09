from __future__ import annotations

from pathlib import Path

import pytest

from slrtune.memory import MemoryPredictor, predict
from slrtune.memory.predictor import _DEPTH_ANCHORS
from tests.memory.tiny import SIZES, tiny


def batch(size: int, **more) -> dict:
    return {"batch_size": size, **more}


def test_what_does_not_change_the_memory_is_predicted_once(tmp_path: Path):
    predictor = MemoryPredictor("cpu", SIZES)
    first = predictor.train_peak_gib(tiny("cnn", tmp_path, dropout=0.1))
    others = [
        tiny("cnn", tmp_path, dropout=0.4, training={"learning_rate": 0.1, "seed": 5}),
        tiny("cnn", tmp_path, dropout=0.2, training={"weight_decay": 0.0, "max_epochs": 9}),
        # no sequence is longer than 4 frames
        tiny("cnn", tmp_path, dropout=0.1, attention_chunk_size=64),
        # 16 frames are one chunk
        tiny("cnn", tmp_path, dropout=0.1, frame_chunk_size=16),
    ]
    assert [predictor.train_peak_gib(other) for other in others] == [first] * 4
    assert predictor.num_traces == 1
    predictor.train_peak_gib(tiny("cnn", tmp_path, dropout=0.0))
    assert predictor.num_traces > 1


def test_another_process_reads_what_was_predicted(tmp_path: Path):
    first = MemoryPredictor("H100", SIZES)
    predicted = first.predict(tiny("cnn", tmp_path))
    second = MemoryPredictor("H100", SIZES)
    assert second.predict(tiny("cnn", tmp_path)) == predicted
    assert (first.num_traces, second.num_traces) == (2, 0)
    other_gpu = MemoryPredictor("T4", SIZES)
    assert other_gpu.predict(tiny("cnn", tmp_path)).parts != predicted.parts


def test_a_damaged_prediction_on_disk_is_made_anew(tmp_path: Path, caplog):
    predicted = MemoryPredictor("cpu", SIZES).train_peak_gib(tiny("cnn", tmp_path))
    (file,) = (tmp_path / "memory").glob("*.json")
    file.write_text('{"peak":')
    assert MemoryPredictor("cpu", SIZES).train_peak_gib(tiny("cnn", tmp_path)) == predicted
    assert "damaged" in caplog.text


@pytest.mark.parametrize(
    ("device", "model", "section", "sizes"),
    [
        ("cpu", "cnn", {}, (3, 32)),
        ("H100", "vit", {"activation_checkpointing": True}, (1, 64)),
        ("cpu", "timesformer", {"activation_checkpointing": True}, (1, 32)),
        ("H100", "timesformer", {"attention_chunk_size": 2}, (5, 32)),
        ("cpu", "cnn", {"activation_checkpointing": True, "frame_chunk_size": 4}, (8,)),
        ("H100", "cnn", {"activation_checkpointing": True, "frame_chunk_size": 4}, (8,)),
        ("cpu", "vit", {"frame_chunk_size": 8}, (8, 12)),
        ("H100", "vit", {"activation_checkpointing": True, "frame_chunk_size": 2}, (4,)),
    ],
)
def test_a_series_over_batches_equals_direct_predictions(
    tmp_path: Path, device, model, section, sizes
):
    predictor = MemoryPredictor(device, SIZES)
    predictor.train_peak_gib(tiny(model, tmp_path / "series", training=batch(4), **section))
    for size in sizes:
        experiment = tiny(model, tmp_path / "series", training=batch(size), **section)
        # alone, an experiment of few chunks is traced itself
        assert predictor.train_peak_gib(experiment) == pytest.approx(
            traced_peak_gib(experiment, device), rel=0.005
        )


def traced_peak_gib(experiment, device: str) -> float:
    from slrtune.memory.devices import device_type
    from slrtune.memory.prediction import parts_of
    from slrtune.memory.series import Traced
    from slrtune.memory.tracing import FakeTrial

    device = device_type(device)
    trial = FakeTrial(experiment, device, SIZES, num_workers=1)
    timeline = trial.trace_step(experiment.training.batch_size, is_accumulating=False)
    step = Traced(trial.parameter_bytes, trial.persistent_bytes, timeline).worst()
    return sum(parts_of(step, device, 1.0).values())


@pytest.mark.parametrize(
    ("device", "model", "section"),
    [
        ("cpu", "cnn", {}),
        ("H100", "cnn", {"activation_checkpointing": True, "frame_chunk_size": 4}),
        ("H100", "timesformer", {}),
        ("cpu", "timesformer", {"activation_checkpointing": True}),
    ],
)
def test_a_series_over_depths_equals_direct_predictions(tmp_path: Path, device, model, section):
    predictor = MemoryPredictor(device, SIZES)
    for depth in (2, 6):  # another depth starts the series
        predictor.train_peak_gib(tiny(model, tmp_path, depth=depth, **section))
    num_traces = predictor.num_traces
    for depth, size in ((4, 4), (12, 8)):
        experiment = tiny(model, tmp_path, depth=depth, training=batch(size), **section)
        predicted = predictor.train_peak_gib(experiment)
        assert predicted == pytest.approx(traced_peak_gib(experiment, device), rel=0.005)
    assert predictor.num_traces == num_traces
    assert min(_DEPTH_ANCHORS) > 2  # the first and the last block may be unlike the others


def test_chunks_that_do_not_fill_up_are_never_predicted_too_low(tmp_path: Path):
    section = {"activation_checkpointing": True, "frame_chunk_size": 8}
    predictor = MemoryPredictor("cpu", SIZES)
    experiment = tiny("cnn", tmp_path, training=batch(17), **section)
    truth = traced_peak_gib(experiment, "cpu")
    assert 0.998 * truth < predictor.train_peak_gib(experiment) < 1.2 * truth


def test_workers_share_the_batch_and_keep_their_gradients_in_buckets(tmp_path: Path):
    wide = {"embed_dim": 256, "training": batch(8)}
    alone = predict(tiny("cnn", tmp_path, **wide), "cpu", sizes=SIZES)
    of_two = predict(tiny("cnn", tmp_path, **wide), "cpu", sizes=SIZES, num_workers=2)
    assert (alone.micro_batch_size, of_two.micro_batch_size) == (8, 4)
    assert of_two.parts["activations"] < alone.parts["activations"]
