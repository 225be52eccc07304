import numpy as np
import pytest

from contracts.catalogue import Candidate, Catalogue
from contracts.errors import DefinitionError
from decisions.matrix import ModelColumns, paired_rows, rows


def test_texts_are_coded_by_where_they_first_stand(catalogue: Catalogue) -> None:
    columns = ModelColumns.of((), catalogue)

    assert columns.names == ("candidate_set", "candidate_price")
    assert columns.categorical == ("candidate_set",)
    assert columns.values.tolist() == [[0, 0], [1, 199], [1, 999], [2, 99]]


def test_a_decision_and_a_training_set_have_the_same_rows(catalogue: Catalogue) -> None:
    columns = ModelColumns.of(("level", "country"), catalogue)
    features = np.array([7.0, 1.0])

    one = rows(features, columns, np.array([0, 3]))

    assert one.tolist() == [[7, 1, 0, 0], [7, 1, 2, 99]]
    assert one.tobytes() == paired_rows(np.array([features, features]), columns, np.array([0, 3])).tobytes()
    assert columns.names == ("level", "country", "candidate_set", "candidate_price")


def test_a_catalogue_without_attributes_adds_no_column() -> None:
    columns = ModelColumns.of(("level",), Catalogue((Candidate("a", {}), Candidate("b", {}))))

    assert rows(np.array([7.0]), columns, np.array([0, 1])).tolist() == [[7], [7]]


def test_an_attribute_is_text_or_number_for_all() -> None:
    with pytest.raises(DefinitionError, match="attribute `x` is text for some"):
        ModelColumns.of((), Catalogue((Candidate("a", {"x": 1}), Candidate("b", {"x": "one"}))))


def test_a_feature_is_not_called_like_a_candidates_column(catalogue: Catalogue) -> None:
    with pytest.raises(DefinitionError, match="candidate_price"):
        ModelColumns.of(("level", "candidate_price"), catalogue)


def test_a_candidate_is_matched_with_a_feature_of_the_entity() -> None:
    offers = Catalogue((Candidate("calm", {}, matched={"share": "share_calm"}), Candidate("none", {}, matched={"share": ""})))
    columns = ModelColumns.of(("level", "share_calm"), offers)
    features = np.array([7.0, 0.25])

    one = rows(features, columns, np.array([0, 1]))

    assert columns.names == ("level", "share_calm", "matched_share")
    assert one[:, 2].tolist()[:1] == [0.25] and np.isnan(one[1, 2])
    assert one.tobytes() == paired_rows(np.array([features, features]), columns, np.array([0, 1])).tobytes()


def test_a_candidate_is_matched_with_a_feature_that_there_is() -> None:
    with pytest.raises(DefinitionError, match="`calm` is matched with `share`, which is no feature"):
        ModelColumns.of(("level",), Catalogue((Candidate("calm", {}, matched={"share": "share"}),)))
