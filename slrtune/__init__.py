"""slrtune: hyperparameter tuning under memory budgets for sign language video models."""

__version__ = "0.1.0"
