"""`slrtune`: the command line. Commands import what they need when they run."""

from __future__ import annotations

import sys

import typer

from slrtune.cli import (
    cluster,
    compare,
    data,
    evaluate,
    life,
    pack,
    plan,
    results,
    sweep,
    train,
    translate,
)
from slrtune.config.errors import UserError

app = typer.Typer(
    name="slrtune",
    help="Tune sign language video models on a folder of videos and a few GPUs.",
    epilog="Start with `slrtune sweep`: it needs no data and ends in a few minutes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("sweep")(sweep.sweep)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("translate")(translate.translate)
app.command("list")(life.list_sweeps)
app.command("status")(life.status)
app.command("stop")(life.stop)
app.command("results")(results.results)
app.command("tensorboard")(compare.tensorboard)
app.command("report")(compare.report)
app.command("plan")(plan.plan)
app.command("check")(sweep.check)
app.command("config")(results.config)
app.command("logs")(cluster.logs)
data.app.command("pack")(pack.pack)
data.app.command("verify")(pack.verify)
app.add_typer(data.app, name="data")
app.add_typer(cluster.app, name="cluster")


def main() -> None:
    """Entry point: bad input ends with one message and exit code 2, without a traceback."""
    try:
        app()
    except UserError as error:
        from slrtune.cli.console import say_error

        say_error(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)  # 128 + SIGINT, as a shell reports it


if __name__ == "__main__":
    main()
