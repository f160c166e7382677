"""UserService: persons, whose data is kept in tiers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from google.protobuf.empty_pb2 import Empty

from mesh.contract.names import tenant_of
from mesh.errors import FieldInvalid, ResourceNotFound
from mesh.identifiers import new_uuid
from mesh.sql.paging import PageTokens, page_limit
from secmesh.crypto.v1 import erasure_pb2 as erasures
from secmesh.crypto.v1 import user_import_pb2
from secmesh.crypto.v1 import user_service_pb2 as pb
from secmesh.crypto.v1.user_export_pb2 import ExportUserRequest, ExportUserResponse
from secmesh.crypto.v1.user_pb2 import User
from secmesh.crypto.v1.user_service_pb2_grpc import UserServiceServicer
from services.crypto.erasure.erasing import Erasing
from services.crypto.erasure_messages import erase_user, get_erasure, list_erasures
from services.crypto.export.exporting import Exporting
from services.crypto.persons.importing import IMPORT, Import, Importing
from services.crypto.persons.people import People
from services.crypto.persons.person import PATTERN
from services.crypto.persons.reading import Reading, Shown
from services.crypto.persons.values import changes_of, message_of, values_of
from services.crypto.user_import import import_users
from services.crypto.user_import import message_of as progress_message

_MOST_FOUND = 1000


class UserServicer(UserServiceServicer):
    """Between messages and what is done with persons."""

    # ruff: noqa: N802 - methods have the names of the contract

    def __init__(
        self,
        people: People,
        reading: Reading,
        importing: Importing,
        erasing: Erasing,
        exporting: Exporting,
        tokens: PageTokens,
        draining: asyncio.Event,
    ) -> None:
        """When ``draining`` is set imports end, in band."""
        self._draining = draining
        self._people = people
        self._reading = reading
        self._importing = importing
        self._erasing = erasing
        self._exporting = exporting
        self._tokens = tokens

    async def CreateUser(self, request: pb.CreateUserRequest, _context: object) -> User:
        """Give the person as stored; ResourceExists, ValueInvalid, EncryptionDisabled."""
        tenant = _tenant(request.parent)
        user_id = request.user_id or new_uuid()
        (person,) = await self._people.create(tenant, {user_id: values_of(request.user)})
        return message_of(tenant, person, {})

    async def BatchCreateUsers(
        self, request: pb.BatchCreateUsersRequest, _context: object
    ) -> pb.BatchCreateUsersResponse:
        """Give the persons as stored; ResourceExists, ValueInvalid, EncryptionDisabled."""
        tenant = _tenant(request.parent)
        people = {each.user_id or new_uuid(): values_of(each.user) for each in request.users}
        if len(people) < len(request.users):
            raise FieldInvalid.of("users", "two persons have the same id", "REPEATED")
        made = await self._people.create(tenant, people)
        return pb.BatchCreateUsersResponse(users=[message_of(tenant, each, {}) for each in made])

    async def GetUser(self, request: pb.GetUserRequest, _context: object) -> User:
        """Give the person; ResourceNotFound, and what unmasking refuses."""
        tenant, user_id = _ids(request.name)
        (shown,) = await self._reading.get(tenant, [user_id], request.unmask, request.purpose)
        return _message(tenant, shown)

    async def BatchGetUsers(
        self, request: pb.BatchGetUsersRequest, _context: object
    ) -> pb.BatchGetUsersResponse:
        """Give the persons; ResourceNotFound, and what unmasking refuses."""
        tenant = _tenant(request.parent)
        user_ids = [_ids(name)[1] for name in request.names]
        shown = await self._reading.get(tenant, user_ids, request.unmask, request.purpose)
        return pb.BatchGetUsersResponse(users=[_message(tenant, each) for each in shown])

    async def UpdateUser(self, request: pb.UpdateUserRequest, _context: object) -> User:
        """Give the person as it is then; ResourceNotFound, EtagMismatch, ValueInvalid."""
        tenant, user_id = _ids(request.user.name)
        changed = changes_of(request.user, request.update_mask.paths)
        person = await self._people.update(tenant, user_id, changed, request.user.etag)
        return message_of(tenant, person, {})

    async def DeleteUser(self, request: pb.DeleteUserRequest, _context: object) -> Empty:
        """Remove the person; ResourceNotFound, EtagMismatch."""
        tenant, user_id = _ids(request.name)
        missing = (ResourceNotFound,) if request.allow_missing else ()
        with contextlib.suppress(*missing):
            await self._people.delete(tenant, user_id, request.etag)
        return Empty()

    async def ListUsers(
        self, request: pb.ListUsersRequest, _context: object
    ) -> pb.ListUsersResponse:
        """Give a page of persons; PageTokenInvalid."""
        tenant = _tenant(request.parent)
        limit = page_limit(request.page_size)
        asked = ("users", tenant)
        after = self._tokens.read(asked, request.page_token)[0] if request.page_token else None
        shown = await self._reading.page(tenant, after, limit + 1)
        response = pb.ListUsersResponse(users=[_message(tenant, each) for each in shown[:limit]])
        if len(shown) > limit:
            last = shown[limit - 1].person.user_id
            response.next_page_token = self._tokens.write(asked, [last])
        return response

    async def SearchUsers(
        self, request: pb.SearchUsersRequest, _context: object
    ) -> pb.SearchUsersResponse:
        """Give the persons found; FieldNotSearchable, SearchTooWide, ValueInvalid."""
        tenant = _tenant(request.parent)
        found = await self._reading.search(tenant, request.field, request.value, _MOST_FOUND)
        return pb.SearchUsersResponse(users=[_message(tenant, each) for each in found])

    async def ImportUsers(
        self, requests: AsyncIterator[user_import_pb2.ImportUsersRequest], _context: object
    ) -> user_import_pb2.ImportUsersResponse:
        """Give how far the import is and who was refused; FieldInvalid."""
        return await import_users(self._importing, requests, self._draining)

    async def GetUserImport(
        self, request: user_import_pb2.GetUserImportRequest, _context: object
    ) -> user_import_pb2.UserImport:
        """Give how far the import is; ResourceNotFound."""
        ids = IMPORT.parse(request.name)
        if ids is None:
            raise ResourceNotFound(request.name)
        wanted = Import(ids[0], ids[1])
        return progress_message(wanted, await self._importing.progress(wanted))

    async def EraseUser(
        self, request: erasures.EraseUserRequest, _context: object
    ) -> erasures.Erasure:
        """Give the erasure as far as it is; ResourceNotFound, EtagMismatch, FieldInvalid."""
        return await erase_user(self._erasing, request)

    async def GetErasure(
        self, request: erasures.GetErasureRequest, _context: object
    ) -> erasures.Erasure:
        """Give the erasure; ResourceNotFound."""
        return await get_erasure(self._erasing, request)

    async def ListErasures(
        self, request: erasures.ListErasuresRequest, _context: object
    ) -> erasures.ListErasuresResponse:
        """Give a page of erasures; PageTokenInvalid."""
        return await list_erasures(self._erasing, request, self._tokens)

    async def ExportUser(
        self, request: ExportUserRequest, _context: object
    ) -> AsyncIterator[ExportUserResponse]:
        """Give the person's file in parts; see ``Exporting.export``."""
        async for part in self._exporting.export(*_ids(request.name), request.purpose):
            yield ExportUserResponse(data=part)


def _tenant(parent: str) -> str:
    tenant = tenant_of(parent)
    if tenant is None:
        raise FieldInvalid.of("parent", "is no name under tenants/{tenant}", "NAME_INVALID")
    return tenant


def _ids(name: str) -> tuple[str, str]:
    ids = PATTERN.parse(name)
    if ids is None:
        raise ResourceNotFound(name)
    return ids[0], ids[1]


def _message(tenant: str, shown: Shown) -> User:
    return message_of(tenant, shown.person, shown.opened)
