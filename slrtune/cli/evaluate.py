"""`slrtune evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from slrtune.cli.options import RunsOption, SetOption, folder_option


def evaluate(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            parser=folder_option,
            metavar="CHECKPOINT|RUN|SWEEP",
            help="A best.pt, or the folder or name of a run, trial or sweep: its best.pt.",
        ),
    ],
    split: Annotated[
        str, typer.Option(help="Split of the data to judge on, as the data name it.")
    ] = "test",
    views: Annotated[
        int,
        typer.Option(
            min=1, max=64, help="Sets of frames per clip whose probabilities are averaged."
        ),
    ] = 1,
    crops: Annotated[
        Literal["1", "3"],
        typer.Option(
            help="Squares per frame that are averaged: the middle one, or both ends of the longer "
            "side as well. For videos that are not square."
        ),
    ] = "1",
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Clips at once. Default: a micro-batch of the training."),
    ] = None,
    decode: Annotated[
        list[str] | None,
        typer.Option(
            help="Translators: a way of decoding to judge (ctc, ctc_beam, greedy, beam, joint). "
            "Repeatable. Default: all that the model was trained for."
        ),
    ] = None,
    overrides: SetOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the results. Default: evaluation_<split>/ in the named folder, or "
            "beside the named file."
        ),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="auto: the GPU where there is one.")
    ] = "auto",
    runs_dir: RunsOption = Path("runs"),
) -> None:
    """Judge a trained model on a split it has not seen: the figures to report.

    Prints how much of the split is there, top-1/5/10 per instance and per
    class, the worst glosses, signers and confusions, time and memory, and
    writes metrics.json, predictions.csv, confusion_matrix.csv and .png.

    Of a translator: BLEU, chrF, WER and ROUGE-L of each way of decoding, the
    worst signers, metrics.json and translations.csv.

    Training and sweeps never look at the test split; only this command does.
    Choose by validation, and judge the chosen model once:

        slrtune evaluate runs/my_sweep

        slrtune evaluate runs/my_sweep --views 5 --crops 3

        slrtune evaluate best.pt --set data.root=/data/wlasl/videos

    One view with one crop is what validation sees: on the val split it
    repeats the figures of the training.
    """
    from slrtune.cli.run_evaluation import Request, run
    from slrtune.config.overrides import read_overrides
    from slrtune.data.views import Views

    run(
        Request(
            checkpoint=checkpoint,
            runs_dir=runs_dir,
            split=split,
            views=Views(views, 3 if crops == "3" else 1),
            batch_size=batch_size,
            overrides=read_overrides(overrides or []),
            out=out,
            device=device,
            methods=decode or (),
        )
    )
