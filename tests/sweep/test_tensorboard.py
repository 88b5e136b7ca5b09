"""TensorBoard as people see it: in a real browser, on the runs of a sweep."""

from __future__ import annotations

import json
import socket
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.hparams import metadata

from slrtune.config.experiment import Experiment
from slrtune.config.search_space import Parameter, SearchSpace
from slrtune.report.trial_pictures import trial_pictures
from slrtune.sweep.board import TrialRow
from slrtune.sweep.tensorboard import TensorBoardWatcher
from slrtune.training.exhibit import EXHIBIT_FILE
from tests.browser import chromium, console_errors, requests_beyond
from tests.cli_process import SlrtuneProcess

_CNN = (("model.name", ("cnn_transformer",)),)
_SPACE = SearchSpace(
    "space",
    Experiment(),
    (
        Parameter("model.name", choices=("cnn_transformer", "timesformer")),
        Parameter("training.batch_size", choices=(4, 8, 16)),
        Parameter("training.micro_batch_size", choices=("auto", 2)),
        Parameter("training.learning_rate", low=1e-4, high=1e-2, log=True),
        Parameter("model.cnn_transformer.depth", low=1, high=6, when=_CNN),
    ),
)
_OUTCOMES = {0: "completed", 1: "pruned", 2: "oom", 3: "error", 4: "infeasible", 5: "interrupted"}


def _row(number: int, epoch: int = 0) -> TrialRow:
    params = {
        "model.name": ("cnn_transformer", "timesformer")[number % 2],
        "training.batch_size": (4, 8, 16)[number % 3],
        "training.micro_batch_size": "auto" if number % 2 else 2,
        "training.learning_rate": 10 ** -(2 + number / 3),
    }
    if not number % 2:
        params["model.cnn_transformer.depth"] = 1 + number
    accuracy = (1 - 0.5**epoch) * (0.9 - 0.1 * number)
    metrics: dict[str, Any] = {"epoch": epoch, "max_epochs": 5, "val_top1": accuracy}
    metrics |= {"best_val_top1": accuracy, "best_val_top5": accuracy, "train_loss": 1 - accuracy}
    metrics |= {
        "peak_memory_gib": 1.0 + number,
        "clips_per_s": 30.0 - number,
        "total_s": epoch * 9.0,
    }
    return TrialRow(number, params, _SPACE.base.objective, "running", metrics if epoch else {})


