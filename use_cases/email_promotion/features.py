"""What is known of a customer when an e-mail is about to be sent: the latest row of the shop's table of customers."""

from contracts.events import EventType, FieldType
from features.definitions import Attribute, FeatureSet
from use_cases.definition import AttributeSource

CUSTOMER = EventType(
    "customer",
    {
        "recency_months": FieldType.INT,
        "history_cents": FieldType.INT,
        "bought_mens": FieldType.BOOL,
        "bought_womens": FieldType.BOOL,
        "zip_code": FieldType.STR,
        "newbie": FieldType.BOOL,
        "channel": FieldType.STR,
    },
)

CUSTOMERS = AttributeSource(
    CUSTOMER.name,
    f"SELECT entity_id, valid_from, recorded_at, {', '.join(CUSTOMER.fields)} FROM customers",
)

ZIP_CODES = ("Rural", "Surburban", "Urban")
"""As the shop's data spells them."""

CHANNELS = ("Multichannel", "Phone", "Web")

FEATURES = FeatureSet(
    "email_promotion",
    (
        Attribute(name="recency", source="customer", field="recency_months", unit="months", description="Since the last purchase."),
        Attribute(name="history", source="customer", field="history_cents", unit="cents", description="Spent in the past year."),
        Attribute(name="mens", source="customer", field="bought_mens", description="Bought men's goods in the past year."),
        Attribute(name="womens", source="customer", field="bought_womens", description="Bought women's goods in the past year."),
        Attribute(name="zip_code", source="customer", field="zip_code", categories=ZIP_CODES, default=-1.0),
        Attribute(name="newbie", source="customer", field="newbie", description="New in the past year."),
        Attribute(name="channel", source="customer", field="channel", categories=CHANNELS, default=-1.0),
    ),
)
