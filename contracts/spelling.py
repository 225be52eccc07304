"""What somebody meant who wrote a name that is not known."""

from collections.abc import Iterable
from difflib import get_close_matches


def meant(word: str, known: Iterable[str]) -> str:
    """What to write instead of a name that is not known.

    Example:
        >>> meant("amount_micro", ["amount_micros", "product"])
        'Did you mean `amount_micros`? Known: amount_micros, product.'
        >>> meant("colour", [])
        'Known: none.'
    """
    names = list(known)
    listed = f"Known: {', '.join(names) or 'none'}."
    folded = {name.casefold(): name for name in names}
    close = get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    return f"Did you mean `{folded[close[0]]}`? {listed}" if close else listed
