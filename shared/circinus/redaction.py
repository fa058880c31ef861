"""Takes secrets out of texts that leave a machine: keys, tokens, passwords, whatever stands beside such a name.

Rather too much than too little: what is taken out by mistake can be asked for, what is let through can't be taken back.
A text may begin or end in the middle of a key, as the tail of a log does; so long base64 alone is taken out, too.
Digests and serial numbers, which are hexadecimal, stay: they name things, and open nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

#: What stands in the place of a secret.
GONE = "[redacted]"

#: Names beside which a secret stands, in whatever spelling: api_key, apiKey, X-Api-Key, DB_PASSWORD ... Only looked for
#: from the beginning of a word on, so that it takes no more than linear time whatever a log has in it.
_NAMES = (
    r"(?<![\w.-])[\w.-]*?(?:passw(?:or)?d|passwd|pwd|passphrase|secret|token|bearer|authorization|cookie|credentials?"
    r"|api[_-]?key|access[_-]?key|private[_-]?key|client[_-]?key|signing[_-]?key|session[_-]?id)[\w.-]{0,64}"
)
_NAME = re.compile(_NAMES, re.IGNORECASE)
#: Of these names only the secret's file, number or state is told.
_HARMLESS = re.compile(
    r"(?:token_file|token_id|tokens?_(?:left|used|seen|count)|known_by|created_by|used_by|key_id)", re.IGNORECASE
)

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"-----BEGIN [A-Z0-9 ]*KEY-----.*?(?:-----END [A-Z0-9 ]*KEY-----|\Z)", re.DOTALL),
        "[redacted: private key]",
    ),
    # Of our own tokens the part that names them stays: it stands in the audit log, too.
    (re.compile(r"\b(circ1\.[A-Za-z0-9_-]{1,64})\.[A-Za-z0-9_=.-]+"), rf"\1.{GONE}"),
    (re.compile(r"\b(circp\.[A-Za-z0-9_-]{1,64}(?:\.[A-Za-z0-9_-]{1,64})??)\.[A-Za-z0-9_=-]{16,}"), rf"\1.{GONE}"),
    (re.compile(r"\b(circp\.[A-Za-z0-9_-]{1,64})\.[A-Za-z0-9_=.-]+"), rf"\1.{GONE}"),
    (re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9+/_=.~-]{6,}", re.IGNORECASE), rf"\1 {GONE}"),
    # Cameras are often named with their password.
    (re.compile(r"((?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,20}://)[^\s/@\"']{1,256}@", re.IGNORECASE), rf"\1{GONE}@"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{5,1000}\.[A-Za-z0-9_-]{1,4000}\.[A-Za-z0-9_-]*"), GONE),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), GONE),
    (re.compile(r"\b(?:gh[opsu]_|github_pat_|glpat-|xox[abprs]-|sk-)[A-Za-z0-9_-]{16,}"), GONE),
)
_BESIDE = re.compile(
    rf"(?P<name>[\"']?{_NAMES}[\"']?)(?P<sign>\s*(?:=>|[=:])\s*)"
    r"(?P<value>\"\"\".{0,4000}?\"\"\"|'''.{0,4000}?'''|\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'|[^\s,;&}\])]+)",
    re.IGNORECASE | re.DOTALL,
)
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{40,}={0,2}(?![A-Za-z0-9+/_=-])")
_HEX = re.compile(r"[0-9a-fA-F-]+")
#: Lower case alone: of the lines of a key one in two hundred looks like a path with capitals.
_WORDS = re.compile(r"[a-z0-9]+(?:[/_-][a-z0-9]+)*/?|/[a-z0-9_/-]*")


class Redactor:
    """Takes secrets out, and counts them. ``known``: texts that are secrets for sure, wherever they stand."""

    def __init__(self, known: Sequence[str] = ()) -> None:
        # The longest first: a part of one may be another.
        self._known = sorted({text for text in known if len(text) >= 8}, key=len, reverse=True)
        self.count = 0

    def text(self, text: str) -> str:
        """A text without secrets."""
        for secret in self._known:
            if secret in text:
                self.count += text.count(secret)
                text = text.replace(secret, GONE)
        for pattern, instead in _PATTERNS:
            text, count = pattern.subn(instead, text)
            self.count += count
        text = _BESIDE.sub(self._beside, text)
        return _BASE64.sub(self._long, text)

    def document(self, value: Any) -> Any:
        """A document of lists, mappings and scalars without secrets; what stands under a secret's name goes whole."""
        if isinstance(value, Mapping):
            return {str(key): self._under(str(key), entry) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return [self.document(entry) for entry in value]
        if isinstance(value, bytes | bytearray | memoryview):
            self.count += 1
            return f"[{len(value)} bytes]"
        return self.text(value) if isinstance(value, str) else value

    def _under(self, key: str, value: Any) -> Any:
        if value in ("", None) or isinstance(value, bool) or not _names_secret(key):
            return self.document(value)
        if isinstance(value, Mapping | list | tuple | int | float):
            return self.document(value)
        self.count += 1
        return GONE

    def _beside(self, match: re.Match[str]) -> str:
        value = match["value"]
        if not _names_secret(match["name"].strip("\"'")) or GONE in value or value.strip("\"'") == "":
            return match[0]
        self.count += 1
        return f"{match['name']}{match['sign']}{GONE}"

    def _long(self, match: re.Match[str]) -> str:
        found = match[0]
        if _HEX.fullmatch(found) or _WORDS.fullmatch(found):
            return found
        self.count += 1
        return GONE


def _names_secret(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and not _HARMLESS.fullmatch(name)


def secrets_of_pem(text: str) -> tuple[str, ...]:
    """The lines of private keys in a text: a part of a key is a secret, too."""
    blocks = re.findall(r"-----BEGIN [A-Z0-9 ]*KEY-----(.*?)-----END", text, re.DOTALL)
    return tuple(line.strip() for block in blocks for line in block.splitlines() if len(line.strip()) >= 8)
