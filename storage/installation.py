"""What an installation is: its id, its clock, and the format of its state. Fixed when it is made."""

import time
import uuid
from dataclasses import dataclass
from datetime import datetime

import msgspec

from contracts.clock import Clock, to_us
from contracts.errors import SettingsError, StateRefused
from contracts.settings import ClockSettings
from storage.files import write_bytes
from storage.layout import Layout

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Installation:
    """An installation. A simulated one (its clock is not the real one) can never become a real one."""

    installation_id: str
    clock: Clock
    simulated: bool
    format: int


def open_installation(layout: Layout, settings: ClockSettings) -> Installation:
    """The installation in a state folder; made there when the folder holds none.

    Raises:
        StateRefused: the state has another format, or was made with another clock than the settings ask for.
        SettingsError: the clock's origin is no moment with a time zone.
    """
    if not layout.installation.exists():
        made = _make(settings)
        write_bytes(layout.installation, msgspec.json.encode(made))
        return made
    try:
        found = msgspec.json.decode(layout.installation.read_bytes(), type=Installation)
    except msgspec.DecodeError as error:
        raise StateRefused(str(layout.root), f"installation.json is not readable ({error})", "Restore it from a backup.") from error
    if found.format != FORMAT:
        raise StateRefused(str(layout.root), f"has format {found.format}, this code reads {FORMAT}", "Use the code that made it.")
    asked_simulated = settings != ClockSettings()
    if found.simulated != asked_simulated or found.clock.scale != settings.scale:
        raise StateRefused(
            str(layout.root),
            f"was made {'simulated' if found.simulated else 'real'} with clock scale {found.clock.scale}, "
            f"the settings ask for {'a simulated' if asked_simulated else 'a real'} one with scale {settings.scale}",
            "A simulated installation never becomes a real one: name another state folder.",
        )
    return found


def _make(settings: ClockSettings) -> Installation:
    started = time.time_ns() // 1_000
    if settings.scale < 1:
        raise SettingsError("clock.scale", settings.scale, "a whole number of at least 1")
    try:
        origin = to_us(datetime.fromisoformat(settings.origin)) if settings.origin else started
    except ValueError as error:
        raise SettingsError("clock.origin", settings.origin, "a moment with a time zone, such as 2026-01-01T00:00:00Z") from error
    clock = Clock(origin_us=origin, started_us=started, scale=settings.scale)
    return Installation(uuid.uuid4().hex, clock, settings != ClockSettings(), FORMAT)
