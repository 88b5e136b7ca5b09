from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from slrtune.data.manifest import ClipRecord
from slrtune.data.stats import DataStats, Spread
from slrtune.report.data_figure import write_data_figure

_FACTS = {"num_frames": 50, "fps": 25.0, "width": 640, "height": 360, "status": "ok"}
RECORDS = [
    ClipRecord("1", "قلم", "train", "$a$", start_frame=10, end_frame=35, **_FACTS),  # type: ignore[arg-type]
    ClipRecord("2", "قلم", "train", "b", **_FACTS),  # type: ignore[arg-type]
    ClipRecord("3", "book", "val", box=(0, 0, 1, 1), **_FACTS | {"width": 320}),  # type: ignore[arg-type]
    ClipRecord("4", "", "val", sentence="Hi.", status="missing", reason="no such file"),
]


def test_clips_are_counted_and_signs_measured() -> None:
    stats = DataStats.of(RECORDS)
    assert stats.clips_per_gloss == {"قلم": 2, "book": 1}
    assert stats.clips_per_signer == {"$a$": 1, "b": 1}
    assert stats.durations_s == (1.0, 2.0, 2.0)
    assert stats.num_frames == (25, 50, 50)
    assert stats.resolutions == {(640, 360): 2, (320, 360): 1}
    assert (stats.statuses["ok"], stats.statuses["missing"], stats.splits["val"]) == (3, 1, 2)
    assert (stats.num_sentences, stats.num_boxes, stats.num_keypoints) == (1, 1, 0)
    assert Spread.of(stats.durations_s) == Spread(1.0, 2.0, 2.0)
    assert Spread.of([]) is None


def test_histograms_show_the_data_and_stand_nothing_known(tmp_path: Path) -> None:
    pictures = []
    for name, records in {"some": RECORDS, "missing": RECORDS[3:]}.items():
        write_data_figure(tmp_path / name, DataStats.of(records), f"{name} $x$")
        pictures.append(np.asarray(Image.open(tmp_path / name).convert("L"), int))
    some, missing = pictures
    assert some.shape == missing.shape
    assert (some != missing).mean() > 0.05