def _exhibit(folder: Path) -> None:
    rng = np.random.default_rng(0)
    glosses = np.array(["HELLO", "$5", "日"])
    labels = np.arange(4) % 3
    folder.mkdir(parents=True)
    np.savez(
        folder / EXHIBIT_FILE,
        counts=np.array([[5, 1, 0], [0, 6, 0], [2, 0, 4]]),
        glosses=glosses,
        frames=rng.integers(0, 256, (4, 3, 24, 24, 3), dtype=np.uint8),
        meant=glosses[labels],
        said=glosses[(labels + (labels > 1)) % 3],
        probabilities=np.full(4, 0.8),
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep with a trial of each outcome, and one that was killed and resumed."""
    folder = tmp_path_factory.mktemp("runs") / "s"
    _exhibit(folder / "trial_000")
    with TensorBoardWatcher(folder / "tensorboard", _SPACE, trial_pictures) as watcher:
        for number, outcome in _OUTCOMES.items():
            if outcome == "infeasible":
                needs = {"predicted_need_gib": 40.0}
                watcher.on_infeasible(replace(_row(number), state="infeasible", metrics=needs))
                continue
            watcher.on_start(_row(number))
            for epoch in range(1, 1 if outcome == "error" else 4):
                watcher.on_epoch(_row(number, epoch))
            if outcome != "interrupted":
                watcher.on_end(replace(_row(number, 3), state=outcome))
    with TensorBoardWatcher(folder / "tensorboard", _SPACE, trial_pictures) as watcher:
        watcher.on_start(_row(5, 3))
        for epoch in (3, 4, 5):  # a trial that goes on repeats its last epoch
            watcher.on_epoch(_row(5, epoch))
        watcher.on_end(replace(_row(5, 5), state="completed"))
    return folder


@pytest.fixture(scope="module")
def address(runs: Path) -> Iterator[str]:
    """Of `slrtune tensorboard` on these runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = SlrtuneProcess(["tensorboard", str(runs), "--port", str(port)], runs)
    url = f"http://127.0.0.1:{port}/"

    def all_runs_are_read() -> bool:
        try:
            return len(_get(url + "data/runs")) == len(_OUTCOMES) + 1
        except OSError:
            return False

    try:
        process.wait_for(all_runs_are_read)
        yield url
    finally:
        process.remove()


def _get(url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_every_trial_is_a_row_with_its_outcome_best_figures_and_domains(address: str) -> None:
    experiment = _get(address + "data/plugin/hparams/experiment", {"hparamsLimit": 0})
    infos = {info["displayName"]: info for info in experiment["hparamInfos"]}
    assert infos["training.batch_size"]["domainDiscrete"] == [4, 8, 16]
    assert infos["training.micro_batch_size"]["domainDiscrete"] == ["2", "auto"]
    assert infos["training.learning_rate"]["domainInterval"] == {"minValue": 1e-4, "maxValue": 1e-2}
    names = [info["displayName"] for info in experiment["metricInfos"]]
    assert len(names) == 5 and names[0] == "best validation top-1"
    wanted = {
        "startIndex": 0,
        "sliceSize": 100,
        "colParams": [],
        "allowedStatuses": [f"STATUS_{name}" for name in ("SUCCESS", "FAILURE", "UNKNOWN")],
    }
    groups = _get(address + "data/plugin/hparams/session_groups", wanted)["sessionGroups"]
    outcomes = {group["name"]: group["hparams"]["00 outcome"] for group in groups}
    expected = {
        f"trial_{number:03d}": name for number, name in (_OUTCOMES | {5: "completed"}).items()
    }
    assert outcomes == expected
    resumed = _get(address + "data/plugin/scalars/scalars?run=trial_005&tag=val_top1")
    assert [step for _, step, _ in resumed] == [1, 2, 3, 4, 5]
    images = _get(address + "data/plugin/images/tags")["trial_000"]
    assert {"validation/confusions", "validation/clips"} <= set(images)


@pytest.mark.parametrize(
    ("judged_by", "best", "beside"),
    [
        ("wer", "best validation WER", "BLEU there"),
        ("bleu", "best validation BLEU", "WER there"),
        ("chrf", "best validation chrF", "WER there"),
    ],
)
def test_a_translation_sweep_is_compared_by_its_own_objective(
    tmp_path: Path, judged_by: str, best: str, beside: str
) -> None:
    base = {"model": {"name": "dense_vit"}, "training": {"judged_by": judged_by}}
    space = SearchSpace("s", Experiment.model_validate(base), _SPACE.parameters[1:3])
    with TensorBoardWatcher(tmp_path, space):
        pass
    names = [info.display_name for info in _columns(tmp_path).metric_infos]
    assert names[:2] == [best, beside]


def test_the_five_columns_that_one_sees_are_those_that_every_trial_has(tmp_path: Path) -> None:
    # Of a trial that lacks one of them, TensorBoard draws no line in the parallel coordinates.
    space = SearchSpace("s", Experiment(), (_SPACE.parameters[-1], *_SPACE.parameters[:2]))
    with TensorBoardWatcher(tmp_path, space) as watcher:
        params = {"model.name": "timesformer", "training.batch_size": 8}
        watcher.on_start(replace(_row(1), params=params))
    infos = sorted(_columns(tmp_path).hparam_infos, key=lambda info: info.name)
    assert [info.display_name for info in infos] == [
        "outcome", "model.name", "training.batch_size", "training.learning_rate",
        "training.max_epochs", "model.cnn_transformer.depth",
    ]  # fmt: skip
    [start] = [
        metadata.parse_session_start_info_plugin_data(value.metadata.plugin_data.content)
        for value in _values(tmp_path / "trial_001")
        if value.tag == metadata.SESSION_START_INFO_TAG
    ]
    assert {info.name for info in infos[:5]} <= set(start.hparams)


def _columns(folder: Path) -> Any:
    [columns] = _values(folder)
    return metadata.parse_experiment_plugin_data(columns.metadata.plugin_data.content)


def _values(folder: Path) -> list[Any]:
    loaders = [EventFileLoader(str(file)) for file in folder.glob("events.*")]
    return [value for loader in loaders for event in loader.Load() for value in event.summary.value]


@pytest.mark.browser
def test_people_see_the_table_the_curves_and_parallel_coordinates(
    address: str, tmp_path: Path
) -> None:
    with chromium(tmp_path) as driver:
        driver.get(address + "#hparams")
        texts = _wait(lambda: _deep_text(driver), lambda text: text.count("trial_") >= 6)
        for outcome in ("completed", "pruned", "oom", "error", "infeasible"):
            assert outcome in texts
        _click_tab(driver, "PARALLEL COORDINATES VIEW")
        # Of the six, an error and what was not launched have no accuracy, and no line.
        _wait(lambda: _deep_count(driver, "g.foreground path"), lambda count: count == 4)
        driver.get(address + "#timeseries")
        driver.refresh()
        # One card has the curves of all trials that reported: its table names them.
        reported = ("trial_000", "trial_001", "trial_002", "trial_005")
        _wait(
            lambda: _card_text(driver, "best_val_top1"),
            lambda text: all(name in text for name in reported),
        )
        assert requests_beyond(driver, address) == []
        assert [error for error in console_errors(driver) if "favicon" not in error] == []


_WALK = """
const found = [];
const walk = (node) => {
  found.push(node);
  if (node.shadowRoot) walk(node.shadowRoot);
  for (const child of node.children || []) walk(child);
};
walk(document);
"""


def _deep_text(driver: Any) -> str:
    script = _WALK + "return found.map(n => n.innerText || '').join('\\n')"
    return str(driver.execute_script(script))


def _card_text(driver: Any, tag: str) -> str:
    script = _WALK + (
        "return found.filter(n => n.tagName === 'SCALAR-CARD').map(n => n.innerText)"
        ".filter(text => text.includes(arguments[0])).join()"
    )
    return str(driver.execute_script(script, tag))


def _deep_count(driver: Any, selector: str) -> int:
    script = _WALK + "return found.filter(n => n.matches && n.matches(arguments[0])).length"
    return int(driver.execute_script(script, selector))


def _click_tab(driver: Any, name: str) -> None:
    script = _WALK + (
        "const tab = found.find(n => n.tagName === 'PAPER-TAB' && n.innerText.toUpperCase()"
        ".includes(arguments[0])); tab.click(); return 1"
    )
    assert driver.execute_script(script, name)


def _wait(look: Any, is_there: Any, timeout_s: float = 90.0) -> Any:
    deadline_s = time.monotonic() + timeout_s
    while not is_there(seen := look()):
        assert time.monotonic() < deadline_s, f"not there after {timeout_s} s: {str(seen)[:2000]}"
        time.sleep(0.3)
    return seen
