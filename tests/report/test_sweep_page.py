"""The report of a sweep, as it lies on the disk and as a browser shows it."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from slrtune.cli.main import app
from slrtune.config.errors import UserError
from slrtune.config.objective import OBJECTIVES
from slrtune.config.validate import load_experiment
from slrtune.report.study_view import short_names
from slrtune.report.sweep_page import write_report
from slrtune.report.timeline import spans_of
from slrtune.sweep.board import TrialRow
from slrtune.sweep.folder import alone_in_sweep
from slrtune.sweep.results import read_results
from tests.browser import chromium, console_errors, requests_beyond
from tests.report.a_sweep import BUDGET_GIB, HOSTILE, write_sweep

_FIGURES = ("curves", "front", "importance", "parallel", "timeline")
_SECTIONS = ("leaderboard", "measured", *_FIGURES, "failures", "reproduce")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of thirty trials, with hostile text wherever a user has a say, and its report."""
    folder = tmp_path_factory.mktemp("report") / "runs" / "<i>letters"
    write_sweep(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    app(["report", folder.name, "--runs-dir", str(folder.parent)], standalone_mode=False)
    # It only reads: a report may be written while the sweep runs.
    assert {path: path.read_bytes() for path in before} == before
    return folder


def test_pictures_and_the_best_configuration_lie_beside_the_page(sweep: Path) -> None:
    for name in _FIGURES:
        width, height = Image.open(sweep / "report" / f"{name}.png").size
        assert width > 400 and height > 150, name
    results = read_results(sweep)
    assert results.best is not None
    again = load_experiment(sweep / "report" / "best.yaml", is_for_elsewhere=True)
    assert again.training == results.experiment(results.best).training


@pytest.mark.browser
def test_people_see_every_section_and_no_text_of_the_user_becomes_code(
    sweep: Path, tmp_path: Path
) -> None:
    page = (sweep / "report" / "index.html").as_uri()
    with chromium(tmp_path) as driver:
        driver.get(page)
        texts = {name: _text_of(driver, name) for name in _SECTIONS}
        for name in _FIGURES:
            drawn = f"#{name} .main-svg .trace, #{name} .main-svg .points path"
            assert driver.execute_script("return document.querySelectorAll(arguments[0]).length",
                                         drawn) > 0, name  # fmt: skip
        assert driver.execute_script("return window.pwned === undefined && !document.querySelector("
                                     "'img, section b, section i, svg a')")  # fmt: skip
        shown = str(driver.execute_script("return document.body.textContent"))
        assert requests_beyond(driver, page) == []
        assert console_errors(driver) == []
    results = read_results(sweep)
    assert results.best is not None
    assert texts["leaderboard"].count("\n") >= len(results.launched)
    assert "cnn_transformer" in texts["measured"] and "80 GiB" in texts["measured"]
    assert "after epochs 1, 3" in texts["curves"] and "rung 3" in texts["curves"]
    assert f"budget {BUDGET_GIB:g} GiB" in texts["front"]
    assert "learning_rate" in texts["importance"] and "backbone" in texts["importance"]
    assert "<b>host</b>-0 #1" in texts["timeline"]  # as text
    for reason in ("<i>no room</i>", "RuntimeError: shape", "predicted to need", "cut off"):
        assert reason in texts["failures"]
    for told in ("slrtune train", "best.yaml", "seed of the sampler", "torch", "batch_size:"):
        assert told in texts["reproduce"]
    assert HOSTILE in shown


def _text_of(driver: Any, section: str) -> str:
    return str(driver.execute_script("return document.getElementById(arguments[0]).innerText + "
        "[...document.querySelectorAll('#' + arguments[0] + ' svg text')].map(t => t.textContent)",
        section))  # fmt: skip


@pytest.mark.parametrize(("judged_by", "shown"), [("wer", "WER"), ("bleu", "BLEU")])
def test_a_translation_sweep_of_a_few_trials_says_what_it_cannot_show(
    tmp_path: Path, judged_by: str, shown: str
) -> None:
    folder = tmp_path / "words"
    write_sweep(folder, num_trials=5, model="dense_vit", judged_by=judged_by)
    written = write_report(folder, tmp_path / "elsewhere")
    assert "importance.png" not in {path.name for path in written}
    page = written[0].read_text(encoding="utf-8")
    assert "fANOVA needs at least 10 trials with a result" in page
    assert f"best validation {shown}" in page
    assert not (folder / "report").exists()


def test_a_sweep_that_has_only_begun_has_a_report_too(sweep: Path, tmp_path: Path) -> None:
    shutil.copy(sweep / "sweep.json", tmp_path)
    # Its study exists, and no trial was asked for yet.
    with (sweep / "study.log").open() as journal:
        of_study = itertools.takewhile(lambda record: "trial_id" not in record, journal)
        (tmp_path / "study.log").write_text("".join(list(of_study)[:2]))
    page = write_report(tmp_path, tmp_path / "report")[0].read_text(encoding="utf-8")
    assert "no trial has a result yet" in page


def test_what_has_not_ended_runs_while_the_sweep_does(sweep: Path, tmp_path: Path) -> None:
    with alone_in_sweep(sweep):
        page = write_report(sweep, tmp_path)[0].read_text(encoding="utf-8")
    assert "the sweep is still running" in page and ">running<" in page
    assert "cut off; slrtune sweep --resume" not in page


def test_what_is_no_sweep_and_what_cannot_be_written_are_refused(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is not the folder of a sweep"):
        app(["report", str(tmp_path)], standalone_mode=False)
    with pytest.raises(UserError, match="--out: must be a folder"):
        app(["report", str(sweep), "--out", str(tmp_path / "file/x")], standalone_mode=False)
    assert capsys.readouterr().out == ""


def test_trials_at_a_time_on_a_node_have_lines_of_their_own() -> None:
    told = {0: ("a", 0.0, 9.0), 1: ("a", 5.0, 12.0), 2: ("b", 5.0, 6.0), 3: ("a", 10.0, 11.0)}
    rows = [
        TrialRow(n, {}, OBJECTIVES["top1"], "completed",
                 {"node": node, "started_at": begin, "ended_at": end})
        for n, (node, begin, end) in told.items()
    ]  # fmt: skip
    places = {span.row.number: span.place for span in spans_of(rows)}
    assert places == {0: "a #1", 1: "a #2", 2: "b #1", 3: "a #1"}


def test_a_parameter_is_called_by_what_tells_it_from_the_others() -> None:
    keys = {"model.name", "training.learning_rate", "model.a.depth", "model.b.depth"}
    assert short_names(keys) == {
        "model.name": "model.name",
        "training.learning_rate": "learning_rate",
        "model.a.depth": "a.depth",
        "model.b.depth": "b.depth",
    }
