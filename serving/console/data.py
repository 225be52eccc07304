"""Data: how fresh the tables are, how old features were at decisions, what is in quarantine and why, what is withheld."""

from serving.console.asking import Asked, Page
from serving.console.recent import feature_ages, recent
from serving.quarantine import counts, entries
from storage.measures import read_states

SHOWN = 25
"""Entries of the quarantine that are shown one by one."""

MOST_PAYLOAD = 400


def page(asked: Asked) -> Page:
    """The data of a use case."""
    office = asked.office
    use_case = office.use_case(asked.path["use_case"])
    newest, measured, plan = recent(office, use_case.name), office.measured(use_case.name), office.plan(use_case.name)
    found = entries(office.journal, office.tables, use_case.schema)
    content = {
        "here": "data",
        "use_case": use_case,
        "plan": plan,
        "measured": measured,
        "newest": newest,
        "ages": feature_ages(newest.decisions, use_case.feature_set),
        "state": read_states(office.layout).get(use_case.name),
        "reasons": counts(found).to_dicts(),
        "entries": [(entry, entry.payload[:MOST_PAYLOAD]) for entry in found[:SHOWN]],
        "total": len(found),
    }
    return Page("data.html", content)
