"""A candidate that is added to the catalogue is explored by the next release, although no training has seen it."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from contracts.catalogue import Candidate, Catalogue
from decisions.policies import PolicySpec, probability_matrix
from releases.bundle import read_bundle, write_bundle
from tests.training.conftest import SHOP, Made
from training.train import runtime_of, train_on

WIDER = replace(
    SHOP,
    catalogue=Catalogue((*SHOP.catalogue.candidates, Candidate("green", {"colour": "green"}))),
    learned_policy=PolicySpec("inverse_gap", 0.04, gamma_scale=10.0, explore_new=0.5, new_below=50),
)


def test_a_new_candidate_gets_its_share_and_no_more(made: Made, tmp_path: Path) -> None:
    log = made(use_case=WIDER)
    absent = np.zeros((len(log), 1))
    log = replace(log, eligible=np.hstack([log.eligible, absent.astype(np.bool_)]), p_in_arm=np.hstack([log.p_in_arm, absent]))

    parts = read_bundle(tmp_path, write_bundle(tmp_path, train_on(log, champion="r-start").parts, tmp_path / "secrets")).parts

    spec = msgspec.convert(parts.policy, PolicySpec)
    runtime = runtime_of(WIDER, parts.scorer_kind, parts.scorer_files, spec)
    assert spec.seen["green"] == 0 and min(spec.seen[name] for name in ("red", "blue", "none")) > 50
    for kind in (0.0, 1.0):
        scores = runtime.scorer.scores(np.array([kind, 3.0, 12.0]), np.arange(4))
        probabilities = runtime.policy.probabilities(scores, np.arange(4))
        assert probabilities[3] == 0.5 / 4
        assert probabilities.argmax() == kind
        assert probability_matrix(runtime.policy, scores[None], np.ones((1, 4), dtype=np.bool_)).tolist() == [probabilities.tolist()]
    assert parts.golden["p_in_arm"].list.len().unique().to_list() == [3]
    assert pl.Series(parts.golden["p_in_arm"].list.sum()).is_between(1 - 1e-12, 1 + 1e-12).all()
