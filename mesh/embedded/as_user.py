"""Becomes another user, and then another program: ``python as_user.py USER PROGRAM ARGUMENT...``.

``subprocess`` with a user forks, instead of starting a program at once, and what gRPC does at a
fork can hang the child before it is the program.
"""

import os
import pwd
import sys


def main(user: str, *command: str) -> None:
    """Become the user with its groups, and run the command in place of this process."""
    entry = pwd.getpwnam(user)
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.execv(command[0], command)  # noqa: S606 - a program of this project's, without a shell


if __name__ == "__main__":
    main(*sys.argv[1:])
