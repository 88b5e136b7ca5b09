"""What a data set is made of: counts and distributions of its clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from slrtune.data.manifest import ClipRecord
from slrtune.data.video import VideoError
from slrtune.data.window import frame_window


@dataclass(frozen=True)
class Spread:
    """Smallest, median and largest of some numbers."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """None where there are no values."""
        return cls(min(values), median(values), max(values)) if values else None


@dataclass(frozen=True)
class DataStats:
    """Of all listed clips: splits, statuses, glosses, signers. Of the decoded ones: the rest.

    Attributes:
        num_clips: listed.
        clips_per_gloss: by gloss, most frequent first.
        clips_per_signer: the same by signer; clips of unknown signers are left out.
        durations_s: of the signs (not of their files), where the frame rate is known.
        num_frames: of the signs.
        resolutions: by (width, height) in pixels, most frequent first.
        frame_rates: by fps, most frequent first.
        words_per_sentence: of clips whose sentence has text; words are what spaces part.
        num_words: different ones of all sentences.
    """

    num_clips: int
    splits: Counter[str]
    statuses: Counter[str]
    clips_per_gloss: dict[str, int]
    clips_per_signer: dict[str, int]
    durations_s: tuple[float, ...]
    num_frames: tuple[int, ...]
    resolutions: dict[tuple[int, int], int]
    frame_rates: dict[float, int]
    num_sentences: int
    num_different_sentences: int
    words_per_sentence: tuple[int, ...]
    num_words: int
    num_boxes: int
    num_keypoints: int

    @classmethod
    def of(cls, records: Sequence[ClipRecord]) -> DataStats:
        """Count ``records``, probed or not."""
        usable = [record for record in records if record.is_usable]
        frames = [(record, _num_frames(record)) for record in usable]
        sentences = [text for record in records if (text := (record.sentence or "").strip())]
        return cls(
            num_clips=len(records),
            splits=Counter(record.split for record in records),
            statuses=Counter(record.status for record in records),
            clips_per_gloss=_ranked(r.gloss for r in records if r.gloss),
            clips_per_signer=_ranked(r.signer for r in records if r.signer),
            durations_s=tuple(n / r.fps for r, n in frames if r.fps),
            num_frames=tuple(n for _, n in frames),
            resolutions=_ranked((r.width, r.height) for r in usable if r.width and r.height),
            frame_rates=_ranked(round(r.fps, 2) for r in usable if r.fps),
            num_sentences=len(sentences),
            num_different_sentences=len(set(sentences)),
            words_per_sentence=tuple(len(text.split()) for text in sentences),
            num_words=len({word for text in sentences for word in text.split()}),
            num_boxes=sum(record.box is not None for record in records),
            num_keypoints=sum(record.keypoints is not None for record in records),
        )


def _num_frames(record: ClipRecord) -> int:
    """Frames of the sign; seconds counted at the file's average rate."""
    assert record.num_frames is not None
    try:
        first, last = frame_window(*record.frame_window(record.fps), record.num_frames)
    except VideoError:
        return 0
    return last - first


T = TypeVar("T")


def _ranked(values: Iterable[T]) -> dict[T, int]:
    return dict(Counter(values).most_common())
