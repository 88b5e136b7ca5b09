"""Who trains and who judges: a hold-out where the data bring none, and no empty split."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from slrtune.config.data import DataConfig
from slrtune.config.errors import UserError
from slrtune.data.manifest import ClipRecord
from slrtune.data.seeding import Purpose, random_stream


def with_val_split(records: Sequence[ClipRecord], config: DataConfig) -> tuple[ClipRecord, ...]:
    """Hold out ``val_fraction`` of the train split, unless the data list a val split."""
    listed = {record.split for record in records}
    if config.val_fraction == 0 or config.val_split in listed:
        return tuple(records)
    held_out = choose_held_out(records, config.train_split, config.val_fraction, config.split_seed)
    return tuple(
        replace(record, split=config.val_split) if clip_id in held_out else record
        for clip_id, record in enumerate(records)
    )


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


def require_clips(records: Sequence[ClipRecord], config: DataConfig, root: Path) -> None:
    """Refuse a train or val split without a usable clip, by its name.

    Raises:
        UserError: naming the split, what was found instead, and the cure.
    """
    for key, cure in (
        ("train_split", "set data.train_split to one of them"),
        ("val_split", "set data.val_split to one of them or data.val_fraction to e.g. 0.2"),
    ):
        _require(records, getattr(config, key), root, f"data.{key}", cure)


def require_split(records: Sequence[ClipRecord], split: str, root: Path) -> None:
    """Refuse one split that is to be evaluated and has no usable clip, by its name.

    Raises:
        UserError: naming the split, what was found instead, and the cure.
    """
    _require(records, split, root, "--split", "name one of them")


def _require(records: Sequence[ClipRecord], split: str, root: Path, place: str, cure: str) -> None:
    usable = Counter(record.split for record in records if record.is_usable)
    if not usable:
        first = records[0]
        raise UserError(
            f"data.root: no clip of {root} can be used ({_losses(records)}; "
            f"first: {first.path}: {first.reason}); correct data.root or the files"
        )
    if not usable[split]:
        found = ", ".join(f"{name} {count}" for name, count in sorted(usable.items()))
        lost = _losses([record for record in records if record.split == split])
        raise UserError(
            f"{place}: split '{split}' of {root} has no usable clip "
            f"({lost + '; ' if lost else ''}splits found: {found}); {cure}"
        )


def _losses(records: Sequence[ClipRecord]) -> str:
    lost = Counter(record.status for record in records if not record.is_usable)
    return ", ".join(f"{count} {status}" for status, count in sorted(lost.items()))
