"""What sets armed playbooks off: each change once, with the rights of who armed them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mesh.embedded.postgres import Access
from mesh.identifiers import new_uuid
from mesh.sql.store import Store
from mesh.sql.tenancy import acting_for
from secmesh.security.v1.playbook_watch_pb2 import PlaybookWatch
from services.security.incidents import setting_off
from services.security.incidents.arming import Arming
from services.security.incidents.playbooks import Followed, Playbooks
from services.security.incidents.setting_off import PlaybookTriggers
from services.security.workflows.engine import LEASE
from services.security.workflows.run_store import RunStore
from services.security.workflows.starting import Starter
from tests.service.own_tenant import KINDS, OwnTenant, until, whole_store
from tests.service.playbook_world import action, incident, playbook

MINUTE = 60_000_000
PHISHING = {"collection": "email_analyses", "filter": "verdict == EMAIL_VERDICT_PHISHING"}
INCIDENTS = {"collection": "incidents"}


class Post(OwnTenant):
    """A tenant with mail, incidents and playbooks."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.starter = Starter(store, RunStore(store, self.clock, LEASE), self.editor)
        self.arming = Arming(store, self.editor, KINDS)

    def process(self, follow: Any = None) -> PlaybookTriggers:
        """Give what one process looks with; it remembers nothing yet."""
        playbooks = Playbooks(self.store, self.editor, KINDS, self.starter)
        if follow is not None:
            playbooks.follow = follow(playbooks.follow)  # type: ignore[method-assign]  # a crash
        arming = Arming(self.store, self.editor, KINDS)
        return PlaybookTriggers(self.store, self.editor, arming, playbooks, self.starter)

    async def mail(self, verdict: str = "PHISHING") -> str:
        values = {"message_id": new_uuid(), "sender": "x@y.example", "sender_domain": "y.example"}
        verdict = f"EMAIL_VERDICT_{verdict}"
        status = "SCAN_STATUS_COMPLETED"
        return await self.create("email_analyses", **values, verdict=verdict, status=status)

    async def book(self, *conditions: dict[str, str], **values: Any) -> str:
        """Write a playbook and arm it, if it has conditions."""
        steps = values.pop("steps", [action("a")])
        made = playbook(*steps, trigger_conditions=list(conditions), **values)
        name = await self.create("response_playbooks", **made)
        if conditions:
            await self.arm(name)
        return name

    async def incident(self, **values: Any) -> str:
        return await self.create("incidents", **incident(**values))

    async def arm(self, book: str, subject: str = "ann") -> None:
        with acting_for(self.tenant):
            await self.arming.arm(book, self.caller(subject))

    async def watch(self, book: str) -> PlaybookWatch:
        with acting_for(self.tenant):
            return await self.arming.show(book)

    async def answered(self, book: str) -> list[str]:
        """Give the incidents that have tasks of a playbook, in their order."""
        tasks = (await self.found("incident_responses")).values()
        return sorted(each.incident_id for each in tasks if each.playbook_id == book)

    async def look(self, times: int = 1) -> int:
        """Look at changes in so many processes at once, and give how often they set off."""
        return sum(await asyncio.gather(*(self.process().look() for _ in range(times))))

    async def set_off(self, count: int, times: int = 1) -> None:
        """Look until changes set playbooks off so often: the feed waits for open writes."""
        seen = 0

        async def is_done() -> bool:
            nonlocal seen
            seen += await self.look(times)
            return seen >= count

        await until(is_done)
        assert seen == count
        assert await self.look() == 0


@pytest.fixture
async def post(audited_database: Access) -> AsyncIterator[Post]:
    async with whole_store(audited_database) as store:
        made = Post(store)
        yield made
        for name in await made.found("response_playbooks"):
            with acting_for(made.tenant):
                await made.arming.disarm(name)


async def test_a_record_that_comes_to_fit_sets_a_playbook_off_once(post: Post) -> None:
    early = await post.mail()
    book = await post.book(PHISHING)
    fitting, other = [await post.mail() for _ in range(3)], await post.mail("CLEAN")
    await post.set_off(3, times=3)
    opened = await post.found("incidents")
    assert sorted(each.affected_assets[0] for each in opened.values()) == sorted(fitting)
    assert await post.answered(book) == sorted(opened)
    await post.set(fitting[0], subject="is known to fit")
    await post.set(early, subject="fitted before")
    await post.set(other, verdict="EMAIL_VERDICT_PHISHING")
    await post.set_off(1)
    [new] = (await post.found("incidents")).keys() - opened.keys()
    assert (await post.found("incidents"))[new].affected_assets == [other]
    watch = await post.watch(book)
    assert (watch.start_count, watch.problem) == (4, "")


