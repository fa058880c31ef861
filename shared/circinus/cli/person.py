"""`circinus person`: who may ask the planner, and what each may do."""

from __future__ import annotations

import asyncio
import ssl
import sys
from pathlib import Path
from typing import Annotated

import typer

from circinus import contexts
from circinus.admin import IssuedPerson, Person, Role
from circinus.cli import exits
from circinus.cli.durations import seconds_of
from circinus.cli.output import Output, emit, lines, say, table
from circinus.cli.removal import remove_each
from circinus.cli.secret_file import check_writable, write_secret
from circinus.cli.session import DEFAULT_ADDRESS, OutputOption, PlannerOption, ask, connect
from circinus.cli.tokens import moment
from circinus.contexts import Bearer, Context, Contexts
from circinus.errors import InvalidInput

app = typer.Typer(no_args_is_help=True, help="People: viewers see, operators also change, admins do all.")

_COLUMNS = ("PERSON", "ROLE", "SINCE", "ENDS")


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    role: Annotated[Role, typer.Option("--role", help="What they may do.")],
    ttl: Annotated[str, typer.Option("--ttl", metavar="TIME", help="How long: 8h, 30d, 365d.")] = "365d",
    token: Annotated[
        bool, typer.Option("--token", help="A bearer token instead of a certificate, such as for a program.")
    ] = False,
    context_name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="What the context is called; else the planner's host.")
    ] = "",
    dial: Annotated[
        str, typer.Option("--dial", metavar="HOST:PORT", help="Where they reach the planner, if not as you do.")
    ] = "",
    output_file: Annotated[
        Path | None, typer.Option("--output-file", metavar="FILE", help="Where the context file goes; else stdout.")
    ] = None,
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """Lets somebody ask the planner, and writes the context file for them, which holds a secret.

    Example: circinus person create ann --role operator --output-file ann.toml
    """
    ttl_s = seconds_of(ttl, "--ttl")
    if output_file is not None:
        check_writable(output_file)
    issued, context = asyncio.run(
        _make(name, role, ttl_s, token=token, dial=dial, called=context_name, planner=planner)
    )
    text = contexts.dump(Contexts(contexts=(context,)))
    if output_file is not None:
        write_secret(output_file, text)
        document = {"file": output_file, "about": issued.about}
        emit(output, document, lambda: lines(f"{name} ({role}): the context file is {output_file}"))
    elif output in (Output.TABLE, Output.WIDE):
        sys.stdout.write(text)
    else:
        emit(output, {"name": name, "context": text, "about": issued.about}, lines)
    say("they add it with: circinus context add FILE")
    return exits.OK


async def _make(
    name: str, role: Role, ttl_s: float, *, token: bool, dial: str, called: str, planner: str
) -> tuple[IssuedPerson, Context]:
    async with connect(planner) as client:
        mine = client.credentials
        if mine is None:
            raise InvalidInput("a planner in the clear asks nobody who they are; start it without --insecure-loopback")
        if not dial:
            dial = _dialled(client.address, mine_by_token=isinstance(mine, Bearer), theirs_by_token=token)
        key, csr = (b"", b"") if token else new_key(name)
        issued = await client.admin.create_person(name, role, ttl_s=ttl_s, csr=csr)
    root = mine.root.decode()
    host = dial.rpartition(":")[0].strip("[]").replace(":", "-")
    certificate = "" if token else ssl.DER_cert_to_PEM_cert(issued.certificate)
    context = Context(
        name=called or host, planner=dial, root=root, certificate=certificate, key=key.decode(), token=issued.token
    )
    return issued, context


def _dialled(address: str, *, mine_by_token: bool, theirs_by_token: bool) -> str:
    """Certificates are for the planner's first port, tokens for its second; by default they are neighbours."""
    host, _, port = address.rpartition(":")
    return f"{host}:{int(port) + int(theirs_by_token) - int(mine_by_token)}"


def new_key(name: str) -> tuple[bytes, bytes]:
    """A new key (PEM), and a request for a certificate for it (PKCS #10, DER)."""
    # Only who makes a key pays for it: it is large.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name[:64])])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return text, request.public_bytes(serialization.Encoding.DER)


@app.command("ls")
def ls(planner: PlannerOption = DEFAULT_ADDRESS, output: OutputOption = Output.TABLE) -> int:
    """Everybody who may ask the planner.

    Example: circinus person ls
    """
    found = ask(planner, lambda client: client.admin.people())
    emit(output, found, lambda: table(_COLUMNS, map(_row, found)))
    return exits.OK


def _row(person: Person) -> tuple[str, ...]:
    return (person.name, person.role, moment(person.created_at), moment(person.ends_at))


@app.command("rm")
def rm(
    names: Annotated[list[str], typer.Argument(metavar="NAME...")],
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """Takes away what people may do; their certificates and tokens are worth nothing then.

    Example: circinus person rm ann
    """
    return ask(planner, lambda client: remove_each(client.admin.remove_person, "person", names, output))
