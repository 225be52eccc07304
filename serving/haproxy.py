"""What HAProxy is told while it runs, by its socket for administration: each process of it, since one that is replaced drains for a while.

Read in HAProxy 2.8's management manual, "Unix Socket commands": `set ssl cert`, `commit ssl cert`, `prepare acl`, `commit acl`.
"""

import logging
import socket
from collections.abc import Callable
from pathlib import Path

from contracts.settings import Settings
from serving.environment import short_folder

SOCKET_S = 5.0
_LOG = logging.getLogger(__name__)


def each_proxy(settings: Settings, tell: Callable[[Path], None]) -> int:
    """Call something with the socket of every HAProxy of this installation that runs; how many there were.

    Raises:
        OSError: one of them refused, once all were told.
    """
    told, refused = 0, None
    for place in sorted(short_folder(settings).rglob("admin.sock*")):
        try:
            tell(place)
        except (ConnectionRefusedError, FileNotFoundError):
            continue
        except OSError as error:
            refused = error
        told += 1
    if refused is not None:
        raise refused
    return told


def ask(place: Path, text: str) -> str:
    """What HAProxy says to a command.

    Raises:
        OSError: it cannot be asked, or does not answer in time.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(SOCKET_S)
        connection.connect(str(place))
        connection.sendall(text.encode())
        said = b""
        while part := connection.recv(4_096):
            said += part
    return said.decode(errors="replace").strip()


def command(place: Path, text: str, expected: str = "") -> None:
    """Give a command, which HAProxy takes when its answer has `expected` in it, or is empty where nothing is expected.

    Raises:
        OSError: it did not take it. What is said of that is the command's first words, not its payload, which may be a secret.
    """
    said = ask(place, text)
    if expected not in said if expected else said:
        secret = "<<" in text
        raise OSError(f"HAProxy refuses {' '.join(text.split()[:3])!r}{'' if secret else f': {said[:200]}'}")
