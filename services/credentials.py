"""What an installation keeps to itself, made at its first start: its identity and its secrets."""

from contracts.settings import Settings
from services.ray import token
from serving.keys import hook_secret, owner_key
from storage.installation import Installation, open_installation
from storage.layout import Layout


def make_credentials(settings: Settings) -> Installation:
    """Make the installation, the owner's API key, the secret of webhooks and Ray's token, where they are not there yet.

    Raises:
        StateRefused: the state is another installation's.
    """
    layout = Layout(settings.folder)
    layout.root.mkdir(parents=True, exist_ok=True)
    installation = open_installation(layout, settings.clock)
    owner_key(layout)
    hook_secret(layout)
    token(layout)
    return installation
