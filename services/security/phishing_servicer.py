"""PhishingService: campaigns, and what became of their mails."""

from mesh.contract.catalogue import Catalogue
from mesh.sql.store import Store
from secmesh.security.v1 import phishing_service_pb2 as pb
from secmesh.security.v1.phishing_service_pb2_grpc import PhishingServiceServicer
from secmesh.security.v1.record_pb2 import Record
from services.security.phishing.campaigns import Campaigns


class PhishingServicer(PhishingServiceServicer):
    """Answers with the campaign's record, or with numbers."""

    # ruff: noqa: N802 - methods have the names of the contract

    def __init__(self, catalogue: Catalogue, store: Store) -> None:
        self._campaigns = Campaigns(store, catalogue)

    async def LaunchCampaign(self, request: pb.LaunchCampaignRequest, _context: object) -> Record:
        """Give the campaign; PhishingTargetsMissing, PhishingCampaignState."""
        launched: Record = await self._campaigns.launch(request.name)
        return launched

    async def RecordEvents(
        self, request: pb.RecordEventsRequest, _context: object
    ) -> pb.RecordEventsResponse:
        """Give what became of each event; PhishingCampaignState, FieldInvalid."""
        outcomes = await self._campaigns.record(request.parent, request.events)
        return pb.RecordEventsResponse(outcomes=outcomes)

    async def CompleteCampaign(
        self, request: pb.CompleteCampaignRequest, _context: object
    ) -> Record:
        """Give the campaign; PhishingCampaignState if it never ran."""
        ended: Record = await self._campaigns.complete(request.name)
        return ended

    async def GetCampaignResults(
        self, request: pb.GetCampaignResultsRequest, _context: object
    ) -> pb.CampaignResults:
        """Give the numbers; ResourceNotFound if there is no such campaign."""
        return await self._campaigns.results(request.name, request.group_by)
