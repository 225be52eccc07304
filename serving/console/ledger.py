"""The ledger: who changed what, when and why; and the inbox: everything that asked for a flow, and what became of it."""

from urllib.parse import urlencode

from serving.audit import DROP, MAKE, ROTATE, SIGN_IN
from serving.console.asking import Asked, Page

A_PAGE = 50
ACTIONS = (
    "register",
    "start",
    "shadow",
    "approve",
    "canary",
    "challenger",
    "champion",
    "rollback",
    "retired",
    "refused",
    "refuse",
    "denied",
    "withhold",
    "restore",
    MAKE,
    ROTATE,
    DROP,
    SIGN_IN,
)
"""What rows are filtered by; others can be typed into the address."""

INBOX = 40
_FILTERS = ("use_case", "action", "release")


def page(asked: Asked) -> Page:
    """Rows of the ledger that fit the filters, newest first, and the newest of the inbox."""
    office = asked.office
    chosen = {name: asked.query[name].strip() for name in _FILTERS if asked.query.get(name, "").strip()}
    before = asked.asked_number("before")
    rows = office.ledger.rows(
        chosen.get("use_case"), limit=A_PAGE + 1, before=before, action=chosen.get("action"), release_id=chosen.get("release")
    )
    older = urlencode({**chosen, "before": rows[A_PAGE - 1].id}) if len(rows) > A_PAGE else ""
    content = {
        "here": "ledger",
        "rows": rows[:A_PAGE],
        "chosen": chosen,
        "older": older,
        "first": before is None,
        "newest": urlencode(chosen),
        "actions": ACTIONS,
        "inbox": office.inbox.rows(limit=INBOX),
        "counts": office.inbox.counts(),
    }
    return Page("ledger.html", content)
