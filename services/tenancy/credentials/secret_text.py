"""What stands in a secret: its type, its parts and what is noted beside them, as JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from google.protobuf.message import Message

from mesh.errors import FieldInvalid
from secmesh.tenancy.v1 import account_pb2, credential_service_pb2
from services.tenancy.credentials.sts import AwsKeys

WithSecret = (
    credential_service_pb2.StoreCredentialRequest | credential_service_pb2.RotateCredentialRequest
)
_PREFIX = "CREDENTIAL_TYPE_"
_GCP_PARTS = ("client_email", "private_key")
_KEY_IDS: Mapping[str, str] = MappingProxyType(
    {
        "aws_access_key": "access_key_id",
        "azure_service_principal": "client_id",
        "gcp_service_account": "client_email",
    }
)
"""Which part of a secret is its public half."""


def type_word(credential_type: "account_pb2.CredentialType.ValueType") -> str:
    """Give a type as secrets and errors name it, such as ``aws_access_key``."""
    return account_pb2.CredentialType.Name(credential_type).removeprefix(_PREFIX).lower()


def type_of_word(word: str) -> "account_pb2.CredentialType.ValueType":
    """Give the type of a word."""
    return account_pb2.CredentialType.Value(_PREFIX + word.upper())


@dataclass(frozen=True)
class SecretText:
    """A credential whole."""

    credential_type: str
    """Such as ``aws_access_key``."""
    credentials: Mapping[str, str] = field(repr=False)
    """Its parts by name."""
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def key_id(self) -> str:
        """The public half."""
        return self.credentials.get(_KEY_IDS[self.credential_type], "")

    def text(self) -> str:
        """Write what stands in the secret: the same for equal ones."""
        return json.dumps(
            {
                "credential_type": self.credential_type,
                "credentials": dict(self.credentials),
                "metadata": dict(self.metadata),
            },
            sort_keys=True,
            ensure_ascii=False,
        )

    @classmethod
    def read(cls, text: str) -> "SecretText":
        """Read a secret. Raises ValueError, which does not quote it."""
        try:
            found = json.loads(text)
            return cls(found["credential_type"], found["credentials"], found.get("metadata") or {})
        except (json.JSONDecodeError, KeyError, TypeError):
            raise ValueError("the secret is no credential") from None

    def aws_keys(self) -> AwsKeys:
        """Give the access key of ``aws_access_key``."""
        return AwsKeys(self.credentials["access_key_id"], self.credentials["secret_access_key"])


def secret_of(request: WithSecret, metadata: Mapping[str, str]) -> SecretText:
    """Read the secret of a request. Raises FieldInvalid for a key file that is none."""
    kind = str(request.WhichOneof("secret"))
    given: Message = getattr(request, kind)
    if kind == "gcp_service_account":
        parts = _key_file(request.gcp_service_account.key_json)
    else:
        parts = {each.name: str(value) for each, value in given.ListFields()}
    return SecretText(kind, parts, dict(metadata))


def _key_file(text: str) -> dict[str, str]:
    field = "gcp_service_account.key_json"
    try:
        found = json.loads(text)
    except ValueError:
        raise FieldInvalid.of(field, "is no JSON") from None
    if not isinstance(found, dict) or not all(
        isinstance(found.get(each), str) for each in _GCP_PARTS
    ):
        raise FieldInvalid.of(field, f"is no object with {' and '.join(_GCP_PARTS)}")
    return {name: value for name, value in found.items() if isinstance(value, str)}
