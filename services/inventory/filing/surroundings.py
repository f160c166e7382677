"""The accounts and the framework that filed records refer to."""

from collections.abc import Iterable, Sequence

from mesh.errors import InternalError
from secmesh.security.v1 import cloud_account_pb2, compliance_framework_pb2
from secmesh.security.v1.record_pb2 import Record
from services.inventory.compliance.controls import load_controls
from services.inventory.filing.security import Security

AWS = cloud_account_pb2.CLOUD_PROVIDER_AWS
ACCOUNTS, FRAMEWORKS, ASSETS = "cloud_accounts", "compliance_frameworks", "cloud_assets"
_CODE, _VERSION = "NIST-800-53", "5"


class Surroundings:
    """Finds what is there already, and adds what is missing. What is there stays as it is."""

    def __init__(self, security: Security, parent: str) -> None:
        self._security = security
        self._parent = parent

    async def accounts(self) -> dict[str, str]:
        """Give the names of the records of AWS accounts by the cloud's ids."""
        found = await self._security.records(
            f"{self._parent}/{ACCOUNTS}", "provider == CLOUD_PROVIDER_AWS"
        )
        return {record.cloud_account.account_uid: record.name for record in found}

    async def add_accounts(self, uids: Iterable[str]) -> dict[str, str]:
        """Record accounts; give their names by the cloud's ids."""
        wanted = sorted({*uids})
        records = [
            Record(
                cloud_account=cloud_account_pb2.CloudAccount(
                    provider=AWS,
                    account_uid=uid,
                    name=uid,
                    status=cloud_account_pb2.CLOUD_ACCOUNT_STATUS_CONNECTED,
                )
            )
            for uid in wanted
        ]
        return dict(zip(wanted, await self._added(records), strict=True))

    async def framework(self, *, makes: bool) -> str:
        """Give the name of the record of NIST SP 800-53; empty if there is none, unless made."""
        found = await self._security.records(
            f"{self._parent}/{FRAMEWORKS}", f'code == "{_CODE}" && version == "{_VERSION}"'
        )
        if found:
            return found[0].name
        return (await self._added([self._framework()]))[0] if makes else ""

    @staticmethod
    def _framework() -> Record:
        controls = [each for each in load_controls().values() if not each.withdrawn]
        body = compliance_framework_pb2.ComplianceFramework(
            code=_CODE,
            name="NIST SP 800-53 Rev. 5",
            version=_VERSION,
            publisher="NIST",
            category=compliance_framework_pb2.FRAMEWORK_CATEGORY_SECURITY,
            status=compliance_framework_pb2.FRAMEWORK_STATUS_ACTIVE,
            control_count=len(controls),
        )
        return Record(compliance_framework=body)

    async def _added(self, records: Sequence[Record]) -> list[str]:
        if not records:
            return []
        results = await self._security.ingest(self._parent, records)
        if lost := next((each for each in results if not each.name), None):
            # What is written here keeps to the contract; a caller can do nothing about it.
            raise InternalError from RuntimeError(lost.error.message)
        return [each.name for each in results]
