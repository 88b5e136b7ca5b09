"""`slrtune data`: render, index, count, look at data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from slrtune.config.data import DataConfig
    from slrtune.data.manifest import ClipRecord

DataArgument = Annotated[
    Path, typer.Argument(help="Folder of the videos, or the annotation file itself.")
]
AnnotationsOption = Annotated[
    list[Path] | None,
    typer.Option(help="File that lists the clips (WLASL, MS-ASL, CSV, manifest…); repeatable."),
]
RootOption = Annotated[
    Path | None,
    typer.Option(help="Folder of the videos, where DATA is a file. Default: its folder."),
]
FormatOption = Annotated[
    str,
    typer.Option(
        "--format",
        help="auto, class_folders, csv, wlasl, msasl, asl_citizen, phoenix, how2sign, "
        "isltranslate, headerless (AUTSL) or manifest.",
    ),
]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option(help="CSV: our column = the file's: path=clip, label=sign; repeatable."),
]
app = typer.Typer(help="Render, index, count and look at sign videos.", no_args_is_help=True)


@app.command()
def synth(
    out: Annotated[Path, typer.Argument(help="Folder to write; <split>/<LETTER>/*.mp4.")],
    signers: Annotated[int, typer.Option(min=3, max=99, help="Synthetic signers.")] = 16,
    size_px: Annotated[int, typer.Option(min=32, max=1024, help="Frame side; even.")] = 128,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same videos.")] = 0,
    words: Annotated[
        str | None,
        typer.Option(help="Words to spell instead of A-Z, separated by commas: HELLO,DEAF."),
    ] = None,
    sentences: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="Instead: so many sentences by each signer, 64 px."),
    ] = None,
) -> None:
    """Render the fingerspelling data set: A-Z as real MP4 files, signers split without overlap."""
    from dataclasses import replace

    from slrtune.cli.console import progress_bar, say
    from slrtune.data.synth.dataset import SpellingSettings, SynthSettings, render_dataset
    from slrtune.data.synth.sentences import SentenceSettings

    letters = SynthSettings(seed=seed, num_signers=signers, size_px=size_px)
    settings: SpellingSettings = letters
    if words is not None:
        spelled = tuple(word.strip().upper() for word in words.split(","))
        settings = replace(letters, words=spelled)
    if sentences is not None:
        settings = SentenceSettings(seed, signers, clips_per_signer=sentences)
    with _disk_errors_explained(), progress_bar() as show:
        render_dataset(out, settings, on_progress=lambda done, n: show("rendering", done, n))
    say(f"Videos in {out.resolve()}; train with --set data.source=auto --set data.root={out}")


@app.command()
def index(
    data: DataArgument,
    annotations: AnnotationsOption = None,
    root: RootOption = None,
    format_name: FormatOption = "auto",
    column: ColumnOption = None,
    keypoints: Annotated[
        Path | None, typer.Option(help="Folder of per-frame landmarks, <path of the clip>.npy.")
    ] = None,
    split_by: Annotated[
        str, typer.Option(help="official, or draw splits anew: signer, stratified.")
    ] = "official",
    val_fraction: Annotated[float, typer.Option(help="Share of the drawn val split.")] = 0.0,
    test_fraction: Annotated[float, typer.Option(help="Share of the drawn test split.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the drawn splits.")] = 0,
    drop_leaks: Annotated[
        bool, typer.Option("--drop-leaks", help="Leave clips that are in two splits out of train.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Write the manifest to this Parquet file.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write coverage by split and gloss to this CSV file.")
    ] = None,
) -> None:
    """List every clip with its gloss, split and state, and say how much of it is usable."""
    from slrtune.cli.console import say
    from slrtune.cli.folders import output_file
    from slrtune.cli.prepare import print_coverage
    from slrtune.data.coverage import Coverage, write_coverage_report
    from slrtune.data.manifest import write_manifest

    for option, file in (("--out", out), ("--report", report)):
        if file is not None:
            output_file(option, file)
    config = _data_config(
        data, annotations, root, format_name, column,
        split_by=split_by, val_fraction=val_fraction, test_fraction=test_fraction,
        split_seed=seed, drop_leaks=drop_leaks, keypoints=keypoints and str(keypoints),
    )  # fmt: skip
    records = _probed(config)
    print_coverage(Coverage.of(records), f"see {out}" if out else "--out FILE lists all")
    _say_unused_columns(config)
    with _disk_errors_explained():
        if report is not None:
            write_coverage_report(report, records)
            say(f"Coverage by split and gloss in {report}")
        if out is not None:
            write_manifest(out, records)
            say(f"Manifest in {out}; train with --set data.source=auto "
                f"--set data.root={config.root} --set data.annotations={out}")  # fmt: skip


@app.command()
def stats(
    data: DataArgument,
    annotations: AnnotationsOption = None,
    root: RootOption = None,
    format_name: FormatOption = "auto",
    column: ColumnOption = None,
    out: Annotated[Path | None, typer.Option(help="Draw histograms into this PNG.")] = None,
) -> None:
    """Count glosses, signers, durations and resolutions; as a table, and as histograms."""
    from slrtune.cli.console import say
    from slrtune.cli.data_tables import print_stats
    from slrtune.cli.folders import output_file
    from slrtune.data.stats import DataStats
    from slrtune.report.data_figure import write_data_figure

    if out is not None:
        output_file("--out", out)
    records = _probed(_data_config(data, annotations, root, format_name, column, drop_leaks=True))
    counted = DataStats.of(records)
    print_stats(counted)
    if out is not None:
        with _disk_errors_explained():
            write_data_figure(out, counted, f"{data.name}: {counted.num_clips} clips")
        say(f"Histograms in {out.resolve()}")


@app.command()
def preview(
    out: Annotated[Path, typer.Argument(help="PNG to write.")] = Path("preview.png"),
    root: Annotated[
        Path | None, typer.Option(help="Folder of videos. Default: the embedded fingerspelling.")
    ] = None,
    annotations: AnnotationsOption = None,
    format_name: FormatOption = "auto",
    column: ColumnOption = None,
    split: Annotated[str, typer.Option(help="Split to show.")] = "train",
    glosses: Annotated[int, typer.Option(min=1, max=400, help="Glosses to show.")] = 30,
    frames: Annotated[int, typer.Option(min=1, max=1024, help="Frames the model samples.")] = 16,
) -> None:
    """Draw a contact sheet: one clip of each gloss, boxes and sampled frames marked."""
    from slrtune.cli.console import progress_bar, say
    from slrtune.cli.folders import output_file
    from slrtune.config.data import DataConfig
    from slrtune.data.preview import write_preview

    output_file("OUT", out)
    if root is None and not annotations:
        config = DataConfig(num_frames=frames)
    else:
        data = root if root is not None else (annotations or [])[0]
        config = _data_config(
            data, annotations, root, format_name, column, num_frames=frames, drop_leaks=True
        )
    with _disk_errors_explained(), progress_bar() as show:
        number = write_preview(out, config, split, glosses, show)
    say(f"{number} clips of split {split} in {out.resolve()}")


def _probed(config: DataConfig) -> tuple[ClipRecord, ...]:
    from slrtune.cli.console import progress_bar
    from slrtune.data.index import index_clips
    from slrtune.data.probe import probe_clips
    from slrtune.data.splits import assign_splits

    assert config.root is not None
    with _disk_errors_explained(), progress_bar() as show:
        records = probe_clips(config.root, index_clips(config, config.root), show)
    return assign_splits(records, config)


def _say_unused_columns(config: DataConfig) -> None:
    """A column that nobody reads may be the one that was meant: `start` of a CSV."""
    from slrtune.cli.console import say
    from slrtune.data.index import unused_columns

    for file, names in unused_columns(config).items():
        shown = ", ".join(names[:10]) + (" …" if len(names) > 10 else "")
        example = "start_s=start" if "start" in names else f"OURS={names[0]}"
        say(f"  {file}: columns not used: {shown}; map them with --column {example}", "yellow")


def _data_config(
    data: Path,
    annotations: list[Path] | None,
    root: Path | None,
    format_name: str,
    columns: list[str] | None,
    **settings: Any,
) -> DataConfig:
    """The settings that a command's options stand for; ``data`` may be the annotations."""
    from slrtune.config.errors import UserError
    from slrtune.config.validate import experiment_from_dict

    files = list(annotations or [])
    if data.is_file():
        files = [data, *files] if data not in files else files
        root = root or data.parent
    mapping: dict[str, str] = {}
    for pair in columns or []:
        ours, equals, theirs = pair.partition("=")
        if not equals:
            raise UserError(f"--column: must look like path=NAME, but is {pair!r}; add the =")
        mapping[ours.strip()] = theirs.strip()
    raw = {
        "source": format_name,
        "root": str(root or data),
        "annotations": [str(file) for file in files],
        "columns": mapping,
        **settings,
    }
    return experiment_from_dict({"data": raw}, "slrtune data").data


@contextmanager
def _disk_errors_explained() -> Iterator[None]:
    from slrtune.config.errors import UserError

    try:
        yield
    except OSError as error:
        raise UserError(f"{error}; check this path, its permissions and the free space") from None
