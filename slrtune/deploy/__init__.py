"""What one does with a finished checkpoint. Knows no Ray."""
