"""`slrtune translate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from slrtune.cli.options import RunsOption, SetOption, folder_option


def translate(
    videos: Annotated[
        list[Path],
        typer.Argument(
            metavar="VIDEO...",
            help="Video files or folders of images; with --stream also a pipe or a camera's "
            "device. Write -- before names that begin with -.",
        ),
    ],
    checkpoint: Annotated[
        Path,
        typer.Option(
            parser=folder_option,
            metavar="CHECKPOINT|RUN|SWEEP",
            help="A best.pt, or the folder or name of a run, trial or sweep: its best.pt.",
        ),
    ],
    decode: Annotated[
        Literal["greedy", "beam", "ctc", "ctc_beam", "joint", "sample"] | None,
        typer.Option(help="How to write. Default: decoding.method of the training."),
    ] = None,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="Read a long video or a camera in windows by CTC, and write as it goes.",
        ),
    ] = False,
    window_s: Annotated[
        float | None,
        typer.Option(
            "--window-s",
            min=0.1,
            help="With --stream: seconds of a window. Default: the median "
            "length of the training clips.",
        ),
    ] = None,
    overrides: SetOption = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="auto: the GPU where there is one.")
    ] = "auto",
    precision: Annotated[
        Literal["auto", "float32", "bf16"],
        typer.Option(
            help="auto: that of the training. bf16 is two to three times as fast on CPUs that "
            "compute in it; it is used where it changes the logits by at most 2 %."
        ),
    ] = "auto",
    runs_dir: RunsOption = Path("runs"),
) -> None:
    """Write what is signed in videos, with the model's confidence and the time it took.

        slrtune translate clip.mp4 other.mp4 --checkpoint runs/my_run --decode beam

        slrtune translate talk.mp4 --checkpoint best.pt --stream

        slrtune translate /dev/video0 --checkpoint best.pt --stream

    A video that cannot be read is told with its reason; the others are
    translated, and the exit code is 2. Settings of the decoding can be
    overridden, such as --set decoding.beam_size=10.
    """
    from slrtune.cli.run_translation import Request, run
    from slrtune.config.overrides import read_overrides

    run(
        Request(
            videos=videos,
            checkpoint=checkpoint,
            runs_dir=runs_dir,
            method=decode,
            use_stream=stream,
            window_s=window_s,
            overrides=read_overrides(overrides or []),
            device=device,
            precision=None if precision == "auto" else precision,
        )
    )
