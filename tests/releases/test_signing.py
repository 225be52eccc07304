import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contracts.errors import BundleRefused, StateRefused
from releases.signing import KEY_FILE, TRUSTED, sign, trusted, verify

DIGEST = "ab" * 32


def test_a_signature_holds_for_its_digest_alone(tmp_path: Path) -> None:
    signature = sign(tmp_path, DIGEST)
    verify(tmp_path, "r-1", DIGEST, signature)
    with pytest.raises(BundleRefused, match="does not hold"):
        verify(tmp_path, "r-1", "cd" * 32, signature)


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    with ThreadPoolExecutor(8) as pool:
        signatures = set(pool.map(lambda _: sign(secrets, DIGEST), range(32)))
    assert len(signatures) == len(trusted(secrets)) == 1
    files = [path for path in secrets.rglob("*") if path.is_file()]
    assert sorted(path.name for path in files) == sorted([KEY_FILE, f"{next(iter(trusted(secrets)))}.pem"])
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_several_keys_may_be_trusted(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    sign(here, DIGEST)
    signature = sign(there, DIGEST)
    with pytest.raises(BundleRefused, match="trusted are"):
        verify(here, "r-1", DIGEST, signature)
    (public,) = (there / TRUSTED).iterdir()
    (here / TRUSTED / "colleague.pem").write_bytes(public.read_bytes())
    verify(here, "r-1", DIGEST, signature)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"signature": "!"}, "not readable"),
        ({"signature": ""}, "does not hold"),
        ({"signature": "abab"}, "does not hold"),
        ({"signature": "ABAB"}, "spelled otherwise"),
        ({"algorithm": "none"}, "trusted are"),
        ({"key": "0" * 16}, "trusted are"),
        ({"more": 1}, "not readable"),
    ],
)
def test_a_signature_of_another_form_is_refused(tmp_path: Path, change: dict[str, object], said: str) -> None:
    signature = json.dumps(json.loads(sign(tmp_path, DIGEST)) | change, indent=2).encode()
    with pytest.raises(BundleRefused, match=said):
        verify(tmp_path, "r-1", DIGEST, signature)


@pytest.mark.parametrize(("signature", "said"), [(b"", "not signed"), (b"{", "not readable"), (b"\xff", "not readable")])
def test_what_is_no_signature_is_refused(tmp_path: Path, signature: bytes, said: str) -> None:
    with pytest.raises(BundleRefused, match=said):
        verify(tmp_path, "r-1", DIGEST, signature)


def test_a_damaged_key_is_said(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_bytes(b"x")
    with pytest.raises(StateRefused, match="is no private key"):
        sign(tmp_path, DIGEST)


def test_another_kind_of_key_among_those_trusted_is_said(tmp_path: Path) -> None:
    signature = sign(tmp_path, DIGEST)
    other = generate_private_key(65537, 2048).public_key()
    (tmp_path / TRUSTED / "rsa.pem").write_bytes(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(BundleRefused, match=r"rsa\.pem is no Ed25519 key"):
        verify(tmp_path, "r-1", DIGEST, signature)
