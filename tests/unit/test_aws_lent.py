"""Lent sessions: renewed ahead of their end, confirmed once each, replaced when AWS refuses one."""

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from mesh.aws.lent import AHEAD, LATEST, LentCredentials, LentSession
from mesh.aws.outcomes import Outcome, SessionUnavailable, classify

START = datetime(2026, 11, 23, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


@dataclass
class Lender:
    """Gives sessions of an hour that are numbered, unless it is away."""

    now: datetime = START
    asked: list[tuple[str, bool]] = field(default_factory=list)
    away: bool = False
    answering: threading.Event = field(default_factory=threading.Event)
    asking: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.answering.set()

    def lend(self, refused: str, *, patient: bool) -> LentSession:
        self.asked.append((refused, patient))
        self.asking.set()
        assert self.answering.wait(60)
        if self.away:
            raise SessionUnavailable("DEPENDENCY_UNAVAILABLE", "tenancy does not answer")
        number = len(self.asked)
        return LentSession(f"ASIA{number}", f"secret{number}", f"token{number}", self.now + HOUR)


@dataclass
class Site:
    lender: Lender = field(default_factory=Lender)
    confirmed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.credentials = LentCredentials(
            self.lender,
            lambda session: self.confirmed.append(session.access_key_id),
            lambda: self.lender.now,
        )

    def key(self) -> str:
        return str(self.credentials.get_frozen_credentials().access_key)

    def leave(self, left: timedelta) -> None:
        """Turn the clock so that the session has so long to go."""
        self.lender.now = START + HOUR - left


@pytest.fixture
def site() -> Site:
    made = Site()
    assert made.key() == "ASIA1"
    return made


def test_a_session_serves_until_it_is_about_to_end(site: Site) -> None:
    site.leave(AHEAD + SECOND)
    assert site.key() == "ASIA1"
    site.leave(AHEAD)
    assert site.key() == "ASIA2"
    assert site.confirmed == ["ASIA1", "ASIA2"]
    assert site.lender.asked == [("", True), ("", False)]


def test_while_a_session_lasts_nobody_waits_for_the_next(site: Site) -> None:
    site.leave(AHEAD)
    site.lender.answering.clear()
    fetching = threading.Thread(target=site.key)
    site.lender.asking.clear()
    fetching.start()
    assert site.lender.asking.wait(60)
    assert site.key() == "ASIA1"
    site.lender.answering.set()
    fetching.join(60)
    assert site.key() == "ASIA2"


def test_a_lender_that_is_away_is_asked_again_later_while_the_session_lasts(site: Site) -> None:
    site.leave(AHEAD)
    site.lender.away = True
    assert [site.key() for _ in range(10)] == ["ASIA1"] * 10
    assert len(site.lender.asked) == 2
    site.leave(LATEST)
    with pytest.raises(SessionUnavailable) as problem:
        site.key()
    assert site.lender.asked[-1] == ("", True)
    assert classify(problem.value) == (Outcome.FAILED, "DEPENDENCY_UNAVAILABLE")
    site.lender.away = False
    assert site.key() == f"ASIA{len(site.lender.asked)}"


def test_calls_that_are_refused_together_fetch_one_session(site: Site) -> None:
    assert site.credentials.renew("ASIA1")
    assert site.credentials.renew("ASIA1")
    assert site.key() == "ASIA2"
    assert site.lender.asked[1:] == [("ASIA1", True)]


def test_a_refused_session_stays_if_there_is_no_other(site: Site) -> None:
    site.lender.away = True
    assert not site.credentials.renew("ASIA1")


def test_a_session_that_is_not_confirmed_is_not_used() -> None:
    lender = Lender()

    def refuse(session: LentSession) -> None:
        raise RuntimeError(session.access_key_id)

    credentials = LentCredentials(lender, refuse, lambda: lender.now)
    for number in (1, 2):
        with pytest.raises(RuntimeError, match=f"ASIA{number}"):
            credentials.get_frozen_credentials()


def test_secrets_are_never_shown(site: Site) -> None:
    session = site.lender.lend("", patient=True)
    assert session.secret_access_key not in repr(session)
    assert session.session_token not in repr(session)
