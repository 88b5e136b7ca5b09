"""torch.compile; the graphs are compiled by aot_eager, whose result is the eager one's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from slrtune.training import compiling
from tests.training.toys import Reports, ToyModel, toy_trainer


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def trained(folder: Path | None, stop_epoch: int | None = None, **training):
    recipe = {"batch_size": 4, "max_epochs": 3, "ema_decay": 0.9, **training}
    trainer = toy_trainer(folder, ToyModel(use_batch_norm=True), **recipe)
    trainer.fit(Reports(stop_epoch))
    return trainer


def test_a_compiled_trial_equals_an_eager_one_and_resumes_with_clean_names(
    tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(compiling, "BACKEND", "aot_eager")
    eager = trained(None)
    compiled = trained(tmp_path / "unbroken", compile=True)
    trained(tmp_path / "resumed", stop_epoch=1, compile=True)
    resumed = trained(tmp_path / "resumed", compile=True)
    for other in (compiled, resumed):
        torch.testing.assert_close(dict(other.model.state_dict()), dict(eager.model.state_dict()))
    assert compiled.best["val_loss"] == pytest.approx(eager.best["val_loss"], rel=1e-5)


def test_batches_of_any_size_share_one_graph(monkeypatch):
    graphs = []

    def counting(graph, example_inputs):
        graphs.append(graph)
        return graph.forward

    model = ToyModel().eval()
    monkeypatch.setattr(compiling, "BACKEND", counting)
    compiling.compile_in_place(model)
    with torch.inference_mode():
        for size in (8, 5, 3):
            model(compiling.mark_batch_dynamic(torch.rand(size, 2, 3, 4, 4)))
    assert len(graphs) == 1


def test_inductor_trains_the_weights_that_eager_trains():
    eager, compiled = toy_trainer(max_epochs=1), toy_trainer(max_epochs=1, compile=True)
    for trainer in (eager, compiled):
        trainer.train_epoch()
    torch.testing.assert_close(dict(compiled.model.state_dict()), dict(eager.model.state_dict()))
