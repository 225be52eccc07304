"""Values of features and their ages, as people read them."""

import math

from features.definitions import UNKNOWN_CATEGORY, FeatureSet


def value(feature_set: FeatureSet, name: str, number: float | None) -> str:
    """A value; a category with its code."""
    if number is None:
        return "absent"
    categories = feature_set.categories.get(name, ())
    if categories and not math.isnan(number) and 0 <= int(number) < len(categories):
        return f"{categories[int(number)]} ({number:g})"
    if categories and number == UNKNOWN_CATEGORY:
        return f"unknown ({number:g})"
    return "absent" if math.isnan(number) else f"{number:.10g}"


def brief(feature_set: FeatureSet, name: str, number: float) -> str:
    """A value for people who do not care for codes and digits."""
    if feature_set.categories.get(name, ()) or math.isnan(number):
        said = value(feature_set, name, number)
        return said.rpartition(" (")[0] or said
    return f"{number:,.0f}" if abs(number) >= 1_000.0 else f"{number:.4g}"


def age(age_us: int | None) -> str:
    """How old a value is; empty where it has no age."""
    if age_us is None or age_us < 0:
        return ""
    seconds = age_us / 1e6
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"
