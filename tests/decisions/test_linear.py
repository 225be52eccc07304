import numpy as np
import pytest

from contracts.catalogue import Catalogue
from contracts.errors import InvalidInput
from decisions.linear import LinearScorer, LinearTerm, build_linear, encode_linear

NAMES = ("level", "country", "spend_7d")
TERMS = (LinearTerm("level", 3.0, 2.0), LinearTerm("country", equals=1.0))


@pytest.fixture
def scorer() -> LinearScorer:
    return LinearScorer(np.array([0, 1]), TERMS, np.array([1.0, 2.0, 3.0, 4.0]), np.array([[1.0, 0.0, 0.0, -1.0], [0.0, 10.0, 0.0, 0.0]]))


def test_a_score_is_the_weighted_sum_of_standard_scores_and_categories(scorer: LinearScorer) -> None:
    assert scorer.scores(np.array([5.0, 1.0, 0.0]), np.array([0, 1, 3])).tolist() == [2.0, 12.0, 3.0]


def test_what_is_absent_counts_as_usual_and_what_is_extreme_as_far(scorer: LinearScorer) -> None:
    assert scorer.scores(np.array([np.nan, 0.0, 0.0]), np.array([0])).tolist() == [1.0]
    assert scorer.scores(np.array([1e9, 0.0, 0.0]), np.array([0])).tolist() == [5.0]


def test_it_is_written_and_read_to_the_same_bits(scorer: LinearScorer, catalogue: Catalogue) -> None:
    content = encode_linear(scorer, catalogue)
    read = build_linear(content, NAMES, catalogue)
    rows = np.random.default_rng(1).normal(size=(50, 3)) * 9
    assert read.matrix(rows).tobytes() == scorer.matrix(rows).tobytes()
    assert encode_linear(read, catalogue) == content


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ((b'"level"', b'"height"'), "height"),
        ((b'"spread":2.0', b'"spread":0.0'), "no spread"),
        ((b'"gems":2.0', b'"stones":2.0'), "for every candidate"),
        ((b'"terms"', b'"words"'), "malformed"),
    ],
)
def test_what_does_not_fit_is_refused(scorer: LinearScorer, catalogue: Catalogue, change: tuple[bytes, bytes], told: str) -> None:
    content = encode_linear(scorer, catalogue)
    assert change[0] in content
    with pytest.raises(InvalidInput, match=told):
        build_linear(content.replace(*change), NAMES, catalogue)
