"""How backups fail."""


class BackupProblem(Exception):
    """A backup could not be made or used; the message says why, without data."""


class BackupBroken(BackupProblem):
    """A backup that is not what was written."""


class BackupUnfit(BackupProblem):
    """A whole backup of another kind of store."""


class BackupUnknown(BackupProblem):
    """There is no such backup."""


class BackupsBusy(BackupProblem):
    """A backup or a restore is going on, here or in another process."""


class BackupStopped(BackupProblem):
    """Its caller gave up; nothing was changed."""
