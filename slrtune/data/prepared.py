"""Clips ready for training: a pack, and what is known of each clip."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from slrtune.config.data import DataConfig
from slrtune.data.coverage import Coverage
from slrtune.data.dataset import ClipDataset, ClipPlace
from slrtune.data.manifest import ClipRecord
from slrtune.data.pack.reader import Pack
from slrtune.data.splits import Needs, has_needed


@dataclass(frozen=True)
class PreparedData:
    """Clips ready for training.

    Attributes:
        pack: holds the clips.
        root: where the source files are or were; `ClipRecord.path` is relative to it.
        records: every listed clip, usable or not; the place is the clip id.
        needs: what the clips of `dataset` have.
    """

    pack: Pack
    root: Path
    config: DataConfig
    records: tuple[ClipRecord, ...]
    needs: Needs = "gloss"

    @cached_property
    def glosses(self) -> tuple[str, ...]:
        """Labels: a gloss's label is its place here, of all splits together.

        In the order of the data's own class list; sorted where the data have none. Without any
        where the data have sentences only.
        """
        usable = [record for record in self.records if record.is_usable and record.gloss]
        if any(record.label_id is None for record in usable):
            return tuple(sorted({record.gloss for record in usable}))
        by_number = sorted({(record.label_id, record.gloss) for record in usable})
        return tuple(dict.fromkeys(gloss for _, gloss in by_number))

    @cached_property
    def coverage(self) -> Coverage:
        """What was listed, found and usable, and why the rest is not."""
        return Coverage.of(self.records)

    def sentences(self, split: str) -> list[str]:
        """The sentences of the clips of `dataset`, in their order."""
        return [
            record.sentence or ""
            for record in self.records
            if record.split == split and has_needed(record, "sentence")
        ]

    def num_without(self, split: str) -> int:
        """Usable clips of ``split`` that are left out because they lack what is needed."""
        return sum(
            record.split == split and record.is_usable and not has_needed(record, self.needs)
            for record in self.records
        )

    def dataset(
        self, split: str, *, is_training: bool, seed: int, num_keypoints: int = 0
    ) -> ClipDataset:
        """The usable clips of ``split`` that have what is needed: a gloss, or a sentence.

        Augmented, and sampled at random, only for training. The label of a clip without a gloss
        is 0. With ``num_keypoints`` the samples have so many landmarks.
        """
        label_of = {gloss: label for label, gloss in enumerate(self.glosses)}
        usable = [(i, record) for i, record in enumerate(self.records) if record.is_usable]
        clips = tuple(
            ClipPlace(
                position,
                clip_id,
                label_of.get(record.gloss, 0),
                (record.width or 0, record.height or 0),
            )
            for position, (clip_id, record) in enumerate(usable)  # a pack holds just the usable
            if record.split == split and has_needed(record, self.needs)
        )
        return ClipDataset(
            self.pack,
            clips,
            self.config,
            is_training=is_training,
            seed=seed,
            num_keypoints=num_keypoints,
        )
