"""Players on whom people look at a release before they sign it off."""

from contracts.clock import DAY_US, HOUR_US, MINUTE_US
from use_cases.definition import Happening, Scenario


def build() -> tuple[Scenario, ...]:
    """From the first hour to the lapsed, and where rules differ: by level, country, platform and what was bought and shown before."""
    return (
        Scenario(
            "new_player",
            "New player",
            "Installed the game an hour ago in the US, on an iPhone. Two puzzles so far, nothing bought.",
            (
                _profile(HOUR_US, "US", "ios", "ads"),
                _session(HOUR_US, level=1),
                _match(50 * MINUTE_US, "puzzle", won=True),
                _match(40 * MINUTE_US, "puzzle", won=False),
            ),
        ),
        Scenario(
            "regular",
            "Regular",
            "Plays duels in Germany every day, on Android, at level 9. Bought one arena pass nine days ago.",
            (
                _profile(40 * DAY_US, "DE", "android", "friend"),
                *_daily(14, 1, level=9, modes=("duel", "duel", "guild")),
                _purchase(9 * DAY_US, "arena_pass", 4.99),
            ),
        ),
        Scenario(
            "big_spender",
            "Big spender",
            "Four purchases in four weeks, in Japan on an iPhone; quests and guilds, level 21.",
            (
                _profile(200 * DAY_US, "JP", "ios", "organic"),
                *_daily(14, 2, level=21, modes=("quest", "guild", "quest", "duel")),
                *(_purchase(days * DAY_US, name, 8.99) for days, name in ((3, "explorer_kit"), (10, "guild_banner"), (17, "explorer_kit"))),
                _purchase(24 * DAY_US, "guild_banner", 7.99),
            ),
        ),
        Scenario(
            "lapsed",
            "Lapsed",
            "Played and bought in Brazil until three weeks ago; today back for the first time.",
            (
                _profile(90 * DAY_US, "BR", "android", "ads"),
                *(_session(days * DAY_US, level=12) for days in (30, 27, 24, 22)),
                *(_match(days * DAY_US - 10 * MINUTE_US, "quest", won=days % 2 == 0) for days in (30, 27, 24, 22)),
                _purchase(26 * DAY_US, "explorer_kit", 8.99),
                _session(5 * MINUTE_US, level=12),
            ),
        ),
        Scenario(
            "tired",
            "Tired of offers",
            "A regular in the US who was shown six promotions in three days, two of them today, and bought none.",
            (
                _profile(60 * DAY_US, "US", "android", "organic"),
                *_daily(14, 2, level=14, modes=("duel", "guild", "puzzle")),
                *(_shown(hours * HOUR_US, f"{name}:countdown") for hours, name in ((66, "wardrobe"), (60, "guild_banner"))),
                *(_shown(hours * HOUR_US, f"{name}:welcome") for hours, name in ((44, "hint_bundle"), (30, "arena_pass"))),
                *(_shown(hours * HOUR_US, f"{name}:welcome") for hours, name in ((9, "guild_banner"), (2, "arena_pass"))),
            ),
        ),
        Scenario(
            "calm_on_the_web",
            "Calm, on the web",
            "Farms and dresses up in India, in the browser, where no countdown is shown; level 5, never bought.",
            (_profile(25 * DAY_US, "IN", "web", "friend"), *_daily(10, 1, level=5, modes=("farm", "fashion", "farm"))),
        ),
        Scenario("stranger", "Stranger", "Nothing is known: no profile, no event. Every feature has its default."),
    )


def _profile(ago_us: int, country: str, platform: str, channel: str) -> Happening:
    return Happening("profile", ago_us, {"country": country, "platform": platform, "channel": channel})


def _session(ago_us: int, level: int) -> Happening:
    return Happening("session", ago_us, {"level": level})


def _match(ago_us: int, mode: str, *, won: bool) -> Happening:
    return Happening("match", ago_us, {"mode": mode, "won": won})


def _purchase(ago_us: int, product_set: str, dollars: float) -> Happening:
    return Happening("purchase", ago_us, {"amount_micros": round(dollars * 1_000_000), "product_set": product_set})


def _shown(ago_us: int, candidate_id: str) -> Happening:
    return Happening("decision", ago_us, {"candidate_id": candidate_id, "arm": "champion"})


def _daily(days: int, sessions: int, *, level: int, modes: tuple[str, ...]) -> tuple[Happening, ...]:
    """So many sessions on each of the last days, each with a match in every one of the modes, every second of them won."""
    happened: list[Happening] = []
    for day in range(days):
        for number in range(sessions):
            begun = day * DAY_US + (3 + 8 * number) * HOUR_US
            happened.append(_session(begun, level))
            happened += [_match(begun - (5 + 8 * place) * MINUTE_US, mode, won=place % 2 == 0) for place, mode in enumerate(modes)]
    return tuple(happened)
