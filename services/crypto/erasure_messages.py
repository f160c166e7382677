"""Erasures as messages, and how they are asked for."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from mesh.contract.names import tenant_of
from mesh.errors import FieldInvalid, ResourceNotFound
from mesh.identifiers import new_uuid
from mesh.sql.paging import PageTokens, page_limit
from secmesh.crypto.v1 import erasure_pb2 as pb
from services.crypto.erasure.erasing import Erasing
from services.crypto.erasure.erasure import PATTERN, Erasure, State
from services.crypto.persons.person import PATTERN as USERS


async def erase_user(erasing: Erasing, request: pb.EraseUserRequest) -> pb.Erasure:
    """Erase a person. FieldInvalid without a confirmation, and what ``Erasing.erase`` raises."""
    ids = USERS.parse(request.name)
    if ids is None:
        raise ResourceNotFound(request.name)
    tenant, user_id = ids
    if not request.etag and not request.confirm_user_id:
        problem = "or confirm_user_id must be set: an erasure is for good"
        raise FieldInvalid.of("etag", problem, "REQUIRED")
    if request.confirm_user_id not in ("", user_id):
        raise FieldInvalid.of("confirm_user_id", "is another than in the name", "UNCONFIRMED")
    erasure_id = request.erasure_id or new_uuid()
    return message_of(await erasing.erase(tenant, user_id, request.etag, erasure_id))


async def get_erasure(erasing: Erasing, request: pb.GetErasureRequest) -> pb.Erasure:
    """Give an erasure. Raises ResourceNotFound."""
    ids = PATTERN.parse(request.name)
    if ids is None:
        raise ResourceNotFound(request.name)
    return message_of(await erasing.get(ids[0], ids[1]))


async def list_erasures(
    erasing: Erasing, request: pb.ListErasuresRequest, tokens: PageTokens
) -> pb.ListErasuresResponse:
    """Give a page of erasures. Raises FieldInvalid, PageTokenInvalid."""
    tenant = tenant_of(request.parent)
    if tenant is None:
        raise FieldInvalid.of("parent", "is no name under tenants/{tenant}", "NAME_INVALID")
    if request.user_id:
        found = await erasing.of_user(tenant, request.user_id)
        return pb.ListErasuresResponse(erasures=[message_of(found)] if found else [])
    limit = page_limit(request.page_size)
    asked = ("erasures", tenant)
    before = tokens.read(asked, request.page_token)[0] if request.page_token else None
    page = await erasing.page(tenant, before, limit + 1)
    response = pb.ListErasuresResponse(erasures=[message_of(each) for each in page[:limit]])
    if len(page) > limit:
        response.next_page_token = tokens.write(asked, [page[limit - 1].erasure_id])
    return response


def message_of(erasure: Erasure) -> pb.Erasure:
    """Write an erasure; of one that is not certified there is no certificate to show."""
    destroyed = erasure.destroyed
    certified = erasure.state is State.CERTIFIED
    shown = pb.Erasure(
        name=erasure.name,
        state=pb.ErasureState.Value(f"ERASURE_STATE_{erasure.state.name}"),
        person_digest=erasure.person.hex(),
        subject=erasure.subjects[-1].hex(),
        key_versions=destroyed.key_versions,
        fields=[pb.ErasedField(field=name, tier=tier) for name, tier in destroyed.fields],
        index_count=destroyed.index_count,
        change_count=destroyed.change_count,
        ordered_by=erasure.ordered_by,
        certificate=erasure.certificate if certified else "",
    )
    for field, moment in (
        (shown.order_time, erasure.ordered_at),
        (shown.erase_time, erasure.erased_at),
        (shown.cache_expire_time, erasure.caches_until),
        (shown.backup_expire_time, erasure.backups_until),
        (shown.replay_time, erasure.replayed_at),
    ):
        _set(field, moment)
    return shown


def _set(field: Timestamp, moment: datetime | None) -> None:
    if moment is not None:
        field.FromDatetime(moment)
