"""A report of 10,000 results through gRPC, against parse + COPY + upsert without all of that.

Run with ``python -m benchmarks.importing [RESULTS]``. One PostgreSQL; the service is a process of
its own with every interceptor, row-level security, histories and the change feed. The peer is one
connection: it parses the report whole, hashes a fingerprint of each result, and upserts rows into a
table of the same columns, bounds and indexes, without references, triggers and tenants; its rows
must be like ours. CPU counts: that of the service (or this process) and of PostgreSQL together, the
best of three turns, each in a project of its own, without what the timers of an idle service take:
that grows with the time for which others make a report wait. The audit log is written from the
change feed afterwards, and told apart.
"""

import asyncio
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import orjson
import psycopg
from google.api.httpbody_pb2 import HttpBody
from psycopg.sql import SQL, Composed, Identifier

from benchmarks.account.processes import started
from benchmarks.cpu import cpu_seconds, family, settled
from mesh.embedded.postgres import PostgresServer
from mesh.identifiers import new_uuid
from mesh.identity.keys import create_signing_key, sign_token
from mesh.sealing.keyring import create_keys
from secmesh.security.v1.import_service_pb2 import ImportReportRequest
from secmesh.security.v1.import_service_pb2_grpc import ImportServiceStub
from secmesh_client import connect

RESULTS, TURNS = 10_000, 3
FIRST, AGAIN = 3.0, 1.5
"""Times the peer's CPU that a first import may take, and one that finds nothing new."""
DEFECTDOJO = "DefectDojo, by its pull requests 13182 and 13889: 13,000 findings in 400 s (33/s)"
_PART = 1024 * 1024
_IDLE = 10
"""Seconds without calls, in which what timers take is measured."""
_TABLE = "sast_issues"
_KEY = ("tenant_id", "project_id", "branch", "fingerprint")
_ALIKE = (
    *("tenant_id", "project_id", "branch", "rule_id", "message", "file_path", "severity"),
    *("start_line", "start_column", "end_column", "snippet", "security_severity", "status"),
)
"""Columns by which the rows of both are told to be the same."""


def _result(number: int, path: str) -> dict[str, Any]:
    """A result as CodeQL writes it, of about 800 bytes."""
    place = {
        "physicalLocation": {
            "artifactLocation": {"uri": path, "uriBaseId": "%SRCROOT%", "index": number % 700},
            "region": {
                "startLine": number % 900 + 1,
                "startColumn": 5,
                "endColumn": 60,
                "snippet": {"text": f"    return render(request, value_{number}, escape=False)"},
            },
        }
    }
    return {
        "ruleId": f"js/rule-{number % 60}",
        "ruleIndex": number % 60,
        "message": {"text": f"This value flows from a request to a sink, number {number}. " * 3},
        "locations": [place],
        "partialFingerprints": {
            "primaryLocationLineHash": f"{number:016x}:1",
            "primaryLocationStartColumnFingerprint": "4",
        },
        "properties": {"precision": "high", "note": "x" * 120},
    }


def report(count: int, run: str, first: int = 0, moved: int = 0) -> bytes:
    """Write a report of results from a number on; the first of them are in renamed files."""
    rules = [{"id": f"js/rule-{n}", "properties": {"security-severity": "7.5"}} for n in range(60)]
    results = [
        _result(number, f"src/{'new' if number - first < moved else 'old'}/file{number % 700}.js")
        for number in range(first, first + count)
    ]
    tool = {"driver": {"name": "CodeQL", "semanticVersion": "2.20.0", "rules": rules}}
    document = {
        "version": "2.1.0",
        "runs": [{"tool": tool, "results": results, "properties": {"run": run}}],
    }
    return orjson.dumps(document)


def _parts(content: bytes, project: str) -> Iterator[ImportReportRequest]:
    for start in range(0, len(content), _PART):
        part = ImportReportRequest(file=HttpBody(data=content[start : start + _PART]))
        if not start:
            part.parent, part.project = "tenants/acme", project
        yield part


