"""Circinus agents by pyinfra: `pyinfra inventory.py deploy.py`; run again: nothing changes; --dry: what would change.

What is on a box is asked of the box; a token is made only for one that has no identity, and goes in by stdin.
"""

import hashlib
import json
import re
import shlex
import subprocess
from io import StringIO
from pathlib import Path

from pyinfra import host
from pyinfra.facts.server import Command
from pyinfra.operations import files, server

INSTALLER = Path(__file__).resolve().parents[3] / "scripts" / "install.sh"
PREFIX = "/opt/circinus"
STAGING = "/var/tmp/circinus-pyinfra"
TOKEN = re.compile(r"circ1[.][A-Za-z0-9._-]+")


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


asked = f"{PREFIX}/libexec/install.sh"
status = json.loads(host.get_fact(Command, f"[ ! -x {asked} ] || {asked} --status --prefix {PREFIX}") or "{}")
device = host.data.get("device", host.name)
bundle = Path(host.data.bundle) if host.data.get("bundle") else None

wishes = ["--prefix", PREFIX, "--device", device, "--planner", host.data.planner]
wishes += ["--tier", host.data.get("tier", "edge"), "--site", host.data.get("site", "default")]
for key, value in sorted(host.data.get("labels", {}).items()):
    wishes += ["--label", f"{key}={value}"]
for line in host.data.get("settings", ()):
    wishes += ["--set", line]

# pyinfra tells a change by what an operation is to do, so what is right is found out first: by the installer itself.
right = host.get_fact(
    Command, f"[ ! -x {asked} ] || {shlex.join([asked, *wishes, '--dry-run'])} 2>&1 | grep -c '^would' || true"
)
sent = bundle is not None and status.get("bundle") != digest(bundle)
if sent or not status.get("installed") or not status.get("enrolled") or str(right or "0").strip() != "0":
    files.directory(name="A folder of our own", path=STAGING, mode="700")
    files.put(name="Send the installer", src=str(INSTALLER), dest=f"{STAGING}/install.sh", mode="700")
    if sent:
        files.put(name="Send the bundle", src=str(bundle), dest=f"{STAGING}/bundle.tar", mode="600")
        wishes += ["--bundle", f"{STAGING}/bundle.tar"]
    if not status.get("enrolled"):
        command = host.data.get("token_command", f"circinus token create --device {device} --ttl 1h")
        said = subprocess.run(shlex.split(command), capture_output=True, text=True, check=True).stdout
        found = TOKEN.search(said)
        if found is None:
            raise SystemExit(f"{command} printed no token")
        # For its owner only, in a folder that is taken away; never an argument.
        files.put(name="Send the token", src=StringIO(found.group(0)), dest=f"{STAGING}/token", mode="600")
        wishes += ["--token-file", f"{STAGING}/token"]
    line = shlex.join(["sh", f"{STAGING}/install.sh", *wishes])
    server.shell(name="Install, enrol, start", commands=[f"{line}; code=$?; rm -rf {STAGING}; exit $code"])
