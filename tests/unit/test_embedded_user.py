"""The system user of an embedded PostgreSQL, asked for by several processes at once."""

import os
import pwd
import secrets
import shutil
import subprocess
import sys

import pytest

ASK = (
    "import sys; from mesh.embedded.postgres import system_user as u; print(u(sys.argv[1]).pw_uid)"
)


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("userdel") is None, reason="only root makes users"
)
def test_processes_that_ask_at_one_time_get_the_same_user() -> None:
    name = f"secmesh-{secrets.token_hex(4)}"
    try:
        asked = [
            subprocess.Popen([sys.executable, "-c", ASK, name], stdout=subprocess.PIPE, text=True)
            for _ in range(6)
        ]
        told = {process.communicate()[0].strip() for process in asked}
        assert told == {str(pwd.getpwnam(name).pw_uid)}
    finally:
        subprocess.run(["userdel", name], check=False, capture_output=True)
