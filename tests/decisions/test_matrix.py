import numpy as np
import pytest

from contracts.catalogue import Candidate, Catalogue
from contracts.errors import DefinitionError
from decisions.matrix import CandidateColumns, column_names, paired_rows, rows


def test_texts_are_coded_by_where_they_first_stand(catalogue: Catalogue) -> None:
    columns = CandidateColumns.of(catalogue)

    assert columns.names == ("candidate_set", "candidate_price")
    assert columns.categorical == ("candidate_set",)
    assert columns.values.tolist() == [[0, 0], [1, 199], [1, 999], [2, 99]]


def test_a_decision_and_a_training_set_have_the_same_rows(catalogue: Catalogue) -> None:
    columns = CandidateColumns.of(catalogue)
    features = np.array([7.0, 1.0])

    one = rows(features, columns, np.array([0, 3]))

    assert one.tolist() == [[7, 1, 0, 0], [7, 1, 2, 99]]
    assert one.tobytes() == paired_rows(np.array([features, features]), columns, np.array([0, 3])).tobytes()
    assert column_names(("level", "country"), columns) == ("level", "country", "candidate_set", "candidate_price")


def test_a_catalogue_without_attributes_adds_no_column() -> None:
    columns = CandidateColumns.of(Catalogue((Candidate("a", {}), Candidate("b", {}))))

    assert rows(np.array([7.0]), columns, np.array([0, 1])).tolist() == [[7], [7]]


def test_an_attribute_is_text_or_number_for_all() -> None:
    with pytest.raises(DefinitionError, match="attribute `x` is text for some"):
        CandidateColumns.of(Catalogue((Candidate("a", {"x": 1}), Candidate("b", {"x": "one"}))))


def test_a_feature_is_not_called_like_a_candidates_column(catalogue: Catalogue) -> None:
    with pytest.raises(DefinitionError, match="candidate_price"):
        column_names(("level", "candidate_price"), CandidateColumns.of(catalogue))
