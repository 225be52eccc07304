"""What an installation keeps to itself, made at its first start: its identity and its secrets."""

from contracts.settings import Settings
from services.ray import token
from serving.keys import hook_secret, owner_key, services_key
from storage.installation import Installation, open_installation
from storage.layout import Layout


def make_credentials(settings: Settings) -> Installation:
    """Make the installation, the keys of the owner and of its own processes, the secret of webhooks and Ray's token, where absent.

    Raises:
        StateRefused: the state is another installation's.
    """
    layout = Layout(settings.folder)
    layout.root.mkdir(parents=True, exist_ok=True)
    installation = open_installation(layout, settings.clock)
    owner_key(layout)
    services_key(layout)
    hook_secret(layout)
    token(layout)
    return installation
