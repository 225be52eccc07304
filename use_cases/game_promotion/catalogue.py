"""What the game can show: six product sets, each with four messages, and nothing."""

from dataclasses import dataclass

from contracts.catalogue import NO_ACTION, Candidate, Catalogue, Rule
from contracts.clock import HOUR_US

MODES_OF_THEME = {"rivalry": ("duel", "guild"), "calm": ("farm", "fashion"), "logic": ("puzzle",), "story": ("quest",)}
"""Themes of product sets, and the modes of play they go with."""


@dataclass(frozen=True, slots=True)
class ProductSet:
    """A set of products: its theme, its price, and who may be shown it."""

    name: str
    theme: str
    price_cents: int
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """How a product set is put to a player, and who may be shown it."""

    name: str
    text: str
    rules: tuple[Rule, ...] = ()


PRODUCT_SETS = (
    ProductSet("arena_pass", "rivalry", 499, (Rule("level", ">=", 4),)),
    ProductSet("hint_bundle", "logic", 399),
    ProductSet("harvest_crate", "calm", 599, (Rule("country", "in", ("US", "DE", "BR", "IN")),)),
    ProductSet("guild_banner", "rivalry", 799, (Rule("level", ">=", 6),)),
    ProductSet("wardrobe", "calm", 699),
    ProductSet("explorer_kit", "story", 899, (Rule("country", "in", ("US", "DE", "JP", "BR")), Rule("level", ">=", 3))),
)

MESSAGES = (
    Message("welcome", "Your first {set} at a friend's price", (Rule("purchases_28d", "==", 0),)),
    Message("loyal", "Because you are one of us: {set}", (Rule("purchases_28d", ">", 0),)),
    Message("discount", "{set}, a third off", (Rule("country", "in", ("DE", "BR", "IN")),)),
    Message("countdown", "{set}: one hour left", (Rule("platform", "in", ("ios", "android")),)),
)

COOLDOWN_US = 20 * HOUR_US


def build() -> Catalogue:
    """The 24 candidates, product set by product set, then `none`."""
    offers = [
        Candidate(
            candidate_id=f"{products.name}:{message.name}",
            attributes={
                "product_set": products.name,
                "theme": products.theme,
                "message": message.name,
                "price_cents": products.price_cents,
            },
            rules=products.rules + message.rules,
            content={
                "text": message.text.replace("{set}", products.name.replace("_", " ")),
                "picture": f"{products.name}.svg",
                "price_cents": products.price_cents,
            },
            cooldown_us=COOLDOWN_US,
            matched={"share": f"share_{products.theme}", "matches": f"matches_{products.theme}_14d"},
        )
        for products in PRODUCT_SETS
        for message in MESSAGES
    ]
    nothing = Candidate(NO_ACTION, {"product_set": "", "theme": "", "message": "", "price_cents": 0}, matched={"share": "", "matches": ""})
    return Catalogue((*offers, nothing))
