import threading
import time
from pathlib import Path

import lightgbm
import numpy as np
import pytest

import serving.compiling
from contracts.metrics import SCORER_COMPILED
from decisions.kernel import find_compiler
from decisions.matrix import ModelColumns, paired_rows
from decisions.policies import PolicySpec
from decisions.scorer import ConstantScorer, LightGBMScorer, engine
from releases.bundle import BundleParts
from serving.compiling import Compiling, prepare
from serving.live import load_release
from serving.metrics import Metrics
from serving.service import DecisionService

from .conftest import CATALOGUE, FEATURES, SHOP, Shop, parts_of


@pytest.fixture(scope="module")
def modelled() -> BundleParts:
    """A release with a model of what the candidates' prices and the cart are worth."""
    chance = np.random.default_rng(2)
    columns = ModelColumns.of(FEATURES.names, CATALOGUE)
    matrix = paired_rows(chance.normal(size=(600, len(FEATURES.names))), columns, chance.integers(0, 4, 600))
    data = lightgbm.Dataset(matrix, matrix[:, 4] * matrix[:, -1] + chance.normal(size=600), feature_name=list(columns.names))
    booster = lightgbm.train({"verbosity": -1, "num_threads": 1, "num_leaves": 15}, data, 30)
    return parts_of(PolicySpec("epsilon_greedy", 0.1), "lightgbm", {"model.txt": str(booster.model_to_string()).encode()})


def scorer_of(service: DecisionService) -> str:
    return service.status().use_cases[0].arms[0].scorer


def until(service: DecisionService, beginning: str) -> str:
    stop = time.monotonic() + 60.0
    while not (said := scorer_of(service)).startswith(beginning):
        assert time.monotonic() < stop, said
        time.sleep(0.02)
    return said


@pytest.mark.skipif(find_compiler() is None, reason="there is no C compiler here")
def test_a_model_serves_at_once_and_is_compiled_beside(shop: Shop, service: DecisionService, modelled: BundleParts) -> None:
    assert scorer_of(service) == "constant"
    release_id = shop.promote(service, modelled)
    service.look()
    first = service.decide("shop", "p-1", {"cart": 3.0})
    until(service, "compiled")

    later = service.decide("shop", "p-2", {"cart": 3.0})

    assert first.release_id == later.release_id == release_id
    assert [candidate.score for candidate in later.candidates] == [candidate.score for candidate in first.candidates]
    assert service.metrics.totals(SCORER_COMPILED) == {("shop", release_id): 1.0}


def test_where_it_cannot_be_compiled_it_serves_on_and_says_why(
    shop: Shop, service: DecisionService, modelled: BundleParts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    release_id = shop.promote(service, modelled)
    service.look()

    assert until(service, "LightGBM:") == "LightGBM: there is no C compiler here (cc, gcc, clang)"
    assert service.decide("shop", "p-1").release_id == release_id
    assert service.metrics.totals(SCORER_COMPILED) == {("shop", release_id): 0.0}


def test_who_ends_does_not_wait_for_a_compiler(
    shop: Shop, service: DecisionService, modelled: BundleParts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving.compiling, "JOIN_S", 0.01)
    release_id = shop.promote(service, modelled)
    scorer = load_release(shop.layout, SHOP, release_id).runtime.scorer
    compiling, begun, hold = Compiling(tmp_path / "compiled", Metrics()), threading.Event(), threading.Event()

    def compile_for_long(folder: Path) -> None:
        begun.set()
        hold.wait(60.0)

    monkeypatch.setattr(scorer, "compile", compile_for_long)
    compiling.offer("shop", release_id, scorer)
    assert begun.wait(30.0)
    compiling.stop()
    assert compiling._thread is not None
    assert compiling._thread.is_alive()
    hold.set()
    compiling._thread.join()


def test_nothing_starts_for_a_scorer_without_a_model(tmp_path: Path) -> None:
    compiling = Compiling(tmp_path / "compiled", Metrics())
    compiling.offer("shop", "r-1", ConstantScorer())
    compiling.stop()
    assert not (tmp_path / "compiled").exists()


@pytest.mark.skipif(find_compiler() is None, reason="there is no C compiler here")
def test_with_the_kernel_built_a_model_is_compiled_before_it_serves(shop: Shop, service: DecisionService, modelled: BundleParts) -> None:
    prepare(shop.layout.compiled)
    release_id = shop.promote(service, modelled)
    service.look()

    assert scorer_of(service) == "compiled"
    assert service.metrics.totals(SCORER_COMPILED) == {("shop", release_id): 1.0}


@pytest.mark.skipif(find_compiler() is None, reason="there is no C compiler here")
def test_a_large_model_serves_before_it_is_compiled(
    shop: Shop, service: DecisionService, modelled: BundleParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(shop.layout.compiled)
    scorer = load_release(shop.layout, SHOP, shop.promote(service, modelled)).runtime.scorer
    assert isinstance(scorer, LightGBMScorer)
    compiling = Compiling(shop.layout.compiled, Metrics())

    monkeypatch.setattr(serving.compiling, "MOST_LEAVES", scorer.leaves - 1)
    compiling.at_once("shop", "r-1", scorer)
    assert engine(scorer) == "LightGBM"
    monkeypatch.setattr(serving.compiling, "MOST_LEAVES", scorer.leaves)
    compiling.at_once("shop", "r-1", scorer)
    assert engine(scorer) == "compiled"


@pytest.mark.skipif(find_compiler() is None, reason="there is no C compiler here")
def test_a_model_that_was_proven_here_is_compiled_when_it_begins_to_serve(
    shop: Shop, service: DecisionService, modelled: BundleParts
) -> None:
    release_id = shop.promote(service, modelled)
    service.look()
    until(service, "compiled")

    again, metrics = load_release(shop.layout, SHOP, release_id).runtime.scorer, Metrics()
    assert engine(again) == "LightGBM"
    Compiling(shop.layout.compiled, metrics).at_once("shop", release_id, again)

    assert engine(again) == "compiled"
    assert metrics.totals(SCORER_COMPILED) == {("shop", release_id): 1.0}
