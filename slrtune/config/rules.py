"""All rules between several keys of an experiment."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from slrtune.config.broken_rule import BrokenRule
from slrtune.config.data_rules import DATA_RULES, paths_exist
from slrtune.config.experiment import Experiment
from slrtune.config.model_rules import MODEL_RULES
from slrtune.config.population_rules import POPULATION_RULES
from slrtune.config.training_rules import TRAINING_RULES
from slrtune.config.translation_rules import TRANSLATION_RULES

Rule = Callable[[Experiment], Iterator[BrokenRule]]
_RULES: tuple[Rule, ...] = (
    *DATA_RULES,
    *MODEL_RULES,
    *TRAINING_RULES,
    *TRANSLATION_RULES,
    *POPULATION_RULES,
)


def broken_rules(experiment: Experiment, *, check_paths: bool) -> list[BrokenRule]:
    """Every rule between keys that ``experiment`` breaks, in no particular order.

    Args:
        check_paths: whether the data must be there, now and on this machine.
    """
    rules = (*_RULES, paths_exist) if check_paths else _RULES
    return [broken for rule in rules for broken in rule(experiment)]
