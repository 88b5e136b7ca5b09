"""Text for translation: tokenizers, decoding, metrics. Without Ray."""
