"""Videos to text from the user's side: find the checkpoint, read, print."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from slrtune.cli.console import say, say_error
from slrtune.cli.folders import checkpoint_of
from slrtune.config.errors import UserError
from slrtune.config.overrides import Overrides
from slrtune.data.live import at_constant_rate, live_frames, model_view
from slrtune.data.pack.parameters import PackParameters
from slrtune.data.video import VideoError
from slrtune.deploy.evaluate import resolve_device
from slrtune.deploy.stream import StreamTranslator
from slrtune.deploy.trained_model import read_trained_model
from slrtune.deploy.translate import TranslatedVideo, translate_videos
from slrtune.deploy.translator import METHODS, Translator, check_methods, with_method
from slrtune.report.words import percent

_BAD_VIDEO = 2


@dataclass(frozen=True)
class Request:
    """What the command line asks for; see `slrtune.cli.translate.translate`."""

    videos: Sequence[Path]
    checkpoint: Path
    runs_dir: Path
    method: str | None
    use_stream: bool
    window_s: float | None
    overrides: Overrides
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["float32", "bf16"] | None = None


def run(request: Request) -> None:
    """Translate all videos.

    Raises:
        UserError: checkpoint, method or device cannot be used.
        SystemExit: 2 if a video could not be read.
    """
    _, checkpoint = checkpoint_of(request.checkpoint, request.runs_dir)
    trained = read_trained_model(checkpoint, request.overrides)
    translator = Translator(trained, resolve_device(request.device), request.precision)
    num_bad = _stream(request, translator) if request.use_stream else _files(request, translator)
    if translator.logit_error is not None:
        say(
            f"bf16 changed the logits of the first clip by {percent(translator.logit_error)}: "
            f"computed in {translator.precision.name}"
        )
    if num_bad:
        raise SystemExit(_BAD_VIDEO)


def _files(request: Request, translator: Translator) -> int:
    """Translate each file as one clip; how many were bad."""
    if request.window_s is not None:
        raise UserError("--window-s: is for --stream; add that or leave it out")
    experiment = translator.trained.experiment
    method = request.method or experiment.decoding.method
    check_methods(experiment.training, [method], (*METHODS, "sample"))
    num_bad = 0
    decoding = with_method(experiment.decoding, method)
    for video in translate_videos(translator, request.videos, decoding):
        if video.written is None:
            say_error(f"{video.path}: {video.reason}")
            num_bad += 1
        else:
            say(_line(video))
    return num_bad


def _line(video: TranslatedVideo) -> str:
    assert video.written is not None
    times = (("read", video.decode_s), ("encoder", video.encode_s), ("text", video.write_s))
    spent = ", ".join(f"{name} {1e3 * seconds:.0f} ms" for name, seconds in times)
    text = video.written.text or "(nothing)"
    return f"{video.path}: {text}  [{percent(video.written.confidence)} sure; {spent}]"


def _stream(request: Request, translator: Translator) -> int:
    """Translate each source in windows; how many were bad."""
    if request.method not in (None, "ctc"):
        raise UserError(
            f"--decode: must be ctc with --stream, but is {request.method}; leave it out"
        )
    window_s = request.window_s or translator.trained.clip_s
    if window_s is None:
        raise UserError(
            f"--window-s: must be given, for {translator.trained.path} does not say how long its "
            "training clips were; give the seconds of a usual one"
        )
    data = translator.trained.experiment.data
    packed_px = PackParameters.of(data).size_px
    num_bad = 0
    for source in request.videos:
        reader = StreamTranslator(translator, window_s)
        started_s, read_s = time.perf_counter(), 0.0
        try:
            frames = at_constant_rate(live_frames(source), reader.interval_s)
            views = (model_view(frame, packed_px, data.image_size) for frame in frames)
            for part in reader.translate(views):
                read_s = part.end_s
                say(
                    f"{part.start_s:7.1f} s  {part.text.strip() or '–'}  "
                    f"[{percent(part.confidence)} sure]"
                )
        except VideoError as error:
            say_error(f"{source}: {error.reason}")
            num_bad += 1
        spent_s = time.perf_counter() - started_s
        if read_s:
            say(
                f"{source}: {reader.text}  [{read_s:.1f} s of video in {spent_s:.1f} s]",
                style="bold",
            )
    return num_bad
