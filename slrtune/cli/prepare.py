"""Show the data being made ready, and how much of them can be used."""

from __future__ import annotations

import textwrap

from slrtune.cli.console import progress_bar, say, table
from slrtune.config.data import DataConfig
from slrtune.data.coverage import Coverage
from slrtune.data.prepare import prepare_data
from slrtune.data.prepared import PreparedData
from slrtune.data.splits import Needs
from slrtune.report.words import percent

_MAX_NAMED, _MAX_GLOSS = 10, 40


def prepare(data: DataConfig, needs: Needs = "gloss") -> PreparedData:
    """Render, index and pack on first use, with bars; then say where it is and what is usable."""
    with progress_bar() as show:
        prepared = prepare_data(data, on_progress=show, needs=needs)
    what = f"{len(prepared.glosses)} glosses"
    if needs == "sentence":
        sentences = prepared.sentences(data.train_split)
        what = f"{len(set(sentences))} different sentences to train on"
    say(f"Data: {what}, clips in {prepared.pack.folder}")
    print_coverage(prepared.coverage)
    for split in (data.train_split, data.val_split):
        if number := prepared.num_without(split):
            say(f"  split {split}: {number} usable clip(s) without a {needs} left out", "yellow")
    return prepared


def print_coverage(coverage: Coverage, all_of_them: str = "see the manifest") -> None:
    """A row per split; every unusable clip's reason, and glosses that lost all their clips.

    Args:
        all_of_them: where the clips stand that are too many to print.
    """
    parts = [*coverage.splits.items()]
    if len(parts) > 1:
        parts.append(("all", coverage.total))
    rows = [
        (name, str(part.listed), str(part.found), str(part.usable), percent(part.share))
        for name, part in parts
    ]
    table("Coverage", ("split", "listed", "found", "usable", "coverage"), rows)
    for clip in coverage.unusable[:_MAX_NAMED]:
        say(f"  left out: {clip.path}: {clip.status}: {clip.reason}", style="yellow")
    if len(coverage.unusable) > _MAX_NAMED:
        say(f"  … and {len(coverage.unusable) - _MAX_NAMED} more ({all_of_them})", "yellow")
    for split, glosses in coverage.lost_glosses.items():
        if glosses:
            shown = [textwrap.shorten(gloss, _MAX_GLOSS, placeholder="…") for gloss in glosses]
            named = ", ".join(shown[:_MAX_NAMED]) + (" …" if len(shown) > _MAX_NAMED else "")
            say(f"  split {split}: {len(glosses)} gloss(es) without a clip: {named}", "yellow")
    _say_thinned(coverage)


def _say_thinned(coverage: Coverage) -> None:
    """Glosses that lost most of their clips, but not all."""
    thinned = [
        (part.share, f"{gloss} {part.usable}/{part.listed} ({split})")
        for split, parts in coverage.glosses.items()
        for gloss, part in parts.items()
        if 0 < part.share < 1
    ]
    if thinned:
        named = ", ".join(text for _, text in sorted(thinned)[:_MAX_NAMED])
        more = " …" if len(thinned) > _MAX_NAMED else ""
        say(f"  {len(thinned)} gloss(es) lost some clips, most of all: {named}{more}", "yellow")
