"""One experiment = data + model + training + sweep settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer
from pydantic_core import PydanticCustomError

from slrtune.config.addresses import folder_of, shown
from slrtune.config.base import Settings
from slrtune.config.data import DataConfig
from slrtune.config.decoding import DecodingConfig
from slrtune.config.model import ModelConfig
from slrtune.config.objective import Objective, objective_of
from slrtune.config.sweep import ResourcesConfig, SweepConfig
from slrtune.config.text import TextConfig
from slrtune.config.training import TrainingConfig


def _folder(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return str(folder_of(value))
    except ValueError as error:
        raise PydanticCustomError("address", "{rule}", {"rule": str(error)}) from None


RunsDir = Annotated[
    Path, BeforeValidator(_folder), PlainSerializer(shown, return_type=str, when_used="json")
]
"""A folder, or the working folder of an address; written down as it was given."""


class Experiment(Settings):
    """A whole, valid configuration: everything a trial needs."""

    name: str = "experiment"
    """Names the run's folder."""
    data: DataConfig = DataConfig()
    """Clips."""
    model: ModelConfig = ModelConfig()
    """Architecture."""
    training: TrainingConfig = TrainingConfig()
    """Recipe."""
    text: TextConfig = TextConfig()
    """Sentences, for models that translate."""
    decoding: DecodingConfig = DecodingConfig()
    """How a translator writes: in validation, and where nothing else is asked for."""
    sweep: SweepConfig = SweepConfig()
    """Search."""
    resources: ResourcesConfig = ResourcesConfig()
    """Share of the cluster per trial."""
    runs_dir: RunsDir = Path("runs")
    """Where runs and sweeps are kept: a folder that every node sees, relative to where slrtune is
    started, or an address in an object store, such as s3://bucket/runs."""

    @property
    def objective(self) -> Objective:
        """What its epochs are judged by."""
        return objective_of(self.training.judged_by, self.model.task)
