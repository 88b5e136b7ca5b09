from __future__ import annotations

import pytest

from slrtune.config.errors import UserError
from slrtune.config.training import TrainingConfig
from slrtune.training.optimizer import build_optimizer, learning_rate_ratio, set_learning_rates
from tests.training.toys import ToyModel


def groups_by_parameter(
    model: ToyModel | None = None, **training
) -> tuple[dict[str, dict], object]:
    model = model or ToyModel()
    optimizer = build_optimizer(model, TrainingConfig.model_validate(training))
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = {names[p]: group for group in optimizer.param_groups for p in group["params"]}
    return groups, optimizer


def test_encoder_and_head_learn_at_their_own_rates():
    groups, optimizer = groups_by_parameter(learning_rate=0.1, encoder_learning_rate=0.01)
    set_learning_rates(optimizer, 0.5)
    rates = {name: group["lr"] for name, group in groups.items()}
    assert rates.keys() == {name for name, _ in ToyModel().named_parameters()}
    assert rates["encoder.weight"] == rates["encoder.bias"] == 0.005
    assert rates["head.weight"] == rates["norm.weight"] == rates["position"] == 0.05


def test_encoder_learns_at_the_common_rate_by_default():
    groups, _ = groups_by_parameter(learning_rate=0.1)
    assert groups["encoder.weight"]["lr"] == 0.1


def test_biases_norms_and_positions_are_not_decayed():
    groups, _ = groups_by_parameter(weight_decay=0.3)
    decayed = {name for name, group in groups.items() if group["weight_decay"] == 0.3}
    spared = {name for name, group in groups.items() if group["weight_decay"] == 0.0}
    assert decayed == {"encoder.weight", "head.weight"}
    assert spared == {"encoder.bias", "head.bias", "norm.weight", "norm.bias", "position"}


def test_frozen_parameters_are_left_out():
    model = ToyModel()
    model.encoder.requires_grad_(False)
    optimizer = build_optimizer(model, TrainingConfig())
    assert {group["name"] for group in optimizer.param_groups} == {"head", "head_no_decay"}


class LayeredModel(ToyModel):
    """Its encoder stands for the second of three layers, its position for the embeddings."""

    encoder_prefixes = ("position", "encoder.")

    def layer_depths(self) -> dict[str, int]:
        depths = {"position": 0, "encoder.weight": 2, "encoder.bias": 2}
        return {name: depths.get(name, 4) for name, _ in self.named_parameters()}


def test_layer_decay_slows_the_early_layers_of_the_encoder_alone():
    recipe = {"learning_rate": 0.1, "encoder_learning_rate": 0.01, "layer_decay": 0.5}
    groups, optimizer = groups_by_parameter(LayeredModel(), **recipe)
    set_learning_rates(optimizer, 0.5)
    rates = {name: group["lr"] for name, group in groups.items()}
    assert rates["position"] == pytest.approx(0.005 * 0.5**4)
    assert rates["encoder.weight"] == rates["encoder.bias"] == pytest.approx(0.005 * 0.5**2)
    assert rates["head.weight"] == rates["norm.weight"] == 0.05
    assert groups["encoder.weight"]["weight_decay"] > 0 == groups["encoder.bias"]["weight_decay"]


def test_layer_decay_without_layers_is_refused():
    with pytest.raises(UserError, match=r"training\.layer_decay must be null for ToyModel"):
        groups_by_parameter(layer_decay=0.5)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_adamw_is_fused_where_there_is_a_kernel(device):
    optimizer = build_optimizer(ToyModel().to(device), TrainingConfig())
    assert {group["fused"] for group in optimizer.param_groups} == {device == "cpu"}


def ratios(num_steps: int, num_warmup_steps: int) -> list[float]:
    return [
        learning_rate_ratio(
            step, num_warmup_steps=num_warmup_steps, num_steps=num_steps, min_ratio=0.1
        )
        for step in range(num_steps)
    ]


def test_schedule_warms_up_linearly_to_the_peak_and_ends_at_the_minimum():
    assert ratios(8, 4)[:4] == [0.25, 0.5, 0.75, 1.0]
    assert ratios(8, 4)[-1] == pytest.approx(0.1)
    assert ratios(7, 3)[4] == pytest.approx(0.55)  # half way down: (1 + 0.1) / 2
    assert ratios(50, 5)[5:] == sorted(ratios(50, 5)[5:], reverse=True)


@pytest.mark.parametrize(("num_steps", "num_warmup_steps"), [(1, 0), (1, 1), (3, 0), (3, 3)])
def test_short_schedules_reach_the_peak(num_steps, num_warmup_steps):
    assert max(ratios(num_steps, num_warmup_steps)) == 1.0
