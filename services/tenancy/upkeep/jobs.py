"""Which jobs there are, and what they are made of."""

import os
import secrets
import socket
from collections.abc import Sequence

from secmesh.tenancy.v1.tenant_pb2 import TENANT_STATUS_ACTIVE
from services.tenancy.credentials.access_retention import AccessRetention
from services.tenancy.credentials.scheduled_rotation import ScheduledRotation
from services.tenancy.offboarding import OFFBOARDING
from services.tenancy.onboarding.verification import Verifier
from services.tenancy.parts import Parts
from services.tenancy.settings import TenancySettings
from services.tenancy.upkeep.job import Job
from services.tenancy.upkeep.leavings import Leavings
from services.tenancy.upkeep.prunings import Prunings
from services.tenancy.upkeep.rotations import Rotations
from services.tenancy.upkeep.upkeep import Upkeep, UpkeepPace
from services.tenancy.upkeep.verifications import Verifications

VERIFY, ROTATE, OFFBOARD = "reverify", "rotate-credentials", "offboard"
PRUNE = "prune-access-logs"
PRUNE_SECONDS = 86_400
"""From one look at the access logs to the next."""
LOOKS = 24
"""For accounts to be verified again, in the time after which they are."""


def verifications(parts: Parts, verifier: Verifier, older_than: float) -> Verifications:
    """Give what verifies the accounts of all active tenants again; ``older_than`` in seconds."""
    active = parts.tenants.listed(TENANT_STATUS_ACTIVE)
    return Verifications(parts.store, parts.clock, parts.chance, verifier, active, older_than)


def rotations(parts: Parts, scheduled: ScheduledRotation) -> Rotations:
    """Give what changes the keys of all active tenants."""
    active = parts.tenants.listed(TENANT_STATUS_ACTIVE)
    return Rotations(parts.store, parts.clock, parts.chance, scheduled, active)


def prunings(parts: Parts, retention: AccessRetention) -> Prunings:
    """Give what removes old entries from the access logs of all active tenants."""
    active = parts.tenants.listed(TENANT_STATUS_ACTIVE)
    return Prunings(parts.store, parts.clock, parts.chance, retention, active)


def leavings(parts: Parts, rest: float) -> Leavings:
    """Give what goes on with tenants that leave; ``rest`` in seconds."""
    leaving = parts.tenants.listed(OFFBOARDING)
    return Leavings(parts.store, parts.clock, parts.chance, parts.offboarding, leaving, rest)


def jobs_of(parts: Parts) -> Sequence[Job]:
    """Give all jobs; those of credentials where this process has any of AWS."""
    settings, credentials, verifier = parts.settings, parts.credentials, parts.verifier
    rest = settings.upkeep_offboard_seconds
    jobs = [Job(OFFBOARD, rest, leavings(parts, rest).run)]
    if verifier is not None:
        age = settings.upkeep_reverify_seconds
        jobs.append(Job(VERIFY, age / LOOKS, verifications(parts, verifier, age).run))
    if credentials is not None:
        jobs.append(Job(PRUNE, PRUNE_SECONDS, prunings(parts, credentials.retention).run))
    if credentials is not None and credentials.scheduled is not None:
        run = rotations(parts, credentials.scheduled).run
        jobs.append(Job(ROTATE, settings.upkeep_rotate_seconds, run))
    return jobs


def upkeep_of(parts: Parts) -> Upkeep:
    """Give this process's part in the upkeep."""
    settings: TenancySettings = parts.settings
    # Another process, also of the same number on this host, must have another name.
    owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"[:128]
    pace = UpkeepPace(lease=settings.lease_seconds)
    return Upkeep(parts.store, parts.clock, parts.chance, jobs_of(parts), owner, pace)
