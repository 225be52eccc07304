"""The personas of the shipped use cases: every release can be looked at on them, and they are of different kinds."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from releases.bundle import write_bundle
from serving.live import load_release
from serving.scenarios import Played, play, read_picture
from storage.layout import Layout
from training.train import start_parts
from use_cases.definition import load

NOW = 1_800_000_000_000_000


def all_played(name: str, folder: Path) -> dict[str, Played]:
    """What the first release of a use case shows its personas."""
    use_case, layout = load(name), Layout(folder)
    release = load_release(layout, use_case, write_bundle(layout.bundles, start_parts(use_case), layout.secrets))
    return {scenario.name: play(release, use_case, scenario, NOW) for scenario in use_case.scenarios}


@pytest.mark.parametrize("name", ["game_promotion", "email_promotion", "product_recommendation"])
def test_personas_differ_in_what_is_known_of_them(name: str, tmp_path: Path) -> None:
    use_case, played = load(name), all_played(name, tmp_path)
    assert len(played) == len(use_case.scenarios) >= 5
    assert all(scenario.title for scenario in use_case.scenarios)
    rows = {tuple(known.text for known in one.features) for one in played.values()}
    assert len(rows) == len(played)
    assert all(known.missing for known in played["stranger"].features if known.name in use_case.feature_set.names[:1])


def test_players_are_what_they_are_called(tmp_path: Path) -> None:
    played = all_played("game_promotion", tmp_path)
    known = {name: {one.name: one.value for one in persona.features} for name, persona in played.items()}
    assert (known["new_player"]["sessions_7d"], known["new_player"]["purchases_28d"], known["new_player"]["level"]) == (1, 0, 1)
    assert known["big_spender"]["spend_28d"] == 34_960_000 and known["big_spender"]["purchases_28d"] == 4
    assert (known["lapsed"]["sessions_7d"], known["lapsed"]["purchases_28d"], known["lapsed"]["matches_story_14d"]) == (1, 1, 0)
    assert (known["tired"]["offers_1d"], known["tired"]["offers_3d"]) == (2, 6)
    assert known["regular"]["favourite"] == 0 and known["calm_on_the_web"]["favourite"] == 1


def test_rules_and_cool_downs_show_in_what_players_may_be_shown(tmp_path: Path) -> None:
    played = all_played("game_promotion", tmp_path)
    reasons = {one.candidate_id: one.reasons for one in played["tired"].excluded}
    assert reasons["arena_pass:welcome"] == reasons["guild_banner:welcome"] == ("limit 1 of itself in 20 h is used up",)
    assert "arena_pass:countdown" not in reasons
    messages = {name: {offer.candidate_id.partition(":")[2] for offer in one.offers} for name, one in played.items()}
    assert messages["calm_on_the_web"] == {"welcome", "discount", ""} and messages["stranger"] == {"welcome", ""}
    assert messages["regular"] == {"loyal", "discount", "countdown", ""}


def test_every_product_set_has_a_small_picture_with_a_title() -> None:
    for candidate in load("game_promotion").catalogue.candidates[:-1]:
        drawn = read_picture("game_promotion", str(candidate.content["picture"]))
        root = ElementTree.fromstring(drawn)
        title = root.find("{http://www.w3.org/2000/svg}title")
        assert len(drawn) < 2_000 and title is not None
        assert str(title.text).lower() == str(candidate.attributes["product_set"]).replace("_", " ")
