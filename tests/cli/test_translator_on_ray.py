"""A sweep of translators on a real local Ray: judged by WER, under a memory budget."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from tests.cli_process import run_slrtune
from tests.spelled_colors import settings

pytestmark = pytest.mark.ray


def test_translators_are_swept_by_wer_and_the_best_one_reads_videos(
    tmp_path: Path, spelled_root: Path, shared_cache: Path
) -> None:
    values = settings(spelled_root, shared_cache)
    values["training"] |= {"max_epochs": 8, "judged_by": "wer"}
    values["decoding"]["method"] = "ctc"
    values["sweep"] = {"max_trials": 2, "scheduler": "none"}
    (tmp_path / "spelled.yaml").write_text(yaml.safe_dump(values))
    space = {
        "experiment": "spelled.yaml",
        "parameters": {
            "training.ctc_weight": {"low": 0.2, "high": 1.0},
            "model.dense_vit.frame_chunk_size": {"choices": [16, 4096]},
        },
        "points": [
            {"training.ctc_weight": 0.5, "model.dense_vit.frame_chunk_size": size}
            for size in (4096, 16)
        ],
    }
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(space))
    code, output = run_slrtune(
        ["sweep", "space.yaml", "--name", "s", "--memory-budget-gib", "0.5"], tmp_path
    )
    assert code == 0, output
    assert "Memory budget: 0.5 GiB" in output and "best validation WER" in output
    sweep = tmp_path / "runs" / "s"
    best = torch.load(sweep / "best.pt", weights_only=True)["metrics"]
    assert best["val_wer"] < 0.2
    assert best["peak_memory_gib"] < 0.5
    assert len(list((sweep / "tensorboard").glob("trial_*/events.*"))) >= 2
    clip = next(spelled_root.glob("-test_*.mp4"))
    code, output = run_slrtune(["translate", "--checkpoint", "s", "--", str(clip)], tmp_path)
    assert code == 0 and "% sure" in output
