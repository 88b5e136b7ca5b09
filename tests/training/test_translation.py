"""What a translator learns and how it is judged."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from slrtune.config.decoding import DecodingConfig
from slrtune.config.errors import UserError
from slrtune.config.training import TrainingConfig
from slrtune.data.loader import ClipBatch
from slrtune.data.prepare import prepare_data
from slrtune.data.prepared import PreparedData
from slrtune.memory import predict, probe
from slrtune.models.translation import TranslatorOutput, VideoMemory
from slrtune.text.decoding import Hypothesis
from slrtune.text.tokenizer import TextTokenizer
from slrtune.training.checkpoint import read_checkpoint
from slrtune.training.construction import build_model
from slrtune.training.contrastive import second_view
from slrtune.training.corpus import Corpus
from slrtune.training.exhibit import EXHIBIT_FILE
from slrtune.training.lesson import sizes_of
from slrtune.training.normalization import normalize_frames
from slrtune.training.tasks import Translation, Writing
from slrtune.training.text_losses import ctc_steps
from slrtune.training.trial import train_trial
from tests.spelled_colors import experiment
from tests.training.test_resume import LostError, assert_same_bits, lose_after, untimed
from tests.training.toys import Reports

VOCAB_SIZE, CPU = 9, torch.device("cpu")
TEXTS = {0: [4, 5, 6], 1: [7], 2: [8, 8, 8], 3: [5, 4]}


def translation(writing: Writing | None = None, **recipe: Any) -> Translation:
    config = TrainingConfig.model_validate({"label_smoothing": 0.1, **recipe})
    return Translation(config, TEXTS, defaultdict(list), writing)


def batch_of(clip_ids: list[int]) -> ClipBatch:
    ids = torch.tensor(clip_ids)
    return ClipBatch(torch.zeros(len(ids), 1, 3, 2, 2, dtype=torch.uint8), ids, ids)


def outputs_of(clip_ids: list[int], num_tokens: int = 5) -> TranslatorOutput:
    """What a model said of these clips; of each the same in whatever batch."""
    longest = max(len(TEXTS[clip_id]) for clip_id in clip_ids) + 1
    ctc, written = [], []
    for clip_id in clip_ids:
        generator = torch.Generator().manual_seed(clip_id)
        ctc.append(torch.randn(num_tokens, VOCAB_SIZE, generator=generator))
        written.append(torch.randn(4, VOCAB_SIZE, generator=generator)[:longest])
    memory = VideoMemory(torch.zeros(len(ctc), num_tokens, 2), None, torch.stack(ctc))
    return TranslatorOutput(memory, torch.stack(written), {})


def loss_of(task: Translation, clip_ids: list[int], num_tokens: int = 5) -> float:
    batch = batch_of(clip_ids)
    targets = task.targets(batch, 0)
    return float(task.loss_sum(outputs_of(clip_ids, num_tokens), batch, targets))


def judged(clip_ids: list[int]) -> dict[str, float]:
    """The figures of these clips, of which clip 1 was misread; with those of other ranks."""
    tokenizer = TextTokenizer.train(["a b c d", "e"], "char")
    references = {clip_id: tokenizer.decode(ids) for clip_id, ids in TEXTS.items()}
    task = translation(Writing(tokenizer, references, DecodingConfig()))
    judge = task.judge(CPU)
    if clip_ids:
        batch = batch_of(clip_ids)
        said = [Hypothesis.of(TEXTS[0 if i == 1 else i], -1.0) for i in clip_ids]
        judge.count((outputs_of(clip_ids), task.targets(batch, 0), said), batch)
    return judge.compute()


def test_the_figures_are_those_of_the_whole_corpus() -> None:
    figures = judged([0, 1, 2, 3])
    assert 0 < figures["val_wer"] < 1 and 0 < figures["val_bleu"] < 100
    assert figures["val_loss"] == pytest.approx(
        sum(loss_of(translation(label_smoothing=0.0), [clip_id]) for clip_id in TEXTS) / 4
    )


def test_the_loss_of_a_clip_does_not_depend_on_those_beside_it() -> None:
    task = translation()
    assert loss_of(task, [0, 1, 3]) == pytest.approx(
        sum(loss_of(task, [clip_id]) for clip_id in (0, 1, 3)), rel=1e-5
    )


def test_the_loss_is_the_weighted_sum_of_ctc_and_cross_entropy_per_token() -> None:
    outputs = outputs_of([0])
    log_probs = outputs.memory.ctc_logits[0].log_softmax(dim=-1)
    ctc = F.ctc_loss(log_probs, torch.tensor(TEXTS[0]), (5,), (3,), reduction="sum") / 3
    wanted = torch.tensor([4, 5, 6, 2])
    written = F.cross_entropy(outputs.token_logits[0], wanted, label_smoothing=0.1)
    assert loss_of(translation(ctc_weight=0.3, ce_weight=2.0), [0]) == pytest.approx(
        float(0.3 * ctc + 2.0 * written), rel=1e-5
    )


def test_texts_that_ctc_cannot_spell_are_counted_and_the_decoder_still_learns_them() -> None:
    assert [ctc_steps(TEXTS[clip_id]) for clip_id in TEXTS] == [3, 1, 5, 2]
    task = translation(ctc_weight=1.0, ce_weight=1.0)
    alone = translation(ctc_weight=0.0, ce_weight=1.0)
    assert loss_of(task, [2], num_tokens=4) == pytest.approx(loss_of(alone, [2], num_tokens=4))
    assert loss_of(task, [2], num_tokens=5) > loss_of(alone, [2], num_tokens=5) + 0.1
    loss_of(task, [0, 2, 1], num_tokens=2)
    assert task.counts() == {"num_ctc_lost": 3.0}  # once clip 2 at four tokens, then 0 and 2
    assert task.counts() == {"num_ctc_lost": 0.0}


@pytest.fixture(scope="module")
def prepared(spelled_root: Path, shared_cache: Path) -> PreparedData:
    return prepare_data(experiment(spelled_root, shared_cache).data, needs="sentence")


def test_the_vocabulary_is_that_of_the_training_sentences(
    prepared: PreparedData, spelled_root: Path, shared_cache: Path
) -> None:
    base = experiment(spelled_root, shared_cache)
    corpus = Corpus.of(base, prepared)
    assert corpus.sizes.vocab_size == 4 + len("bcgmry ")
    assert corpus.sizes.text_length == 1 + max(map(len, prepared.sentences("train")))
    assert set(corpus.texts) == {
        i for i, record in enumerate(prepared.records) if record.split != "test"
    }
    short = base.model.dense_vit.model_copy(update={"max_text_length": 8})
    cut = Corpus.of(
        base.model_copy(update={"model": base.model.model_copy(update={"dense_vit": short})}),
        prepared,
    )
    assert max(map(len, cut.token_ids.values())) == 6
    assert cut.num_cut == sum(len(text) > 6 for text in prepared.sentences("train"))


def test_glosses_are_spelled_by_a_ctc_layer_of_their_own_where_the_data_have_them(
    prepared: PreparedData, spelled_root: Path, shared_cache: Path, tmp_path: Path
) -> None:
    wanted = experiment(spelled_root, shared_cache, gloss_ctc_weight=0.3, max_epochs=3)
    corpus = Corpus.of(wanted, prepared)
    assert corpus.glosses == tuple(f"G-{letter}" for letter in "BCGMRY")
    clip_id = next(iter(corpus.token_ids))
    line = [corpus.glosses[i - 1] for i in corpus.gloss_ids[clip_id]]
    assert " ".join(line) == prepared.records[clip_id].gloss
    reports = Reports()
    train_trial(wanted, tmp_path, reports)
    assert reports[-1]["train_loss"] < 0.6 * reports[0]["train_loss"]
    assert tuple(read_checkpoint(tmp_path / "checkpoints" / "best.pt")["glosses"]) == corpus.glosses
    bare = [type(r)(**{**vars(r), "gloss": ""}) for r in prepared.records]
    without = PreparedData(
        prepared.pack, prepared.root, prepared.config, tuple(bare), needs="sentence"
    )
    with pytest.raises(UserError, match="gloss_ctc_weight: needs clips with glosses"):
        Corpus.of(wanted, without)


def test_a_translator_reads_sentences_that_training_never_showed(spelled_run: Path) -> None:
    best = read_checkpoint(spelled_run / "checkpoints" / "best.pt")
    metrics = best["metrics"]
    assert metrics["val_bleu"] > 80
    assert metrics["val_wer"] < 0.15 and metrics["val_chrf"] > 85 and metrics["val_rouge"] > 85
    assert metrics["num_ctc_lost"] == 0
    tokenizer = TextTokenizer.from_json(best["tokenizer"])
    assert tokenizer.decode(tokenizer.encode("rg b")) == "rg b"
    with np.load(spelled_run / EXHIBIT_FILE) as shown:
        assert shown["frames"].shape == (8, 4, 32, 32, 3)
        assert (shown["meant"] == shown["said"]).sum() >= 6


def test_a_translator_lost_in_mid_epoch_goes_on_bit_by_bit(
    spelled_root: Path, shared_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = {"max_epochs": 2, "freeze_epochs": 1, "checkpoint_every_steps": 20}
    settings = experiment(spelled_root, shared_cache, **recipe)
    # too few for CTC to spell any of the sentences
    few = settings.model.dense_vit.model_copy(update={"num_queries": 6})
    model = settings.model.model_copy(update={"dense_vit": few})
    settings = settings.model_copy(update={"model": model})
    unbroken, resumed = Reports(), Reports()
    train_trial(settings, tmp_path / "unbroken", unbroken)
    with monkeypatch.context() as patched:
        fate, inputs = lose_after(32 + 2 + 25), Translation.inputs  # steps, validation, steps
        patched.setattr(Translation, "inputs", lambda *given: (fate(), inputs(*given))[1])
        with pytest.raises(LostError):
            train_trial(settings, tmp_path / "resumed", Reports())
    train_trial(settings, tmp_path / "resumed", resumed)
    assert untimed(resumed) == untimed(unbroken)
    assert unbroken[-1]["num_ctc_lost"] == 128
    last = [
        read_checkpoint(tmp_path / name / "checkpoints" / "last.pt")["model"]
        for name in ("unbroken", "resumed")
    ]
    assert_same_bits(*last)


def test_the_memory_of_a_translator_is_predicted_as_it_is_measured(
    prepared: PreparedData, spelled_root: Path, shared_cache: Path
) -> None:
    settings = experiment(spelled_root, shared_cache, gloss_ctc_weight=0.3)
    sizes = sizes_of(settings, prepared)
    predicted = predict(settings, "cpu", sizes=sizes)
    measured = probe(settings, CPU, sizes=sizes)
    assert predicted.train_peak_gib == pytest.approx(measured.peak_gib, rel=0.02)
    assert predicted.inference_peak_gib == pytest.approx(measured.inference_peak_gib, rel=0.02)
    on_gpu = predict(settings, "H100", sizes=sizes)
    assert on_gpu.parts["parameters"] == predicted.parts["parameters"]


def test_an_encoder_that_is_pretrained_without_texts_tells_clips_apart(
    spelled_root: Path, shared_cache: Path, tmp_path: Path, prepared: PreparedData
) -> None:
    recipe = {"contrastive_epochs": 4, "max_epochs": 6, "batch_size": 16}
    settings = experiment(spelled_root, shared_cache, **recipe)
    reports = Reports()
    train_trial(settings, tmp_path, reports)
    losses = [metrics["train_loss"] for metrics in reports]
    assert losses[3] < 0.5 * np.log(2 * 16 - 1)  # chance: any of the other views
    assert losses[5] < losses[4] > losses[3]  # then it learns texts
    weights = read_checkpoint(tmp_path / "checkpoints" / "last.pt")["model"]
    model = build_model(settings, sizes_of(settings, prepared)).eval()
    model.load_state_dict(weights)
    clips = prepared.dataset("val", is_training=False, seed=0)
    frames = normalize_frames(torch.stack([clips[i].frames for i in range(8)]))
    torch.manual_seed(0)
    both = torch.cat([frames, second_view(frames)])
    with torch.no_grad():
        seen = model(both, None, torch.ones(16, 1, dtype=torch.int64)).extras["embedding"]
    nearest = (seen[:8] @ seen[8:].T).argmax(dim=1)
    assert (nearest == torch.arange(8)).sum() >= 6
    measured = probe(settings, CPU, sizes=sizes_of(settings, prepared))
    predicted = predict(settings, "cpu", sizes=sizes_of(settings, prepared))
    assert predicted.train_peak_gib == pytest.approx(measured.peak_gib, rel=0.02)
    assert predicted.inference_peak_gib == pytest.approx(measured.inference_peak_gib, rel=0.02)
