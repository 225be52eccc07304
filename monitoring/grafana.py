"""Putting the data source, the folder and the dashboard in place in a Grafana; again and again without harm."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

from grafana_client.api import GrafanaApi
from grafana_client.client import GrafanaClientError, GrafanaException
from niquests.exceptions import RequestException

from contracts.errors import PeerFailed
from monitoring.dashboard import FOLDER_UID, TITLE, dashboard
from monitoring.panels import DATA_SOURCE_UID, Json

Credential: TypeAlias = str | tuple[str, str]
"""A service account's token, or a name and a password."""

What: TypeAlias = Literal["created", "updated", "unchanged"]


@dataclass(frozen=True, slots=True)
class Applied:
    """One thing that is in place now, and what it took."""

    kind: str
    title: str
    what: What


def apply(url: str, credential: Credential, prometheus_url: str, timeout_s: float = 10.0) -> list[Applied]:
    """Put everything in place. What is there already as it should be stays untouched.

    Args:
        prometheus_url: where Grafana's server finds Prometheus.

    Raises:
        PeerFailed: Grafana does not answer, or refuses.
    """
    parts = urlsplit(url)
    address = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path.rstrip('/')}"
    api = GrafanaApi.from_url(f"{address}/", credential, timeout=timeout_s)
    try:
        return [_apply_data_source(api, prometheus_url), _apply_folder(api), _apply_dashboard(api)]
    except (GrafanaException, RequestException) as error:
        raise PeerFailed("Grafana", address, str(getattr(error, "message", "") or error)) from error
    finally:
        api.client.s.close()


def data_source(prometheus_url: str) -> Json:
    """The data source, as Grafana takes it."""
    return {
        "uid": DATA_SOURCE_UID,
        "name": f"{TITLE} (Prometheus)",
        "type": "prometheus",
        "access": "proxy",
        "url": prometheus_url,
        "isDefault": False,
        "jsonData": {"httpMethod": "POST", "timeInterval": "5s"},
    }


def _apply_data_source(api: GrafanaApi, prometheus_url: str) -> Applied:
    wanted = data_source(prometheus_url)
    found = _found(lambda: api.datasource.get_datasource_by_uid(DATA_SOURCE_UID))
    if found is None:
        api.datasource.create_datasource(wanted)
    elif not _holds(found, wanted):
        api.datasource.update_datasource_by_uid(DATA_SOURCE_UID, wanted)
    return Applied("data source", wanted["name"], _what(found, wanted))


def _apply_folder(api: GrafanaApi) -> Applied:
    wanted = {"uid": FOLDER_UID, "title": TITLE}
    found = _found(lambda: api.folder.get_folder(FOLDER_UID))
    if found is None:
        api.folder.create_folder(TITLE, uid=FOLDER_UID)
    elif not _holds(found, wanted):
        api.folder.update_folder(FOLDER_UID, title=TITLE, overwrite=True)
    return Applied("folder", TITLE, _what(found, wanted))


def _apply_dashboard(api: GrafanaApi) -> Applied:
    wanted = dashboard()
    answer = _found(lambda: api.dashboard.get_dashboard(wanted["uid"]))
    found = None if answer is None else {**answer["dashboard"], "folderUid": answer["meta"].get("folderUid")}
    if found is None or not _holds(found, wanted | {"folderUid": FOLDER_UID}):
        command = {"dashboard": wanted, "folderUid": FOLDER_UID, "overwrite": True, "message": "offerloop monitoring apply"}
        api.dashboard.update_dashboard(command)
    return Applied("dashboard", wanted["title"], _what(found, wanted | {"folderUid": FOLDER_UID}))


def _found(ask: Callable[[], Any]) -> Mapping[str, Any] | None:
    try:
        answer: Mapping[str, Any] = ask()
    except GrafanaClientError as error:
        if error.status_code == 404:
            return None
        raise
    return answer


def _holds(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(found.get(key) == value for key, value in wanted.items())


def _what(found: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> What:
    if found is None:
        return "created"
    return "unchanged" if _holds(found, wanted) else "updated"
