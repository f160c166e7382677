"""What the inventory service refuses, beside the refusals every service shares."""

from collections.abc import Sequence

from mesh.errors import Reason, Refusal
from secmesh.inventory.v1 import error_reason_pb2


def _reason(value: int) -> Reason:
    return Reason(error_reason_pb2.ErrorReason, value)


class SspInvalid(Refusal):
    """A document that is no System Security Plan; the pointer (RFC 6901) says where."""

    reason = _reason(error_reason_pb2.ERROR_REASON_SSP_INVALID)

    def __init__(self, pointer: str, problem: str) -> None:
        place = f"document{pointer and ' at '}{pointer}"
        super().__init__(f"{place}: {problem}", metadata={"pointer": pointer})
        self.pointer = pointer
        self.problem = problem


class CatalogInvalid(Refusal):
    """A document that is no OSCAL catalog; the pointer (RFC 6901) or line says where."""

    reason = _reason(error_reason_pb2.ERROR_REASON_CATALOG_INVALID)

    def __init__(self, pointer: str, problem: str) -> None:
        place = f"document{pointer and ' at '}{pointer}"
        super().__init__(f"{place}: {problem}", metadata={"pointer": pointer})


class AccountUnreachable(Refusal):
    """The server has no credentials that reach the account."""

    reason = _reason(error_reason_pb2.ERROR_REASON_ACCOUNT_UNREACHABLE)

    def __init__(self, cloud_account_id: str, problem: str) -> None:
        super().__init__(problem, metadata={"cloud_account_id": cloud_account_id})


class AccountNotGranted(Refusal):
    """The operator has not given the account to the tenant."""

    reason = _reason(error_reason_pb2.ERROR_REASON_ACCOUNT_NOT_GRANTED)

    def __init__(self, cloud_account_id: str) -> None:
        super().__init__(
            f"account {cloud_account_id} is not given to this tenant",
            metadata={"cloud_account_id": cloud_account_id},
        )


class AccountMismatch(Refusal):
    """An account of the tenancy service that is not the AWS account asked for."""

    reason = _reason(error_reason_pb2.ERROR_REASON_ACCOUNT_MISMATCH)

    def __init__(self, account: str, cloud_account_id: str) -> None:
        super().__init__(
            f"{account} is another account than {cloud_account_id}",
            metadata={"account": account, "cloud_account_id": cloud_account_id},
        )


class CollectionUnknown(Refusal):
    """A collection that is not collected."""

    reason = _reason(error_reason_pb2.ERROR_REASON_COLLECTION_UNKNOWN)

    def __init__(self, collection: str) -> None:
        super().__init__(f"{collection!r} is not collected", metadata={"collection": collection})


class SyncRunning(Refusal):
    """The account is being collected already."""

    reason = _reason(error_reason_pb2.ERROR_REASON_SYNC_RUNNING)

    def __init__(self, sync: str) -> None:
        super().__init__(f"{sync} is collecting the account", metadata={"sync": sync})


class EventsWaiting(Refusal):
    """The account is being read, or was just now; what events told of waits."""

    reason = _reason(error_reason_pb2.ERROR_REASON_EVENTS_WAITING)

    def __init__(self, cloud_account_id: str) -> None:
        super().__init__(
            f"account {cloud_account_id} is being read, or was just now: post the events again",
            metadata={"cloud_account_id": cloud_account_id},
        )


class SyncInterrupted(Refusal):
    """The run broke off and cannot be resumed."""

    reason = _reason(error_reason_pb2.ERROR_REASON_SYNC_INTERRUPTED)

    def __init__(self, sync: str) -> None:
        super().__init__(
            f"{sync} was interrupted and cannot be resumed; start another",
            metadata={"sync": sync},
        )


class SyncEnded(Refusal):
    """The run has ended in a state that nothing more is done about."""

    reason = _reason(error_reason_pb2.ERROR_REASON_SYNC_ENDED)

    def __init__(self, sync: str, state: str) -> None:
        super().__init__(f"{sync} has ended: {state}", metadata={"sync": sync, "state": state})


class NothingCollected(Refusal):
    """Nothing was ever collected that a plan could be compared with."""

    reason = _reason(error_reason_pb2.ERROR_REASON_NOTHING_COLLECTED)

    def __init__(self, accounts: Sequence[str]) -> None:
        of = f" of {', '.join(accounts[:5])}{' and more' if accounts[5:] else ''}"
        super().__init__(
            f"nothing has been collected{of if accounts else ''} yet; start a sync first"
        )


class NothingToPlan(Refusal):
    """An assessment without a weakness, of which there is no POA&M."""

    reason = _reason(error_reason_pb2.ERROR_REASON_NOTHING_TO_PLAN)

    def __init__(self, assessment: str) -> None:
        super().__init__(
            f"{assessment} found no weakness, and OSCAL knows no POA&M without one",
            metadata={"assessment": assessment},
        )


