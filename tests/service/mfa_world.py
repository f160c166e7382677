"""Users with generators of one-time passwords, of a served database."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from mesh.contract.names import tenant_of
from mesh.embedded.postgres import Access
from mesh.records.moments import now
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest, ListRecordsRequest
from secmesh.security.v1 import mfa_service_pb2 as pb
from secmesh.security.v1.mfa_service_pb2_grpc import MfaServiceStub
from secmesh.security.v1.record_write_pb2 import UpdateRecordRequest
from services.security.mfa import totp
from tests.databases import security_database
from tests.service.security_world import KINDS, World, served

USERS = KINDS["users"]


@dataclass
class Generator:
    """What a user's phone holds, and the device that it stands for."""

    name: str
    user: str
    uri: str

    @property
    def secret(self) -> str:
        return parse_qs(urlsplit(self.uri).query)["secret"][0]

    @property
    def settings(self) -> totp.Settings:
        query = parse_qs(urlsplit(self.uri).query)
        return totp.Settings(digits=int(query["digits"][0]), period=int(query["period"][0]))

    def code(self, steps: int = 0, moment: int | None = None) -> str:
        """Give what it shows, so many time steps from now."""
        step = totp.step_at(now() if moment is None else moment, self.settings)
        return totp.password(self.secret, step + steps, self.settings)

    def next(self) -> str:
        """Give what it shows next, which is taken even if that moment comes meanwhile."""
        return self.code(1)

    def wrong(self, moment: int | None = None) -> str:
        """Give a code that is none of its window."""
        taken = {self.code(steps, moment) for steps in range(-2, 3)}
        digits = self.settings.digits
        return next(text for each in range(10) if (text := str(each).zfill(digits)) not in taken)


def lasting_period() -> int:
    """Give a period in seconds whose present time step goes on for more than a minute."""
    second = now() // 1_000_000
    return max(range(200, 301), key=lambda period: -second % period)


@dataclass
class Factors:
    """A served database, and stubs of the service by who calls."""

    world: World
    access: Access
    home: Path
    _number: int = 0

    @property
    def stub(self) -> Any:
        return self.stub_of("acme", "admin")

    def stub_of(self, tenant: str, *roles: str, **claims: Any) -> Any:
        return self.world.stub_of(tenant, MfaServiceStub, *roles, **claims)

    def user(self) -> str:
        """Create a user without a password, and give the name."""
        self._number += 1
        (request,) = self.world.plan(USERS, f"factor{self._number}", whole=False)
        return str(self.world.stub.CreateRecord(request).name)

    def enroll(self, user: str = "", **fields: Any) -> Generator:
        """Register a generator that is not confirmed."""
        user = user or self.user()
        request = pb.EnrollTotpRequest(parent=user, display_name="phone", **fields)
        answer = self.stub.EnrollTotp(request)
        return Generator(answer.device.name, user, answer.otpauth_uri)

    def generator(self, user: str = "", **fields: Any) -> Generator:
        """Register a generator and confirm it; what it shows next is taken already."""
        made = self.enroll(user, **fields)
        self.confirm(made, made.code())
        return made

    def confirm(self, generator: Generator, code: str) -> Any:
        return self.stub.ConfirmTotp(pb.ConfirmTotpRequest(name=generator.name, code=code))

    def verify(self, generator: Generator, code: str, **fields: Any) -> Any:
        request = pb.VerifyTotpRequest(name=generator.name, code=code, **fields)
        return self.stub.VerifyTotp(request)

    def codes(self, user: str, **fields: Any) -> list[str]:
        request = pb.CreateBackupCodesRequest(parent=user, **fields)
        return list(self.stub.CreateBackupCodes(request).codes)

    def use(self, user: str, code: str, **fields: Any) -> Any:
        request = pb.UseBackupCodeRequest(parent=user, code=code, **fields)
        return self.stub.UseBackupCode(request)

    def read(self, name: str) -> Any:
        return self.world.stub.GetRecord(GetRecordRequest(name=name))

    def change(self, record: Any) -> Any:
        return self.world.stub.UpdateRecord(UpdateRecordRequest(record=record))

    def log(self, name: str) -> list[Any]:
        """Give what MfaService wrote into the audit log about a record, oldest first."""
        request = ListRecordsRequest(
            parent=f"tenants/{tenant_of(name)}/iam_audit_logs",
            filter=f'target_id == "{name.rpartition("/")[2]}" && operation.startsWith("mfa.")',
            order_by="event_time",
            page_size=1000,
        )
        return [each.iam_audit_log for each in self.world.stub.ListRecords(request).records]


@pytest.fixture(scope="session")
def factors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Factors]:
    """A server that logs all it can, so that what it never logs can be looked for."""
    home = tmp_path_factory.mktemp("factors")
    with security_database() as access, ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            # Of the process alone: other tests read the environment, too.
            patch.setenv("DEBUG", "1")
            world = stack.enter_context(served(access, home))
        yield Factors(world, access, home)
