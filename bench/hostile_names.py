"""Names that nobody should be able to do anything with: out of the folder, around a check, or into a crash."""

import random
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

DEVICES = (
    "CON",
    "NUL",
    "AUX",
    "COM1",
    "LPT1.txt",
    "C:\\canary.txt",
    "C:canary.txt",
    "\\\\?\\C:\\x",
    "\\\\host\\share\\x",
    "file.txt::$DATA",
)
SAID = (
    "' OR '1'='1",
    '"; DROP TABLE ledger; --',
    "{{7*7}}",
    "${jndi:ldap://x}",
    "$(touch canary)",
    "`id`",
    "| cat",
    "%s%n%x",
    "<script>",
    "]]>",
)
ODD = (
    "\x00",
    "a\x00b",
    "\r\nset-cookie: x=1",
    "\x1b[2J",
    "\u202etxt",
    "\ufeff",
    "\ud800",
    "\U0010ffff",
    "a\u0300" * 50,
    "~",
    "~root",
    "$HOME",
    "*",
    "?",
)
TURNS: tuple[str, ...] = (
    "../",
    "..\\",
    "..%2f",
    "%2e%2e/",
    "%2e%2e%2f",
    "..%252f",
    "%c0%ae%c0%ae/",
    "....//",
    "..;/",
    ".%00./",
    "..\uff0f",
    "\uff0e\uff0e/",
)
"""Steps out of a folder, plain and in the ways in which they were smuggled past checks."""

ALIKE = str.maketrans(
    {"a": "\u0430", "e": "\u0435", "o": "\u043e", "p": "\u0440", "c": "\u0441", "x": "\u0445", ".": "\uff0e", "_": "\uff3f", "-": "\u2010"}
)


def hostile_names(count: int, seed: int, canaries: Sequence[Path], known: Sequence[str]) -> list[str]:
    """So many different names.

    Args:
        canaries: files outside of every root, which some of the names mean.
        known: names that are good ones here, from which others are made that only look so.
    """
    chance = random.Random(seed)
    made: dict[str, None] = {}
    while len(made) < count:
        name = chance.choice(WAYS)(chance, chance.choice(canaries), chance.choice(known))
        if name not in known:
            made[name] = None
    return list(made)


def _out(chance: random.Random, canary: Path, known: str) -> str:
    turns = chance.choice(TURNS) * chance.randint(1, 12)
    end = chance.choice((str(canary)[1:], canary.name, "etc/passwd", "secrets/api_key", "ledger.sqlite", "bundles", ""))
    return chance.choice(("", known + "/", "./", "/", "r-0000000000000000/", "x/")) + turns + end


def _whole(chance: random.Random, canary: Path, known: str) -> str:
    path = chance.choice((str(canary), "/etc/passwd", "/proc/self/environ", "/dev/zero", "/dev/stdin", f"file://{canary}", f"//{canary}"))
    return chance.choice(
        (path, quote(path, safe=""), quote(quote(path, safe=""), safe=""), path.replace("/", "\\"), path + "\x00.svg", path + ".svg")
    )


def _alike(chance: random.Random, canary: Path, known: str) -> str:
    return chance.choice(
        (
            known.translate(ALIKE),
            known + chance.choice(("\u200b", " ", ".", "\u00a0", "/", "\\", "\x00", "%00", "\n", "\u0301")),
            chance.choice(("\u200b", " ", "./", "%20")) + known,
            "".join(chance.choice((one, one.upper(), chr(ord(one) + 0xFEE0) if "!" <= one <= "~" else one)) for one in known),
            unicodedata.normalize("NFD", known + "\u00e9"),
        )
    ) + chance.choice(("", "", str(chance.randint(0, 99))))


def _long(chance: random.Random, canary: Path, known: str) -> str:
    return chance.choice(("a", "../", "\u00e9", "%2e", known + "/", ".", "\x00", "-")) * chance.choice((129, 256, 1_025, 5_000, 20_000))


def _device(chance: random.Random, canary: Path, known: str) -> str:
    return chance.choice(("", known, "./")) + chance.choice(DEVICES) + chance.choice(("", ".", " ", ".svg", str(chance.randint(0, 99))))


def _said(chance: random.Random, canary: Path, known: str) -> str:
    return chance.choice(("", known)) + chance.choice(SAID) + chance.choice(("", str(chance.randint(0, 999))))


def _odd(chance: random.Random, canary: Path, known: str) -> str:
    return chance.choice(("", known, str(canary))) + chance.choice(ODD) + chance.choice(("", known, "../", str(chance.randint(0, 99))))


def _noise(chance: random.Random, canary: Path, known: str) -> str:
    return "".join(chr(chance.choice((chance.randint(0, 127), chance.randint(128, 0xD7FF)))) for _ in range(chance.randint(1, 40)))


WAYS = (_out, _out, _whole, _alike, _long, _device, _said, _odd, _noise)
