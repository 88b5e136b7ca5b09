"""Files that ship beside the package say what they should."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from slrtune.config.errors import UserError

_ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_documents_name_files_and_commands_that_exist(document: str) -> None:
    text = (_ROOT / document).read_text()
    named = re.findall(
        r"(?:search_spaces|experiments|docs|benchmarks|tests|slrtune)/[\w/.-]+\.\w+", text
    )
    named = [name for name in named if name != "search_spaces/mine.yaml"]
    assert named
    assert [name for name in named if not (_ROOT / name).exists()] == []
    from slrtune.cli.main import app

    commands = {command.name for command in app.registered_commands}
    groups = {group.name for group in app.registered_groups}
    called = set(re.findall(r"^\s*slrtune (\w+)", text, flags=re.MULTILINE))
    assert called <= commands | groups


def test_the_readme_s_search_space_has_no_mistakes(tmp_path: Path) -> None:
    from slrtune.config.overrides import read_overrides
    from slrtune.config.search_space_file import load_search_space

    text = (_ROOT / "README.md").read_text()
    shown = re.search(r"```yaml\n# search_spaces/mine.yaml\n(.*?)```", text, flags=re.DOTALL)
    assert shown is not None
    path = tmp_path / "mine.yaml"
    path.write_text(shown.group(1))
    overrides = read_overrides([f"data.root={tmp_path}"])
    space = load_search_space(path, _ROOT / "experiments" / "class_folders.yaml", overrides)
    assert len(space.parameters) == 5


_EXPERIMENTS = sorted(path.stem for path in (_ROOT / "experiments").glob("*.yaml"))
_LACKING = ("must exist, but there is no", "data.root must be given")


@pytest.mark.parametrize("name", _EXPERIMENTS)
def test_an_experiment_lacks_nothing_but_its_data(name: str) -> None:
    from slrtune.config.validate import load_experiment

    try:
        load_experiment(_ROOT / "experiments" / f"{name}.yaml")
    except UserError as error:
        mistakes = str(error).splitlines()
        assert [line for line in mistakes if not any(what in line for what in _LACKING)] == []
