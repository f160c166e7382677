"""Proves that an account may be entered, that nobody else may by our name, and which it is.

Whoever knows a role's ARN could register it as theirs and have us enter it for them (the
confused deputy): a role that takes a wrong external id, or none, is refused.
"""

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from secmesh.tenancy.v1 import account_pb2 as pb
from secmesh.tenancy.v1 import credential_access_pb2
from secmesh.tenancy.v1 import onboarding_service_pb2 as onboarding
from services.tenancy.account_status import ACTIVE, FAILED, VERIFIABLE, VERIFIED, Status, word_of
from services.tenancy.accounts import ACCOUNT, Accounts
from services.tenancy.clock import MICROSECONDS
from services.tenancy.credentials.accesses import Use
from services.tenancy.credentials.credential_store import Found
from services.tenancy.credentials.errors import AccountEntryDenied, tokens_refusal
from services.tenancy.credentials.parts import CredentialParts
from services.tenancy.credentials.sts import (
    AssumptionDenied,
    KeysRefused,
    Scope,
    Session,
    TokensError,
)
from services.tenancy.credentials.vending import Wanted, session_name
from services.tenancy.errors import AccountStatusUnfit
from services.tenancy.onboarding.probes import PROBES, Outcome

VERIFY = credential_access_pb2.CREDENTIAL_ACTION_VERIFY
PASSED = onboarding.CHECK_OUTCOME_PASSED
FAILED_CHECK = onboarding.CHECK_OUTCOME_FAILED
UNKNOWN = onboarding.CHECK_OUTCOME_UNKNOWN
ENTRY, WRONG, NONE, IDENTITY = (
    "entry",
    "external_id_wrong_refused",
    "external_id_missing_refused",
    "identity",
)
DAY_SECONDS = 24 * 3600
_EXTERNAL_ID_BYTES = 16
_OUTCOMES = {Outcome.GRANTED: PASSED, Outcome.DENIED: FAILED_CHECK, Outcome.UNKNOWN: UNKNOWN}


@dataclass
class Report:
    """What was looked at."""

    checks: list[onboarding.VerificationCheck] = field(default_factory=list)

    def note(
        self, check: str, outcome: "onboarding.CheckOutcome.ValueType", reason: str = ""
    ) -> bool:
        """Add a check; tells whether it passed."""
        made = onboarding.VerificationCheck(check=check, outcome=outcome, reason=reason)
        self.checks.append(made)
        return outcome == PASSED

    @property
    def entry_problem(self) -> str:
        """The first thing that is wrong with how the account is entered; "" if nothing is."""
        entry = {ENTRY, WRONG, NONE, IDENTITY}
        bad = (each for each in self.checks if each.check in entry and each.outcome != PASSED)
        first = next(bad, None)
        return "" if first is None else f"{first.check}: {first.reason or 'unknown'}"

    @property
    def outcome(self) -> Status:
        """The status that follows."""
        if self.entry_problem:
            return FAILED
        return ACTIVE if all(each.outcome == PASSED for each in self.checks) else VERIFIED


@dataclass(frozen=True)
class Verified:
    """An account as it is after its verification."""

    account: pb.Account
    report: Report


class Verifier:
    """Verifies accounts."""

    def __init__(self, parts: CredentialParts, accounts: Accounts) -> None:
        self._accounts = accounts
        self._store = parts.store
        self._clock = parts.clock
        self._credentials = parts.credentials
        self._vendor = parts.vendor
        self._accesses = parts.accesses
        self._tokens = parts.custody.tokens
        self._prober = parts.custody.prober

    async def verify(self, tenant: str, account_id: str, use: Use) -> Verified:
        """Verify an account and keep what came of it.

        Raises ResourceNotFound, AccountStatusUnfit, ProviderUnsupported, EtagMismatch if the
        account changed meanwhile, and DependencyUnavailable, which says nothing of the account.
        """
        found = await self._credentials.find(tenant, account_id)
        account = found.account
        if account.status not in VERIFIABLE:
            raise AccountStatusUnfit(account.name, word_of(account.status))
        report = Report()
        try:
            session = await self._entered(found, report)
        except TokensError as error:
            raise tokens_refusal(error) from error
        await self._probe(session, report)
        problem = report.entry_problem
        await self._accesses.record(found.scope, account_id, VERIFY, use, granted=not problem)
        if problem:
            self._vendor.forget(tenant, account_id)
        written = await self._accounts.verified(tenant, account, report.outcome, problem)
        return Verified(written, report)

    async def due(self, tenant: str, older_than: float = DAY_SECONDS) -> AsyncIterator[str]:
        """Give the names of accounts that were last verified so many seconds ago.

        Those that never were wait for somebody to verify them first.
        """
        before = self._clock.now() - round(older_than * MICROSECONDS)
        query = self._accounts.listed(tenant)
        while True:
            page = await self._store.query(query)
            for account in map(ACCOUNT.message, page.items):
                known = account.HasField("verify_time")
                if not known or account.status not in VERIFIABLE:
                    continue
                if account.verify_time.ToMicroseconds() <= before:
                    yield account.name
            if page.next is None:
                return
            query = replace(query, start=page.next)

    async def _entered(self, found: Found, report: Report) -> Session | None:
        try:
            vended = await self._vendor.enter(found, Wanted())
        except (AssumptionDenied, KeysRefused) as error:
            report.note(ENTRY, FAILED_CHECK, _word(error))
            return None
        except AccountEntryDenied as error:
            report.note(ENTRY, FAILED_CHECK, error.metadata["problem"])
            return None
        report.note(ENTRY, PASSED)
        if found.account.credential_type == pb.CREDENTIAL_TYPE_AWS_IAM_ROLE:
            wrong = secrets.token_hex(_EXTERNAL_ID_BYTES)
            refused = await self._refuses(found, WRONG, wrong, report)
            refused = await self._refuses(found, NONE, None, report) and refused
            if not refused:
                return None
        identity = await self._tokens.identity(vended.session.keys)
        if identity.account != found.account.cloud_account_id:
            report.note(IDENTITY, FAILED_CHECK, "other_account")
            return None
        report.note(IDENTITY, PASSED)
        return vended.session

    async def _refuses(
        self, found: Found, check: str, external_id: str | None, report: Report
    ) -> bool:
        try:
            await self._tokens.assume_role(
                found.account.role_arn,
                session_name=session_name(found.account_id),
                external_id=external_id,
                scope=Scope(),
            )
        except AssumptionDenied:
            return report.note(check, PASSED)
        return report.note(check, FAILED_CHECK, "accepted")

    async def _probe(self, session: Session | None, report: Report) -> None:
        if session is None:
            for each in PROBES:
                report.note(each.action, UNKNOWN, "not entered")
            return
        for probed in await self._prober.probe(session.keys):
            report.note(probed.action, _OUTCOMES[probed.outcome], probed.reason)


def _word(error: TokensError) -> str:
    return "keys_refused" if isinstance(error, KeysRefused) else "assumption_denied"
