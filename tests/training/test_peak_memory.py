from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from slrtune.training.peak_memory import PeakMemory, StorageTracker
from tests.training.toys import Reports, toy_trainer

KIB = 1024
CPU = torch.device("cpu")


def square() -> torch.Tensor:
    return torch.randn(256, 256)  # 256 KiB


def test_a_chain_of_products_peaks_where_the_hand_count_says():
    x, w1, w2 = square(), square().requires_grad_(), square().requires_grad_()
    tracker = StorageTracker()
    tracker.track((x, w1, w2))
    with tracker:
        (x @ w1 @ w2).sum().backward()
    # alive at the worst moment: x, w1, w2, grad w2, hidden (then grad w1), grad hidden; a block
    # each for the sum and its gradient
    assert tracker.peak_bytes == 6 * 256 * KIB + 2 * 512
    assert tracker.live_bytes == 5 * 256 * KIB  # x, two weights, their gradients


def test_views_count_once_and_small_tensors_as_a_whole_block():
    x = square()
    tracker = StorageTracker()
    with tracker:
        views = [x[:128], x.t(), x.view(-1)]
        number = torch.zeros(1)
    assert tracker.live_bytes == 256 * KIB + 512
    del views, number
    assert tracker.live_bytes == 256 * KIB
    del x
    assert tracker.live_bytes == 0


def test_the_second_step_adds_the_optimizer_state():
    model = nn.Linear(512, 512, bias=False)  # 1 MiB
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    memory = PeakMemory(model, CPU)
    peaks = []
    for _ in range(3):
        with memory.measuring():
            model(torch.ones(1, 512)).sum().backward()
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        memory.end_step()
        peaks.append(memory.peak_gib * KIB)
    assert peaks[1] == pytest.approx(4.0, abs=0.02)  # weights, gradients, two moments
    assert peaks[2] == peaks[1]


def profiled_peak_bytes(step) -> int:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


def test_tracked_peak_agrees_with_the_profiler():
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(2),
        nn.TransformerEncoderLayer(256, 4, 512, dropout=0.1, batch_first=True),
    )
    frames = torch.randn(32, 3, 16, 16)

    def step() -> None:
        model(frames).square().mean().backward()
        model.zero_grad(set_to_none=True)

    step()  # kernels make their first-use allocations
    existing = sum(t.nbytes for t in (*model.parameters(), *model.buffers(), frames))
    memory = PeakMemory(model, CPU)
    with memory.measuring():
        step()
    assert memory.peak_gib * 2**30 == pytest.approx(profiled_peak_bytes(step) + existing, rel=0.03)


def test_a_trial_reports_its_peak_and_smaller_micro_batches_need_less():
    peaks = []
    for micro_batch_size in (16, 1):
        reports = Reports()
        recipe = {"batch_size": 16, "max_epochs": 1, "micro_batch_size": micro_batch_size}
        toy_trainer(**recipe).fit(reports)
        peaks.append(reports[-1]["peak_memory_gib"])
    assert peaks[0] > peaks[1] > 0
