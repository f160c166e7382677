"""Settings of every server that judges its callers by their tokens."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import AliasChoices, Field, ValidationError

from mesh.identity.issuers import ISSUERS, KEY_SET_HOURS, parse_issuers
from mesh.identity.keys import AUDIENCE, ISSUER, JWKS_FILE
from mesh.server.settings import ServerSettings

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class ProcessSettings(ServerSettings):
    """A service derives its own from these and gives them its prefix."""

    home: Path = Field(
        Path(".secmesh"),
        validation_alias="SECMESH_HOME",
        description="folder of the default database and keys",
    )
    jwks: str = Field(
        "", description="key set of the token issuer, a file or an https URL; empty for the home's"
    )
    issuer: str = Field(ISSUER, description="issuer that tokens must name")
    audience: str = Field(
        AUDIENCE,
        description="audience that tokens must name, alone or with the service behind it as in "
        "secmesh/inventory",
    )
    issuers: str = Field(
        "",
        pattern=ISSUERS,
        description="further issuers, as ISSUER=KEYS,...: keys are a file, an https URL, or the "
        "tenancy service as grpcs://HOST:PORT (grpc:// on loopback)",
    )
    issuers_ca: Path | None = Field(
        None,
        description="PEM file with the authorities of those servers; without it the system's for "
        "https and those that gRPC brings",
    )
    key_set_hours: float = Field(
        KEY_SET_HOURS,
        gt=0,
        le=8760,
        description="hours for which a key set is believed that cannot be read again",
    )
    page_key: str = Field(
        "",
        repr=False,
        pattern="^$|^.{16,}$",
        description="secret of 16 characters or more that signs page tokens, the same in every "
        "replica; empty for one of this process",
    )

    @property
    def further_issuers(self) -> Mapping[str, str]:
        """Where the keys of further issuers are, by issuer."""
        return parse_issuers(self.issuers)

    @property
    def key_set(self) -> str:
        """Where the issuer's public keys are."""
        return self.jwks or str(self.home / "keys" / JWKS_FILE)

    @classmethod
    def prefix(cls) -> str:
        """The first part of its environment variables."""
        return str(cls.model_config.get("env_prefix", ""))

    @classmethod
    def describe(cls) -> str:
        """List every setting with its environment variable, default and meaning."""
        lines = []
        for name, field in cls.model_fields.items():
            default: Any = field.default
            shown = "" if default in ("", None) else f" (default {default})"
            lines.append(f"  {cls._variable(name):<36} {field.description or name}{shown}")
        return "\n".join(lines)

    @classmethod
    def problems(cls, error: ValidationError) -> list[str]:
        """Say what is wrong with which variable and what it is for, a line each, without values."""
        return [cls._problem(each) for each in error.errors(include_input=False, include_url=False)]

    @classmethod
    def _problem(cls, found: "ErrorDetails") -> str:
        said = found["msg"].removeprefix("Value error, ")
        if not found["loc"]:
            return said
        name = str(found["loc"][0])
        field = cls.model_fields.get(name)
        variable = cls._variable(name) if field else name
        if field is None:
            field = next((f for n, f in cls.model_fields.items() if cls._variable(n) == name), None)
        meant = f" ({field.description})" if field and field.description else ""
        return said if variable in said else f"{variable}: {said}{meant}"

    @classmethod
    def _variable(cls, name: str) -> str:
        alias = cls.model_fields[name].validation_alias
        if isinstance(alias, AliasChoices):
            return str(alias.choices[0])
        return str(alias) if alias else f"{cls.prefix()}{name.upper()}"
