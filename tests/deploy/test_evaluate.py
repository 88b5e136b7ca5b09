"""A really trained tiny checkpoint, judged on real MP4 files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from slrtune.config.errors import UserError
from slrtune.config.experiment import Experiment
from slrtune.config.overrides import read_overrides
from slrtune.data.views import Views
from slrtune.deploy.confusion_figure import draw_confusion_matrix
from slrtune.deploy.evaluate import evaluate, prepare_split, resolve_device
from slrtune.deploy.evaluation import Evaluation
from slrtune.deploy.evaluation_files import write_evaluation
from slrtune.deploy.trained_model import TrainedModel, find_checkpoint, read_trained_model
from slrtune.models import create_model
from slrtune.training.checkpoint import CheckpointStore, read_checkpoint

CPU = torch.device("cpu")
KARSL = Path(__file__).parents[3] / "shared" / "data" / "karsl"


def judged(
    trained: TrainedModel, split: str, views: Views | None = None, batch_size: int | None = None
) -> Evaluation:
    prepared = prepare_split(trained, split, lambda what, done, total: None)
    return evaluate(trained, prepared, split, views=views, batch_size=batch_size, device=CPU)


def changed(run: Path, folder: Path, **values: object) -> TrainedModel:
    """The run's checkpoint with other contents."""
    path = folder / "best.pt"
    torch.save({**read_checkpoint(find_checkpoint(run)), **values}, path)
    return read_trained_model(path)


def test_validation_is_repeated_by_one_view(colors_run: Path) -> None:
    trained = read_trained_model(find_checkpoint(colors_run))
    evaluation = judged(trained, "val")
    for k in (1, 5, 10):
        assert evaluation.counts.top(k) == trained.metrics[f"val_top{k}"]
    assert evaluation.counts.top_per_class(1) == trained.metrics["val_top1_per_class"]
    assert evaluation.loss == pytest.approx(trained.metrics["val_loss"], rel=1e-12)


def test_labels_are_those_of_the_checkpoint_whatever_the_order_of_the_data(
    colors_run: Path, tmp_path: Path
) -> None:
    # blue, green, grey, red: what the network calls blue is now named red, and so on
    swapped = changed(colors_run, tmp_path, glosses=["red", "grey", "green", "blue"])
    right = judged(read_trained_model(find_checkpoint(colors_run)), "test")
    assert right.counts.top(1) == 1.0
    wrong = judged(swapped, "test")
    assert wrong.counts.top(1) == 0.0
    assert {(row.gloss, row.predicted, row.num_clips) for row in wrong.confusions} == {
        ("red", "blue", 2),
        ("blue", "red", 2),
        ("green", "grey", 2),
        ("grey", "green", 2),
    }


def test_clips_of_an_unknown_gloss_count_as_wrong_and_an_absent_gloss_is_named(
    colors_run: Path, tmp_path: Path
) -> None:
    trained = changed(colors_run, tmp_path, glosses=["blue", "green", "pink", "red"])
    evaluation = judged(trained, "test", batch_size=3)
    assert evaluation.unknown_glosses == ("grey",)
    assert (evaluation.num_of_unknown, evaluation.empty_glosses) == (2, ("pink",))
    assert evaluation.counts.top(1) == 6 / 8
    assert evaluation.counts.top(10) == 6 / 8  # with four glosses all clips that can be right
    assert evaluation.counts.top_per_class(1) == 3 / 4
    assert evaluation.per_gloss[0].gloss == "grey"
    assert evaluation.confusion_matrix.sum() == 8
    assert evaluation.loss == pytest.approx(
        float(evaluation.predictions.losses[evaluation.predictions.labels < 4].mean())
    )


def test_data_of_which_the_model_knows_nothing_are_refused(
    colors_run: Path, tmp_path: Path
) -> None:
    trained = changed(colors_run, tmp_path, glosses=["a", "b", "c", "d"])
    with pytest.raises(UserError, match=r"knows none of split 'test' .*data\.root="):
        judged(trained, "test")


def test_nan_weights_make_every_clip_wrong_and_no_figure_nan(
    colors_run: Path, tmp_path: Path
) -> None:
    weights = read_checkpoint(find_checkpoint(colors_run))["model"]
    broken = {name: w * float("nan") if w.is_floating_point() else w for name, w in weights.items()}
    evaluation = judged(changed(colors_run, tmp_path, model=broken), "test")
    assert (evaluation.num_invalid, evaluation.counts.top(10), evaluation.loss) == (8, 0.0, None)
    assert evaluation.confusion_matrix[:, -1].sum() == 8
    write_evaluation(evaluation, tmp_path)
    assert "NaN" not in (tmp_path / "metrics.json").read_text()


def test_many_views_change_the_probabilities_a_little(colors_run: Path) -> None:
    trained = read_trained_model(find_checkpoint(colors_run))
    one, many = judged(trained, "test"), judged(trained, "test", Views(2, 3))
    assert many.counts.top(1) == 1.0
    assert not torch.equal(one.predictions.top_probabilities, many.predictions.top_probabilities)
    difference = one.predictions.top_probabilities - many.predictions.top_probabilities
    assert difference.abs().max() < 0.1


