"""What an evaluation shows on the screen."""

from __future__ import annotations

from collections.abc import Sequence

from slrtune.cli.console import say, table
from slrtune.cli.prepare import print_coverage
from slrtune.deploy.evaluation import Evaluation
from slrtune.report.words import duration, number, percent
from slrtune.training.metrics import TOP_KS

_MAX_ROWS = 10
_MAX_NAMED = 10


def print_evaluation(evaluation: Evaluation) -> None:
    """Coverage, accuracy, what does not count, the worst glosses, signers, confusions, cost."""
    print_coverage(evaluation.coverage)
    _print_accuracy(evaluation)
    _print_reservations(evaluation)
    _print_glosses(evaluation)
    _print_signers(evaluation)
    _print_confusions(evaluation)
    _print_cost(evaluation)


def _print_accuracy(evaluation: Evaluation) -> None:
    counts = evaluation.counts
    low, high = evaluation.top1_interval
    rows = [
        (name, *(percent(share(k)) for k in TOP_KS), str(number), within)
        for name, share, number, within in (
            ("per instance", counts.top, f"{counts.num_clips} clips",
             f"{percent(low)} to {percent(high)}"),
            ("per class", counts.top_per_class, f"{len(evaluation.per_gloss)} glosses", "–"),
        )
    ]  # fmt: skip
    views = evaluation.views
    title = f"Accuracy on split {evaluation.split}"
    if len(views) > 1:
        title += f", {views.num_temporal} x {views.num_crops} views of each clip averaged"
    columns = ("mean", *(f"top-{k}" for k in TOP_KS), "over", "95 % interval of top-1")
    table(title, columns, rows)
    loss = evaluation.loss
    say(f"  mean loss {'–' if loss is None else f'{loss:.3f}'}", style="bold")


def _print_reservations(evaluation: Evaluation) -> None:
    if evaluation.empty_glosses:
        say(
            f"  {len(evaluation.empty_glosses)} gloss(es) of the model without a usable clip, left "
            f"out of the per-class means: {_named(evaluation.empty_glosses)}",
            style="yellow",
        )
    if evaluation.unknown_glosses:
        say(
            f"  {evaluation.num_of_unknown} clip(s) of {len(evaluation.unknown_glosses)} gloss(es) "
            "that the model does not know count as wrong, and are left out of the loss: "
            f"{_named(evaluation.unknown_glosses)}",
            style="yellow",
        )
    if evaluation.num_invalid:
        say(
            f"  {evaluation.num_invalid} clip(s) with NaN or infinite logits count as wrong, and "
            "are left out of the loss",
            style="red",
        )


def _print_glosses(evaluation: Evaluation) -> None:
    most_taken_for: dict[str, str] = {}
    for confusion in evaluation.confusions:
        most_taken_for.setdefault(confusion.gloss, confusion.predicted)
    wrong = [row for row in evaluation.per_gloss if row.top1 < 1]
    rows = [
        (row.gloss, str(row.num_clips), percent(row.top1), percent(row.top5),
         most_taken_for.get(row.gloss, "–"))
        for row in wrong[:_MAX_ROWS]
    ]  # fmt: skip
    if rows:
        columns = ("gloss", "clips", "top-1", "top-5", "most often taken for")
        table(f"Worst of {len(evaluation.per_gloss)} glosses", columns, rows)


def _print_signers(evaluation: Evaluation) -> None:
    signers = sorted(evaluation.per_signer, key=lambda row: (row.top1, -row.num_clips))
    print_signers("top-1", [(row.signer, row.num_clips, row.top1) for row in signers])


def print_signers(
    figure: str, signers: Sequence[tuple[str | None, int, float]], judged_by: str = ""
) -> None:
    """A figure of each signer, the worst first as given; nothing where the data do not say who
    signs.

    Args:
        figure: its name.
        signers: name, number of clips and the figure as a share.
        judged_by: stands behind the title.
    """
    if [name for name, _, _ in signers] == [None]:
        return
    rows = [
        (name if name is not None else "unknown", str(num_clips), percent(share))
        for name, num_clips, share in signers[: 2 * _MAX_ROWS]
    ]
    title = f"Signers: {len(signers)}, the worst first{judged_by}"
    table(title, ("signer", "clips", figure), rows)


def _print_confusions(evaluation: Evaluation) -> None:
    rows = [
        (row.gloss, row.predicted, str(row.num_clips), percent(row.share))
        for row in evaluation.confusions[:_MAX_ROWS]
    ]
    if rows:
        columns = ("gloss", "taken for", "clips", "share of the gloss's clips")
        table(f"Most frequent of {len(evaluation.confusions)} confusions", columns, rows)


def _print_cost(evaluation: Evaluation) -> None:
    cost = evaluation.cost
    say(
        f"{len(evaluation.predictions)} clips in {duration(cost.wall_s)} "
        f"({len(evaluation.predictions) / cost.wall_s:.1f} clips/s, "
        f"{percent(cost.data_wait_share)} of it waiting for clips), "
        f"peak memory {number(cost.peak_memory_gib, 3)} GiB, on "
        f"{evaluation.device} in {evaluation.precision}, batches of {evaluation.batch_size}"
    )


def _named(glosses: Sequence[str]) -> str:
    return ", ".join(glosses[:_MAX_NAMED]) + (" …" if len(glosses) > _MAX_NAMED else "")
