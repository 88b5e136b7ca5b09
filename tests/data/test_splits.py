from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from slrtune.config.errors import UserError
from slrtune.data.manifest import ClipRecord
from slrtune.data.splits import require_clips, with_val_split
from tests.data.conftest import make_config


def clips(split: str, **counts: int) -> list[ClipRecord]:
    return [
        ClipRecord(f"{split}/{gloss}/{take}.mp4", gloss, split, status="ok")
        for gloss, count in counts.items()
        for take in range(count)
    ]


def test_hold_out_takes_its_share_of_every_gloss() -> None:
    records = with_val_split(clips("train", a=20, b=10, c=5), make_config(val_fraction=0.2))
    held_out = Counter(record.gloss for record in records if record.split == "val")
    assert held_out == {"a": 4, "b": 2, "c": 1}


def test_hold_out_reaches_its_share_with_few_clips_per_gloss() -> None:
    records = clips("train", **{f"g{i}": 2 for i in range(50)})
    split = with_val_split(records, make_config(val_fraction=0.2))
    assert Counter(record.split for record in split) == {"train": 80, "val": 20}


def test_every_gloss_keeps_a_training_clip() -> None:
    records = with_val_split(clips("train", a=1, b=2, c=3), make_config(val_fraction=0.9))
    assert {record.gloss for record in records if record.split == "train"} == {"a", "b", "c"}


def test_hold_out_depends_on_the_split_seed_alone() -> None:
    records = clips("train", a=20, b=20)
    first, again, other = (
        with_val_split(records, make_config(val_fraction=0.5, split_seed=seed))
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_unusable_clips_are_not_held_out() -> None:
    records = clips("train", a=4)
    broken = [replace(record, status="unreadable") for record in clips("train", b=40)]
    held_out = with_val_split(records + broken, make_config(val_fraction=0.5))
    assert Counter(r.gloss for r in held_out if r.split == "val") == {"a": 2}


def test_a_val_split_of_the_data_is_kept_as_it_is() -> None:
    records = (*clips("train", a=9), *clips("val", a=1))
    assert with_val_split(records, make_config(val_fraction=0.5)) == records


def test_an_empty_split_is_refused_by_name() -> None:
    records = [*clips("train", a=3), *clips("test", a=2)]
    with pytest.raises(UserError) as refusal:
        require_clips(records, make_config(), Path("/x"))
    assert str(refusal.value) == (
        "data.val_split: split 'val' of /x has no usable clip (splits found: test 2, train 3); "
        "set data.val_split to one of them or data.val_fraction to e.g. 0.2"
    )


def test_a_split_whose_clips_are_all_lost_says_how() -> None:
    lost = [replace(record, status="missing") for record in clips("train", a=3)]
    with pytest.raises(UserError, match=r"'train' of /x has no usable clip \(3 missing; splits"):
        require_clips([*lost, *clips("val", a=1)], make_config(), Path("/x"))


def test_data_without_any_usable_clip_are_refused_with_a_reason() -> None:
    lost = [replace(r, status="missing", reason="no such file") for r in clips("train", a=3)]
    with pytest.raises(UserError, match=r"no clip of /x can be used \(3 missing; first: train/a/0"):
        require_clips(lost, make_config(), Path("/x"))