def test_the_files_say_what_was_found(colors_run: Path, tmp_path: Path) -> None:
    trained = changed(colors_run, tmp_path, glosses=["red", "green", "grey", "blue"])
    evaluation = judged(trained, "test")
    write_evaluation(evaluation, tmp_path)
    record = json.loads((tmp_path / "metrics.json").read_text())
    assert (record["top1"], record["num_clips"], record["coverage"]["share"]) == (0.5, 8, 1.0)
    assert record["checkpoint"]["sha256"] == trained.sha256
    assert record["experiment"]["model"]["cnn_transformer"]["backbone"] == "test_resnet"
    with (tmp_path / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [record.path for record in evaluation.records]
    correct = [row["gloss"] == row["predicted_1"] for row in rows]
    assert correct == [row["rank"] == "1" for row in rows]
    assert sum(correct) == 4
    with (tmp_path / "confusion_matrix.csv").open(encoding="utf-8", newline="") as file:
        head, *table = csv.reader(file)
    assert head == ["gloss", "red", "green", "grey", "blue", "(no prediction)"]
    assert table[0] == ["red", "0", "0", "0", "2", "0"]
    assert not list(tmp_path.glob("*.partial"))
    assert Image.open(tmp_path / "confusion_matrix.png").width > 300


def test_signers_are_counted_one_by_one_and_unknown_ones_together(
    colors_run: Path, colors_root: Path, tmp_path: Path
) -> None:
    rows = [
        f"test/{gloss}/{take}.mp4,{gloss},{signer},test"
        for gloss in ("blue", "grey")
        for take, signer in ((0, "anna"), (1, "" if gloss == "blue" else "ben"))
    ]
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["path,label,signer,split", *rows]))
    path = tmp_path / "best.pt"
    content = read_checkpoint(find_checkpoint(colors_run))
    torch.save({**content, "glosses": ["blue", "green", "red", "grey"]}, path)  # grey is wrong
    trained = read_trained_model(
        path, read_overrides([f"data.annotations={table}", "data.source=auto"])
    )
    evaluation = judged(trained, "test")
    assert [(row.signer, row.num_clips, row.num_correct) for row in evaluation.per_signer] == [
        ("anna", 2, 1),
        ("ben", 1, 0),
        (None, 1, 1),
    ]
    assert evaluation.empty_glosses == ("green", "red")


def test_a_model_is_rebuilt_without_asking_for_its_pretrained_weights(
    colors_run: Path, tmp_path: Path
) -> None:
    content = read_checkpoint(find_checkpoint(colors_run))
    raw = json.loads(content["experiment"])
    raw["model"]["cnn_transformer"]["pretrained"] = "weights-that-are-gone.safetensors"
    trained = changed(colors_run, tmp_path, experiment=json.dumps(raw))
    assert judged(trained, "test").counts.top(1) == 1.0


def test_settings_that_do_not_fit_the_weights_are_refused(colors_run: Path) -> None:
    overrides = read_overrides(["model.cnn_transformer.embed_dim=64"])
    trained = read_trained_model(find_checkpoint(colors_run), overrides)
    with pytest.raises(UserError, match="its weights must fit its settings"):
        trained.build()


def test_a_gpu_that_is_not_there_is_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert resolve_device("auto") == CPU
    with pytest.raises(UserError, match="--device cpu"):
        resolve_device("cuda")


@pytest.mark.parametrize("num_glosses", [3, 400])
def test_one_confusion_can_be_seen_in_the_picture(tmp_path: Path, num_glosses: int) -> None:
    counts = np.zeros((num_glosses, num_glosses + 1), int)
    np.fill_diagonal(counts, 4)
    counts[0, num_glosses - 1] = 1
    draw_confusion_matrix(tmp_path / "a.png", counts, ["$x_1$"] * num_glosses, "all")
    counts[0, num_glosses - 1] = 0
    draw_confusion_matrix(tmp_path / "b.png", counts, ["$x_1$"] * num_glosses, "all")
    with_error, without = (np.asarray(Image.open(tmp_path / f"{n}.png"), int) for n in "ab")
    difference = np.abs(with_error - without).max(axis=-1)
    assert (difference > 20).sum() >= 6  # pixels


@pytest.mark.skipif(not KARSL.is_dir(), reason="no ../shared/data/karsl beside the checkout")
def test_real_sign_videos_with_signers_and_arabic_glosses(tmp_path: Path) -> None:
    model = {"backbone": "test_resnet", "pretrained": False, "embed_dim": 16, "depth": 1}
    experiment = Experiment.model_validate(
        {
            "data": {
                "source": "auto",
                "root": KARSL,
                "cache_dir": tmp_path / "cache",
                "num_frames": 4,
                "image_size": 32,
            },
            "model": {"cnn_transformer": {**model, "num_heads": 2}},
        }
    )
    with (KARSL / "labels.csv").open(encoding="utf-8-sig", newline="") as file:
        glosses = sorted({row["label"] for row in csv.DictReader(file)})
    torch.manual_seed(0)
    network = create_model(
        "cnn_transformer", num_classes=35, num_frames=4, image_size=32,
        **experiment.model.section.model_dump(),
    )  # fmt: skip
    store = CheckpointStore(tmp_path, experiment, glosses)
    store.save_best(network.state_dict(), {"epoch": 1, "val_top1": 0.0})
    evaluation = judged(read_trained_model(tmp_path / "best.pt"), "test", Views(2, 3))
    write_evaluation(evaluation, tmp_path)
    assert len(evaluation.predictions) == evaluation.confusion_matrix.sum() == 35
    assert [(row.signer, row.num_clips) for row in evaluation.per_signer] == [("01", 35)]
    assert evaluation.counts.top(1) == evaluation.counts.top_per_class(1) <= 0.2  # untrained
    assert evaluation.coverage.splits["test"].share == 1.0
    assert len(evaluation.per_gloss) == 35
