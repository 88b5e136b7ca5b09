"""`slrtune data`: render, index, look at data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from slrtune.config.data import DataConfig

SourceOption = Annotated[
    str, typer.Option(help="class_folders: [<split>/]<gloss>/*.mp4; or wlasl.")
]
AnnotationsOption = Annotated[
    Path | None, typer.Option(help="WLASL_v0.3.json, nslt_100.json, or a CSV of class folders.")
]
app = typer.Typer(help="Render, index and look at sign videos.", no_args_is_help=True)


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
) -> None:
    """Render the fingerspelling data set: A-Z as real MP4 files, signers split without overlap."""
    from dataclasses import replace

    from slrtune.cli.console import progress_bar, say
    from slrtune.data.synth.dataset import SynthSettings, render_dataset

    settings = SynthSettings(seed=seed, num_signers=signers, size_px=size_px)
    if words is not None:
        spelled = tuple(word.strip().upper() for word in words.split(","))
        settings = replace(settings, words=spelled)
    with _disk_errors_explained(), progress_bar() as show:
        render_dataset(out, settings, on_progress=lambda done, n: show("rendering", done, n))
    say(f"Videos in {out.resolve()}; train with --set data.source=class_folders "
        f"--set data.root={out}")  # fmt: skip


@app.command()
def index(
    root: Annotated[Path, typer.Argument(help="Folder of the videos.")],
    source: SourceOption = "class_folders",
    annotations: AnnotationsOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the manifest to this Parquet file.")
    ] = None,
) -> None:
    """List every clip with its gloss, split and state, and say how much of it is usable."""
    from slrtune.cli.console import progress_bar, say
    from slrtune.cli.folders import output_file
    from slrtune.cli.prepare import print_coverage
    from slrtune.data.coverage import Coverage
    from slrtune.data.index import index_clips
    from slrtune.data.manifest import write_manifest
    from slrtune.data.probe import probe_clips

    if out is not None:
        output_file("--out", out)
    data = _data_config(root, source, annotations)
    with _disk_errors_explained(), progress_bar() as show:
        records = probe_clips(root, index_clips(data, root), show)
    print_coverage(Coverage.of(records))
    if out is not None:
        with _disk_errors_explained():
            write_manifest(out, records)
        say(f"Manifest in {out}")


@app.command()
def preview(
    out: Annotated[Path, typer.Argument(help="PNG to write.")] = Path("preview.png"),
    root: Annotated[
        Path | None, typer.Option(help="Folder of videos. Default: the embedded fingerspelling.")
    ] = None,
    source: SourceOption = "class_folders",
    annotations: AnnotationsOption = None,
    split: Annotated[str, typer.Option(help="Split to show.")] = "train",
    glosses: Annotated[int, typer.Option(min=1, max=400, help="Glosses to show.")] = 30,
) -> None:
    """Draw a contact sheet: one clip of each gloss, three of its frames."""
    from slrtune.cli.console import progress_bar, say
    from slrtune.cli.folders import output_file
    from slrtune.config.data import DataConfig
    from slrtune.data.preview import write_preview

    output_file("OUT", out)
    data = DataConfig() if root is None else _data_config(root, source, annotations)
    with _disk_errors_explained(), progress_bar() as show:
        number = write_preview(out, data, split, glosses, show)
    say(f"{number} glosses of split {split} in {out.resolve()}")


def _data_config(root: Path, source: str, annotations: Path | None) -> DataConfig:
    from slrtune.config.validate import experiment_from_dict

    raw = {"source": source, "root": str(root)}
    if annotations is not None:
        raw["annotations"] = str(annotations)
    return experiment_from_dict({"data": raw}, "slrtune data").data


@contextmanager
def _disk_errors_explained() -> Iterator[None]:
    from slrtune.config.errors import UserError

    try:
        yield
    except OSError as error:
        raise UserError(f"{error}; check this path, its permissions and the free space") from None
