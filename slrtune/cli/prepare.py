"""Show the data being made ready, and how much of them can be used."""

from __future__ import annotations

from slrtune.cli.console import percent, progress_bar, say, table
from slrtune.config.data import DataConfig
from slrtune.data.coverage import Coverage
from slrtune.data.prepare import PreparedData, prepare_data

_MAX_NAMED = 10


def prepare(data: DataConfig) -> PreparedData:
    """Render, index and pack on first use, with bars; then say where it is and what is usable."""
    with progress_bar() as show:
        prepared = prepare_data(data, on_progress=show)
    say(f"Data: {len(prepared.glosses)} glosses, clips in {prepared.pack.folder}")
    print_coverage(prepared.coverage)
    return prepared


def print_coverage(coverage: Coverage) -> None:
    """A row per split; every unusable clip's reason, and glosses that lost all their clips."""
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
        say(f"  … and {len(coverage.unusable) - _MAX_NAMED} more (see the manifest)", "yellow")
    for split, glosses in coverage.lost_glosses.items():
        if glosses:
            named = ", ".join(glosses[:_MAX_NAMED]) + (" …" if len(glosses) > _MAX_NAMED else "")
            say(f"  split {split}: {len(glosses)} gloss(es) without a clip: {named}", "yellow")
