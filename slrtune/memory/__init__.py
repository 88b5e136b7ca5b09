"""Predict, budget and calibrate the memory of trials. Plain PyTorch, without Ray.

>>> predict(experiment, "RTX 4090", sizes=OutputSizes(num_glosses=100)).train_peak_gib
"""

from slrtune.memory.calibration import Calibration
from slrtune.memory.devices import DeviceType, device_type, this_device
from slrtune.memory.micro_batch import MemoryBudgetError, choose_micro_batch, fraction_of_gpu
from slrtune.memory.prediction import MemoryPrediction
from slrtune.memory.predictor import MemoryPredictor, predict
from slrtune.memory.probe import Probe, probe
from slrtune.memory.trial_memory import TrialMemory

__all__ = [
    "Calibration",
    "DeviceType",
    "MemoryBudgetError",
    "MemoryPrediction",
    "MemoryPredictor",
    "Probe",
    "TrialMemory",
    "choose_micro_batch",
    "device_type",
    "fraction_of_gpu",
    "predict",
    "probe",
    "this_device",
]
