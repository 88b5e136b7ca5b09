"""Who trains and who judges: the data's own splits, or splits drawn anew; and no empty split."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from slrtune.config.data import DataConfig
from slrtune.config.errors import UserError
from slrtune.data.manifest import ClipRecord
from slrtune.data.seeding import Purpose, random_stream

Needs = Literal["gloss", "sentence"]
"""What a clip must have to be learnt from: to be recognized, or to be translated."""
TEST_SPLIT = "test"
"""What `data.test_fraction` makes."""


def assign_splits(records: Sequence[ClipRecord], config: DataConfig) -> tuple[ClipRecord, ...]:
    """The records with the splits that ``config.split_by`` asks for.

    With the data's own splits ``val_fraction`` of the train split is held out, unless the data
    list a val split. Drawn splits share out the usable clips; the others stay in the train split,
    or with their signer.

    Raises:
        UserError: too few signers for the splits, or usable clips without one.
    """
    if config.split_by == "official":
        listed = {record.split for record in records}
        if config.val_fraction == 0 or config.val_split in listed:
            return tuple(records)
        shares = {config.val_split: config.val_fraction}
        return _stratified(records, config, shares)
    shares = {TEST_SPLIT: config.test_fraction, config.val_split: config.val_fraction}
    shares = {split: share for split, share in shares.items() if share > 0}
    if config.split_by == "signer":
        return _by_signer(records, config, shares)
    joined = [replace(record, split=config.train_split) for record in records]
    return _stratified(joined, config, shares)


def _stratified(
    records: Sequence[ClipRecord], config: DataConfig, shares: dict[str, float]
) -> tuple[ClipRecord, ...]:
    """Give each split its share of every gloss of the train split."""
    outcome, rest = list(records), 1.0
    for number, (split, share) in enumerate(shares.items()):
        seed = config.split_seed if number == 0 else (config.split_seed + 1) * 1_000_003 + number
        for clip_id in choose_held_out(outcome, config.train_split, share / rest, seed):
            outcome[clip_id] = replace(outcome[clip_id], split=split)
        rest -= share
    return tuple(outcome)


def _by_signer(
    records: Sequence[ClipRecord], config: DataConfig, shares: dict[str, float]
) -> tuple[ClipRecord, ...]:
    """Give each split whole signers, drawn in turn while they bring it nearer to its share."""
    num_clips = Counter(record.signer for record in records if record.is_usable)
    if num_clips.pop(None, 0):
        raise UserError(
            "data.split_by: signer needs the signer of every clip, but some name none; "
            "add a signer column to the annotations, or set it to stratified"
        )
    if len(num_clips) <= len(shares):
        raise UserError(
            f"data.split_by: signer needs a signer for each of {len(shares) + 1} splits, but the "
            f"usable clips have {len(num_clips)}; set it to stratified"
        )
    rng = random_stream(Purpose.HOLD_OUT, config.split_seed)
    waiting = [sorted(map(str, num_clips))[i] for i in rng.permutation(len(num_clips))]
    split_of: dict[str | None, str] = {}
    for number, (split, share) in enumerate(shares.items(), start=1):
        due, taken = share * num_clips.total(), 0
        for signer in list(waiting):
            is_last = len(waiting) <= len(shares) - number + 1  # the other splits need one each
            if is_last or (taken and abs(taken + num_clips[signer] - due) > abs(taken - due)):
                continue
            waiting.remove(signer)
            taken += num_clips[signer]
            split_of[signer] = split
    train = config.train_split
    return tuple(replace(r, split=split_of.get(r.signer, train)) for r in records)


def choose_held_out(
    records: Sequence[ClipRecord], split: str, fraction: float, seed: int
) -> set[int]:
    """Clip ids of about ``fraction`` of the usable clips of ``split``, evenly over the glosses.

    Each gloss gives the whole part of its share; what is still due comes from the glosses with the
    largest remainders. Every gloss keeps at least one clip.
    """
    rng = random_stream(Purpose.HOLD_OUT, seed)
    by_gloss: dict[str, list[int]] = defaultdict(list)
    for clip_id, record in enumerate(records):
        if record.is_usable and record.split == split:
            by_gloss[record.gloss].append(clip_id)
    shuffled = {gloss: rng.permutation(by_gloss[gloss]).tolist() for gloss in sorted(by_gloss)}
    due = {gloss: fraction * len(ids) for gloss, ids in shuffled.items()}
    taken = {gloss: min(int(due[gloss]), len(ids) - 1) for gloss, ids in shuffled.items()}
    num_missing = round(sum(due.values())) - sum(taken.values())
    ties = dict(zip(shuffled, rng.random(len(shuffled)), strict=True))
    neediest = sorted(shuffled, key=lambda gloss: (taken[gloss] - due[gloss], ties[gloss]))
    can_give = [gloss for gloss in neediest if taken[gloss] < len(shuffled[gloss]) - 1]
    for gloss in can_give[: max(num_missing, 0)]:
        taken[gloss] += 1
    return {clip_id for gloss, ids in shuffled.items() for clip_id in ids[: taken[gloss]]}


def has_needed(record: ClipRecord, needs: Needs) -> bool:
    """Whether the clip is usable and has a gloss, or a sentence with text."""
    found = record.gloss if needs == "gloss" else (record.sentence or "").strip()
    return record.is_usable and bool(found)


def require_clips(
    records: Sequence[ClipRecord], config: DataConfig, root: Path, needs: Needs = "gloss"
) -> None:
    """Refuse a train or val split without a usable clip that has what is needed, by its name.

    Raises:
        UserError: naming the split, what was found instead, and the cure.
    """
    for key, cure in (
        ("train_split", "set data.train_split to one of them"),
        ("val_split", "set data.val_split to one of them or data.val_fraction to e.g. 0.2"),
    ):
        _require(records, getattr(config, key), root, needs, f"data.{key}", cure)


def require_split(
    records: Sequence[ClipRecord], split: str, root: Path, needs: Needs = "gloss"
) -> None:
    """Refuse one split that is to be evaluated and has no usable clip, by its name.

    Raises:
        UserError: naming the split, what was found instead, and the cure.
    """
    _require(records, split, root, needs, "--split", "name one of them")


_NEEDED = {
    "gloss": (
        "clips must have a gloss to be recognized, but those of {root} have sentences only; take "
        "annotations with glosses, or a model that translates"
    ),
    "sentence": (
        "clips must have a sentence to be translated, but those of {root} have glosses only; take "
        "annotations with a column sentence (--set data.columns), or a model that recognizes"
    ),
}


def _require(
    records: Sequence[ClipRecord], split: str, root: Path, needs: Needs, place: str, cure: str
) -> None:
    usable = Counter(record.split for record in records if has_needed(record, needs))
    if not any(record.is_usable for record in records):
        first = records[0]
        raise UserError(
            f"data.root: no clip of {root} can be used ({_losses(records)}; "
            f"first: {first.path}: {first.reason}); correct data.root or the files"
        )
    if not usable:
        raise UserError(f"data: {_NEEDED[needs].format(root=root)}")
    if not usable[split]:
        found = ", ".join(f"{name} {count}" for name, count in sorted(usable.items()))
        here = [record for record in records if record.split == split]
        lost = _losses(here)
        if num_bare := sum(record.is_usable for record in here):
            lost = f"{lost + ', ' if lost else ''}{num_bare} without a {needs}"
        raise UserError(
            f"{place}: split '{split}' of {root} has no usable clip "
            f"({lost + '; ' if lost else ''}splits found: {found}); {cure}"
        )


def _losses(records: Sequence[ClipRecord]) -> str:
    lost = Counter(record.status for record in records if not record.is_usable)
    return ", ".join(f"{count} {status}" for status, count in sorted(lost.items()))