class WebhooksUnavailable(Refusal):
    """There can be no webhooks, because the operator gave no keys to seal their secrets by."""

    reason = _reason(error_reason_pb2.ERROR_REASON_WEBHOOKS_UNAVAILABLE)

    def __init__(self) -> None:
        super().__init__("the inventory service was given no sealing keys to keep secrets by")


class ConfirmationMissing(Refusal):
    """A request to destroy something that does not say again what."""

    reason = _reason(error_reason_pb2.ERROR_REASON_CONFIRMATION_MISSING)

    def __init__(self, field: str, repeated: str) -> None:
        super().__init__(f"{field} must repeat {repeated}", metadata={"field": field})


class BackupsBusy(Refusal):
    """A backup or a restore is going on."""

    reason = _reason(error_reason_pb2.ERROR_REASON_BACKUPS_BUSY)


class BackupBroken(Refusal):
    """A backup that is not what was written."""

    reason = _reason(error_reason_pb2.ERROR_REASON_BACKUP_BROKEN)

    def __init__(self, backup: str, problem: str) -> None:
        super().__init__(f"{backup or 'the backup'}: {problem}", metadata={"backup": backup})


class BackupUnfit(Refusal):
    """A backup of another kind of store."""

    reason = _reason(error_reason_pb2.ERROR_REASON_BACKUP_UNFIT)

    def __init__(self, backup: str, problem: str) -> None:
        super().__init__(f"{backup}: {problem}", metadata={"backup": backup})


class BackupFailed(Refusal):
    """A backup could not be written or restored; the store is as it was."""

    reason = _reason(error_reason_pb2.ERROR_REASON_BACKUP_FAILED)


class FilingUnavailable(Refusal):
    """Nothing can be filed, because the operator has not said where."""

    reason = _reason(error_reason_pb2.ERROR_REASON_FILING_UNAVAILABLE)

    def __init__(self) -> None:
        super().__init__("the inventory service was not told where the security service is")


class AssessmentSuperseded(Refusal):
    """An assessment that is older than what is known of its accounts."""

    reason = _reason(error_reason_pb2.ERROR_REASON_ASSESSMENT_SUPERSEDED)

    def __init__(self, newer: str) -> None:
        super().__init__(f"{newer} is newer; file that one", metadata={"assessment": newer})


class ApproverIsRequester(Refusal):
    """Who proposed an exception wants to approve it."""

    reason = _reason(error_reason_pb2.ERROR_REASON_APPROVER_IS_REQUESTER)

    def __init__(self, exception: str) -> None:
        super().__init__(
            f"{exception} must be approved by another person than proposed it",
            metadata={"check_exception": exception},
        )


class ExceptionSettled(Refusal):
    """An exception about which it was decided, or whose time is over."""

    reason = _reason(error_reason_pb2.ERROR_REASON_EXCEPTION_SETTLED)

    def __init__(self, exception: str, state: str) -> None:
        super().__init__(
            f"{exception} is {state}; propose another",
            metadata={"check_exception": exception, "state": state},
        )


class DiscoveryUnavailable(Refusal):
    """No organization can be read, because the operator has not said where sessions come from."""

    reason = _reason(error_reason_pb2.ERROR_REASON_DISCOVERY_UNAVAILABLE)

    def __init__(self) -> None:
        super().__init__("the inventory service was not told where the tenancy service is")


class OrganizationNotInUse(Refusal):
    """An account without an organization."""

    reason = _reason(error_reason_pb2.ERROR_REASON_ORGANIZATION_NOT_IN_USE)

    def __init__(self, cloud_account_id: str) -> None:
        super().__init__(
            f"account {cloud_account_id} is in no organization",
            metadata={"cloud_account_id": cloud_account_id},
        )


class OrganizationDenied(Refusal):
    """An account that may not list the accounts of its organization."""

    reason = _reason(error_reason_pb2.ERROR_REASON_ORGANIZATION_DENIED)

    def __init__(self, cloud_account_id: str, management_account_id: str, action: str) -> None:
        """``management_account_id`` is empty if AWS did not say even that."""
        problem = f"the session in account {cloud_account_id} lacks {action}"
        if management_account_id not in ("", cloud_account_id):
            problem = (
                f"AWS refuses {action} in account {cloud_account_id}: account "
                f"{management_account_id} manages the organization; discover by that one, or "
                f"make this one a delegated administrator that has the action"
            )
        super().__init__(
            problem,
            metadata={
                "cloud_account_id": cloud_account_id,
                "management_account_id": management_account_id,
                "action": action,
            },
        )


class OrganizationUnread(Refusal):
    """An organization that AWS did not list whole."""

    reason = _reason(error_reason_pb2.ERROR_REASON_ORGANIZATION_UNREAD)

    def __init__(self, cloud_account_id: str, operation: str, code: str) -> None:
        super().__init__(
            f"AWS did not answer {operation} in account {cloud_account_id}: {code}; nothing was "
            f"changed, try again later",
            metadata={"cloud_account_id": cloud_account_id, "operation": operation, "code": code},
        )
