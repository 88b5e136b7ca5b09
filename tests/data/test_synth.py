from __future__ import annotations

import csv
import itertools
import subprocess
import sys
from pathlib import Path

import decord
import numpy as np
import pytest

from slrtune.config.errors import UserError
from slrtune.data.synth import hand
from slrtune.data.synth.dataset import SynthSettings, render_clip, render_dataset, signer_splits
from slrtune.data.synth.hand import HandShape, PosedHand, pose_hand
from slrtune.data.synth.letters import LETTERS
from slrtune.data.synth.motion import pose_track
from slrtune.data.synth.raster import DepthBuffer
from slrtune.data.synth.signer import make_signer

SMALL = SynthSettings(num_signers=3, size_px=64, words=("A", "HI"))
FRONT_LIGHT = (0.0, 0.0, 0.0, 1.0)


@pytest.fixture(scope="module")
def small_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_dataset(tmp_path_factory.mktemp("synth") / "small", SMALL, num_workers=1)


def posed(letter: str) -> PosedHand:
    return pose_hand(LETTERS[letter].to_vector()[None], HandShape())


def tracked(text: str, signer: int = 0) -> np.ndarray:
    return pose_track(text, make_signer(0, signer), 25, np.random.default_rng(0))


def files_with_bytes(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# --- the hand ---


def test_the_alphabet_is_complete() -> None:
    assert "".join(sorted(LETTERS)) == "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def test_all_letters_but_the_moving_j_differ_in_shape() -> None:
    joints = {letter: posed(letter).joints[0] for letter in LETTERS}
    for one, other in itertools.combinations(LETTERS, 2):
        if (one, other) != ("I", "J"):
            difference = np.linalg.norm(joints[one] - joints[other], axis=-1).max()
            assert difference > 0.12, f"{one} and {other} differ by {difference:.2f} hand lengths"


def test_bones_keep_their_length_in_every_pose() -> None:
    poses = np.stack([pose.to_vector() for pose in LETTERS.values()])
    joints = pose_hand(poses, HandShape()).joints
    for base in (hand.THUMB_CMC, *hand.FINGER_MCPS):
        lengths = np.linalg.norm(np.diff(joints[:, base : base + 4], axis=1), axis=-1)
        assert np.ptp(lengths, axis=0).max() < 1e-12


def test_a_right_hand_shows_palm_and_thumb_as_the_viewer_sees_them() -> None:
    joints, dorsal = posed("B").joints[0], posed("B").dorsal[0]
    index, little = hand.FINGER_MCPS[0], hand.FINGER_MCPS[3]
    assert joints[index, 0] > 0 > joints[little, 0]  # the thumb side is right of the picture
    assert joints[hand.FINGER_TIPS[2], 1] > 0.9  # fingers up
    assert dorsal[hand.WRIST, 2] == pytest.approx(-1)  # the palm faces the viewer


def test_a_fist_brings_the_tips_back_to_the_palm() -> None:
    joints = posed("S").joints[0]
    for mcp in hand.FINGER_MCPS:
        assert np.linalg.norm(joints[mcp + 3] - joints[mcp]) < 0.25


def test_index_and_middle_finger_cross_in_r_only() -> None:
    def is_crossed(letter: str) -> bool:
        joints = posed(letter).joints[0]
        return bool(joints[8, 0] < joints[12, 0])

    assert [letter for letter in "RUVW" if is_crossed(letter)] == ["R"]


# --- the motion ---


def test_only_j_and_z_move_while_they_are_held() -> None:
    def travel(letter: str) -> float:
        track = tracked(letter)
        held = track[len(track) * 2 // 5 : len(track) * 3 // 5]
        return float(np.abs(np.diff(held[:, hand.OFFSET], axis=0)).sum())

    moving = {letter for letter in LETTERS if travel(letter) > 0.1}
    assert moving == {"J", "Z"}


def test_a_clip_starts_and_ends_at_rest() -> None:
    track = tracked("B")
    ends = np.abs(track[0] - track[-1])[hand.FINGER_ANGLES].max()
    middle = np.abs(track[0] - track[len(track) // 2])[hand.FINGER_ANGLES].max()
    assert ends < 10 < 20 < middle


def test_spelling_moves_smoothly_from_letter_to_letter() -> None:
    steps = np.abs(np.diff(tracked("HELLO")[:, hand.FINGER_ANGLES], axis=0))
    assert steps.max() < 45  # degrees per frame, where a jump from letter to letter is about 100


def test_the_second_of_a_double_letter_is_signed_further_out() -> None:
    def farthest_left(text: str) -> float:
        return float(tracked(text)[:, hand.OFFSET][:, 0].min())

    assert farthest_left("ABBA") < farthest_left("ABA") - 0.05


def test_a_word_takes_longer_than_its_beginning() -> None:
    assert len(tracked("HE")) < len(tracked("HELLO")) < len(tracked("HELLOWORLD"))


def test_every_clip_of_a_letter_has_30_to_60_frames() -> None:
    lengths = {len(tracked(letter, signer)) for letter in "AJZ" for signer in range(40)}
    assert min(lengths) >= 30 and max(lengths) <= 60 and len(lengths) >= 8


# --- the rasteriser ---


def test_a_round_cone_covers_its_outline_and_bulges_to_the_viewer() -> None:
    buffer = DepthBuffer(64)
    buffer.draw_round_cone((16, 32, 0), (48, 32, 0), 8, 8, FRONT_LIGHT, 1)
    assert (buffer.shape_id > 0).sum() == pytest.approx(32 * 16 + np.pi * 64, rel=0.02)
    assert buffer.depth[32, 32] == pytest.approx(8, abs=0.1)
    assert buffer.shade[32, 32] > 0.95 > 0.5 > buffer.shade[24, 32]


def test_a_cone_along_the_line_of_sight_is_the_silhouette_of_its_spheres() -> None:
    buffer = DepthBuffer(64)
    buffer.draw_round_cone((32, 32, 0), (34, 32, 20), 9, 6, FRONT_LIGHT, 1)
    assert buffer.depth[32, 34] == pytest.approx(26, abs=0.2)
    assert buffer.shape_id[32, 23:41].all() and not buffer.shape_id[32, :22].any()


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_the_nearer_shape_hides_the_farther_in_any_order(order: tuple[int, int]) -> None:
    buffer = DepthBuffer(32)
    depths = {1: 0.0, 2: 10.0}
    for shape_id in order:
        z = depths[shape_id]
        buffer.draw_round_cone((8, 16, z), (24, 16, z), 4, 4, FRONT_LIGHT, shape_id)
    assert buffer.shape_id[16, 16] == 2


# --- the clip ---


def test_a_clip_depends_on_seed_signer_and_word_only() -> None:
    again = SynthSettings(num_signers=5, size_px=64, words=("B",))
    clip = render_clip("A", 1, SMALL)
    assert np.array_equal(clip, render_clip("A", 1, again))
    for other in (render_clip("A", 2, SMALL), render_clip("B", 1, SMALL)):
        assert other.shape != clip.shape or not np.array_equal(other, clip)


def test_the_hand_stands_out_from_the_background_for_every_signer() -> None:
    for signer in range(16):
        clip = render_clip("B", signer, SynthSettings(size_px=64)).astype(float)
        picture = clip[len(clip) // 2]
        palm, wall = picture[30:38, 28:36].mean(axis=(0, 1)), picture[:8, :8].mean(axis=(0, 1))
        assert np.abs(palm - wall).max() > 30, f"signer {signer}"


# --- the data set ---


def test_files_lie_in_class_folders_with_signers_in_the_table(small_dataset: Path) -> None:
    rows = list(csv.DictReader((small_dataset / "labels.csv").open()))
    assert rows[1] == {
        "path": "val/A/A_signer01.mp4", "label": "A", "signer": "signer01", "split": "val"
    }  # fmt: skip
    on_disk = {p.relative_to(small_dataset).as_posix() for p in small_dataset.rglob("*.mp4")}
    assert on_disk == {row["path"] for row in rows} and len(rows) == 6


def test_no_signer_is_in_two_splits() -> None:
    assert [signer_splits(16).count(split) for split in ("train", "val", "test")] == [10, 3, 3]
    for num_signers in range(3, 40):
        splits = signer_splits(num_signers)
        assert len(splits) == num_signers and set(splits) == {"train", "val", "test"}


def test_decord_reads_what_was_rendered(small_dataset: Path) -> None:
    video = decord.VideoReader(str(small_dataset / "test/HI/HI_signer02.mp4"))
    rendered = render_clip("HI", 2, SMALL)
    assert len(video) == len(rendered)
    assert video.get_avg_fps() == pytest.approx(25)
    decoded = video.get_batch(range(len(video))).asnumpy()
    assert decoded.shape == rendered.shape
    assert np.abs(decoded.astype(float) - rendered).mean() < 4  # lossy, but the same pictures


def test_keyframes_are_at_most_12_frames_apart(small_dataset: Path) -> None:
    video = decord.VideoReader(str(small_dataset / "train/A/A_signer00.mp4"))
    keyframes = [*video.get_key_indices(), len(video)]
    assert max(np.diff(keyframes)) <= 12


def test_bytes_depend_on_the_seed_but_not_on_the_number_of_workers(
    small_dataset: Path, tmp_path: Path
) -> None:
    two_workers = render_dataset(tmp_path / "again", SMALL, num_workers=2)
    assert files_with_bytes(two_workers) == files_with_bytes(small_dataset)
    reseeded = SynthSettings(seed=1, num_signers=3, size_px=64, words=("A",))
    other = render_dataset(tmp_path / "other", reseeded, num_workers=1)
    name = "train/A/A_signer00.mp4"
    assert (other / name).read_bytes() != (small_dataset / name).read_bytes()


def test_a_second_call_renders_nothing(small_dataset: Path) -> None:
    calls: list[tuple[int, int]] = []
    render_dataset(small_dataset, SMALL, 1, lambda done, total: calls.append((done, total)))
    assert calls == []


def test_an_interrupted_rendering_continues_where_it_stopped(
    small_dataset: Path, tmp_path: Path
) -> None:
    class StoppedError(Exception):
        pass

    def stop_after_two(done: int, total: int) -> None:
        if done == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        render_dataset(tmp_path / "out", SMALL, 1, stop_after_two)
    assert not (tmp_path / "out" / "synth.json").exists()
    calls: list[tuple[int, int]] = []
    render_dataset(tmp_path / "out", SMALL, 1, lambda done, total: calls.append((done, total)))
    assert calls == [(3, 6), (4, 6), (5, 6), (6, 6)]
    assert files_with_bytes(tmp_path / "out") == files_with_bytes(small_dataset)


def test_other_settings_and_foreign_folders_are_left_alone(
    small_dataset: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"other settings.*delete"):
        render_dataset(small_dataset, SynthSettings(seed=7))
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match=r"not empty.*new or an empty folder"):
        render_dataset(tmp_path, SMALL)
    with pytest.raises(UserError, match="is a file"):
        render_dataset(tmp_path / "thesis.txt", SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": -1}, "seed must be >= 0, but is -1"),
        ({"num_signers": 2}, "num_signers must be >= 3, but is 2"),
        ({"size_px": 129}, "size_px must be a multiple of 16 .* try 128"),
        ({"fps": 0}, "fps must be between 5 and 60, but is 0"),
        ({"words": ()}, "words must not be empty"),
        ({"words": ("A", "über")}, "letters A to Z, but is 'über'"),
        ({"words": ("A", "B", "A")}, "'A' is there twice"),
    ],
)
def test_bad_settings_name_the_rule_and_the_value(values: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        SynthSettings(**values)


def test_the_renderer_does_not_load_torch() -> None:
    code = "import sys, slrtune.data.synth.dataset; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
