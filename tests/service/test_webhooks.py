"""Webhooks are told of each contradiction, signed, until they took it, whatever stops meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from mesh.client import CallRefused, open_channel
from mesh.identifiers import new_uuid
from mesh.sealing.keyring import KeyRing
from mesh.sql.answers import Answers
from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import webhook_service_pb2 as api
from secmesh.inventory.v1 import webhook_service_pb2_grpc as stubs
from secmesh.inventory.v1.webhook_pb2 import Webhook, WebhookDelivery
from services.inventory.compliance.assessment_store import AssessmentStore
from services.inventory.webhook_servicer import WebhookServicer
from services.inventory.webhooks.dispatcher import Dispatcher
from services.inventory.webhooks.outbox_store import KEPT, LEASE, Outbox
from services.inventory.webhooks.sending import Sender
from services.inventory.webhooks.target import Networks
from services.inventory.webhooks.webhook_store import MAX_WEBHOOKS, OVERLAP, WebhookStore
from tests.ports import free_port
from tests.service.compliance_world import CATALOGUE, NOW, SSP, TENANT, World, new_world
from tests.service.server_fixtures import PACKAGE, running
from tests.service.webhook_receiver import Receiver

LOOPBACK = Networks.parse("127.0.0.0/8")
KEYS = KeyRing({"one": b"1" * 32}, b"p" * 32)
NAME = f"{TENANT}/webhooks/ops"
SOON = timedelta(milliseconds=50)
BROKEN = b"HTTP/1.1 500 Broken\r\n\r\n"


@dataclass
class Site:
    world: World
    stub: "stubs.WebhookServiceAsyncStub"
    sender: Sender
    now: datetime = NOW
    secret: str = ""
    assessments: int = 0
    claims: dict[str, pb.Verdict.ValueType] = field(default_factory=dict)

    def clock(self) -> datetime:
        return self.now

    async def create(self, url: str, webhook_id: str = "ops", **more: Any) -> Webhook:
        request = api.CreateWebhookRequest(
            parent=TENANT, webhook_id=webhook_id, webhook=Webhook(url=url, **more)
        )
        answer = await self.stub.CreateWebhook(request)
        self.secret = answer.secret
        return answer.webhook

    async def find(self, *claims: str) -> None:
        """Let an assessment contradict claims beside those of before."""
        self.claims |= dict.fromkeys(claims, pb.VERDICT_CONTRADICTED)
        self.assessments += 1
        made = pb.Assessment(name=f"{TENANT}/assessments/a{self.assessments}", ssp=SSP)
        made.evaluate_time.FromDatetime(NOW + timedelta(hours=self.assessments))
        verdicts = [
            pb.ClaimVerdict(
                name=f"{made.name}/verdicts/{claim}",
                claim=f"{SSP}/claims/{claim}",
                control_id=claim,
                verdict=verdict,
            )
            for claim, verdict in self.claims.items()
        ]
        store = AssessmentStore(self.world.store)
        store._outbox = Outbox(self.world.store, clock=self.clock)  # the tests' time
        await store.add(made, verdicts)

    async def deliveries(self, filter_: str = "") -> list[WebhookDelivery]:
        request = api.ListWebhookDeliveriesRequest(parent=NAME, filter=filter_)
        return list((await self.stub.ListWebhookDeliveries(request)).webhook_deliveries)

    @asynccontextmanager
    async def dispatching(self, owner: str = "one") -> AsyncIterator[Dispatcher]:
        """Send as a replica of the service does."""
        webhooks = WebhookStore(self.world.store, self.clock)
        outbox = Outbox(self.world.store, owner, self.clock)
        dispatcher = Dispatcher(outbox, webhooks, self.sender, SOON, self.clock)
        dispatcher.start()
        try:
            yield dispatcher
        finally:
            await dispatcher.close()


@pytest.fixture
async def site(tmp_path: Path, database: str) -> AsyncIterator[Site]:
    async with new_world(tmp_path, database, KEYS) as world:
        site = Site(world, None, Sender(LOOPBACK))  # type: ignore[arg-type]  # there in a moment

        def register(server: grpc.aio.Server) -> None:
            webhooks = WebhookStore(world.store, site.clock)
            servicer = WebhookServicer(webhooks, site.sender, site.clock)
            stubs.add_WebhookServiceServicer_to_server(servicer, server)

        async with (
            running(
                tmp_path, catalogue=CATALOGUE, register=register, answers=Answers(world.store)
            ) as server,
            open_channel(server.address, package=PACKAGE, token=server.token()) as channel,
        ):
            site.stub = stubs.WebhookServiceStub(channel)
            yield site


async def until(condition: Callable[[], Any]) -> None:
    """Wait for what will be so."""
    async with asyncio.timeout(60):
        while True:
            met = condition()
            if asyncio.iscoroutine(met):
                met = await met
            if met:
                return
            await asyncio.sleep(0.02)


def ended(site: Site, number: int) -> Callable[[], Any]:
    async def met() -> bool:
        return (
            len([each for each in await site.deliveries() if each.HasField("end_time")]) == number
        )

    return met


async def test_each_contradiction_is_sent_signed_and_once(site: Site) -> None:
    async with Receiver() as receiver:
        await site.create(receiver.url)
        await site.create(receiver.url, "other", filter='control_id == "b"')
        await site.find("a", "b")
        # No news, so nothing is sent.
        await site.find()
        async with site.dispatching("one"), site.dispatching("two"):
            await until(lambda: len(receiver.received) >= 3)
            await until(ended(site, 2))
    requests = [each for each in receiver.received if not each.is_signed_by(site.secret)]
    assert len(receiver.received) == 3
    assert sorted(each.message["data"]["controlId"] for each in requests) == ["a", "b"]
    message = requests[0].message
    assert message["type"] == "contradiction.found"
    assert message["timestamp"] == "2030-01-01T00:00:00.000+00:00"
    assert message["data"]["verdict"] == "VERDICT_CONTRADICTED"
    listed = await site.deliveries()
    assert {each.name.rpartition("/")[2] for each in listed} == {each.id for each in requests}
    assert {each.contradiction for each in listed} == {
        each.message["data"]["name"] for each in requests
    }
    for each in listed:
        assert each.state == WebhookDelivery.STATE_DELIVERED
        assert (each.attempts, each.response_code, each.problem) == (1, 204, "")
        assert not each.body


async def test_what_fails_is_sent_again_with_the_same_id(site: Site) -> None:
    receiver = Receiver([BROKEN, b"", BROKEN], port=free_port())
    await site.create(receiver.url)
    await site.find("a")
    async with site.dispatching():

        def tried(number: int) -> Callable[[], Any]:
            async def met() -> bool:
                (delivery,) = await site.deliveries()
                return delivery.attempts == number

            return met

        # Nobody listens yet.
        await until(tried(1))
        async with receiver:
            for number in range(2, 6):
                site.now += timedelta(minutes=15)
                await until(tried(number))
        await until(ended(site, 1))
    assert len(receiver.received) == 4
    assert len({each.id for each in receiver.received}) == 1
    assert len({each.body for each in receiver.received}) == 1
    times = [int(each.headers["webhook-timestamp"]) for each in receiver.received]
    assert times == sorted(set(times))
    assert all(each.is_signed_by(site.secret) for each in receiver.received)


async def test_what_is_never_taken_is_given_up_after_three_days(site: Site) -> None:
    async with Receiver([BROKEN] * 100) as receiver:
        await site.create(receiver.url)
        await site.find("a")
        async with site.dispatching():
            while not await ended(site, 1)():
                known = len(receiver.received)
                site.now += timedelta(hours=8)
                await until(partial(_more_than, receiver, known))
                await until(lambda: _unleased(site))
    (delivery,) = await site.deliveries()
    assert delivery.state == WebhookDelivery.STATE_DEAD
    assert (delivery.response_code, delivery.problem) == (500, "answered 500")
    assert delivery.attempts == len(receiver.received)
    assert delivery.end_time.ToDatetime() - delivery.create_time.ToDatetime() > timedelta(days=2)


def _more_than(receiver: Receiver, known: int) -> bool:
    return len(receiver.received) > known


async def _unleased(site: Site) -> bool:
    return all(not each.owner for each in await site.deliveries())


async def test_a_receiver_that_is_gone_is_left_alone(site: Site) -> None:
    async with Receiver([b"HTTP/1.1 410 Gone\r\n\r\n"]) as receiver:
        made = await site.create(receiver.url)
        await site.find("a", "b")
        async with site.dispatching():
            await until(ended(site, 1))
        known = await site.stub.GetWebhook(api.GetWebhookRequest(name=NAME))
        assert known.disabled
        assert known.etag != made.etag
        await site.find("c")
    assert len(receiver.received) == 1
    states = {each.state for each in await site.deliveries()}
    assert states == {WebhookDelivery.STATE_DEAD, WebhookDelivery.STATE_PENDING}
    assert len(await site.deliveries()) == 2


async def test_what_waits_for_a_disabled_webhook_is_sent_when_it_is_enabled(site: Site) -> None:
    async def set_to(*, disabled: bool) -> None:
        changed = Webhook(name=NAME, disabled=disabled)
        mask = FieldMask(paths=["disabled"])
        await site.stub.UpdateWebhook(api.UpdateWebhookRequest(webhook=changed, update_mask=mask))

    async with Receiver() as receiver, Receiver() as other:
        await site.create(receiver.url)
        await site.create(other.url, "other")
        await site.find("a", "b")
        waiting = {each.name.rpartition("/")[2] for each in await site.deliveries()}
        await set_to(disabled=True)
        await site.find("c")
        # Not even by whoever saw that some were due before.
        assert await Outbox(site.world.store, "late", site.clock).lease(NAME) is None
        async with site.dispatching():
            await until(lambda: len(other.received) == 3)
            assert receiver.received == []
            pending = await site.deliveries("state == STATE_PENDING")
            assert {each.attempts for each in pending} == {0}
            # Later than messages live, they are still sent once.
            site.now += timedelta(days=4)
            await set_to(disabled=False)
            await until(ended(site, 2))
    assert {each.id for each in receiver.received} == waiting
    assert sorted(each.message["data"]["controlId"] for each in receiver.received) == ["a", "b"]


async def test_what_a_process_was_killed_over_is_sent_by_another(site: Site) -> None:
    """Its lease keeps others away, until it is over."""
    await site.create("http://127.0.0.1:9/")
    await site.find("a")
    dead = Outbox(site.world.store, "dead", site.clock)
    assert await dead.due((), 10) == [NAME]
    leased = await dead.lease(NAME)
    assert leased is not None
    other = Outbox(site.world.store, "other", site.clock)
    assert await other.due((), 10) == []
    assert await other.lease(NAME) is None
    site.now += LEASE
    assert await other.due((), 10) == [NAME]
    assert await other.due([NAME], 10) == []
    taken = await other.lease(NAME)
    assert taken is not None
    assert taken.delivery.name == leased.delivery.name


async def test_two_replicas_lease_each_delivery_once(site: Site) -> None:
    await site.create("http://127.0.0.1:9/")
    await site.find(*(f"c{number}" for number in range(12)))
    outboxes = [Outbox(site.world.store, owner, site.clock) for owner in ("one", "two")]
    leased = await asyncio.gather(*(outboxes[n % 2].lease(NAME) for n in range(16)))
    names = [each.delivery.name for each in leased if each is not None]
    assert len(names) == len(set(names))
    # Whoever met another's row may have passed it over; what is left is leased next.
    while (last := await outboxes[0].lease(NAME)) is not None:
        names.append(last.delivery.name)
    assert len(names) == len(set(names)) == 12


async def test_a_slow_receiver_keeps_no_other_waiting(site: Site) -> None:
    opened = asyncio.Event()
    async with Receiver(held=opened.wait) as slow, Receiver() as quick:
        await site.create(slow.url)
        await site.create(quick.url, "quick")
        await site.find("a", "b", "c")
        async with site.dispatching():
            await until(lambda: len(quick.received) == 3)
            assert len(slow.received) == 1
            opened.set()
            await until(lambda: len(slow.received) == 3)
            await until(ended(site, 3))


async def test_a_rotated_secret_signs_beside_the_new_one_for_a_day(site: Site) -> None:
    async with Receiver() as receiver:
        await site.create(receiver.url)
        first = site.secret
        request = api.RotateWebhookSecretRequest(name=NAME, request_id=new_uuid())
        rotated = await site.stub.RotateWebhookSecret(request)
        assert rotated.secret.startswith("whsec_")
        # Sent again it rotates nothing, and the secret is not shown again.
        assert (await site.stub.RotateWebhookSecret(request)).secret == ""
        assert await ping(site) == (True, 204, "")
        site.now += OVERLAP
        assert await ping(site) == (True, 204, "")
    both, alone = receiver.received
    assert both.message["type"] == "webhook.ping"
    assert both.is_signed_by(first)
    assert both.is_signed_by(rotated.secret)
    assert not alone.is_signed_by(first)
    assert alone.is_signed_by(rotated.secret)
    assert await site.deliveries() == []


async def ping(site: Site) -> tuple[bool, int, str]:
    answer = await site.stub.TestWebhook(api.TestWebhookRequest(name=NAME))
    return answer.delivered, answer.response_code, answer.problem


async def test_secrets_stand_sealed_in_the_store_and_are_never_shown_again(site: Site) -> None:
    await site.create("https://example.com/hook")
    rows = await site.world.store.page("webhook_secrets", NAME)
    assert [each.sealed_secret for each in rows.items] == [""]  # type: ignore[attr-defined]
    store = WebhookStore(site.world.store, site.clock)
    assert await store.secrets(NAME) == [site.secret]
    statement = site.world.store.select("webhook_secrets", "acme")
    (row,) = await site.world.store.fetch(statement)
    assert row.sealed_secret.startswith("sealed:")
    assert site.secret not in str(row)


async def test_webhooks_are_kept_like_other_resources(site: Site) -> None:
    made = await site.create("https://example.com/hook", description="ours")
    assert made.name == NAME
    got = await site.stub.GetWebhook(api.GetWebhookRequest(name=NAME))
    assert got == made
    listed = await site.stub.ListWebhooks(api.ListWebhooksRequest(parent=TENANT))
    assert list(listed.webhooks) == [made]
    mask = FieldMask(paths=["disabled", "description"])
    request = api.UpdateWebhookRequest(webhook=Webhook(name=NAME, disabled=True), update_mask=mask)
    changed = await site.stub.UpdateWebhook(request)
    assert (changed.disabled, changed.description, changed.url) == (True, "", made.url)
    assert changed.etag != made.etag
    assert await site.stub.UpdateWebhook(request) == changed
    stale = Webhook(name=NAME, disabled=False, url="https://example.org/", etag=made.etag)
    await refused(site.stub.UpdateWebhook(api.UpdateWebhookRequest(webhook=stale)), "ETAG_MISMATCH")
    again = api.CreateWebhookRequest(parent=TENANT, webhook_id="ops", webhook=made)
    await refused(site.stub.CreateWebhook(again), "RESOURCE_EXISTS")
    await site.find("a")
    await site.stub.DeleteWebhook(api.DeleteWebhookRequest(name=NAME, etag=changed.etag))
    await refused(site.stub.GetWebhook(api.GetWebhookRequest(name=NAME)), "RESOURCE_NOT_FOUND")
    for collection in ("webhook_secrets", "webhook_deliveries"):
        assert (await site.world.store.page(collection, NAME)).items == []


@pytest.mark.parametrize(
    ("webhook", "reason", "field_"),
    [
        (Webhook(url="http://example.com/"), "FIELD_INVALID", "webhook.url"),
        (Webhook(url="https://10.1.1.1/"), "FIELD_INVALID", "webhook.url"),
        (Webhook(), "FIELD_INVALID", "webhook.url"),
        (Webhook(url="https://example.com/", filter="colour == 1"), "FILTER_INVALID", "filter"),
    ],
)
async def test_a_webhook_that_could_not_be_sent_to_is_refused(
    site: Site, webhook: Webhook, reason: str, field_: str
) -> None:
    request = api.CreateWebhookRequest(parent=TENANT, webhook_id="ops", webhook=webhook)
    caught = await refused(site.stub.CreateWebhook(request), reason)
    assert [each.field for each in caught.violations][:1] == [field_]
    assert (await site.stub.ListWebhooks(api.ListWebhooksRequest(parent=TENANT))).webhooks == []


async def refused(call: Any, reason: str) -> CallRefused:
    with pytest.raises(CallRefused) as caught:
        await call
    assert caught.value.reason == reason
    return caught.value


async def test_a_tenant_has_so_many_webhooks_and_no_more(site: Site) -> None:
    for number in range(MAX_WEBHOOKS):
        await site.create("https://example.com/", f"w{number}")
    request = api.CreateWebhookRequest(
        parent=TENANT, webhook_id="more", webhook=Webhook(url="https://example.com/")
    )
    await refused(site.stub.CreateWebhook(request), "FIELD_INVALID")


async def test_old_deliveries_are_forgotten(site: Site) -> None:
    await site.create("http://127.0.0.1:9/")
    await site.find("a")
    site.now += KEPT - timedelta(hours=1)
    await site.find("b")
    site.now += timedelta(hours=2)
    await Outbox(site.world.store, "one", site.clock).forget()
    (kept,) = await site.deliveries()
    assert kept.create_time.ToDatetime() > NOW.replace(tzinfo=None)


async def test_without_sealing_keys_there_are_no_webhooks(tmp_path: Path) -> None:
    async with new_world(tmp_path) as world:
        servicer = WebhookServicer(WebhookStore(world.store), Sender(LOOPBACK))
        request = api.CreateWebhookRequest(
            parent=TENANT, webhook_id="ops", webhook=Webhook(url="https://example.com/")
        )
        with pytest.raises(Exception, match="no sealing keys"):
            await servicer.CreateWebhook(request, None)
        assert (await world.store.page("webhooks", TENANT)).items == []
