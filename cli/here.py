"""The installation that a command is about: settings from the file, the environment and the command line."""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from contracts.clock import Clock
from contracts.errors import SettingsError, StateRefused
from contracts.settings import Settings
from releases.ledger import Ledger
from storage.installation import open_installation
from storage.layout import Layout

if TYPE_CHECKING:
    from serving.operations import Desk


def settings_of(context: click.Context) -> Settings:
    """The settings that the command line asks for.

    Raises:
        SettingsError: they are wrong, or the named file is not there.
    """
    named: Path | None = context.obj["config"]
    file = named or Path("offerloop.toml")
    if named is not None and not named.is_file():
        raise SettingsError("--config", str(named), "a settings file that is there")
    environment = dict(os.environ)
    if context.obj["state"]:
        environment["OFFERLOOP_STATE"] = context.obj["state"]
    return Settings.build(file.read_text() if file.is_file() else "", environment)


def actor() -> str:
    """Who runs this command, as the operating system knows it, for the ledger.

    Raises:
        SettingsError: it does not know this user.
    """
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError as error:
        raise SettingsError("user", number, "one that the operating system has a name of, since it stands in the ledger") from error


def layout_of(settings: Settings) -> Layout:
    """The layout of an installation that exists.

    Raises:
        StateRefused: the folder holds none.
    """
    layout = Layout(settings.folder)
    if not layout.installation.exists():
        raise StateRefused(str(layout.root), "holds no installation", "Start one with `offerloop up`, or name another folder with --state.")
    return layout


def clock_of(settings: Settings) -> Clock:
    """The clock of an installation that exists, whatever clock the settings name.

    Raises:
        StateRefused: the folder holds none, or one of another kind.
    """
    return open_installation(layout_of(settings), settings.clock).clock


@contextmanager
def desk_of(settings: Settings) -> "Iterator[Desk]":
    """The installation for those who operate it, its ledger closed afterwards.

    Raises:
        StateRefused: the folder holds none.
        DefinitionError: a use case is written wrongly.
    """
    from serving.operations import Desk  # why: it takes a second to import, which commands that only read need not wait for
    from use_cases.definition import load_all

    with ledger_of(settings) as ledger:
        yield Desk(layout_of(settings), ledger, load_all(settings.use_cases, settings.approvers), clock_of(settings))


@contextmanager
def ledger_of(settings: Settings) -> Iterator[Ledger]:
    """The ledger of an installation that exists, closed afterwards.

    Raises:
        StateRefused: the folder holds none.
    """
    ledger = Ledger(layout_of(settings).ledger)
    try:
        yield ledger
    finally:
        ledger.close()
