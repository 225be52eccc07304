"""What an installation keeps to itself, made at its first start: its identity and its secrets."""

from pathlib import Path

from contracts.settings import Settings
from services.ray import token
from serving.keys import SERVICES, hook_secret, metrics_key, owner_key, services_key
from storage.files import write_bytes
from storage.installation import Installation, open_installation
from storage.layout import Layout

_PROFILE = """\
# Written at each start: by this, the installation's own processes show Prefect their key.
active = "offerloop"

[profiles.offerloop]
PREFECT_API_AUTH_STRING = "{name}:{key}"
"""


def prefect_profile(layout: Layout) -> Path:
    """The file from which Prefect's clients read the key of the installation's own processes: no variable, which might be printed."""
    return layout.secrets / "prefect.toml"


def make_credentials(settings: Settings) -> Installation:
    """Make the installation, the keys of the owner and of its own processes, the secret of webhooks and Ray's token, where absent.

    Raises:
        StateRefused: the state is another installation's.
    """
    layout = Layout(settings.folder)
    layout.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    # why: log, ledger and tables tell of people; that the owner's group may read them is for the owner to say. Who may write here could
    # put other keys in the place of these
    layout.root.chmod(layout.root.stat().st_mode & 0o750)
    installation = open_installation(layout, settings.clock)
    owner_key(layout)
    metrics_key(layout)
    write_bytes(prefect_profile(layout), _PROFILE.format(name=SERVICES, key=services_key(layout)).encode(), 0o600)
    hook_secret(layout)
    token(layout)
    return installation
