"""`slrtune data pack` and `slrtune data verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slrtune.cli.options import SetOption

if TYPE_CHECKING:
    from slrtune.config.data import DataConfig
    from slrtune.data.manifest import ClipRecord
    from slrtune.data.pack.reader import PackFacts


def pack(
    experiment: Annotated[
        Path | None,
        typer.Argument(
            metavar="[EXPERIMENT.yaml]", help="Its data section says which clips, and how."
        ),
    ] = None,
    overrides: SetOption = None,
    out: Annotated[
        str | None,
        typer.Option(
            help="Folder, or an address such as s3://bucket/pack. Default: data.pack, else the "
            "place in data.cache_dir where training packs by itself."
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="Pack with Ray Data on this cluster: `auto`, host:port, or `local` to start one "
            "on this machine. Default: processes of this machine."
        ),
    ] = None,
) -> None:
    """Decode, crop and resize the clips once, for all training. Killed, it goes on where it was."""
    from slrtune.cli.console import say
    from slrtune.cli.prepare import prepare, print_coverage
    from slrtune.config.errors import UserError
    from slrtune.data.coverage import Coverage

    data = _data_config(experiment, overrides)
    place = out or data.pack
    if place is None:
        if address is not None:
            raise UserError("--out: must be given with --address: a folder that all machines see")
        prepare(data)
        return
    facts, records = _pack(data, place, address)
    gib = facts.num_bytes / 2**30
    say(f"{facts.num_clips} clips, {gib:.2f} GiB in {place}; train with --set data.pack={place}")
    print_coverage(Coverage.of(records))


def verify(
    pack: Annotated[str, typer.Argument(metavar="PACK", help="Folder of a pack, or file://….")],
) -> None:
    """Read a pack and compare every file with its checksum."""
    from slrtune.cli.console import progress_bar, say
    from slrtune.config.errors import UserError
    from slrtune.config.storage import Folder
    from slrtune.data.pack.reader import Pack, damaged_files

    folder = Folder(pack).local
    if folder is None:
        raise UserError(
            f"{pack}: must be a folder of this machine; every file of a pack in an object store is "
            "checked when training fetches it"
        )
    found = Pack.find(folder)
    if found is None:
        raise UserError(f"{pack}: must be a finished pack, but there is no pack.json in it")
    with progress_bar() as show:
        damaged = damaged_files(found, lambda done, total: show("verifying", done, total))
    if damaged:
        raise UserError(
            f"{pack}: must have the bytes that were packed, but {len(damaged)} file(s) do not "
            f"({', '.join(damaged[:5])}); remove them and pack.json, and pack again"
        )
    say(f"{found.facts.num_clips} clips in {len(found.facts.shards)} files: all as packed")


def _data_config(experiment: Path | None, overrides: list[str] | None) -> DataConfig:
    from slrtune.config.overrides import read_overrides
    from slrtune.config.validate import experiment_from_dict, load_experiment

    read = read_overrides(overrides or [])
    if experiment is None:
        return experiment_from_dict({}, "slrtune data pack", read).data
    return load_experiment(experiment, read).data


def _pack(
    data: DataConfig, place: str, address: str | None
) -> tuple[PackFacts, tuple[ClipRecord, ...]]:
    from slrtune.cli.console import progress_bar
    from slrtune.data.prepare import pack_data

    if address is None:
        with progress_bar() as show:
            return pack_data(data, place, show)
    from slrtune.cluster.session import ray_session
    from slrtune.data.pack.on_ray import by_ray_data

    cluster = None if address == "local" else address
    with ray_session(address=cluster), progress_bar() as show:
        return pack_data(data, place, show, by_ray_data)
