"""Settings: one file, environment overrides, one class, built once at the entrance and passed down."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, urlsplit

import msgspec

from contracts.errors import SettingsError

PREFIX = "OFFERLOOP_"


class Ports(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ports on loopback. 0 asks for a free one at start.

    Attributes:
        inner: of the decision API without TLS, for the installation's own processes, where `api` serves TLS.
    """

    api: int = 8000
    mlflow: int = 5000
    prefect: int = 4200
    ray_dashboard: int = 8265
    metrics: int = 9464
    proxy_statistics: int = 8404
    inner: int = 0


class Serving(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The decision service.

    Attributes:
        max_ongoing_requests: that a replica works on at once; the edge lets others wait.
        max_queued_requests: of one key that may wait at the edge or be under way; further ones are refused (429).
        queue_timeout_s: for how long a request may wait until a replica takes it; then it is refused (503), and nothing was done.
        requests_per_key_s: how often a key that has no limit of its own may ask each replica a second; 0 for no limit.
        max_connections: open connections at the edge; further ones wait outside.
        scale_up_s: for how long more replicas must be wanted before one is started. `scale_down_s`: fewer, before one is drained and ended.
        request_timeout_s: within which a request must have arrived whole.
        tls_certificate: a file of PEM certificates, with which the API and the console serve TLS; its key too, unless `tls_key` names that.
    """

    min_replicas: int = 1
    max_replicas: int = 2
    cpus_per_replica: float = 0.25
    scale_up_s: float = 1.0
    scale_down_s: float = 60.0
    max_ongoing_requests: int = 64
    max_queued_requests: int = 512
    queue_timeout_s: float = 2.0
    requests_per_key_s: Annotated[float, msgspec.Meta(ge=0.0, le=1e9)] = 0.0
    max_connections: int = 4096
    request_timeout_s: float = 10.0
    max_body_bytes: int = 1_048_576
    max_batch: int = 1_000
    require_key: bool = True
    tls_certificate: str = ""
    tls_key: str = ""


class ClockSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The logical clock of a new installation; fixed for its life once it exists. Scale 1 and no origin: the real clock."""

    scale: int = 1
    origin: str = ""


class Store(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The embedded stores.

    Attributes:
        idempotency_days: how old an event may be when it is sent, and for how long an id that comes again is known. Rows of attributes may
            be of any age. A decision takes outcomes for so long behind the end of its outcome window.
    """

    map_size_bytes: int = 16 * 2**30
    duckdb_memory: str = "2GB"
    idempotency_days: int = 30


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings of an installation.

    Attributes:
        state: the one folder of the installation's state.
        image: the container image that this runs from, where it does; releases note it, so that one can go back to their code.
        host: the address that the decision API and the console listen on; all else listens on loopback.
        use_cases: the ones that run, each a folder of `use_cases/`.
        approvers: by use case, who may sign its releases off here, in place of those whom the use case names.
        feature_engine: what computes features in bulk; Spark on `spark_master`, where one machine is too small.
        attribute_sources: where each named attribute source is: a SQLite or `*.parquet` file, or a `postgresql://` URL without password.
    """

    state: str = ".offerloop"
    image: str = ""
    host: str = "127.0.0.1"
    use_cases: tuple[str, ...] = ("game_promotion", "email_promotion")
    ports: Ports = Ports()
    serving: Serving = Serving()
    clock: ClockSettings = ClockSettings()
    store: Store = Store()
    attribute_sources: Mapping[str, str] = {}
    approvers: Mapping[str, tuple[str, ...]] = {}
    feature_engine: Literal["duckdb", "spark"] = "duckdb"
    spark_master: str = "local[2]"

    @property
    def folder(self) -> Path:
        """The state folder, absolute."""
        return Path(self.state).absolute()

    @classmethod
    def build(cls, text: str = "", environment: Mapping[str, str] | None = None) -> "Settings":
        """Settings from the text of an `offerloop.toml` and variables such as `OFFERLOOP_PORTS__API=8001`.

        Raises:
            SettingsError: the text is no TOML; a key is unknown; a value has the wrong type.
        """
        try:
            values: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise SettingsError("offerloop.toml", str(error), "valid TOML") from error
        for name, raw in sorted((environment or {}).items()):
            if name.startswith(PREFIX) and not name.startswith(f"{PREFIX}_"):
                _put(values, name.removeprefix(PREFIX).lower().split("__"), raw)
        try:
            return _without_passwords(msgspec.convert(values, cls, strict=False))
        except msgspec.ValidationError as error:
            what, _, where = str(error).partition(" - at `")
            raise SettingsError(where.strip("`$.") or "offerloop.toml", what, "a known key with a value of its type") from error


def _without_passwords(settings: Settings) -> Settings:
    """The settings, which go to every process, some of whose makers print what they are given.

    Raises:
        SettingsError: one of them holds a password; it is not repeated.
    """
    for name, named in settings.attribute_sources.items():
        url = urlsplit(named) if "://" in named else None
        if url is not None and (url.password is not None or "password" in parse_qs(url.query)):
            expected = "no password in it: name a file by `?passfile=FILE`, or by the variable PGPASSFILE"
            raise SettingsError(f"attribute_sources.{name}", f"{url.scheme}://{url.username or ''}@…", expected)
    return settings


def _put(values: dict[str, Any], path: list[str], raw: str) -> None:
    listed = path[0] in ("use_cases", "approvers")
    for key in path[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            # why not the value: it may be a secret that stands in the wrong place
            raise SettingsError(".".join(path), "…", f"`{key}` to be a table")
    values[path[-1]] = raw.split(",") if listed else raw
