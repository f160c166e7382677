"""What the gateway allows: issuers of tokens, origins of web pages, requests of one tenant."""

import re
from dataclasses import dataclass

from gateway.envoy_clusters import REQUESTS
from mesh.identity.keys import AUDIENCE, ISSUER

_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?")
REQUESTS_PER_SECOND = 500
BURST = 1000


class PolicyInvalid(ValueError):
    """A setting of the gateway's policy means nothing; says which."""


@dataclass(frozen=True)
class Policy:
    """What is allowed. Limits hold for each Envoy process by itself."""

    cors_origins: tuple[str, ...] = ()
    """Origins (RFC 6454) whose pages may read answers, such as ``https://ops.example``."""
    requests_per_second: int = REQUESTS_PER_SECOND
    """Of one tenant in the long run; 0 for no limit."""
    burst: int = BURST
    """Requests of one tenant at once."""
    concurrent_requests: int = REQUESTS
    """Calls of one service at a time; more are refused at once."""
    issuer: str = ISSUER
    """Issuer (iss) of the tokens; the edge holds its keys."""
    audience: str = AUDIENCE
    """Audience (aud) of the tokens."""
    further_issuers: tuple[str, ...] = ()
    """Others that are believed, each by its own keys, which the edge holds as well."""

    def __post_init__(self) -> None:
        for origin in self.cors_origins:
            if not _ORIGIN.fullmatch(origin):
                raise PolicyInvalid(
                    f"{origin!r} is no origin: scheme://host or scheme://host:port in lower case, "
                    "without path or wildcard"
                )
        issuers = (self.issuer, *self.further_issuers)
        if len(set(issuers)) < len(issuers):
            raise PolicyInvalid("an issuer is named twice")
        if self.concurrent_requests < 1:
            raise PolicyInvalid("at least one request at a time must be allowed")
        if self.requests_per_second < 0:
            raise PolicyInvalid("requests per second cannot be negative")
        if self.requests_per_second and self.burst < self.requests_per_second:
            raise PolicyInvalid("the burst is smaller than the requests of one second")
