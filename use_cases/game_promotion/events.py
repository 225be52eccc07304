"""What the game sends: events, and the table of profiles that is read beside them."""

from contracts.events import EventType, FieldType
from use_cases.definition import AttributeSource

MODES = ("duel", "guild", "farm", "fashion", "puzzle", "quest")
COUNTRIES = ("US", "DE", "JP", "BR", "IN")
PLATFORMS = ("ios", "android", "web")
CHANNELS = ("organic", "ads", "friend")

EVENT_TYPES = (
    EventType("session", {"level": FieldType.INT}),
    EventType("match", {"mode": FieldType.STR, "won": FieldType.BOOL}),
    EventType("purchase", {"amount_micros": FieldType.INT, "product_set": FieldType.STR}),
    EventType("profile", {"country": FieldType.STR, "platform": FieldType.STR, "channel": FieldType.STR}),
)

PROFILES = AttributeSource(
    name="profile",
    query="SELECT entity_id, valid_from, recorded_at, country, platform, channel FROM players",
)
