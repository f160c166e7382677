"""How the versions of a credential follow one another: pure changes of a Credential message."""

from secmesh.tenancy.v1 import credential_pb2 as pb
from services.tenancy.clock import MICROSECONDS
from services.tenancy.retention import timestamp

PENDING = pb.CREDENTIAL_VERSION_STATE_PENDING
CURRENT = pb.CREDENTIAL_VERSION_STATE_CURRENT
PREVIOUS = pb.CREDENTIAL_VERSION_STATE_PREVIOUS
KEPT = pb.CREDENTIAL_VERSION_STATE_KEPT
REFUSED = pb.CREDENTIAL_VERSION_STATE_REFUSED
ROLLED_BACK = pb.CREDENTIAL_VERSION_STATE_ROLLED_BACK
RETIRED = pb.CREDENTIAL_VERSION_STATE_RETIRED
USABLE = frozenset({CURRENT, PREVIOUS, KEPT})
LIVE = USABLE | {PENDING}

MAX_USABLE = 10
"""Versions that can be used. Each has a stage of its own, of which a secret takes 20 at most."""
MAX_LISTED = 20
ROTATION_SECONDS = 120
"""After which a rotation that never ended keeps others out no longer."""
WATCH_SECONDS = 600
"""For which a version that stops working is taken back by itself."""


def stage_of(number: int) -> str:
    """Give the staging label of a version: values are read by it, so that all read the same."""
    return f"v{number}"


def find(credential: pb.Credential, number: int) -> pb.CredentialVersion | None:
    """Give a version by its number."""
    return next((each for each in credential.versions if each.version == number), None)


def find_id(credential: pb.Credential, version_id: str) -> pb.CredentialVersion | None:
    """Give a version by its id in Secrets Manager."""
    return next((each for each in credential.versions if each.version_id == version_id), None)


def in_state(
    credential: pb.Credential, state: "pb.CredentialVersionState.ValueType"
) -> pb.CredentialVersion | None:
    """Give the newest version in a state."""
    return next((each for each in credential.versions if each.state == state), None)


def is_deleted(credential: pb.Credential) -> bool:
    """Tell whether it can be undeleted, and not used."""
    return credential.HasField("delete_time")


def add(
    credential: pb.Credential, version_id: str, key_id: str, subject: str, now: int
) -> pb.CredentialVersion:
    """Add a version that is pending, with the next number; one that was pending is given up."""
    for each in credential.versions:
        if each.state == PENDING:
            each.state, each.reason = REFUSED, "abandoned"
    credential.last_version += 1
    added = pb.CredentialVersion(
        version=credential.last_version,
        version_id=version_id,
        state=PENDING,
        key_id=key_id,
        create_time=timestamp(now),
        created_by=subject,
    )
    _replace(credential, [added, *credential.versions])
    found = credential.versions[0]
    credential.update_time.CopyFrom(timestamp(now))
    return found


def promote(credential: pb.Credential, number: int, now: int, *, watch: bool) -> None:
    """Use a version from now on; the oldest that is more than can be used is forgotten."""
    _use(credential, number, PREVIOUS)
    credential.ClearField("rotation_end_time")
    if watch:
        credential.watch_end_time.CopyFrom(timestamp(now + WATCH_SECONDS * MICROSECONDS))
    else:
        credential.ClearField("watch_end_time")
    credential.update_time.CopyFrom(timestamp(now))
    _drop_oldest(credential)


def refuse(credential: pb.Credential, number: int, reason: str, now: int) -> None:
    """Note that a version failed its test."""
    found = find(credential, number)
    if found is not None:
        found.state, found.reason = REFUSED, reason
    credential.ClearField("rotation_end_time")
    credential.update_time.CopyFrom(timestamp(now))


def retire(credential: pb.Credential, key_id: str, now: int) -> bool:
    """Note that the key of versions that are not used is deleted; tells whether it was news."""
    told = False
    for each in credential.versions:
        if each.key_id == key_id and each.state in USABLE - {CURRENT}:
            each.state, told = RETIRED, True
    if told:
        credential.update_time.CopyFrom(timestamp(now))
    return told


def roll_back(credential: pb.Credential, number: int, now: int) -> None:
    """Put an older version back in use; the one that was used is the previous then."""
    _use(credential, number, PREVIOUS)
    credential.ClearField("watch_end_time")
    credential.update_time.CopyFrom(timestamp(now))


def take_back(credential: pb.Credential, reason: str, now: int) -> bool:
    """Put the previous version back in use because the current one stopped working.

    Tells whether there was one to go back to.
    """
    previous = in_state(credential, PREVIOUS)
    current = in_state(credential, CURRENT)
    if previous is None or current is None:
        return False
    _use(credential, previous.version, ROLLED_BACK)
    current.reason = reason
    credential.ClearField("watch_end_time")
    credential.update_time.CopyFrom(timestamp(now))
    return True


def _use(
    credential: pb.Credential, number: int, state_of_last: "pb.CredentialVersionState.ValueType"
) -> None:
    for each in credential.versions:
        if each.version == number:
            each.state = CURRENT
        elif each.state == CURRENT:
            each.state = state_of_last
        elif each.state == PREVIOUS:
            each.state = KEPT
    credential.current_version = number


def _drop_oldest(credential: pb.Credential) -> None:
    usable = [each for each in credential.versions if each.state in USABLE]
    # The current and the previous one stay, however old a rollback made them.
    spare = [each for each in usable if each.state == KEPT]
    surplus = spare[MAX_USABLE - (len(usable) - len(spare)) :]
    numbers = {each.version for each in surplus}
    _replace(credential, [each for each in credential.versions if each.version not in numbers])


def _replace(credential: pb.Credential, versions: list[pb.CredentialVersion]) -> None:
    unusable = [each for each in versions if each.state not in USABLE]
    forgotten = {each.version for each in unusable[MAX_LISTED - MAX_USABLE - 1 :]}
    kept = []
    for each in versions:
        if each.version not in forgotten or each.state == PENDING:
            copy = pb.CredentialVersion()
            copy.CopyFrom(each)
            kept.append(copy)
    del credential.versions[:]
    credential.versions.extend(kept)
