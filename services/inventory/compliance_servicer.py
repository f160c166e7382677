"""ComplianceService: plans and assessments over gRPC."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from google.api import httpbody_pb2
from google.rpc import code_pb2, status_pb2

from mesh.contract.names import tenant_of
from mesh.errors import FieldInvalid, PageTokenInvalid
from mesh.server.upload import Uploads
from mesh.sql.store import Store
from secmesh.inventory.v1 import (
    assessment_pb2,
    assessment_requests_pb2,
    check_requests_pb2,
    compliance_service_pb2_grpc,
    coverage_pb2,
    filing_pb2,
    framework_pb2,
    narration_pb2,
    recommendation_pb2,
    report_pb2,
    ssp_pb2,
    ssp_requests_pb2,
    trend_pb2,
)
from services.inventory.catalogs.catalog_store import CatalogStore
from services.inventory.catalogs.statement_check import add_unknown_statements
from services.inventory.compliance.assessment_store import AssessmentStore
from services.inventory.compliance.assessor import DEFAULT_MAX_AGE, Assessor
from services.inventory.compliance.control_coverage import CoverageReporter
from services.inventory.compliance.controls import control_id, load_controls
from services.inventory.compliance.documents.import_document import Import, read_ssp
from services.inventory.compliance.framework_posture import framework_posture
from services.inventory.compliance.frameworks import (
    framework_of,
    framework_of_baseline,
    load_frameworks,
)
from services.inventory.compliance.narration import Model, narration
from services.inventory.compliance.recommendation import recommendations
from services.inventory.compliance.recommendation_page import recommendation_page
from services.inventory.compliance.report import Report
from services.inventory.compliance.report_forms import FORMS
from services.inventory.compliance.report_mending import mending_of
from services.inventory.compliance.tables import ASSESSMENTS, PASSAGES, SSPS, VERDICTS
from services.inventory.compliance.trend_store import Scope, TrendStore
from services.inventory.controls.tenant_checks import TenantChecks
from services.inventory.errors import FilingUnavailable
from services.inventory.light_page import light_page

if TYPE_CHECKING:
    from services.inventory.filing.filing import Filing
    from services.inventory.filing.security import Security

NEWEST_FIRST = "evaluate_time desc"
DEFAULT_PAGE = 100
CONTRADICTED = assessment_pb2.VERDICT_CONTRADICTED
WORST_FIRST = "verdict, control_id"


def _now() -> datetime:
    return datetime.now(UTC)


class ComplianceServicer(compliance_service_pb2_grpc.ComplianceServiceServicer):
    """Imports plans, weighs them, and shows what came of it."""

    def __init__(
        self,
        store: Store,
        checks: TenantChecks,
        clock: Callable[[], datetime] = _now,
        security: "Security | None" = None,
        model: Model | None = None,
    ) -> None:
        """File assessments in the security service, if it is known where that is."""
        # A mapping that names what is not there ends the start, not somebody's call.
        load_frameworks()
        self._model = model
        self._store = store
        self._clock = clock
        self._assessor = Assessor(store, checks, clock)
        self._assessments = AssessmentStore(store)
        self._checks = checks
        self._uploads = Uploads()
        self._reading = asyncio.Semaphore(1)
        self._coverage = CoverageReporter(store, checks, clock)
        self._trend = TrendStore(store)
        self._catalogs = CatalogStore(store)
        self._filing = self._filing_in(security) if security is not None else None

    def _filing_in(self, security: "Security") -> "Filing":
        # Only who files assessments pays for the contracts of the other service.
        from services.inventory.filing.filing import Filing

        return Filing(self._store, self._checks, security)

    async def ImportSsp(  # noqa: N802  # the contract's name
        self, request: ssp_requests_pb2.ImportSspRequest, _context: object
    ) -> ssp_pb2.Ssp:
        return await self._import(request, request.document)

    async def UploadSsp(  # noqa: N802  # the contract's name
        self, requests: AsyncIterator[ssp_requests_pb2.UploadSspRequest], _context: object
    ) -> ssp_pb2.Ssp:
        # Read one at a time: a document takes many times its size in memory.
        async with self._uploads.received(requests) as (first, file), self._reading:
            return await self._import(first, await asyncio.to_thread(file.read))

    async def _import(
        self,
        request: ssp_requests_pb2.ImportSspRequest | ssp_requests_pb2.UploadSspRequest,
        document: bytes,
    ) -> ssp_pb2.Ssp:
        name = f"{request.parent}/ssps/{request.ssp_id}"
        wanted = Import(name, request.format, request.file_name, request.baseline, self._clock())
        # A document of megabytes takes a second to read; other calls go on meanwhile.
        plan = await asyncio.to_thread(read_ssp, document, wanted)
        claimed = {each.control_id for each in plan.claims if each.statement_id}
        texts = await self._catalogs.texts(tenant_of(name) or "", claimed)
        add_unknown_statements(plan.ssp, plan.claims, texts)
        await self._assessments.replace_plan(plan)
        return plan.ssp

    async def GetSsp(  # noqa: N802  # the contract's name
        self, request: ssp_requests_pb2.GetSspRequest, _context: object
    ) -> ssp_pb2.Ssp:
        return cast("ssp_pb2.Ssp", await self._store.get(SSPS, request.name))

    async def ListSsps(  # noqa: N802  # the contract's name
        self, request: ssp_requests_pb2.ListSspsRequest, _context: object
    ) -> ssp_requests_pb2.ListSspsResponse:
        page = await self._store.page(
            SSPS,
            request.parent,
            filter=request.filter,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        ssps = cast("list[ssp_pb2.Ssp]", page.items)
        return ssp_requests_pb2.ListSspsResponse(ssps=ssps, next_page_token=page.next_page_token)

    async def ListPassages(  # noqa: N802  # the contract's name
        self, request: ssp_requests_pb2.ListPassagesRequest, _context: object
    ) -> ssp_requests_pb2.ListPassagesResponse:
        await self._store.get(SSPS, request.parent)
        page = await self._store.page(
            PASSAGES,
            request.parent,
            filter=request.filter,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        found = cast("list[ssp_pb2.Passage]", page.items)
        return ssp_requests_pb2.ListPassagesResponse(
            passages=found, next_page_token=page.next_page_token
        )

    async def Evaluate(  # noqa: N802  # the contract's name
        self, request: assessment_requests_pb2.EvaluateRequest, _context: object
    ) -> AsyncIterator[assessment_requests_pb2.EvaluateResponse]:
        """Send progress, the assessment, and the end."""
        max_age = request.max_age.ToTimedelta() if request.HasField("max_age") else DEFAULT_MAX_AGE
        accounts = sorted(request.cloud_account_ids)
        # Closed with this stream, so that a caller who leaves frees the snapshot.
        async with aclosing(self._assessor.evaluate(request.ssp, accounts, max_age)) as events:
            async for event in events:
                if isinstance(event, assessment_pb2.Assessment):
                    yield assessment_requests_pb2.EvaluateResponse(assessment=event)
                else:
                    yield assessment_requests_pb2.EvaluateResponse(progress=event)
        yield assessment_requests_pb2.EvaluateResponse(ended=status_pb2.Status(code=code_pb2.OK))

    async def GetAssessment(  # noqa: N802  # the contract's name
        self, request: assessment_requests_pb2.GetAssessmentRequest, _context: object
    ) -> assessment_pb2.Assessment:
        found = await self._store.get(ASSESSMENTS, request.name)
        return cast("assessment_pb2.Assessment", found)

    async def ListAssessments(  # noqa: N802  # the contract's name
        self, request: assessment_requests_pb2.ListAssessmentsRequest, _context: object
    ) -> assessment_requests_pb2.ListAssessmentsResponse:
        page = await self._store.page(
            ASSESSMENTS,
            request.parent,
            filter=request.filter,
            order_by=NEWEST_FIRST,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        found = cast("list[assessment_pb2.Assessment]", page.items)
        return assessment_requests_pb2.ListAssessmentsResponse(
            assessments=found, next_page_token=page.next_page_token
        )

    async def ListVerdicts(  # noqa: N802  # the contract's name
        self, request: assessment_requests_pb2.ListVerdictsRequest, _context: object
    ) -> assessment_requests_pb2.ListVerdictsResponse:
        await self._store.get(ASSESSMENTS, request.parent)
        page = await light_page(
            self._store,
            VERDICTS,
            request.parent,
            filter=request.filter,
            order_by=WORST_FIRST,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        found = cast("list[assessment_pb2.ClaimVerdict]", page.items)
        return assessment_requests_pb2.ListVerdictsResponse(
            verdicts=found, next_page_token=page.next_page_token
        )

    async def ListRecommendations(  # noqa: N802  # the contract's name
        self, request: recommendation_pb2.ListRecommendationsRequest, _context: object
    ) -> recommendation_pb2.ListRecommendationsResponse:
        _, _, verdicts = await self._assessments.assessment(request.parent)
        found = await self._recommended(request.parent, verdicts)
        return recommendation_page(request, found, self._store.tokens)

    async def NarrateAssessment(  # noqa: N802  # the contract's name
        self, request: narration_pb2.NarrateAssessmentRequest, _context: object
    ) -> narration_pb2.Narration:
        _, _, verdicts = await self._assessments.assessment(request.name)
        return await narration(await self._recommended(request.name, verdicts), self._model)

    async def _recommended(
        self, name: str, verdicts: list[assessment_pb2.ClaimVerdict]
    ) -> list[recommendation_pb2.Recommendation]:
        results = [result for verdict in verdicts for result in verdict.check_results]
        checks = await self._checks.as_judged(tenant_of(name) or "", results)
        # Thousands of commands take a while to write; other calls go on meanwhile.
        return await asyncio.to_thread(recommendations, verdicts, checks)

    async def ExportAssessment(  # noqa: N802  # the contract's name
        self, request: report_pb2.ExportAssessmentRequest, _context: object
    ) -> httpbody_pb2.HttpBody:
        assessment, plan, verdicts = await self._assessments.assessment(request.name)
        claims = await self._assessments.claims(assessment.ssp)
        form = FORMS[request.format or report_pb2.REPORT_FORMAT_JSON]
        report = Report(assessment, plan, verdicts, claims)
        if form.tells_more:
            results = [each for verdict in verdicts for each in verdict.check_results]
            checks = await self._checks.as_judged(tenant_of(request.name) or "", results)
            trend = await self._trend.until(assessment)
            mending = await asyncio.to_thread(mending_of, verdicts, checks)
            report = replace(report, trend=trend, mending=mending)
        if form.tells_plan:
            recommended = await self._recommended(request.name, verdicts)
            report = replace(report, recommendations=recommended)
        if form.tells_demands:
            false = {each.control_id for each in verdicts if each.verdict == CONTRADICTED}
            texts = await self._catalogs.texts(tenant_of(request.name) or "", false)
            report = replace(report, texts=texts)
        # A document of megabytes takes a second to write; other calls go on meanwhile.
        data = await asyncio.to_thread(form.write, report)
        return httpbody_pb2.HttpBody(content_type=form.content_type, data=data)

    async def FileAssessment(  # noqa: N802  # the contract's name
        self, request: filing_pb2.FileAssessmentRequest, _context: object
    ) -> filing_pb2.FileAssessmentResponse:
        if self._filing is None:
            raise FilingUnavailable
        return await self._filing.file(request.name, keep=not request.validate_only)

    async def ListChecks(  # noqa: N802  # the contract's name
        self, request: check_requests_pb2.ListChecksRequest, _context: object
    ) -> check_requests_pb2.ListChecksResponse:
        control = control_id(request.control_id) if request.control_id else ""
        if control is None:
            raise FieldInvalid.of("control_id", "is no control of SP 800-53, such as ac-2.3")
        if control and control not in load_controls():
            raise FieldInvalid.of("control_id", f"{control} is no control of SP 800-53 rev 5")
        if request.collection:
            self._store.target(request.collection)
        chosen = self._checks.shipped.chosen(request.collection, control)
        # The token is the last check's id: checks come with the service and hold no secret.
        after = request.page_token
        if after and after not in self._checks.shipped.checks:
            raise PageTokenInvalid
        left = [check for check in chosen if check.id > after]
        page = left[: request.page_size or DEFAULT_PAGE]
        token = page[-1].id if len(page) < len(left) else ""
        return check_requests_pb2.ListChecksResponse(checks=page, next_page_token=token)

    async def ListFrameworks(  # noqa: N802  # the contract's name
        self, request: framework_pb2.ListFrameworksRequest, _context: object
    ) -> framework_pb2.ListFrameworksResponse:
        known = load_frameworks()
        # The token is the last id, as with checks.
        after = request.page_token
        if after and after not in known:
            raise PageTokenInvalid
        left = [each.message for each in known.values() if each.message.id > after]
        page = left[: request.page_size or DEFAULT_PAGE]
        token = page[-1].id if len(page) < len(left) else ""
        return framework_pb2.ListFrameworksResponse(frameworks=page, next_page_token=token)

    async def ListFrameworkControls(  # noqa: N802  # the contract's name
        self, request: framework_pb2.ListFrameworkControlsRequest, _context: object
    ) -> framework_pb2.ListFrameworkControlsResponse:
        controls = framework_of(request.framework).controls
        ids = [each.control_id for each in controls]
        if request.page_token and request.page_token not in ids:
            raise PageTokenInvalid
        start = ids.index(request.page_token) + 1 if request.page_token else 0
        end = start + (request.page_size or DEFAULT_PAGE)
        page = controls[start:end]
        token = page[-1].control_id if end < len(controls) else ""
        return framework_pb2.ListFrameworkControlsResponse(
            framework_controls=page, next_page_token=token
        )

    async def GetFrameworkPosture(  # noqa: N802  # the contract's name
        self, request: framework_pb2.GetFrameworkPostureRequest, _context: object
    ) -> framework_pb2.FrameworkPosture:
        framework = framework_of(request.framework)
        verdicts = await self._assessments.control_verdicts(request.name)
        return framework_posture(request.name, framework, verdicts)

    async def GetCoverage(  # noqa: N802  # the contract's name
        self, request: coverage_pb2.GetCoverageRequest, _context: object
    ) -> coverage_pb2.Coverage:
        accounts = sorted(request.cloud_account_ids)
        framework = (
            framework_of_baseline(request.baseline)
            if request.baseline
            else framework_of(request.framework)
        )
        return await self._coverage.coverage(request.parent, framework, accounts)

    async def GetTrend(  # noqa: N802  # the contract's name
        self, request: trend_pb2.GetTrendRequest, _context: object
    ) -> trend_pb2.Trend:
        start = request.start_time.ToMicroseconds() if request.HasField("start_time") else None
        end = request.end_time.ToMicroseconds() if request.HasField("end_time") else None
        if start is not None and end is not None and start > end:
            raise FieldInvalid.of("start_time", "is after end_time")
        accounts = frozenset(request.cloud_account_ids)
        scope = Scope(request.ssp, accounts, request.baseline, end)
        return await self._trend.trend(scope, start, request.interval)
