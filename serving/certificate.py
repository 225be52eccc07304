"""The certificate with which the edge serves TLS: read and checked, put together for HAProxy, and renewed while it runs."""

import logging
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat, load_pem_private_key

from contracts.errors import SettingsError
from contracts.settings import Settings
from serving.edge import CERTIFICATE
from serving.haproxy import ask, command, each_proxy
from storage.files import write_bytes
from storage.layout import Layout

LOOK_S = 10.0
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its chain and key, as HAProxy reads them from one file. `until` is when its own time is over."""

    pem: bytes
    until: datetime
    names: tuple[str, ...]


def read_certificate(settings: Settings) -> Certificate | None:
    """The certificate that the settings name; None where they name none.

    Raises:
        SettingsError: it cannot be read, is no certificate with its key, or its time is over.
    """
    named, key_named = settings.serving.tls_certificate, settings.serving.tls_key or settings.serving.tls_certificate
    if not named:
        return None
    text = _read("serving.tls_certificate", named)
    key_text = _read("serving.tls_key", key_named)
    try:
        chain = x509.load_pem_x509_certificates(text)
    except ValueError as error:
        raise SettingsError("serving.tls_certificate", named, "a file of PEM certificates, one's own first") from error
    try:
        key = load_pem_private_key(key_text, None)
    except (ValueError, TypeError) as error:
        raise SettingsError("serving.tls_key", key_named, "a file of a PEM key without a passphrase") from error
    leaf = chain[0]
    if _public(leaf.public_key()) != _public(key.public_key()):
        raise SettingsError("serving.tls_key", key_named, f"the key of the first certificate in {named}")
    if leaf.not_valid_after_utc < datetime.now(UTC):
        raise SettingsError(
            "serving.tls_certificate", named, f"one that holds still; its time was over on {leaf.not_valid_after_utc:%Y-%m-%d}"
        )
    # why written anew: HAProxy's commands end at an empty line, and files have those, and comments in any encoding
    blocks = [one.public_bytes(Encoding.PEM) for one in chain]
    blocks.insert(1, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return Certificate(b"".join(blocks), leaf.not_valid_after_utc, _names(leaf))


def certificate_path(layout: Layout) -> Path:
    """Where HAProxy reads certificate and key."""
    return layout.secrets / CERTIFICATE


def write_certificate(settings: Settings) -> Certificate | None:
    """Put certificate and key where HAProxy reads them, readable by their owner alone; raises as `read_certificate`."""
    found = read_certificate(settings)
    if found is not None:
        layout = Layout(settings.folder)
        layout.secrets.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_bytes(certificate_path(layout), found.pem, 0o600)
    return found


class Renewals(threading.Thread):
    """Looks until `ended` is set whether the files of the certificate have changed, and gives the new one to HAProxy as it runs.

    No connection is lost. What is no certificate with its key, or is refused, is said once, and tried again each time.
    """

    def __init__(self, settings: Settings, ended: threading.Event, look_s: float = LOOK_S) -> None:
        super().__init__(name="renewals", daemon=True)
        self._settings = settings
        self._ended = ended
        self._look_s = look_s
        self._served = self._files()

    def run(self) -> None:
        """Look, again and again."""
        said = ""
        while not self._ended.wait(self._look_s):
            files = self._files()
            if files == self._served:
                continue
            try:
                found = write_certificate(self._settings)
                assert found is not None
                put_in_force(self._settings, found)
            except Exception as error:  # noqa: BLE001  why: whatever is wrong with a file, the next one is looked at all the same
                if repr(error) != said:
                    _LOG.error("the new certificate is not taken, and is tried again: %s", error)
                said = repr(error)
            else:
                self._served, said = files, ""
                _LOG.info("TLS is served with a new certificate, until %s", f"{found.until:%Y-%m-%d}")

    def _files(self) -> tuple[tuple[int, int], ...]:
        serving = self._settings.serving
        try:
            found = [Path(named).stat() for named in (serving.tls_certificate, serving.tls_key) if named]
        except OSError:
            return ()
        return tuple((status.st_mtime_ns, status.st_ino) for status in found)


def put_in_force(settings: Settings, certificate: Certificate) -> int:
    """Give a certificate to every HAProxy of this installation that runs; to how many.

    Raises:
        OSError: one refused it.
    """
    path = certificate_path(Layout(settings.folder))

    def tell(place: Path) -> None:
        command(place, f"set ssl cert {path} <<\n{certificate.pem.decode().strip()}\n\n", "Transaction")
        try:
            command(place, f"commit ssl cert {path}\n", "Success")
        except OSError:
            ask(place, f"abort ssl cert {path}\n")
            raise

    return each_proxy(settings, tell)


def _read(key: str, named: str) -> bytes:
    try:
        return Path(named).read_bytes()
    except OSError as error:
        raise SettingsError(key, named, f"a file that can be read ({error.strerror})") from error


def _public(key: object) -> bytes:
    made: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]  # why: every kind of key has it
    return made


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return tuple(str(name.value) for name in found)
