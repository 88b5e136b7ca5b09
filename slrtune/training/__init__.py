"""One trial in plain PyTorch: loop, optimizer, precision, checkpoints, metrics. Knows no Ray."""
