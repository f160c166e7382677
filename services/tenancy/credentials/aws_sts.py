"""AWS STS through boto3."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import boto3

from services.tenancy.credentials.aws_calls import CONFIG, AwsCalls
from services.tenancy.credentials.sts import (
    AssumptionDenied,
    AwsKeys,
    Identity,
    KeysRefused,
    Scope,
    Session,
    TokensError,
    TokensRejected,
    TokensThrottled,
    TokensUnavailable,
)

if TYPE_CHECKING:
    from mypy_boto3_sts import STSClient

_ERRORS: Mapping[str, type[TokensError]] = {
    "AccessDenied": AssumptionDenied,
    "AccessDeniedException": AssumptionDenied,
    "InvalidClientTokenId": KeysRefused,
    "UnrecognizedClientException": KeysRefused,
    "SignatureDoesNotMatch": KeysRefused,
    "AuthFailure": KeysRefused,
    "ExpiredToken": KeysRefused,
    "ExpiredTokenException": KeysRefused,
    "MalformedPolicyDocument": TokensRejected,
    "PackedPolicyTooLarge": TokensRejected,
    "ValidationError": TokensRejected,
    "ValidationException": TokensRejected,
    "Throttling": TokensThrottled,
    "ThrottlingException": TokensThrottled,
    "RequestLimitExceeded": TokensThrottled,
}
"""Codes of the API reference of STS; all others are failures of its own."""


class AwsSecurityTokens:
    """See ``SecurityTokens``."""

    def __init__(
        self, region: str, endpoint: str = "", *, session: boto3.Session | None = None
    ) -> None:
        self._region, self._endpoint = region, endpoint
        self._session = session or boto3.Session()
        self._own: STSClient = self._client_of()
        self._call = AwsCalls(
            "sts", _ERRORS, rejected=TokensRejected, unavailable=TokensUnavailable
        )

    async def assume_role(
        self,
        role_arn: str,
        *,
        session_name: str,
        external_id: str | None,
        scope: Scope,
        keys: AwsKeys | None = None,
    ) -> Session:
        """See ``SecurityTokens``."""
        given = {} if external_id is None else {"ExternalId": external_id}
        client = self._own if keys is None else self._client_of(keys)
        try:
            answer = await self._call(
                client.assume_role,
                RoleArn=role_arn,
                RoleSessionName=session_name,
                **_limits(scope),
                **given,
            )
        finally:
            if keys is not None:
                client.close()
        return _session(answer["Credentials"])

    async def federate(self, keys: AwsKeys, *, session_name: str, scope: Scope) -> Session:
        """See ``SecurityTokens``."""
        client = self._client_of(keys)
        try:
            answer = await self._call(
                client.get_federation_token, Name=session_name[:32], **_limits(scope)
            )
        except AssumptionDenied as error:
            raise KeysRefused(str(error)) from None
        finally:
            client.close()
        return _session(answer["Credentials"])

    async def identity(self, keys: AwsKeys) -> Identity:
        """See ``SecurityTokens``."""
        client = self._client_of(keys)
        try:
            answer = await self._call(client.get_caller_identity)
        except AssumptionDenied as error:
            raise KeysRefused(str(error)) from None
        finally:
            client.close()
        return Identity(answer["Account"], answer["Arn"])

    async def close(self) -> None:
        """See ``SecurityTokens``."""
        self._call.close()
        self._own.close()

    def _client_of(self, keys: AwsKeys | None = None) -> "STSClient":
        # One session for all: each would read the definitions of the service again.
        return self._session.client(
            "sts",
            region_name=self._region,
            endpoint_url=self._endpoint or None,
            config=CONFIG,
            aws_access_key_id=keys.access_key_id if keys else None,
            aws_secret_access_key=keys.secret_access_key if keys else None,
            aws_session_token=(keys.session_token or None) if keys else None,
        )


def _limits(scope: Scope) -> dict[str, Any]:
    limits: dict[str, Any] = {"DurationSeconds": scope.seconds}
    if scope.policy:
        limits["Policy"] = scope.policy
    if scope.policy_arns:
        limits["PolicyArns"] = [{"arn": arn} for arn in scope.policy_arns]
    if scope.tags:
        limits["Tags"] = [{"Key": key, "Value": text} for key, text in sorted(scope.tags.items())]
    return limits


def _session(made: Mapping[str, Any]) -> Session:
    keys = AwsKeys(made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])
    ends: datetime = made["Expiration"]
    return Session(keys, int(ends.timestamp() * 1_000_000))
