from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from slrtune.config.errors import UserError
from slrtune.memory import MemoryPredictor, predict, probe
from slrtune.memory.devices import device_type
from tests.memory.tiny import SIZES, tiny

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("model", "training", "section"),
    [
        ("cnn", {}, {}),
        ("cnn", {"precision": "bf16"}, {"activation_checkpointing": True, "frame_chunk_size": 4}),
        ("cnn", {"micro_batch_size": 1}, {"dropout": 0.0, "pooling": "class_token"}),
        ("vit", {}, {"frame_chunk_size": 8}),
        ("vit", {"precision": "bf16", "micro_batch_size": 2}, {"activation_checkpointing": True}),
        ("timesformer", {"precision": "bf16"}, {}),
        ("timesformer", {}, {"activation_checkpointing": True, "attention_chunk_size": 2}),
        ("timesformer", {"micro_batch_size": 1}, {"attention_type": "joint_space_time"}),
    ],
)
def test_what_is_predicted_on_the_cpu_is_what_training_takes(
    tmp_path: Path, model, training, section
):
    experiment = tiny(model, tmp_path, training=training, **section)
    predicted = predict(experiment, "cpu", sizes=SIZES)
    measured = probe(experiment, CPU, sizes=SIZES)
    assert predicted.train_peak_gib == pytest.approx(measured.peak_gib, rel=0.02)
    assert predicted.inference_peak_gib == pytest.approx(measured.inference_peak_gib, rel=0.02)


def test_the_parts_add_up_to_what_the_weights_say(tmp_path: Path):
    experiment = tiny("timesformer", tmp_path, embed_dim=256, training={"batch_size": 1})
    predicted = predict(experiment, "H100", sizes=SIZES)
    model = sum(predicted.parts[name] for name in ("parameters", "gradients"))
    assert predicted.parts["optimizer_state"] == pytest.approx(
        2 * predicted.parts["parameters"], rel=0.05
    )
    # one clip in a wide model: the worst moment is the optimizer's, all gradients alive
    assert model == pytest.approx(2 * predicted.parts["parameters"], rel=0.05)
    assert predicted.train_peak_gib == pytest.approx(sum(predicted.parts.values()))
    outside = predicted.parts["cuda_context"] + predicted.parts["fragmentation"]
    assert predicted.train_allocated_gib == pytest.approx(predicted.train_peak_gib - outside)


def activations(tmp_path: Path, device: str, **section) -> float:
    experiment = tiny("timesformer", tmp_path, data={"image_size": 224}, **section)
    return predict(experiment, device, sizes=SIZES).parts["activations"]


def test_on_a_gpu_auto_is_low_precision_and_takes_less(tmp_path: Path):
    assert activations(tmp_path, "H100") < 0.75 * activations(tmp_path, "cpu")


def test_on_a_gpu_dropout_of_attention_stores_no_matrix_of_weights(tmp_path: Path):
    joint = {"attention_type": "joint_space_time", "attention_dropout": 0.1}
    # 785 tokens: (B, heads, Q, Q) weights would be 4 * 2 * 785^2 * 2 bytes per block and more
    assert activations(tmp_path, "H100", **joint) < 0.3 * activations(tmp_path, "cpu", **joint)


def test_a_gpu_without_bf16_is_predicted_in_fp16(tmp_path: Path):
    experiment = tiny("cnn", tmp_path)
    assert predict(experiment, "T4", sizes=SIZES).train_peak_gib > 0.35


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cpu", "cpu"),
        ("NVIDIA A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("rtx 4090", "RTX 4090"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("Tesla T4", "T4"),
        ("NVIDIA A10", "A10"),
    ],
)
def test_a_gpu_is_known_by_its_name(name, expected):
    assert device_type(name).name == expected


def test_an_unknown_device_is_named_with_the_known_ones(tmp_path: Path):
    with pytest.raises(UserError, match=r"must be one of cpu, cuda, T4.*but is 'TPU'"):
        MemoryPredictor("TPU", SIZES)


def test_predicting_leaves_no_trace_in_the_process(tmp_path: Path):
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = (random.random(), np.random.rand(), torch.rand(1).item())
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    experiment = tiny("cnn", tmp_path, activation_checkpointing=True, frame_chunk_size=4)
    predict(experiment, "H100", sizes=SIZES)
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert not torch.is_autocast_enabled("cpu")
    assert torch.ones(2).sum().item() == 2.0  # no mode is left that answers for values
    assert type(torch.empty(1)) is torch.Tensor


def test_predicting_needs_neither_ray_nor_memory_of_the_size_of_the_model(tmp_path: Path):
    code = f"""
import resource, sys
sys.modules['ray'] = sys.modules['optuna'] = None
from pathlib import Path
from slrtune.memory import predict
from slrtune.training.construction import OutputSizes
from tests.memory.tiny import tiny
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
experiment = tiny("timesformer", Path({str(tmp_path)!r}), embed_dim=2048, num_heads=16)
predicted = predict(experiment, "cpu", sizes=OutputSizes(7)).train_peak_gib
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
assert predicted > 2.0 and grown < 0.5, (predicted, grown)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
