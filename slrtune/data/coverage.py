"""How much of what the data list can be used, and what was lost for which reason."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

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
        glosses: by split name, by gloss, both sorted; sentences without a gloss are left out.
        lost_glosses: by split name: glosses that are listed there but keep no usable clip there.
        unusable: every clip that is left out, in clip id order.
    """

    splits: dict[str, SplitCoverage]
    glosses: dict[str, dict[str, SplitCoverage]]
    lost_glosses: dict[str, tuple[str, ...]]
    unusable: tuple[UnusableClip, ...]

    @classmethod
    def of(cls, records: Sequence[ClipRecord]) -> Coverage:
        """Count ``records``, before or after decoding."""
        splits = _count(records, lambda record: record.split)
        by_gloss = _count(
            [record for record in records if record.gloss], lambda r: (r.split, r.gloss)
        )
        glosses: dict[str, dict[str, SplitCoverage]] = {name: {} for name in splits}
        for (split, gloss), part in by_gloss.items():
            glosses[split][gloss] = part
        return cls(
            splits=splits,
            glosses=glosses,
            lost_glosses={
                split: tuple(gloss for gloss, part in parts.items() if not part.usable)
                for split, parts in glosses.items()
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


Key = TypeVar("Key", str, tuple[str, str])


def _count(
    records: Sequence[ClipRecord], key: Callable[[ClipRecord], Key]
) -> dict[Key, SplitCoverage]:
    listed = Counter(key(record) for record in records)
    found = Counter(key(record) for record in records if record.status != MISSING)
    usable = Counter(key(record) for record in records if record.is_usable)
    return {k: SplitCoverage(listed[k], found[k], usable[k]) for k in sorted(listed)}


def write_coverage_report(path: Path, records: Sequence[ClipRecord]) -> None:
    """A CSV with a row per split and gloss: listed, found, usable, and what became of the rest."""
    lost: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for record in records:
        if record.status not in (OK, FOUND):
            lost[record.split, record.gloss][record.status] += 1
    partial = path.with_name(path.name + ".partial")  # a reader never sees half a report
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("split", "gloss", "listed", "found", "usable", "lost"))
        for (split, gloss), part in _count(records, lambda r: (r.split, r.gloss)).items():
            what = " ".join(f"{name}:{n}" for name, n in sorted(lost[split, gloss].items()))
            writer.writerow((split, gloss, part.listed, part.found, part.usable, what))
    partial.replace(path)
