"""A data set's statistics as tables."""

from __future__ import annotations

from collections.abc import Sequence

from slrtune.cli.console import say, table
from slrtune.data.stats import DataStats, Spread
from slrtune.report.words import number

_MAX_NAMED = 8


def print_stats(stats: DataStats) -> None:
    """What there is in a few lines: counts, spreads, and the most frequent values."""
    glosses, signers = stats.clips_per_gloss, stats.clips_per_signer
    sentences = stats.words_per_sentence
    what = "a sign" if glosses else "a clip"
    table(
        f"{stats.num_clips} clips",
        ("", "kinds", "lowest", "median", "highest"),
        [
            *[_row("clips per gloss", len(glosses), list(glosses.values()))][: len(glosses)],
            *[_row("words per sentence", stats.num_words, sentences)][: len(sentences)],
            _row("clips per signer", len(signers), list(signers.values())),
            _row(f"duration of {what} (s)", None, stats.durations_s),
            _row(f"frames of {what}", None, stats.num_frames),
            _row("width (px)", None, _repeated({w: n for (w, _), n in stats.resolutions.items()})),
            _row("height (px)", None, _repeated({h: n for (_, h), n in stats.resolutions.items()})),
            _row("frame rate (fps)", len(stats.frame_rates), _repeated(stats.frame_rates)),
        ],
    )
    _say_ranked("splits", dict(stats.splits.most_common()))
    _say_ranked("status", dict(stats.statuses.most_common()))
    _say_ranked("resolutions", {f"{w}x{h}": n for (w, h), n in stats.resolutions.items()})
    _say_ranked("most frequent glosses", glosses)
    _say_ranked("rarest glosses", dict(list(glosses.items())[::-1]))
    _say_ranked("signers", signers)
    if sentences:
        different = stats.num_different_sentences
        say(f"  sentences: {len(sentences)}, {different} different, {stats.num_words} words")
    extras = {
        "sentences": stats.num_sentences,
        "boxes": stats.num_boxes,
        "keypoints": stats.num_keypoints,
    }
    _say_ranked("with", {name: n for name, n in extras.items() if n})


def _row(name: str, kinds: int | None, values: Sequence[float]) -> tuple[str, ...]:
    spread = Spread.of(values)
    numbers = (spread.low, spread.middle, spread.high) if spread else (None, None, None)
    return (name, "" if kinds is None else str(kinds), *(_short(value) for value in numbers))


def _short(value: float | None) -> str:
    return str(int(value)) if value is not None and value == int(value) else number(value)


def _repeated(counts: dict[int, int] | dict[float, int]) -> list[float]:
    return [value for value, count in counts.items() for _ in range(count)]


def _say_ranked(name: str, counts: dict[str, int]) -> None:
    if counts:
        named = ", ".join(f"{key} {count}" for key, count in list(counts.items())[:_MAX_NAMED])
        say(f"  {name}: {named}{' …' if len(counts) > _MAX_NAMED else ''}")
