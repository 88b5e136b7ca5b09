"""The door to Ray. Importing it sets the environment that Ray reads when it is imported."""

from __future__ import annotations

import os

_RAY_ENVIRONMENT = {
    # Ray >= 2.59 authenticates local clusters by token; left unsaid, it warns at every start.
    "RAY_AUTH_MODE": "token",
    "RAY_TRAIN_V2_ENABLED": "1",
    # Ray's own live output and result files would double ours.
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # A trial that failed reports why, and no accuracy.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # A group's start, restart and end wait for this poll; by default 2 s.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    # Paths in a configuration are relative to where the user started slrtune.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # One process less per group, each of which imports torch.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # A group starts half a dozen light processes at once, of which Ray would warn on two cores.
    "RAY_worker_maximum_startup_concurrency": str(max(8, os.cpu_count() or 1)),
    # Keep CUDA_VISIBLE_DEVICES for processes that ask for no GPU.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}

for _name, _value in _RAY_ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)
