from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from slrtune.config.data import DataConfig
from slrtune.data.prepare import prepare_data
from slrtune.data.prepared import PreparedData
from tests.data.videos import write_video

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def shared_data() -> Path:
    if not SHARED.is_dir():
        pytest.skip("no ../shared/data beside the checkout")
    return SHARED


@pytest.fixture(scope="session")
def clips_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders: train with 4 + 5 + 2 clips of three glosses, val with 2 + 2 + 1."""
    root = tmp_path_factory.mktemp("clips")
    for split, counts in {"train": (4, 5, 2), "val": (2, 2, 1)}.items():
        for number, (gloss, count) in enumerate(zip("abc", counts, strict=True)):
            for take in range(count):
                shade = 20 * number + 5 * take + (split == "val")
                write_video(root / split / gloss / f"{take}.mp4", 9 + 3 * take, shade=shade)
    return root


@pytest.fixture
def config(clips_root: Path, tmp_path: Path) -> DataConfig:
    """Not yet prepared: its cache is this test's own."""
    return make_config(root=clips_root, cache_dir=tmp_path / "cache")


@pytest.fixture(scope="session")
def prepared(clips_root: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    """Prepared once for all tests that only read."""
    cache_dir = tmp_path_factory.mktemp("cache")
    return prepare_data(make_config(root=clips_root, cache_dir=cache_dir), num_workers=1)


@pytest.fixture
def refuse_progress() -> Callable[[str, int, int], None]:
    """Progress that must not be reported, because nothing is left to do."""

    def refuse(what: str, done: int, total: int) -> None:
        raise AssertionError(f"{what} again: {done} of {total}")

    return refuse


def make_config(**values: object) -> DataConfig:
    small = {"source": "auto", "num_frames": 4, "image_size": 16, "pack_size_px": 20}
    return DataConfig.model_validate(small | values)
