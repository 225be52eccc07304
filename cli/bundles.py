"""What is done to bundles by hand: bring a lost one back, sign one again."""

from contracts.errors import BundleRefused, StateRefused
from releases.bundle import sign_again
from releases.ledger import Act, ReleaseRow
from releases.registry import Registry
from services import ports
from serving.keys import services_key
from serving.operations import Desk
from storage.layout import Layout


def bring_back(layout: Layout, row: ReleaseRow, mlflow: str) -> None:
    """Bring the bundle of a release back from MLflow, at that address, where the local copy is not what it was.

    Raises:
        StoreUnavailable: MLflow cannot be reached.
        NotFound: it does not know the release.
        BundleRefused: what it has is another release than the ledger's, or is not signed.
    """
    found = Registry(mlflow, services_key(layout)).fetch(row.use_case, row.release_id, layout.bundles, layout.secrets)
    if found.digest != row.digest:
        raise BundleRefused(row.release_id, f"MLflow's has the digest {found.digest}, the ledger's is {row.digest}")


def sign_by_hand(desk: Desk, row: ReleaseRow, actor: str) -> None:
    """Sign a bundle that still is what the ledger says by the installation's key, unless a key that is trusted did; noted in the ledger.

    Raises:
        BundleRefused: it is damaged, or not the one that the ledger knows; noted as `denied`.
        StateRefused: the key cannot be read.
    """
    act = Act(actor, desk.clock.now_us(), "signed by this installation's key, by hand")
    with desk.ledger.denying(row.use_case, act, "be signed", row.release_id):
        sign_again(desk.layout.bundles, row.release_id, row.digest, desk.layout.secrets)
    desk.ledger.append(row.use_case, act, "sign", row.release_id)


def mlflow_of(layout: Layout) -> str:
    """Address of the installation's MLflow.

    Raises:
        StateRefused: it was never started.
    """
    addresses = ports.read(layout)
    if addresses is None:
        raise StateRefused(str(layout.root), "was never started, so that there is no MLflow", "Start it with `offerloop up`.")
    return addresses.mlflow
