"""Views of a clip for a multi-view test."""

from __future__ import annotations

import pytest
import torch

from slrtune.data.augment import evaluation_view
from slrtune.data.loader import build_test_loader
from slrtune.data.prepare import prepare_data
from slrtune.data.prepared import PreparedData
from slrtune.data.views import MultiViewDataset, Views


def views_of(prepared: PreparedData, views: Views) -> MultiViewDataset:
    clips = prepared.dataset("val", is_training=False, seed=0)
    return MultiViewDataset(clips, prepared.config, views)


def test_one_view_with_one_crop_is_the_validation_clip(prepared: PreparedData) -> None:
    validation = prepared.dataset("val", is_training=False, seed=0)
    views = views_of(prepared, Views())
    for index in range(len(validation)):
        assert torch.equal(views[index].frames, validation[index].frames.unsqueeze(0))
        assert views[index][1:] == validation[index][1:]


def test_the_middle_views_of_several_are_the_validation_clip(prepared: PreparedData) -> None:
    validation = prepared.dataset("val", is_training=False, seed=0)[1].frames
    frames = views_of(prepared, Views(3, 3))[1].frames
    assert frames.shape == (9, *validation.shape)
    assert torch.equal(frames[4], validation)
    # the clips are wider than high, and their column moves from frame to frame
    assert len({view.numpy().tobytes() for view in frames}) == 9


@pytest.mark.parametrize(("height", "width"), [(8, 20), (20, 8)])
def test_crops_lie_at_both_ends_and_in_the_middle_of_the_longer_side(
    height: int, width: int
) -> None:
    frames = torch.arange(height * width, dtype=torch.uint8).view(1, 1, height, width)
    left, middle, right = (evaluation_view(frames, 8, shift)[0, 0] for shift in (-1.0, 0.0, 1.0))
    picture = frames[0, 0] if width > height else frames[0, 0].T
    first, centre, last = (each if width > height else each.T for each in (left, middle, right))
    assert torch.equal(first, picture[:, :8])
    assert torch.equal(centre, picture[:, 6:14])
    assert torch.equal(last, picture[:, 12:])


def test_the_test_loader_gives_each_clip_once_in_manifest_order(prepared: PreparedData) -> None:
    batches = list(build_test_loader(prepared, "val", Views(2, 1), batch_size=2))
    assert [tuple(batch.frames.shape[:2]) for batch in batches] == [(2, 2), (2, 2), (1, 2)]
    clip_ids = torch.cat([batch.clip_ids for batch in batches]).tolist()
    assert clip_ids == [i for i, record in enumerate(prepared.records) if record.split == "val"]


def test_a_split_can_be_prepared_where_the_others_are_not(config, clips_root, tmp_path) -> None:
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "val").symlink_to(clips_root / "val")
    alone = config.model_copy(update={"root": tmp_path / "only"})
    prepared = prepare_data(alone, num_workers=1, only_split="val")
    assert len(prepared.dataset("val", is_training=False, seed=0)) == 5
