"""Templates and assets: everything that is put into a page is escaped, unless one of our own functions drew it."""

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from contracts.errors import NotFound
from serving.console import ROOT, charts, words
from serving.console.desk import Office
from serving.console.sessions import Person

ASSETS: Mapping[str, str] = {"style.css": "text/css", "console.js": "text/javascript", "icon.svg": "image/svg+xml"}
"""What pages load, with its type."""


class Renderer:
    """Renders templates of `serving/pages`."""

    def __init__(self, office: Office) -> None:
        self._office = office
        environment = Environment(
            loader=PackageLoader("serving", "pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        filters = ("figure", "count", "percent", "interval", "moment", "span", "plain", "told", "columns")
        environment.filters.update({name: getattr(words, name) for name in filters})
        environment.filters.update(time=time, path=lambda text: quote(str(text), safe=""))
        environment.globals.update(root=ROOT, asset=_address_of, charts=charts, use_cases=office.use_cases)
        environment.globals["simulated"] = office.clock.simulated
        self._environment = environment

    def render(self, template: str, content: Mapping[str, Any], person: Person | None) -> str:
        """A page as HTML."""
        given = {"notice": None, "use_case": None, "here": "", "refusal": None, "now_us": self._office.clock.now_us()}
        return self._environment.get_template(template).render({**given, **content, "person": person})


def time(time_us: int | None) -> Markup:
    """A time as an element that machines read, too."""
    if time_us is None:
        return escape(words.NOTHING)
    return Markup('<time datetime="{}">{}</time>').format(words.iso(time_us), words.moment(time_us))


@cache
def asset(name: str) -> tuple[bytes, str]:
    """An asset and its type.

    Raises:
        NotFound: there is none of that name.
    """
    if name not in ASSETS:
        raise NotFound("asset", name[:80])
    return files("serving").joinpath("pages", name).read_bytes(), ASSETS[name]


def _address_of(name: str) -> str:
    """Where an asset is; another version has another address, so that browsers may keep it for good."""
    return f"{ROOT}/assets/{name}?v={hashlib.sha256(asset(name)[0]).hexdigest()[:12]}"
