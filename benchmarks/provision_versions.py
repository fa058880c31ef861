"""Other versions of circinus out of one bundle: a good one, one that dies at once, one that runs and says nothing."""

from __future__ import annotations

import base64
import hashlib
import re
import tarfile
import tempfile
import zipfile
from enum import StrEnum
from pathlib import Path

from scripts.provisioning.bundle import Target, read_facts, seal


class Kind(StrEnum):
    """How the agent of a version behaves."""

    GOOD = "good"
    DEAD = "dead"
    MUTE = "mute"


_PROLOGUE = {
    Kind.GOOD: "",
    Kind.DEAD: "import sys\n\nif 'run' in sys.argv:\n    sys.exit('this version is broken')\n",
    # It takes a stop as any process does, and tells nobody of itself.
    Kind.MUTE: "import sys, time\n\nwhile 'run' in sys.argv:\n    time.sleep(3600)\n",
}


def other_version(bundle: Path, version: str, kind: Kind, output: Path) -> Path:
    """The same bundle with circinus under another version."""
    facts = read_facts(bundle)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with tarfile.open(bundle, "r:") as archive:
            archive.extractall(folder, filter="data")
        for made in ("BUNDLE", "MANIFEST"):
            (folder / made).unlink()
        old = next((folder / "agent").glob("circinus-*.whl"))
        _rewrite(old, old.with_name(f"circinus-{version}-py3-none-any.whl"), facts["version"], version, kind)
        old.unlink()
        seal(folder, version=version, target=Target(python=facts["python"], machine=facts["machine"]), output=output)
    return output


def _rewrite(source: Path, target: Path, old: str, version: str, kind: Kind) -> None:
    lines = []
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as after:
        for name in sorted(before.namelist()):
            renamed = name.replace(f"circinus-{old}.", f"circinus-{version}.", 1)
            if renamed.endswith("/RECORD"):
                record = renamed
                continue
            content = _edited(name, before.read(name), version, kind)
            after.writestr(renamed, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            lines.append(f"{renamed},sha256={digest},{len(content)}")
        after.writestr(record, "\n".join([*lines, f"{record},,", ""]))


def _edited(name: str, content: bytes, version: str, kind: Kind) -> bytes:
    if name == "circinus/__init__.py":
        return re.sub(r'__version__ = ".*"', f'__version__ = "{version}"', content.decode()).encode()
    if name.endswith("/METADATA"):
        return re.sub(r"^Version: .*$", f"Version: {version}", content.decode(), count=1, flags=re.MULTILINE).encode()
    if name == "edge_agent/daemon.py" and _PROLOGUE[kind]:
        return content.decode().replace("import argparse\n", _PROLOGUE[kind] + "import argparse\n", 1).encode()
    return content
