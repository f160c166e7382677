"""Log lines on their way to standard error."""

import asyncio
import json
import logging
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from mesh.identity.caller import Caller
from mesh.server.call import Call, enter_call
from mesh.server.log import JsonFormatter, log_call
from mesh.server.log_lines import FLUSH_SECONDS, Lines


class Pipe:
    """The reader of a handler's lines."""

    def __init__(self) -> None:
        self._read, write = os.pipe()
        os.set_blocking(self._read, False)
        self._write = write
        self.handler = Lines(write)
        self.handler.setFormatter(JsonFormatter())

    def log(self, message: str, level: int = logging.INFO) -> None:
        self.handler.handle(logging.LogRecord("mesh", level, "", 0, message, None, None))

    def events(self) -> list[dict[str, Any]]:
        try:
            data = os.read(self._read, 1 << 20)
        except BlockingIOError:
            return []
        return [json.loads(line) for line in data.splitlines()]

    def messages(self) -> list[str]:
        return [each["message"] for each in self.events()]

    def close(self) -> None:
        self.handler.close()
        os.close(self._read)
        os.close(self._write)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


async def test_lines_of_the_event_loop_are_written_together(pipe: Pipe) -> None:
    for number in range(3):
        pipe.log(f"line {number}")
    assert pipe.messages() == []
    await asyncio.sleep(FLUSH_SECONDS * 2)
    assert pipe.messages() == ["line 0", "line 1", "line 2"]
    pipe.log("another")
    await asyncio.sleep(FLUSH_SECONDS * 2)
    assert pipe.messages() == ["another"]


async def test_a_warning_does_not_wait_and_keeps_the_order(pipe: Pipe) -> None:
    pipe.log("before")
    pipe.log("warning", logging.WARNING)
    assert pipe.messages() == ["before", "warning"]


async def test_many_lines_do_not_pile_up(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesh.server.log_lines.FLUSH_BYTES", 4096)
    for _ in range(10):
        pipe.log("x" * 1000)
    assert len(pipe.messages()) >= 4


def test_without_an_event_loop_lines_are_written_at_once(pipe: Pipe) -> None:
    pipe.log("start")
    assert pipe.messages() == ["start"]


async def test_a_thread_takes_along_what_waits(pipe: Pipe) -> None:
    pipe.log("loop")
    thread = threading.Thread(target=pipe.log, args=("thread",))
    thread.start()
    thread.join()
    assert pipe.messages() == ["loop", "thread"]


def test_a_loop_that_ended_holds_nothing_back(pipe: Pipe) -> None:
    async def log() -> None:
        pipe.log("first loop")

    asyncio.run(log())
    pipe.handler.flush()
    assert pipe.messages() == ["first loop"]

    async def again() -> None:
        pipe.log("second loop")
        await asyncio.sleep(FLUSH_SECONDS * 2)

    asyncio.run(again())
    assert pipe.messages() == ["second loop"]


async def test_the_line_of_a_call_is_made_later_and_tells_of_its_own_call(pipe: Pipe) -> None:
    logger = logging.Logger("mesh.server.call", logging.INFO)
    logger.addHandler(pipe.handler)
    for number in range(3):
        call = Call("/x/Y", request_id=f"r-{number}", caller=Caller("ann", "acme", frozenset()))
        enter_call(call)
        log_call(logger, logging.INFO, call, {"code": "OK", "number": number})
        call.ended = True
    pipe.log("between", logging.INFO)
    log_call(logger, logging.ERROR, Call("/x/Z", request_id="r-9"), {"code": "INTERNAL"})
    events = pipe.events()
    assert [each["message"] for each in events] == ["call", "call", "call", "between", "call"]
    assert [each.get("request_id") for each in events] == ["r-0", "r-1", "r-2", None, "r-9"]
    assert [each.get("number") for each in events] == [0, 1, 2, None, None]
    assert {each["tenant"] for each in events[:3]} == {"acme"}
    assert "tenant" not in events[4]


async def test_a_line_that_cannot_be_made_loses_no_other(
    pipe: Pipe, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = logging.Logger("mesh.server.call", logging.INFO)
    logger.addHandler(pipe.handler)
    cyclic: dict[str, object] = {}
    cyclic["itself"] = cyclic
    log_call(logger, logging.INFO, Call("/x/Y"), cyclic)
    pipe.log("warning", logging.WARNING)
    assert pipe.messages() == ["warning"]
    assert "Logging error" in capsys.readouterr().err
