"""What the evaluation of a translator shows on the screen."""

from __future__ import annotations

from slrtune.cli.console import say, table
from slrtune.cli.evaluation_tables import print_signers
from slrtune.cli.prepare import print_coverage
from slrtune.deploy.evaluate_translation import TranslationEvaluation
from slrtune.report.words import duration, number, percent

_MAX_ROWS = 10


def print_translation_evaluation(evaluation: TranslationEvaluation) -> None:
    """Coverage, figures of each way of decoding, signers, the least alike texts, cost."""
    print_coverage(evaluation.coverage)
    _print_figures(evaluation)
    _print_signers(evaluation)
    _print_texts(evaluation)
    _print_cost(evaluation)


def _print_figures(evaluation: TranslationEvaluation) -> None:
    num_clips = len(evaluation.records)
    rows = [
        (
            method,
            *(number(figures[f"bleu{order}"]) for order in range(1, 5)),
            number(figures["chrf"]),
            percent(figures["wer"]),
            number(figures["rouge_l"]),
            number(1e3 * evaluation.write_s[method] / num_clips, 1),
        )
        for method, figures in evaluation.metrics.items()
    ]
    bleus = (f"BLEU-{order}" for order in range(1, 5))
    columns = ("decoding", *bleus, "chrF", "WER", "ROUGE-L", "ms/clip")
    table(f"Translation of split {evaluation.split}, {num_clips} clips", columns, rows)
    say(f"  {evaluation.signature}")


def _print_signers(evaluation: TranslationEvaluation) -> None:
    signers = evaluation.per_signer(evaluation.best_method)
    rows = [(row.signer, row.num_clips, row.wer) for row in signers]
    print_signers("WER", rows, judged_by=f" ({evaluation.best_method})")


def _print_texts(evaluation: TranslationEvaluation) -> None:
    said = evaluation.written[evaluation.best_method]
    wrong = [
        (record.path, meant, each.text or "(nothing)", percent(each.confidence))
        for record, meant, each in zip(evaluation.records, evaluation.references, said, strict=True)
        if each.text != meant
    ]
    if wrong:
        title = f"{len(wrong)} of {len(said)} texts are not as the reference, such as"
        table(title, ("clip", "meant", "written", "confidence"), wrong[:_MAX_ROWS])


def _print_cost(evaluation: TranslationEvaluation) -> None:
    cost, num_clips = evaluation.cost, len(evaluation.records)
    say(
        f"{num_clips} clips in {duration(cost.wall_s)} "
        f"(encoder {number(1e3 * evaluation.encode_s / num_clips, 1)} ms/clip, "
        f"{percent(cost.data_wait_share)} of it waiting for clips), "
        f"peak memory {number(cost.peak_memory_gib, 3)} GiB, on "
        f"{evaluation.device} in {evaluation.precision}, batches of {evaluation.batch_size}"
    )
