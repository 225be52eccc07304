"""Customers on whom people look at a release before they sign it off."""

from contracts.clock import DAY_US
from use_cases.definition import Happening, Scenario
from use_cases.email_promotion.features import CUSTOMER


def build() -> tuple[Scenario, ...]:
    """Men's goods, women's goods, both, and those of whom little or nothing is known."""
    return (
        _customer(
            "mens", "Bought men's goods", "Two months ago, for 180 dollars in the year, on the web from a city.", 2, 18_000, "m", "Urban"
        ),
        _customer("womens", "Bought women's goods", "Four months ago, for 95 dollars, by phone from the country.", 4, 9_500, "w", "Rural"),
        _customer(
            "best", "Best customer", "Both departments, last month, for 1,200 dollars, by all channels.", 1, 120_000, "mw", "Surburban"
        ),
        _customer(
            "new",
            "New customer",
            "One purchase of women's goods for 30 dollars, last month, on the web.",
            1,
            3_000,
            "w",
            "Urban",
            newbie=True,
        ),
        _customer("lapsed", "Lapsed", "Men's goods for 45 dollars, eleven months ago.", 11, 4_500, "m", "Surburban"),
        Scenario("stranger", "Stranger", "The shop's table of customers has no row of this one; every feature has its default."),
    )


def _customer(name: str, title: str, description: str, months: int, cents: int, bought: str, place: str, newbie: bool = False) -> Scenario:
    channel = "Multichannel" if bought == "mw" else "Phone" if place == "Rural" else "Web"
    values = (months, cents, "m" in bought, "w" in bought, place, newbie, channel)
    return Scenario(name, title, description, (Happening(CUSTOMER.name, DAY_US, dict(zip(CUSTOMER.fields, values, strict=True))),))
