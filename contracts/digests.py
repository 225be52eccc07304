"""Digests: one way to name content by what it says."""

import hashlib
import json


def digest_of(content: object) -> str:
    """SHA-256 (hex) of JSON-like content in one canonical spelling.

    Example:
        >>> digest_of({"b": 1, "a": 2}) == digest_of({"a": 2, "b": 1})
        True
    """
    return digest_of_bytes(json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode())


def digest_of_bytes(content: bytes) -> str:
    """SHA-256 (hex) of bytes."""
    return hashlib.sha256(content).hexdigest()