class Peer:
    """Rows by COPY and upsert, made from the report with the fewest steps."""

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        """Take one row that the service made as the pattern of all."""
        self._connection = connection
        cursor = connection.execute(SQL("SELECT * FROM {} LIMIT 0").format(Identifier(_TABLE)))
        self._names = [each.name for each in cursor.description or ()]
        connection.execute("DROP TABLE IF EXISTS peer_issues")
        connection.execute("CREATE TABLE peer_issues (LIKE sast_issues INCLUDING ALL)")
        statement = SQL(
            "COPY (SELECT * FROM {} ORDER BY create_time DESC LIMIT 1) TO STDOUT"
        ).format(Identifier(_TABLE))
        with connection.cursor().copy(statement) as copy:
            line = b"".join(bytes(each) for each in copy)
        self._pattern = line.decode().rstrip("\n").split("\t")
        self._rules = dict(connection.execute("SELECT key, id FROM sast_rules").fetchall())
        connection.commit()

    def run(self, content: bytes) -> None:
        """Import a report."""
        lines = "".join(self._lines(orjson.loads(content)["runs"][0]["results"]))
        changed = [name for name in self._names if name not in (*_KEY, "id", "create_time", "etag")]
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.execute("CREATE TEMP TABLE staged (LIKE peer_issues) ON COMMIT DROP")
            with cursor.copy("COPY staged FROM STDIN") as copy:
                copy.write(lines)
            cursor.execute(
                SQL(
                    "INSERT INTO peer_issues SELECT * FROM staged ON CONFLICT ({key}) DO UPDATE "
                    "SET ({changed}) = ({new}) WHERE ({old}) IS DISTINCT FROM ({new})"
                ).format(
                    key=_listed(_KEY),
                    changed=_listed(changed),
                    new=_listed(changed, "excluded"),
                    old=_listed(changed, "peer_issues"),
                )
            )

    def _lines(self, results: list[dict[str, Any]]) -> Iterator[str]:
        at = {name: place for place, name in enumerate(self._names)}
        for each in results:
            place = each["locations"][0]["physicalLocation"]
            path, region = place["artifactLocation"]["uri"], place["region"]
            partial, snippet = each["partialFingerprints"], region["snippet"]["text"]
            told = hashlib.sha256(f"{each['ruleId']}\0{path}\0{partial}".encode()).hexdigest()
            fields = self._pattern.copy()
            fields[at["id"]], fields[at["fingerprint"]] = new_uuid(), told
            fields[at["rule_id"]] = self._rules[f"CodeQL:{each['ruleId']}"]
            fields[at["message"]] = each["message"]["text"]
            fields[at["file_path"]], fields[at["start_line"]] = path, str(region["startLine"])
            fields[at["start_column"]] = str(region["startColumn"])
            fields[at["end_column"]] = str(region["endColumn"])
            fields[at["snippet"]] = snippet
            fields[at["line_hash"]] = hashlib.sha256(snippet.strip().encode()).hexdigest()
            known = {f"partialFingerprints/{name}": value for name, value in partial.items()}
            fields[at["partial_fingerprints"]] = orjson.dumps(
                {"secmesh/v1": told, **known}
            ).decode()
            yield "\t".join(fields) + "\n"

    def differing(self) -> int:
        """Count the rows of the peer that the service does not have alike."""
        same = SQL(" AND ").join(
            SQL("ours.{name} = peer_issues.{name}").format(name=Identifier(name)) for name in _ALIKE
        )
        query = SQL(
            "SELECT count(*) FROM peer_issues "
            "WHERE NOT EXISTS (SELECT FROM sast_issues ours WHERE {})"
        )
        row = self._connection.execute(query.format(same)).fetchone()
        return int(row[0]) if row else -1


def _listed(names: Any, *table: str) -> Composed:
    return SQL(", ").join(Identifier(*table, name) for name in names)