async def test_a_record_has_one_incident_while_that_is_open(post: Post) -> None:
    first, second = await post.book(PHISHING), await post.book(PHISHING)
    mail = await post.mail()
    await post.set_off(2)
    [one] = await post.found("incidents")
    assert [await post.answered(first), await post.answered(second)] == [[one], [one]]
    await post.set(one, status="INCIDENT_STATUS_CLOSED")
    await post.set(mail, verdict="EMAIL_VERDICT_CLEAN")
    await post.set(mail, verdict="EMAIL_VERDICT_PHISHING")
    await post.set_off(2)
    assert len(await post.found("incidents")) == 2


async def test_incidents_set_off_what_is_for_them_and_their_severity(post: Post) -> None:
    sort = await post.create("incident_categories", code="x", name="Theft")
    grave = await post.book(INCIDENTS, min_severity="SEVERITY_HIGH")
    of_sort = await post.book(INCIDENTS, category_id=sort)
    mild = await post.incident(severity="SEVERITY_LOW", category_id=sort)
    high = await post.incident()
    await post.set_off(2)
    assert await post.answered(grave) == [high]
    assert await post.answered(of_sort) == [mild]
    problems = [(await post.watch(each)).problem for each in (grave, of_sort)]
    assert problems == ["", ""]


async def test_what_playbooks_write_sets_nothing_off(post: Post) -> None:
    await post.book(PHISHING)
    follows = await post.book(INCIDENTS)
    tasks = await post.book({"collection": "incident_responses"})
    await post.mail()
    await post.set_off(1)
    made = await post.incident()
    await post.set_off(1)
    assert await post.answered(follows) == [made]
    assert await post.answered(tasks) == []


async def test_more_than_so_many_in_a_minute_wait_in_their_order(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setting_off, "MAX_STARTS", 3)
    book = await post.book(INCIDENTS)
    made = [await post.incident() for _ in range(5)]
    await post.set_off(3)
    assert await post.answered(book) == sorted(made[:3])
    post.later = 2 * MINUTE
    await post.set_off(2)
    assert await post.answered(book) == sorted(made)


async def test_a_process_that_dies_in_the_middle_leaves_all_to_the_next(post: Post) -> None:
    book, tried = await post.book(INCIDENTS), []
    made = [await post.incident() for _ in range(3)]

    def dying(follow: Any) -> Any:
        async def die(*given: Any) -> Followed:
            tried.append(given[1])
            if len(tried) == 2:
                raise ConnectionError
            answer: Followed = await follow(*given)
            return answer

        return die

    async def is_dead() -> bool:
        await post.process(dying).look()
        return len(tried) == 2

    await until(is_dead)
    assert tried == made[:2]
    assert await post.answered(book) == []
    await post.set_off(3)
    assert await post.answered(book) == sorted(made)


@pytest.mark.parametrize("inner", [False, True])
async def test_a_playbook_that_was_changed_is_disarmed(post: Post, *, inner: bool) -> None:
    below = await post.book()
    steps = [{"step_id": "b", "step_type": "PLAYBOOK_ACTION", "playbook_id": below}]
    book = await post.book(INCIDENTS, steps=steps)
    first = await post.incident()
    await post.set_off(1)
    await post.set(below if inner else book, description="now it says something else")
    left = await post.incident()

    async def is_disarmed() -> bool:
        assert await post.look() == 0
        return not (await post.watch(book)).armed

    await until(is_disarmed)
    watch = await post.watch(book)
    assert (watch.start_count, "was changed since" in watch.problem) == (1, True)
    assert left in watch.problem
    assert await post.answered(below) == [first]
    await post.arm(book)
    last = await post.incident()
    await post.set_off(1)
    assert await post.answered(below) == sorted([first, last])


async def test_nothing_is_done_for_who_is_blocked(post: Post) -> None:
    user = await post.admin()
    book = await post.book(INCIDENTS)
    await post.arm(book, user.rpartition("/")[2])
    await post.set(user, status="USER_STATUS_SUSPENDED")
    refused = await post.incident()

    async def is_told() -> bool:
        assert await post.look() == 0
        return (await post.watch(book)).problem.startswith(f"{refused}: {user}, ")

    await until(is_told)
    await post.set(user, status="USER_STATUS_ACTIVE")
    later = await post.incident()
    await post.set_off(1)
    assert await post.answered(book) == [later]
