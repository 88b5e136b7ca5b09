"""`--address http://…`: which command line and which files travel to the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer

from slrtune.cli.main import app
from slrtune.cli.on_cluster import arguments_of, submit_sweep
from slrtune.cluster.jobs import ship
from slrtune.config.errors import UserError

_AT = "http://127.0.0.1:1"  # nobody answers there


def context_of(*words: str) -> typer.Context:
    """As typer makes it for a call of one of the commands."""
    context: Any = typer.main.get_command(app).make_context("slrtune", list(words))
    command = context.command.get_command(context, words[0])
    return command.make_context(words[0], list(words[1:]), parent=context)  # type: ignore[no-any-return]


def test_a_command_line_is_rebuilt_with_what_was_given_and_what_changes() -> None:
    context = context_of(
        "sweep", "a.yaml", "-n", "3", "--set", "a=1", "--set", "b=2", "--address", _AT,
        "--isolate-trials",
    )  # fmt: skip
    words = arguments_of(context, {"address": "auto", "name": "s", "search_space": "job/a.yaml"})
    assert words[:2] == ["sweep", "job/a.yaml"]
    again = context_of(*words)
    assert again.params == {
        **context.params, "search_space": Path("job/a.yaml"), "address": "auto", "name": "s",
    }  # fmt: skip
    assert arguments_of(context_of("results", "s", "--address", _AT), {"address": None}) == [
        "results", "s",
    ]  # fmt: skip


def test_mistakes_and_paths_of_this_machine_are_refused_before_anything_is_sent(
    tmp_path: Path,
) -> None:
    space, experiment = tmp_path / "space.yaml", tmp_path / "e.yaml"
    space.write_text(
        "experiment: e.yaml\nparameters: {training.learning_rate: {low: 1e-4, high: 1e-2}}\n"
    )
    experiment.write_text("data: {source: class_folders, root: /only/there}\n")

    def refusal(*words: str) -> str:
        context = context_of("sweep", str(space), "--address", _AT, *words)
        with pytest.raises(UserError) as caught:
            submit_sweep(context, _AT, space, None, None)
        return str(caught.value)

    assert "runs_dir: must be a whole path that every node of the cluster sees" in refusal()
    assert "data.root: must be a whole path" in refusal(
        "--set", "runs_dir=/mnt/runs", "--set", "data.root=videos"
    )
    assert "training.max_epochs" in refusal("--set", "training.max_epochs=0")
    told = refusal("--set", "runs_dir=/mnt/runs")
    # Ray asks nobody where this machine has no token yet.
    assert "no Ray dashboard answers there" in told or "copy ~/.ray/auth_token" in told


def test_the_code_and_the_named_files_are_shipped_and_nothing_else(tmp_path: Path) -> None:
    space = tmp_path / "mine.yaml"
    space.write_text("parameters: {}\n")
    folder = tmp_path / "job"
    folder.mkdir()
    ship(folder, {"job/mine.yaml": space})
    assert sorted(path.name for path in folder.iterdir()) == ["job", "slrtune"]
    assert (folder / "job" / "mine.yaml").read_text() == space.read_text()
    assert (folder / "slrtune" / "cli" / "main.py").exists()
    assert not list(folder.rglob("__pycache__"))
