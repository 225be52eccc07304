"""What is known of a customer when an e-mail is about to be sent: the latest row of the shop's table of customers."""

from contracts.events import EventType, FieldType
from features.definitions import Entity
from features.vocabulary import attributes, feature_set
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

_customer = attributes("customer")

FEATURES = feature_set(
    "email_promotion",
    _customer.number("recency_months", name="recency", unit="months", description="Since the last purchase."),
    _customer.number("history_cents", name="history", unit="cents", description="Spent in the past year."),
    _customer.number("bought_mens", name="mens", description="Bought men's goods in the past year."),
    _customer.number("bought_womens", name="womens", description="Bought women's goods in the past year."),
    _customer.text("zip_code", ZIP_CODES, description="Kind of place where the customer lives.", tags=("pii",)),
    _customer.number("newbie", description="New in the past year."),
    _customer.text("channel", CHANNELS, description="How the customer bought in the past year."),
    entity=Entity("customer", "Someone who bought from the shop in the past year."),
)
