"""Activation checkpointing: the same results, fewer activations, no dear work done twice."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from slrtune.models.attention import SelfAttention
from slrtune.models.recompute import check_activation_checkpointing, recomputed
from slrtune.models.transformer import EncoderBlock
from slrtune.training.peak_memory import StorageTracker

MODES = [False, True, "selective"]


class CountKernels(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def block(width: int = 16, dropout: float = 0.0) -> EncoderBlock:
    torch.manual_seed(0)
    return EncoderBlock(
        width, lambda: SelfAttention(width, 2), mlp_ratio=4.0, dropout=dropout, drop_path=dropout
    )


def tokens(batch: int = 3, length: int = 7, width: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, length, width, generator=generator, requires_grad=True)


def gradients(layer: nn.Module, mode: Any, autocast: bool = False) -> list[Tensor]:
    inputs = tokens()
    torch.manual_seed(2)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        output = recomputed(layer, inputs, mode=mode)
    output.float().square().sum().backward()
    found = [output.detach(), inputs.grad, *(p.grad for p in layer.parameters())]
    assert all(gradient is not None for gradient in found)
    return [gradient for gradient in found if gradient is not None]


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("mode", [True, "selective"])
def test_recomputation_repeats_dropout_and_changes_no_gradient(mode: Any, autocast: bool) -> None:
    expected = gradients(block(dropout=0.3), False, autocast)
    for actual, kept in zip(gradients(block(dropout=0.3), mode, autocast), expected, strict=True):
        assert torch.equal(actual, kept)


def test_selective_repeats_neither_attention_nor_linear_layers() -> None:
    def kernels(mode: Any) -> Counter[str]:
        layer, inputs = block(), tokens()
        with CountKernels() as counter:
            recomputed(layer, inputs, mode=mode).sum().backward()
        return counter.counts

    plain, selective, full = (kernels(mode) for mode in (False, "selective", True))
    attention = "_scaled_dot_product_flash_attention_for_cpu"
    assert (plain[attention], selective[attention], full[attention]) == (1, 1, 2)
    # The last of four linear layers is not computed again: nothing in the block needs its result.
    assert (plain["addmm"], selective["addmm"], full["addmm"]) == (4, 4, 7)
    assert selective["native_layer_norm"] == selective["gelu"] * 2 == 4


def test_selective_does_not_repeat_convolutions() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3))
    with CountKernels() as counter:
        recomputed(network, torch.randn(2, 3, 8, 8), mode="selective").sum().backward()
    assert counter.counts["convolution"] == 2


def test_weights_used_twice_under_one_autocast_can_be_recomputed() -> None:
    # Autocast casts a weight once and recomputation casts it again: other operators than before.
    layer, inputs = block(), tokens()
    with torch.autocast("cpu", torch.bfloat16):
        output = recomputed(layer, inputs, mode="selective")
        output = recomputed(layer, output, mode="selective")
    output.float().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())


def test_a_linear_layer_without_bias_or_with_one_added_in_place_is_safe() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(32, 16))
            self.bias = nn.Parameter(torch.randn(32))

        def forward(self, inputs: Tensor) -> Tensor:
            return F.gelu((inputs @ self.weight.t()).add_(self.bias))

    torch.manual_seed(0)
    expected = gradients(Odd(), False)
    torch.manual_seed(0)
    for actual, kept in zip(gradients(Odd(), "selective"), expected, strict=True):
        assert torch.equal(actual, kept)


def test_less_is_kept_from_mode_to_mode() -> None:
    def kept_bytes(mode: Any) -> int:
        layer, inputs, tracker = block(), tokens(8, 32), StorageTracker()
        tracker.track((*layer.parameters(), inputs))
        before = tracker.live_bytes
        with tracker:
            output = recomputed(layer, inputs, mode=mode)
        return tracker.live_bytes - before - output.nbytes

    plain, selective, full = (kept_bytes(mode) for mode in (False, "selective", True))
    assert full < 0.1 * plain
    assert selective < 0.6 * plain


def test_nothing_is_recorded_without_gradients() -> None:
    layer = block().eval()
    with torch.no_grad(), CountKernels() as counter:
        output = recomputed(layer, tokens(), mode="selective")
    assert not output.requires_grad and counter.counts["addmm"] == 4


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="must be true, false or selective, but is 'some'"):
        check_activation_checkpointing("some")  # type: ignore[arg-type]
