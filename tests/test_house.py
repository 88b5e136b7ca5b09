"""The house rules on imports, read from the source: what a floor may know of the others."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import slrtune

_PACKAGE = Path(slrtune.__file__).parent
# Ground floor last. A floor may import itself and what stands below it.
_FLOORS = (
    "cli", "report", "deploy", "sweep", "cluster", "memory", "training",
    "text", "models", "data", "config",
)  # fmt: skip
_STRANGERS = {("models", "data"), ("text", "models"), ("text", "data")}
_DOORS = {
    "ray": ("sweep/", "cluster/", "data/pack/on_ray.py"),
    "optuna": ("sweep/", "report/"),
    "cmaes": ("sweep/evolution.py",),
    "rich": ("cli/console.py", "cli/console_live.py"),
    "typer": ("cli/",),
    "decord": ("data/decoders.py",),
    "plotly": ("report/",),
    "jinja2": ("report/",),
    "psutil": ("cluster/usage.py",),
    "pynvml": ("cluster/usage.py",),
    "matplotlib": ("deploy/confusion_figure.py", "report/"),
    "tokenizers": ("text/tokenizer.py",),
    "sentencepiece": ("text/tokenizer.py",),
    "sacrebleu": ("text/metrics.py",),
    "jiwer": ("text/metrics.py",),
    "rapidfuzz": ("text/metrics.py",),
    "av": ("data/video_file.py", "data/synth/"),
}


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def sources() -> list[tuple[str, set[str]]]:
    return [
        (path.relative_to(_PACKAGE).as_posix(), imports_of(path))
        for path in sorted(_PACKAGE.rglob("*.py"))
    ]


def test_imports_only_go_down() -> None:
    wrong = []
    for name, imported in sources():
        floor = name.split("/")[0]
        for module in imported:
            parts = module.split(".")
            if floor not in _FLOORS or parts[0] != "slrtune" or len(parts) < 2:
                continue
            goes_up = _FLOORS.index(parts[1]) < _FLOORS.index(floor)
            if goes_up or (floor, parts[1]) in _STRANGERS:
                wrong.append(f"{name} imports {module}")
    assert wrong == []


def test_each_heavy_dependency_has_its_door() -> None:
    wrong = [
        f"{name} imports {module}"
        for name, imported in sources()
        for module in imported
        for package, doors in _DOORS.items()
        if module.split(".")[0] == package and not name.startswith(doors)
    ]
    assert wrong == []


def test_deploy_training_models_and_data_import_without_ray() -> None:
    code = (
        "import sys; sys.modules['ray'] = None; sys.modules['optuna'] = None\n"
        "import slrtune.text.tokenizer, slrtune.text.metrics, slrtune.text.decoding\n"
        "import slrtune.training.trial, slrtune.models, slrtune.data.prepare, slrtune.memory\n"
        "import slrtune.deploy.evaluate, slrtune.deploy.evaluation_files"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)


def test_what_every_running_trial_imports_on_the_head_node_has_no_pytorch_in_it() -> None:
    code = "import sys, slrtune.sweep.trainable; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, slrtune.cli.main\n"
        "heavy = {'torch', 'ray', 'optuna', 'pyarrow', 'timm', 'pydantic', 'numpy'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
