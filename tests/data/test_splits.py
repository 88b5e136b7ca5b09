from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from slrtune.config.errors import UserError
from slrtune.data.manifest import ClipRecord
from slrtune.data.splits import assign_splits, require_clips
from tests.data.conftest import make_config


def clips(split: str, **counts: int) -> list[ClipRecord]:
    return [
        ClipRecord(f"{split}/{gloss}/{take}.mp4", gloss, split, status="ok")
        for gloss, count in counts.items()
        for take in range(count)
    ]


def test_hold_out_takes_its_share_of_every_gloss() -> None:
    records = assign_splits(clips("train", a=20, b=10, c=5), make_config(val_fraction=0.2))
    held_out = Counter(record.gloss for record in records if record.split == "val")
    assert held_out == {"a": 4, "b": 2, "c": 1}


def test_hold_out_reaches_its_share_with_few_clips_per_gloss() -> None:
    records = clips("train", **{f"g{i}": 2 for i in range(50)})
    split = assign_splits(records, make_config(val_fraction=0.2))
    assert Counter(record.split for record in split) == {"train": 80, "val": 20}


def test_every_gloss_keeps_a_training_clip() -> None:
    records = assign_splits(clips("train", a=1, b=2, c=3), make_config(val_fraction=0.9))
    assert {record.gloss for record in records if record.split == "train"} == {"a", "b", "c"}


def test_hold_out_depends_on_the_split_seed_alone() -> None:
    records = clips("train", a=20, b=20)
    first, again, other = (
        assign_splits(records, make_config(val_fraction=0.5, split_seed=seed)) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_unusable_clips_are_not_held_out() -> None:
    records = clips("train", a=4)
    broken = [replace(record, status="unreadable") for record in clips("train", b=40)]
    held_out = assign_splits(records + broken, make_config(val_fraction=0.5))
    assert Counter(r.gloss for r in held_out if r.split == "val") == {"a": 2}


def test_a_val_split_of_the_data_is_kept_as_it_is() -> None:
    records = (*clips("train", a=9), *clips("val", a=1))
    assert assign_splits(records, make_config(val_fraction=0.5)) == records


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


def signed(**counts: int) -> list[ClipRecord]:
    return [
        ClipRecord(f"{signer}{take}.mp4", f"g{take % 3}", "all", signer, status="ok")
        for signer, count in counts.items()
        for take in range(count)
    ]


def test_no_signer_is_in_two_splits_and_shares_are_near() -> None:
    records = signed(**{f"s{number}": 5 + number % 4 for number in range(20)})
    config = make_config(split_by="signer", val_fraction=0.2, test_fraction=0.1)
    split = assign_splits(records, config)
    by_signer = {(record.signer, record.split) for record in split}
    assert len(by_signer) == 20
    shares = Counter(record.split for record in split)
    assert abs(shares["val"] / len(split) - 0.2) < 0.05
    assert abs(shares["test"] / len(split) - 0.1) < 0.05
    assert assign_splits(records, config) == split
    other = make_config(split_by="signer", val_fraction=0.2, test_fraction=0.1, split_seed=1)
    assert assign_splits(records, other) != split


def test_one_signer_who_did_most_leaves_each_split_a_signer() -> None:
    config = make_config(split_by="signer", val_fraction=0.1, test_fraction=0.1)
    for seed in range(9):
        records = assign_splits(
            signed(a=90, b=5, c=5), config.model_copy(update={"split_seed": seed})
        )
        assert {record.split for record in records} == {"train", "val", "test"}


def test_too_few_or_unknown_signers_are_refused() -> None:
    config = make_config(split_by="signer", val_fraction=0.2)
    with pytest.raises(UserError, match="have 1; set it to stratified"):
        assign_splits(signed(a=5), config)
    with pytest.raises(UserError, match="some name none"):
        assign_splits([*signed(a=5, b=5), *clips("train", x=1)], config)


def test_stratified_splits_draw_every_gloss_anew() -> None:
    records = [*clips("train", a=10, b=20), *clips("test", a=10, b=20)]
    config = make_config(split_by="stratified", val_fraction=0.2, test_fraction=0.1)
    drawn = Counter((record.split, record.gloss) for record in assign_splits(records, config))
    assert drawn == {
        ("train", "a"): 14, ("val", "a"): 4, ("test", "a"): 2,
        ("train", "b"): 28, ("val", "b"): 8, ("test", "b"): 4,
    }  # fmt: skip


def test_clips_with_sentences_only_cannot_be_trained_on() -> None:
    records = [replace(record, gloss="") for record in clips("train", a=2)]
    with pytest.raises(UserError, match="sentences only; take annotations with glosses"):
        require_clips(records, make_config(), Path("/x"))


def test_clips_without_what_the_task_needs_do_not_count() -> None:
    bare = [*clips("train", a=2), *clips("val", a=1)]
    with pytest.raises(UserError, match="must have a sentence to be translated"):
        require_clips(bare, make_config(), Path("/x"), "sentence")
    told = [replace(record, sentence="Hello.") for record in bare[:1]]
    with pytest.raises(UserError, match=r"split 'val' of /x has no usable clip \(1 without a sen"):
        require_clips([*told, *bare[1:]], make_config(), Path("/x"), "sentence")
    empty = [replace(record, sentence=" ") for record in bare]
    with pytest.raises(UserError, match="must have a sentence to be translated"):
        require_clips(empty, make_config(), Path("/x"), "sentence")