async def main(count: int) -> int:
    """Print the CPU of each step, and its ratio to the peer's."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        create_signing_key(folder / "keys")
        create_keys(folder / "sealing.keys")
        with PostgresServer(folder / "data") as postgres:
            access = postgres.create_isolated_database("bench")
            environment = {
                "DATABASE_URL": access.application,
                "DATABASE_MIGRATE_URL": access.owner,
                "SECMESH_HOME": str(folder),
                "SECMESH_SECURITY_SEALING_KEYS": str(folder / "sealing.keys"),
            }
            arguments = ["services.security", "serve"]
            async with started("server", arguments, environment, folder) as (told, pid):
                token = sign_token(
                    folder / "keys", subject="bench", tenant="acme", roles=["operator"]
                )
                channel = connect(told["address"], token=token)
                postmaster = int((folder / "data" / "postmaster.pid").read_text().split()[0])
                return await asyncio.to_thread(
                    measure, channel, access.owner, (pid, postmaster), count
                )


def measure(channel: grpc.Channel, url: str, processes: tuple[int, int], count: int) -> int:
    """Run the steps in the order in which a project lives through them; the best of some turns."""
    stub: Any = ImportServiceStub(channel)
    pid, postmaster = processes

    def pids() -> list[int]:
        return [pid, *family(postmaster)]

    # What a process makes once, on the first call of each way, is no part of a report's cost.
    for content in _life(60).values():
        stub.ImportReport(_parts(content, "warm"))
    settled(pids)
    idle = cpu_seconds(pids())
    time.sleep(_IDLE)
    idle = (cpu_seconds(pids()) - idle) / _IDLE
    print(f"the service and PostgreSQL without calls: CPU {idle:.3f} s a second, not counted below")
    spent: dict[str, list[float]] = {}
    differing = 0
    for turn in range(TURNS):
        for step, content in _life(count).items():
            settled(pids)
            cpu, began = cpu_seconds(pids()), time.perf_counter()
            answer = stub.ImportReport(_parts(content, f"bench {turn}"))
            seconds = time.perf_counter() - began
            taken = cpu_seconds(pids()) - cpu - idle * seconds
            spent.setdefault(step, []).append(taken)
            print(f"{step:<30} {seconds:6.2f} s, CPU {taken:5.2f} s  {_counts(answer)}")
            print(f"{'':<30} afterwards, the audit log: CPU {settled(pids):5.2f} s", flush=True)
            if step == "first":
                differing += _peer(url, postmaster, content, spent)
    return _judge({step: min(taken) for step, taken in spent.items()}, count, differing)


def _judge(spent: Mapping[str, float], count: int, differing: int) -> int:
    base = spent["peer, first"]
    for step, taken in spent.items():
        print(f"{step:<30} at best CPU {taken:5.2f} s, {taken / base:5.2f} times the peer's first")
    print(f"at most {FIRST} for the first, {AGAIN} for what was seen before")
    print(f"{count / spent['first']:,.0f} results a second of CPU; {DEFECTDOJO}")
    within = spent["first"] <= FIRST * base and spent["same results"] <= AGAIN * base
    return 0 if within and not differing else 1


def _life(count: int) -> dict[str, bytes]:
    twentieth = count // 20
    return {
        "first": report(count, "1"),
        "same file": report(count, "1"),
        "same results": report(count, "2"),
        "5 % new, 5 % gone, 10 % moved": report(count, "3", first=twentieth, moved=2 * twentieth),
    }


def _counts(answer: Any) -> dict[str, int]:
    return {
        field.name: value
        for each in answer.counts
        if each.collection == _TABLE
        for field, value in each.ListFields()
        if field.name != "collection"
    }


def _peer(url: str, postmaster: int, content: bytes, spent: dict[str, list[float]]) -> int:
    """Let the peer import a report twice; give how many of its rows are not like ours."""
    with psycopg.connect(url) as connection:
        peer = Peer(connection)
        for step in ("peer, first", "peer, same results"):
            cpu, began = cpu_seconds([os.getpid(), *family(postmaster)]), time.perf_counter()
            peer.run(content)
            seconds = time.perf_counter() - began
            taken = cpu_seconds([os.getpid(), *family(postmaster)]) - cpu
            spent.setdefault(step, []).append(taken)
            print(f"{step:<30} {seconds:6.2f} s, CPU {taken:5.2f} s")
        if differing := peer.differing():
            print(f"{differing} rows of the peer are not like ours")
        return differing


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else RESULTS)))
