from __future__ import annotations

import pickle
from collections import Counter
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import numpy as np
import pytest
import torch

from slrtune.data.dataset import ClipDataset, load_clip
from slrtune.data.loader import ClipBatch, ClipLoader, build_loader, collate
from slrtune.data.prepare import prepare_data
from slrtune.data.prepared import PreparedData
from slrtune.data.sharding import Shard, TrainingBatches, ValidationBatches
from slrtune.data.workers import process_context
from tests.data.conftest import make_config
from tests.data.videos import write_video

SPLIT = 103


def epoch_indices(batches: TrainingBatches | ValidationBatches, epoch: int = 0) -> list[list[int]]:
    batches.epoch = epoch
    micro_batches = [[index for _, index, _ in keys] for keys in batches]
    assert len(micro_batches) == len(batches)
    return micro_batches


def steps(world_size: int, micro_batch_size: int, num_clips: int = SPLIT) -> list[set[int]]:
    """The set of clips of each optimizer step of 12 clips, over all ranks."""
    per_step = 12 // world_size // micro_batch_size
    union: list[set[int]] = []
    for rank in range(world_size):
        shard = Shard(12, micro_batch_size, rank, world_size)
        micro_batches = epoch_indices(TrainingBatches([0] * num_clips, shard, seed=1))
        for number, micro_batch in enumerate(micro_batches):
            if number // per_step == len(union):
                union.append(set())
            union[number // per_step].update(micro_batch)
    return union


@pytest.mark.parametrize(("world_size", "micro_batch_size"), [(1, 4), (2, 6), (3, 2), (4, 1)])
def test_an_optimizer_step_sees_the_same_clips_whatever_ranks_and_micro_batches(
    world_size: int, micro_batch_size: int
) -> None:
    reference = steps(1, 12)
    assert [len(step) for step in reference] == [12] * (SPLIT // 12)  # the tail is dropped
    assert len(set.union(*reference)) == 12 * (SPLIT // 12)  # no clip twice
    assert steps(world_size, micro_batch_size) == reference


def test_an_epoch_can_be_resumed_by_its_number() -> None:
    fresh, used = (TrainingBatches([0] * SPLIT, Shard(12, 4), seed=1) for _ in range(2))
    epoch_indices(used, epoch=0)
    assert epoch_indices(used, epoch=5) == epoch_indices(fresh, epoch=5)
    assert epoch_indices(fresh, epoch=6) != epoch_indices(fresh, epoch=5)
    assert epoch_indices(TrainingBatches([0] * SPLIT, Shard(12, 4), seed=2), 5) != epoch_indices(
        used, 5
    )


def test_a_split_smaller_than_a_batch_is_repeated_to_fill_it() -> None:
    (batch,) = epoch_indices(TrainingBatches([0] * 5, Shard(12, 12), seed=0))
    assert sorted(Counter(batch).values()) == [2, 2, 2, 3, 3]


def test_every_repetition_of_a_clip_has_its_own_number() -> None:
    (keys,) = TrainingBatches([0] * 5, Shard(12, 12), seed=0)
    assert len(set(keys)) == len(keys) == 12
    assert sorted(repeat for _, _, repeat in keys) == [0] * 5 + [1] * 5 + [2] * 2


def gloss_counts(class_balance: float) -> list[int]:
    """How often glosses of 64, 16 and 4 clips come in an epoch, over two ranks."""
    labels = np.repeat([0, 1, 2], [64, 16, 4])
    counts = np.zeros(3, int)
    for rank in (0, 1):
        batches = TrainingBatches(labels, Shard(12, 3, rank, 2), 1, class_balance)
        for micro_batch in epoch_indices(batches):
            counts += np.bincount(labels[micro_batch], minlength=3)
    return counts.tolist()


def test_class_balance_evens_out_the_glosses() -> None:
    assert gloss_counts(0.0) == [64, 16, 4]
    assert gloss_counts(1.0) == [28, 28, 28]
    # 8 : 4 : 2 of 84
    assert gloss_counts(0.5) == [48, 24, 12]


def test_a_balanced_epoch_can_be_resumed_and_differs_from_the_next() -> None:
    labels = np.repeat([0, 1, 2], [64, 16, 4])
    fresh, used = (TrainingBatches(labels, Shard(12, 4), 1, 1.0) for _ in range(2))
    epoch_indices(used, epoch=0)
    assert epoch_indices(used, epoch=5) == epoch_indices(fresh, epoch=5)
    fifth, sixth = (np.ravel(epoch_indices(fresh, epoch)) for epoch in (5, 6))
    assert set(fifth) != set(sixth)  # other clips of the frequent gloss
    counts = np.bincount(fifth, minlength=84)
    assert set(counts[:64]) == {0, 1}
    assert set(counts[80:]) == {7}


@pytest.mark.parametrize("num_clips", [1, 7, 103])
def test_validation_sees_each_clip_exactly_once(num_clips: int) -> None:
    seen = [
        index
        for rank in range(3)
        for micro_batch in epoch_indices(ValidationBatches(num_clips, Shard(12, 4, rank, 3)))
        for index in micro_batch
    ]
    assert sorted(seen) == list(range(num_clips))


def test_sizes_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="batch_size 10 must be a multiple of 2 ranks x"):
        Shard(10, 3, 0, 2)
    with pytest.raises(ValueError, match=r"rank 2 must be in 0\.\.1"):
        Shard(12, 3, 2, 2)


def loader(prepared: PreparedData, num_workers: int = 0, **values: object) -> ClipLoader:
    config = prepared.config.model_copy(update={"num_loader_workers": num_workers})
    arguments = {"is_training": True, "batch_size": 6, "micro_batch_size": 3, "seed": 3} | values
    return build_loader(prepared, config, **arguments)  # type: ignore[arg-type]


def by_clip(batches: list[ClipBatch]) -> dict[int, torch.Tensor]:
    return {
        int(clip_id): frames
        for batch in batches
        for clip_id, frames in zip(batch.clip_ids, batch.frames, strict=True)
    }


def test_batches_have_the_models_shape_and_the_manifests_labels(prepared: PreparedData) -> None:
    batches = list(loader(prepared))
    assert len(batches) == len(loader(prepared)) == 2  # 11 clips: one step of two micro-batches
    for batch in batches:
        assert batch.frames.shape == (3, 4, 3, 16, 16)
        assert (batch.frames.dtype, batch.labels.dtype) == (torch.uint8, torch.int64)
        for label, clip_id in zip(batch.labels.tolist(), batch.clip_ids.tolist(), strict=True):
            record = prepared.records[clip_id]
            assert (record.split, record.gloss) == ("train", prepared.glosses[label])


def test_frames_per_clip_may_differ_from_what_was_prepared(prepared: PreparedData) -> None:
    config = prepared.config.model_copy(update={"num_frames": 7, "image_size": 18})
    longer = build_loader(
        prepared, config, is_training=True, batch_size=6, micro_batch_size=3, seed=3
    )
    assert next(iter(longer)).frames.shape == (3, 7, 3, 18, 18)


def test_a_training_sample_depends_on_seed_epoch_and_clip_alone(prepared: PreparedData) -> None:
    in_process, by_workers = loader(prepared), loader(prepared, num_workers=2)
    for epoch in (0, 1):  # the second epoch is where persistent workers would lag behind
        for each in (in_process, by_workers):
            each.set_epoch(epoch)
        torch.manual_seed(epoch)  # must not matter
        first, second = list(in_process), list(by_workers)
        for ours, theirs in zip(first, second, strict=True):
            assert torch.equal(ours.clip_ids, theirs.clip_ids)
            assert torch.equal(ours.frames, theirs.frames)
    one_rank = by_clip(list(in_process))
    two_ranks = [loader(prepared, rank=rank, world_size=2, micro_batch_size=1) for rank in (0, 1)]
    for each in two_ranks:
        each.set_epoch(1)
        for clip_id, frames in by_clip(list(each)).items():
            assert torch.equal(frames, one_rank[clip_id])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_epoch_goes_on_from_its_middle_as_if_never_interrupted(
    prepared: PreparedData, num_workers: int
) -> None:
    for rank in (0, 1):
        sizes = {"batch_size": 4, "micro_batch_size": 1, "rank": rank, "world_size": 2}
        unbroken, resumed = loader(prepared, **sizes), loader(prepared, num_workers, **sizes)
        unbroken.set_epoch(2)
        resumed.set_epoch(2, num_done=3)
        rest, expected = list(resumed), list(unbroken)[3:]
        assert len(rest) == len(expected) == 1
        for ours, theirs in zip(rest, expected, strict=True):
            assert torch.equal(ours.clip_ids, theirs.clip_ids)
            assert torch.equal(ours.frames, theirs.frames)
        resumed.set_epoch(3)
        assert len(list(resumed)) == 4  # the next epoch is whole


def test_a_batch_is_the_samples_of_its_keys_in_their_order(prepared: PreparedData) -> None:
    dataset = prepared.dataset("train", is_training=True, seed=3)
    keys = [(1, 7, 0), (1, 2, 0), (1, 7, 1), (1, 0, 0)]
    batch = collate(dataset.__getitems__(keys), prepared.config.image_size)
    for place, key in enumerate(keys):
        sample = dataset[key]
        assert (batch.labels[place], batch.clip_ids[place]) == (sample.label, sample.clip_id)
        assert torch.equal(batch.frames[place], sample.frames)


def test_changes_may_be_left_to_the_device(prepared: PreparedData) -> None:
    dataset = prepared.dataset("train", is_training=True, seed=3)
    samples = dataset.__getitems__([(1, 7, 0), (1, 2, 0)])
    size = prepared.config.image_size
    later, now = (collate(samples, size, augments_later=later) for later in (True, False))
    assert later.frames.shape[-1] != size == now.frames.shape[-1]
    arrived = pickle.loads(pickle.dumps(later)).to("cpu")  # it may come from a loader's process
    assert torch.equal(arrived.frames, now.frames)
    assert torch.equal(arrived.to("cpu").frames, now.frames)  # not changed twice


def read_all(dataset: ClipDataset, answers: SimpleQueue[int]) -> None:
    before = _private_kib()
    for index in range(len(dataset)):
        frames = dataset.packed_frames(index)
        assert isinstance(frames, np.ndarray)
        assert frames.max() > 0  # touches every page
    answers.put(_private_kib() - before)


def _private_kib() -> int:
    rollup = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in rollup if line.startswith("Private_Dirty"))


def test_a_worker_that_reads_every_clip_copies_no_frame_of_the_map(tmp_path: Path) -> None:
    for number in range(4):
        path = tmp_path / "root" / "train" / "a" / f"{number}.mp4"
        write_video(path, 30, width=640, height=480, shade=number)
    values = {"root": tmp_path / "root", "cache_dir": tmp_path / "cache", "val_fraction": 0.25}
    large = prepare_data(make_config(**values, pack_size_px=480), num_workers=1)
    assert large.pack.facts.num_bytes > 100e6
    dataset = large.dataset("train", is_training=True, seed=0)
    answers = process_context().SimpleQueue()
    reader = process_context().Process(target=read_all, args=(dataset, answers))
    reader.start()
    assert answers.get() < 10_000
    reader.join()


def test_seed_and_epoch_change_a_training_sample(prepared: PreparedData) -> None:
    dataset, other_seed = (
        prepared.dataset("train", is_training=True, seed=seed) for seed in (3, 4)
    )
    base = dataset[0, 2, 0].frames
    assert torch.equal(base, dataset[0, 2, 0].frames)
    assert not torch.equal(base, dataset[1, 2, 0].frames)
    assert not torch.equal(base, other_seed[0, 2, 0].frames)


def test_a_clip_that_comes_again_in_an_epoch_is_augmented_anew(prepared: PreparedData) -> None:
    dataset = prepared.dataset("train", is_training=True, seed=3)
    assert not torch.equal(dataset[0, 2, 0].frames, dataset[0, 2, 1].frames)


def test_loading_leaves_the_global_random_state_alone(prepared: PreparedData) -> None:
    before = torch.random.get_rng_state()
    list(loader(prepared))
    assert torch.equal(before, torch.random.get_rng_state())


def test_validation_is_the_same_every_epoch(prepared: PreparedData) -> None:
    validation = loader(prepared, is_training=False)
    first = by_clip(list(validation))
    validation.set_epoch(7)
    again = by_clip(list(validation))
    assert len(first) == 5
    assert all(torch.equal(first[clip_id], again[clip_id]) for clip_id in first)


def test_a_file_loads_to_the_same_pixels_as_in_validation(prepared: PreparedData) -> None:
    for sample in prepared.dataset("val", is_training=False, seed=0):
        path = prepared.root / prepared.records[sample.clip_id].path
        assert torch.equal(load_clip(path, prepared.config), sample.frames)


def test_an_opened_dataset_pickles_without_its_memory_map(prepared: PreparedData) -> None:
    dataset = prepared.dataset("val", is_training=False, seed=0)
    frames = dataset[0].frames
    assert torch.equal(pickle.loads(pickle.dumps(dataset))[0].frames, frames)
