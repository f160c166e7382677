"""What happens around every handler, in one named order."""

from collections.abc import Sequence

from mesh.contract.catalogue import Catalogue
from mesh.identity.token import Verifier
from mesh.server.interceptors.chain import Chain, Interceptor
from mesh.server.interceptors.deadline import Deadline
from mesh.server.interceptors.errors import Errors
from mesh.server.interceptors.idempotency import Idempotency, KeptAnswers
from mesh.server.interceptors.identity import Identity
from mesh.server.interceptors.metrics import Metrics
from mesh.server.interceptors.permission import Permission
from mesh.server.interceptors.request_id import RequestId
from mesh.server.interceptors.served import Served, ServedTenants
from mesh.server.interceptors.trace import Trace
from mesh.server.interceptors.validation import Validation

INTERCEPTORS: tuple[type[Interceptor], ...] = (
    RequestId,  # first, so that every error and log line carries the id
    Trace,  # around all that is measured and logged, so that log lines name the trace
    Metrics,  # around errors, which find out the status
    Errors,  # around all that can refuse or fail
    Deadline,  # before identity: reading keys counts against the call's time
    Identity,  # before permission, which judges the caller
    Permission,  # before validation: a stranger learns nothing about the rules of a request
    Validation,  # before what is done: handlers see only what the contract allows
    Served,  # after permission, which finds out the tenant: a stranger learns nothing of it
    Idempotency,  # last: what was refused before is not kept as done
)
"""From the outermost to the innermost."""

HEALTH = "/grpc.health.v1.Health/"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/"


def interceptor_chain(
    catalogue: Catalogue,
    verifier: Verifier,
    open_paths: Sequence[str] = (HEALTH,),
    answers: KeptAnswers | None = None,
    tenants: ServedTenants | None = None,
) -> Chain:
    """Make the interceptors of a server; methods under ``open_paths`` need no token.

    ``answers`` keeps those to requests with a request_id; without it they are refused.
    ``tenants`` knows which were removed; without it none was.

    gRPC sees this one: the order is kept inside, where a method's steps are put together once
    instead of once per call.
    """
    made: dict[type[Interceptor], Interceptor] = {
        RequestId: RequestId(),
        Trace: Trace(),
        Metrics: Metrics(),
        Errors: Errors(),
        Deadline: Deadline(),
        Identity: Identity(verifier),
        Permission: Permission(catalogue),
        Validation: Validation(catalogue),
        Served: Served(tenants),
        Idempotency: Idempotency(catalogue, answers),
    }
    ordered = tuple(made[each] for each in INTERCEPTORS)
    return Chain(catalogue, ordered, tuple(open_paths))
