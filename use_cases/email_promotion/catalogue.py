"""What can be sent: the e-mail about men's goods, the one about women's, or none."""

from contracts.catalogue import NO_ACTION, Candidate, Catalogue


def build() -> Catalogue:
    """The three candidates; everybody may get any of them."""
    return Catalogue(
        (
            Candidate("mens", {"goods": "mens"}, content={"subject": "New in our men's department"}),
            Candidate("womens", {"goods": "womens"}, content={"subject": "New in our women's department"}),
            Candidate(NO_ACTION, {"goods": NO_ACTION}),
        )
    )
