"""The first release of a use case: its start policy, and nothing learned, so that there is something to decide with at once."""

import os
import sys

from contracts.errors import OfferloopError
from contracts.settings import Settings
from releases.bundle import read_bundle, write_bundle
from releases.ledger import Act, Ledger
from releases.revision import code_revision
from releases.stages import start
from storage.installation import open_installation
from storage.layout import Layout
from training.train import start_parts
from use_cases.definition import load_all


def start_releases(settings: Settings) -> None:
    """Give every use case that has no traffic plan a first release, live for everybody outside control.

    Raises:
        DefinitionError: a use case is written wrongly.
        NotFound: there is no such use case.
    """
    layout = Layout(settings.folder)
    clock = open_installation(layout, settings.clock).clock
    ledger = Ledger(layout.ledger)
    try:
        for use_case in load_all(settings.use_cases).values():
            if ledger.plan(use_case.name) is None:
                release_id = write_bundle(layout.bundles, start_parts(use_case, code_revision(settings.image)), layout.secrets)
                digest = read_bundle(layout.bundles, release_id).digest
                act = Act("offerloop up", clock.now_us(), "the first release: it explores by the start policy, nothing is learned yet")
                start(ledger, use_case.name, release_id, digest, use_case.control_share, act)
    finally:
        ledger.close()


def main() -> int:
    """Make first releases as the environment's settings say; 0 when every use case has a plan."""
    try:
        start_releases(Settings.build("", os.environ))
    except OfferloopError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
