"""What a study or a plan shows: figures and documents."""
