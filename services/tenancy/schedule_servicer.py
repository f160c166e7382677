"""ScheduleService: when accounts are scanned."""

from mesh.contract.names import NamePattern
from mesh.errors import FieldInvalid, ResourceNotFound
from mesh.identifiers import new_uuid
from secmesh.tenancy.v1 import schedule_service_pb2 as pb
from secmesh.tenancy.v1.execution_pb2 import Execution
from secmesh.tenancy.v1.schedule_pb2 import Schedule
from secmesh.tenancy.v1.schedule_service_pb2_grpc import ScheduleServiceServicer
from services.tenancy.clock import MICROSECONDS
from services.tenancy.listing import Listing
from services.tenancy.parts import Parts
from services.tenancy.retention import timestamp
from services.tenancy.schedule_listing import ScheduleListing
from services.tenancy.schedule_resources import FIELD
from services.tenancy.schedule_runs import ScheduleRuns
from services.tenancy.schedules import CODEC, DELETED
from services.tenancy.scheduling.scheduler import SchedulerPace
from services.tenancy.timing.errors import TimingInvalid
from services.tenancy.timing.occurrences import jitter_of
from services.tenancy.timing.preview import preview
from services.tenancy.timing.timing import Timing
from services.tenancy.timing.zones import TZDATA_VERSION

_PATTERN = NamePattern("tenants/{tenant}/schedules/{schedule}")
_PARENT = "tenants/"
_FIRES = 20
"""Of a preview that says no number."""


