"""The Open Bandit Pipeline's own estimators and bootstrap on a log, by an interpreter that has it. Prints JSON."""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from bench.peers.valuation import Arrays, main


def estimators() -> Any:
    """The module `obp.ope.estimators`, its code as published.

    The package's own `__init__` imports all of it, and with it Torch and much else that these estimators do without. So its two packages
    are entered by their folders alone, and Torch, which a module beside only names in a check that is never called here, is an empty name.
    """
    torch = ModuleType("torch")
    torch.tensor = torch.Tensor = type("Tensor", (), {})  # type: ignore[attr-defined]
    sys.modules["torch"] = torch
    found = importlib.util.find_spec("obp")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("obp", name="obp")
    folder = found.submodule_search_locations[0]
    for name, place in (("obp", folder), ("obp.ope", f"{folder}/ope")):
        package = ModuleType(name)
        package.__path__ = [place]
        package.__spec__ = ModuleSpec(name, None, is_package=True)
        sys.modules[name] = package
    return importlib.import_module("obp.ope.estimators")


def arguments(log: Arrays, *, propensity: bool = True, model: bool = True) -> dict[str, Any]:
    """A log as its estimators take it."""
    made: dict[str, Any] = {"reward": log.rewards, "action": log.action, "action_dist": log.probabilities[:, :, None]}
    if propensity:
        made["pscore"] = log.propensity
    if model:
        made["estimated_rewards_by_reg_model"] = log.q[:, :, None]
    return made


def interval(estimator: Any, *, model: bool) -> Callable[[Arrays, int, int], tuple[float, float]]:
    """Its percentile bootstrap."""

    def ends(log: Arrays, resamples: int, seed: int) -> tuple[float, float]:
        found = estimator.estimate_interval(**arguments(log, model=model), alpha=0.05, n_bootstrap_samples=resamples, random_state=seed)
        return found["95.0% CI (lower)"], found["95.0% CI (upper)"]

    return ends


if __name__ == "__main__":
    theirs = estimators()
    ipw, snipw = theirs.InverseProbabilityWeighting(), theirs.SelfNormalizedInverseProbabilityWeighting()
    dm, dr = theirs.DirectMethod(), theirs.DoublyRobust()
    main(
        {
            "ips": lambda log, most: ipw.estimate_policy_value(**arguments(log, model=False)),
            "snips": lambda log, most: snipw.estimate_policy_value(**arguments(log, model=False)),
            "clipped_ips": lambda log, most: theirs.InverseProbabilityWeighting(lambda_=most).estimate_policy_value(
                **arguments(log, model=False)
            ),
            "dm": lambda log, most: dm.estimate_policy_value(**arguments(log, propensity=False)),
            "dr": lambda log, most: dr.estimate_policy_value(**arguments(log)),
            "switch_dr": lambda log, most: theirs.SwitchDoublyRobust(lambda_=most).estimate_policy_value(**arguments(log)),
        },
        {"ips": interval(ipw, model=False), "dr": interval(dr, model=True)},
    )
