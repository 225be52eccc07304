"""Why a candidate has its score, as a command prints it."""

from cli.output import console, print_table
from serving.reasons import Why


def print_why(candidate_id: str, why: Why) -> None:
    """Print what adds up to a candidate's score, as a table with words on how to read it."""
    rows = [("base", "", f"{why.base:+.4f}", "")]
    rows += [
        (reason.name, reason.text, f"{reason.amount:+.4f}", "" if reason.factor is None else f"× {reason.factor:.3f}")
        for reason in why.reasons
    ]
    if why.others:
        rows.append((f"{why.others} others", "", f"{why.rest:+.4f}", ""))
    columns = ("column", "value#", "adds#", *(("which is#",) if why.link == "log" else ()))
    print_table(f"Why {candidate_id} scores {why.score:.4f}", columns, [row[: len(columns)] for row in rows])
    console().print(why.words, soft_wrap=True)
