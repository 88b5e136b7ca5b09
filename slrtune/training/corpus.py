"""What the clips of a translation data set say, as ids that a model writes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from slrtune.config.errors import UserError
from slrtune.config.experiment import Experiment
from slrtune.data.prepared import PreparedData
from slrtune.data.splits import has_needed
from slrtune.text.tokenizer import TextTokenizer
from slrtune.training.construction import OutputSizes
from slrtune.training.landmarks import num_keypoints

_GLOSS_WEIGHTS = ("gloss_ctc_weight", "gloss_weight")
Ids = Mapping[int, list[int]]
"""Ids of what a clip says, by clip id."""


@dataclass(frozen=True)
class Corpus:
    """Texts of the clips of training and validation, and their glosses where those are learnt.

    Attributes:
        tokenizer: learnt from the training sentences.
        texts: normalized sentences by clip id.
        token_ids: of the sentences, without begin and end; cut to what the model may write.
        num_cut: training sentences that were cut.
        glosses: those of the training clips, whose ids are places here + 1; empty = not learnt.
        gloss_ids: what was signed, but for glosses that training never shows; an empty list where
            that is not known.
        sizes: what all this asks of a model.
    """

    tokenizer: TextTokenizer
    texts: Mapping[int, str]
    token_ids: Ids
    num_cut: int
    sizes: OutputSizes
    glosses: tuple[str, ...]
    gloss_ids: Ids

    @classmethod
    def of(cls, experiment: Experiment, prepared: PreparedData) -> Corpus:
        """Of the usable clips that have a sentence.

        Raises:
            UserError: no text to learn a vocabulary from, or one that is too small; glosses or
                landmarks are to be learnt, but there are none.
        """
        data, text = experiment.data, experiment.text
        sentences = _sentences(prepared, data.train_split)
        tokenizer = TextTokenizer.train(
            list(sentences.values()), text.tokenizer, text.vocab_size, lowercase=text.lowercase
        )
        training = dict.fromkeys(sentences)
        sentences |= _sentences(prepared, data.val_split)
        whole = {clip_id: tokenizer.encode(sentence) for clip_id, sentence in sentences.items()}
        most = max_text_length(experiment) - 2
        glosses, gloss_ids = _glosses(experiment, prepared, training, sentences)
        lengths = [len(whole[clip_id]) for clip_id in training]
        return cls(
            tokenizer=tokenizer,
            texts={clip_id: tokenizer.normalize(each) for clip_id, each in sentences.items()},
            token_ids={clip_id: ids[:most] for clip_id, ids in whole.items()},
            num_cut=sum(length > most for length in lengths),
            sizes=OutputSizes(
                num_glosses=len(glosses),
                vocab_size=tokenizer.vocab_size,
                text_length=min(max(lengths), most) + 1,
                gloss_length=max((len(gloss_ids[clip_id]) for clip_id in training), default=0),
                num_keypoints=num_keypoints(experiment, prepared),
            ),
            glosses=glosses,
            gloss_ids=gloss_ids,
        )


def max_text_length(experiment: Experiment) -> int:
    """Tokens of the longest text, begin and end included."""
    return experiment.model.dense_vit.max_text_length


def _sentences(prepared: PreparedData, split: str) -> dict[int, str]:
    return {
        clip_id: record.sentence or ""
        for clip_id, record in enumerate(prepared.records)
        if record.split == split and has_needed(record, "sentence")
    }


def _glosses(
    experiment: Experiment,
    prepared: PreparedData,
    training: Collection[int],
    every: Collection[int],
) -> tuple[tuple[str, ...], dict[int, list[int]]]:
    """The vocabulary of the glosses that training shows, and the ids of each clip that has any."""
    keys = [key for key in _GLOSS_WEIGHTS if getattr(experiment.training, key)]
    if not keys:
        return (), defaultdict(list)
    lines = {clip_id: prepared.records[clip_id].gloss.split() for clip_id in every}
    glosses = tuple(sorted({gloss for clip_id in training for gloss in lines[clip_id]}))
    if not glosses:
        raise UserError(
            f"training.{keys[0]}: needs clips with glosses and sentences, but those of split "
            f"'{experiment.data.train_split}' have no gloss; set it to 0"
        )
    number = {gloss: place for place, gloss in enumerate(glosses, start=1)}
    ids = {
        clip_id: [number[gloss] for gloss in line if gloss in number]
        for clip_id, line in lines.items()
    }
    return glosses, defaultdict(list, ids)
