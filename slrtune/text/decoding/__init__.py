"""From a translator's probabilities to token ids: six ways behind one door."""

from slrtune.text.decoding.door import decode
from slrtune.text.decoding.hypothesis import DecoderState, Hypothesis, Memory, StepDecoder

__all__ = ["DecoderState", "Hypothesis", "Memory", "StepDecoder", "decode"]
