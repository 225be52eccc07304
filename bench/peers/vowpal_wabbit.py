"""Vowpal Wabbit's contextual bandit on a log: it learns from every decision in order, and says what it would have shown in some of them.

Run by the interpreter of `.peers` on a folder with `log.npz`; writes `chosen.npz`, a probability of each candidate for each row asked.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import vowpalwabbit  # type: ignore[import-not-found]  # why: it is in .peers

SETTINGS = {
    "epsilon": "--epsilon 0.05",
    "squarecb": "--squarecb --gamma_scale 100",
}
"""Ways to explore, all over `--cb_explore_adf` with every pair of an entity's and a candidate's features."""

COMMON = "--cb_explore_adf --cb_type mtr -q ua -b 20 --quiet"


def main(folder: Path, ways: list[str]) -> None:
    """Learn from the log, once for each way to explore."""
    log = np.load(folder / "log.npz", allow_pickle=False)
    shared = shared_lines(log["features"], [str(name) for name in log["names"]], log["categorical"])
    candidates = [str(line) for line in log["candidates"]]
    eligible, action, propensity, cost = log["eligible"], log["action"], log["propensity"], log["cost"]
    asked = np.zeros(len(action), dtype=bool)
    asked[log["asked"]] = True
    said = {}
    began = time.perf_counter()
    for way in ways:
        learner = vowpalwabbit.Workspace(f"{COMMON} {SETTINGS[way]}")
        chosen = np.zeros(eligible.shape)
        for row in range(len(action)):
            places = np.flatnonzero(eligible[row])
            if asked[row]:
                lines = [shared[row], *(f"|a {candidates[place]}" for place in places)]
                chosen[row, places] = learner.predict(lines)
            lines = [
                shared[row],
                *(
                    f"0:{cost[row]:.5g}:{propensity[row]:.6g} |a {candidates[place]}" if place == action[row] else f"|a {candidates[place]}"
                    for place in places
                ),
            ]
            learner.learn(lines)
        learner.finish()
        said[way] = chosen[asked]
    np.savez(folder / "chosen.npz", **said)  # type: ignore[arg-type]  # why: the stub takes every name for its own
    print(json.dumps({"seconds": time.perf_counter() - began, "version": vowpalwabbit.__version__}))


def shared_lines(features: np.ndarray, names: list[str], categorical: np.ndarray) -> list[str]:
    """The entity's features as VW's text: categories by their codes, numbers as standard scores of their logarithms' size."""
    scaled = np.sign(features) * np.log1p(np.abs(features))
    centre, spread = np.nanmean(scaled, axis=0), np.nanstd(scaled, axis=0)
    scaled = (scaled - centre) / np.where(spread > 0.0, spread, 1.0)
    lines = []
    for row, values in enumerate(scaled):
        parts = [
            f"{name}={features[row, column]:g}" if categorical[column] else f"{name}:{value:.4g}"
            for column, (name, value) in enumerate(zip(names, values, strict=True))
            if np.isfinite(value)
        ]
        lines.append(f"shared |u {' '.join(parts)}")
    return lines


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
