"""Work that is done again and again, whatever goes wrong with it."""

import asyncio
import logging
from datetime import timedelta

import pytest
import sqlalchemy as sa

from mesh.errors import DependencyUnavailable
from mesh.sql.recurring import Recurring


class Work(Recurring):
    def __init__(self) -> None:
        super().__init__(timedelta(milliseconds=1), "it went wrong", "%d things done")
        self.looks = 0
        self.enough = asyncio.Event()

    async def look(self) -> int:
        self.looks += 1
        if self.looks == 1:
            raise DependencyUnavailable("store")
        if self.looks == 2:
            raise sa.exc.IntegrityError("SELECT 1", None, Exception("no"))
        if self.looks == 4:
            self.enough.set()
        return 3 if self.looks == 3 else 0


async def test_what_fails_is_tried_again_until_it_is_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    work = Work()
    work.start()
    async with asyncio.timeout(60):
        await work.enough.wait()
    await work.close()
    looks = work.looks
    await asyncio.sleep(0.01)
    assert work.looks == looks
    told = [record.getMessage() for record in caplog.records if record.name == __name__]
    assert told == ["it went wrong", "it went wrong", "3 things done"]


async def test_what_never_began_can_be_closed() -> None:
    await Work().close()
