"""`secmesh crypto verify-certificate` and `verify-export`: what the service signed, held offline.

They share no code with the service: files are read as docs/CRYPTO_ERASURE.md and CRYPTO_EXPORT.md
say.
"""

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from cli.connection import connection_of
from cli.exit_codes import ExitCode
from cli.output import talk, write_rows
from cli.signed_note import NoteRefused, VerifierKey, note_digest, signed_text

_ERASURE, _EXPORT = "secmesh erasure", "secmesh export"
_PERSON = b"secmesh/person/1"
_USER_PARTS = 4
Keys = Annotated[list[str], typer.Option("--key", help="Public key, as `audit-keys` printed it.")]
Words = list[tuple[str, str]]


def register(app: typer.Typer) -> None:
    """Add the commands to those of people's data."""
    app.command("verify-certificate")(verify_certificate)
    app.command("verify-export")(verify_export)


def verify_certificate(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="File with the certificate of an erasure.")],
    key: Keys,
    user: Annotated[
        str, typer.Option(help="The person who was erased, tenants/TENANT/users/ID.")
    ] = "",
    audit: Annotated[
        Path | None, typer.Option(help="Folder that `export-audit` wrote: holds the erasure.")
    ] = None,
) -> None:
    """Verify the certificate of an erasure offline: who signed it, of whom it is, what was done.

    Exits with 0 if it holds and with 4 if it does not.
    """
    try:
        row = _certificate(file, key, user, audit)
    except NoteRefused as problem:
        _refused(problem)
    write_rows([row], connection_of(context).output)


def verify_export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="File of an export.")],
    key: Keys,
) -> None:
    """Verify the file of an export offline: who signed it, of whom it is, that nothing is missing.

    No value of it is shown. Exits with 0 if it holds and with 4 if it does not.
    """
    try:
        row = _export(file, key)
    except NoteRefused as problem:
        _refused(problem)
    write_rows([row], connection_of(context).output)


def _certificate(file: Path, keys: list[str], user: str, audit: Path | None) -> dict[str, object]:
    """Give what a certificate says, once it holds. Raises NoteRefused."""
    origin, words = _words(_ERASURE, file.read_text(errors="replace"), keys)
    held = ["signature"]
    if user:
        if _person(user) != _value(words, "person"):
            raise NoteRefused(f"it is not of {user}")
        held.append("person")
    if audit is not None:
        _require_audited(audit, words)
        held.append("audit")
    moments = ("ordered_at", "erased_at", "caches_until", "backups_until")
    return {
        "erasure": _value(words, "erasure"),
        "origin": origin,
        "person": _value(words, "person"),
        "keys": " ".join(_values(words, "key")),
        "fields": " ".join(each.partition(" ")[0] for each in _values(words, "field")),
        **{name: _moment(_value(words, name)) for name in moments},
        "verified": " ".join(held),
    }


def _export(file: Path, keys: list[str]) -> dict[str, object]:
    """Give what a file is, once its last line holds for all others. Raises NoteRefused."""
    told, counts, last = sha256(), Counter[str](), b""
    with file.open("rb") as lines:
        for line in lines:
            if last:
                told.update(last)
                counts[str(_object(last).get("type"))] += 1
            last = line
    signature = _object(last)
    if signature.get("type") != "signature":
        raise NoteRefused("the file does not end with its signature: it was cut")
    origin, words = _words(_EXPORT, str(signature.get("note")), keys)
    signed = (_value(words, "lines"), _value(words, "sha256"))
    if signed != (str(counts.total()), told.hexdigest()):
        raise NoteRefused("the lines are not those that were signed")
    return {
        "user": _value(words, "user"),
        "origin": origin,
        "exported_at": _moment(_value(words, "exported_at")),
        "lines": counts.total(),
        **{f"{name}_lines": counts[name] for name in ("value", "change", "access")},
    }


def _require_audited(folder: Path, words: Words) -> None:
    """Hold a certificate against an exported audit. Raises NoteRefused."""
    size, _, digest = _value(words, "checkpoint").partition(" ")
    notes = [str(each.get("note")) for each in _lines(folder / "checkpoints.jsonl")]
    named = [each for each in notes if each.splitlines()[1:2] == [size]]
    if digest and named and digest not in map(note_digest, named):
        raise NoteRefused("the audit has another checkpoint than the certificate names")
    wanted = f"erasure {_value(words, 'erasure').rpartition('/')[2]}"
    subjects = _values(words, "subject")
    for entry in _lines(folder / "entries.jsonl"):
        done = entry.get("operation") == "erase" and entry.get("success") is True
        if done and entry.get("details") == wanted and entry.get("subject") in subjects:
            return
    raise NoteRefused("the audit holds no entry of this erasure")


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open("rb") as lines:
            for line in lines:
                yield _object(line)
    except FileNotFoundError:
        raise NoteRefused(f"{path.name} is missing: this is no exported audit") from None


def _object(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        raise NoteRefused("a line is no JSON") from None
    if not isinstance(found, dict):
        raise NoteRefused("a line is no object")
    return found


def _words(kind: str, note: str, keys: list[str]) -> tuple[str, Words]:
    """Give origin and lines of a statement of a kind. Raises NoteRefused."""
    text = signed_text(note, [VerifierKey.read(each) for each in keys])
    said, origin, *lines = [*text.splitlines(), ""]
    if said != kind:
        raise NoteRefused(f"it is no {kind!r}")
    parts = (line.partition(" ") for line in lines if line)
    return origin, [(word, value) for word, _, value in parts]


def _values(words: Words, word: str) -> list[str]:
    return [value for name, value in words if name == word]


def _value(words: Words, word: str) -> str:
    found = _values(words, word)
    if len(found) != 1:
        raise NoteRefused(f"it has not one line {word!r}")
    return found[0]


def _person(user: str) -> str:
    """Make what stands for a person in certificates. Raises NoteRefused."""
    parts = user.split("/")
    try:
        user_id = uuid.UUID(parts[-1]).bytes
    except ValueError:
        raise NoteRefused(f"{user!r} is no tenants/TENANT/users/ID") from None
    if len(parts) != _USER_PARTS or parts[0::2] != ["tenants", "users"]:
        raise NoteRefused(f"{user!r} is no tenants/TENANT/users/ID")
    items = (_PERSON, parts[1].encode(), user_id)
    return sha256(b"".join(len(each).to_bytes(2, "big") + each for each in items)).hexdigest()


def _moment(microseconds: str) -> str:
    return datetime.fromtimestamp(int(microseconds) // 1_000_000, UTC).strftime("%FT%TZ")


def _refused(problem: NoteRefused) -> NoReturn:
    talk.print(f"refused: {problem}", markup=False)
    raise typer.Exit(ExitCode.FAILED_VERDICT)
