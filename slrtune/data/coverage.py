"""How much of what the data list can be used, and what was lost for which reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from slrtune.data.manifest import FOUND, MISSING, OK, ClipRecord


@dataclass(frozen=True)
class SplitCoverage:
    """Clips of one split: listed by folders or annotations, found on disk, usable once decoded."""

    listed: int
    found: int
    usable: int

    @property
    def share(self) -> float:
        """Usable over listed, 0..1."""
        return self.usable / self.listed if self.listed else 0.0


@dataclass(frozen=True)
class UnusableClip:
    """A clip that is left out, and why."""

    path: str
    status: str
    reason: str


@dataclass(frozen=True)
class Coverage:
    """What the data promise and what is there.

    Attributes:
        splits: by split name, sorted.
        lost_glosses: by split name: glosses that are listed there but keep no usable clip there.
        unusable: every clip that is left out, in clip id order.
    """

    splits: dict[str, SplitCoverage]
    lost_glosses: dict[str, tuple[str, ...]]
    unusable: tuple[UnusableClip, ...]

    @classmethod
    def of(cls, records: Sequence[ClipRecord]) -> Coverage:
        """Count ``records``, before or after decoding."""
        listed = Counter(record.split for record in records)
        found = Counter(record.split for record in records if record.status != MISSING)
        usable = Counter(record.split for record in records if record.is_usable)
        kept = {(record.split, record.gloss) for record in records if record.is_usable}
        lost = {(record.split, record.gloss) for record in records} - kept
        return cls(
            splits={
                name: SplitCoverage(listed[name], found[name], usable[name])
                for name in sorted(listed)
            },
            lost_glosses={
                name: tuple(sorted(gloss for split, gloss in lost if split == name))
                for name in sorted(listed)
            },
            unusable=tuple(
                UnusableClip(record.path, record.status, record.reason)
                for record in records
                if record.status not in (OK, FOUND)
            ),
        )

    @property
    def total(self) -> SplitCoverage:
        """All splits together."""
        parts = self.splits.values()
        return SplitCoverage(
            sum(part.listed for part in parts),
            sum(part.found for part in parts),
            sum(part.usable for part in parts),
        )
