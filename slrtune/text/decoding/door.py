"""One door to all ways of decoding."""

from __future__ import annotations

from slrtune.config.decoding import DecodingConfig
from slrtune.text.decoding.beam import beam_search
from slrtune.text.decoding.ctc import ctc_greedy, ctc_prefix_beam
from slrtune.text.decoding.hypothesis import Hypothesis, Memory, StepDecoder
from slrtune.text.decoding.step_by_step import greedy, sample


def decode(decoder: StepDecoder, memory: Memory, config: DecodingConfig) -> list[Hypothesis]:
    """The best text of each clip, as ``config.method`` finds it.

    Args:
        decoder: in eval mode; not looked at by `ctc` and `ctc_beam`.
        memory: what its encoder made of the clips.
    """
    match config.method:
        case "greedy":
            return greedy(decoder, memory, config.max_length)
        case "sample":
            return sample(
                decoder,
                memory,
                config.max_length,
                temperature=config.temperature,
                top_k=config.top_k,
                top_p=config.top_p,
                seed=config.seed,
            )
        case "ctc":
            return ctc_greedy(memory.ctc_logits, memory.lengths)
        case "ctc_beam":
            found = ctc_prefix_beam(memory.ctc_logits, memory.lengths, config.beam_size)
        case "beam" | "joint":
            found = beam_search(
                decoder,
                memory,
                config.max_length,
                beam_size=config.beam_size,
                length_penalty=config.length_penalty,
                ctc_weight=config.ctc_weight if config.method == "joint" else 0.0,
            )
    return [texts[0] for texts in found]