class ScheduleServicer(ScheduleServiceServicer):
    """Between messages and what is done with schedules."""

    # ruff: noqa: N802 - methods have the names of the contract

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._clock = parts.clock
        self._schedules = parts.schedules
        pace = SchedulerPace(shards=parts.settings.index_shards)
        self._runs = ScheduleRuns(parts.store, parts.clock, parts.gate, parts.schedules, pace)
        self._listing = Listing(parts.store, parts.clock, parts.pages)
        self._indexed = ScheduleListing(
            parts.store, parts.clock, parts.pages, parts.settings.index_shards
        )

    async def CreateSchedule(self, request: pb.CreateScheduleRequest, _context: object) -> Schedule:
        """Store it; see ``Schedules.create``."""
        tenant = request.parent.removeprefix(_PARENT)
        schedule = request.schedule_id or new_uuid()
        named = self._parts.named(tenant, request.request_id, request)
        return await named.once(
            lambda: self._schedules.create(tenant, schedule, request.schedule, named), self._again
        )

    async def GetSchedule(self, request: pb.GetScheduleRequest, _context: object) -> Schedule:
        """Give it; ResourceNotFound."""
        return await self._again(request.name)

    async def ListSchedules(
        self, request: pb.ListSchedulesRequest, _context: object
    ) -> pb.ListSchedulesResponse:
        """Give a page of a tenant's, or of an account's; PageTokenInvalid."""
        tenant, deleted = request.parent.removeprefix(_PARENT), request.show_deleted
        if request.account_id:
            found, token = await self._indexed.of_account(
                tenant, request.account_id, request.page_size, request.page_token, deleted=deleted
            )
        else:
            found, token = await self._listing.page(
                tenant,
                self._schedules.listed(tenant),
                CODEC,
                request.page_size,
                request.page_token,
                lambda each: deleted or each.state != DELETED,
                str(deleted),
            )
        return pb.ListSchedulesResponse(schedules=found, next_page_token=token)

    async def UpdateSchedule(self, request: pb.UpdateScheduleRequest, _context: object) -> Schedule:
        """Change it; see ``Schedules.update``."""
        tenant, _ = _ids(request.schedule.name)
        named = self._parts.named(tenant, request.request_id, request)
        paths = request.update_mask.paths
        return await named.once(
            lambda: self._schedules.update(request.schedule, paths, named), self._again
        )

    async def DeleteSchedule(self, request: pb.DeleteScheduleRequest, _context: object) -> Schedule:
        """Delete it for 30 days; ResourceDeleted, EtagMismatch."""
        named = self._parts.named(_ids(request.name)[0], request.request_id, request)
        return await named.once(
            lambda: self._schedules.delete(request.name, request.etag, named), self._again
        )

    async def UndeleteSchedule(
        self, request: pb.UndeleteScheduleRequest, _context: object
    ) -> Schedule:
        """Bring it back; see ``Schedules.undelete``."""
        named = self._parts.named(_ids(request.name)[0], request.request_id, request)
        return await named.once(
            lambda: self._schedules.undelete(request.name, request.etag, named), self._again
        )

    async def PauseSchedule(self, request: pb.PauseScheduleRequest, _context: object) -> Schedule:
        """Pause it; ResourceDeleted, ScheduleCompleted, EtagMismatch."""
        named = self._parts.named(_ids(request.name)[0], request.request_id, request)
        return await named.once(
            lambda: self._schedules.pause(request.name, request.reason, request.etag, named),
            self._again,
        )

    async def ResumeSchedule(self, request: pb.ResumeScheduleRequest, _context: object) -> Schedule:
        """Have it fire again; ResourceDeleted, EtagMismatch."""
        named = self._parts.named(_ids(request.name)[0], request.request_id, request)
        return await named.once(
            lambda: self._schedules.resume(request.name, request.etag, named), self._again
        )

    async def TriggerSchedule(
        self, request: pb.TriggerScheduleRequest, _context: object
    ) -> Execution:
        """Run it now; see ``ScheduleRuns.trigger``."""
        tenant, schedule = _ids(request.name)
        named = self._parts.named(tenant, request.request_id, request)
        token, policy = request.request_id or new_uuid(), request.overlap_policy
        return await named.once(
            lambda: self._runs.trigger(tenant, schedule, policy, token, named),
            lambda name: self._runs.execution(tenant, name),
        )

    async def BackfillSchedule(
        self, request: pb.BackfillScheduleRequest, _context: object
    ) -> pb.BackfillScheduleResponse:
        """Run it for times of its past; see ``ScheduleRuns.backfill``."""
        tenant, schedule = _ids(request.name)
        start, end = request.start_time, request.end_time
        # Times are whole seconds: those between the moments that were named.
        stretch = start.seconds + bool(start.nanos), end.seconds
        made = await self._runs.backfill(tenant, schedule, stretch, request.overlap_policy)
        return pb.BackfillScheduleResponse(executions=made)

    async def PreviewSchedule(
        self, request: pb.PreviewScheduleRequest, _context: object
    ) -> pb.PreviewScheduleResponse:
        """Give the next times; ResourceNotFound, FieldInvalid."""
        jitter, schedule = 0, request.schedule
        if request.WhichOneof("subject") == "schedule_id":
            tenant, schedule_id = request.parent.removeprefix(_PARENT), request.schedule_id
            schedule = await self._schedules.get(tenant, schedule_id)
            jitter = jitter_of(schedule_id, schedule.jitter_seconds)
        now = self._clock.now()
        after = now // MICROSECONDS
        if request.HasField("after_time"):
            after = request.after_time.seconds
        if not schedule.HasField("create_time"):
            # One that is not stored has the times before now as well, if they are asked for.
            schedule.create_time.CopyFrom(timestamp(min(now, after * MICROSECONDS)))
        try:
            fires = preview(Timing.of(schedule), after, request.count or _FIRES, jitter)
        except TimingInvalid as invalid:
            raise FieldInvalid.of(
                f"{FIELD}.{invalid.field}", invalid.problem, "TIMING_INVALID"
            ) from invalid
        return pb.PreviewScheduleResponse(fires=fires, tzdata_version=TZDATA_VERSION)

    async def ListDueSchedules(
        self, request: pb.ListDueSchedulesRequest, _context: object
    ) -> pb.ListDueSchedulesResponse:
        """Give a page of what is due, of all tenants; PageTokenInvalid."""
        found, token = await self._indexed.due(request.page_size, request.page_token)
        return pb.ListDueSchedulesResponse(schedules=found, next_page_token=token)

    async def _again(self, name: str) -> Schedule:
        return await self._schedules.get(*_ids(name))


def _ids(name: str) -> tuple[str, str]:
    ids = _PATTERN.parse(name)
    if ids is None:
        raise ResourceNotFound(name)
    return ids[0], ids[1]
