"""Parts of an agent alone, with a Redis that answers what the test says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from backstop.account import SharedAccount
from backstop.connector import Connector
from backstop.errors import Failure, Fatal, Fenced, GiveBack, Retry, StoreError, TooLarge
from backstop.external import Recorder
from backstop.inbox import Inbox
from backstop.keys import Keys
from backstop.outcome import DONE, GaveBack, Report, cut, of_error
from backstop.outcome import Failure as Failed
from backstop.protocol import Complete, External, Fail, Registered, Release, Rhythm, Take, Took
from backstop.reporter import Reporter
from backstop.running import Run, Running
from backstop.session import Beginning
from backstop.settings import settings
from backstop.taker import Answered, Taker
from backstop.wire import Wire
from support import LIMIT, taken

KEYS = Keys("q")
NOWHERE = "redis://127.0.0.1:1/0"
UNKNOWN = StoreError(Failure.UNKNOWN, "ask", "the answer was lost")
REFUSED = StoreError(Failure.PERMANENT, "ask", "a person must mend it")


class FakeWire(Wire):
    """Remembers what was sent; answers, or raises, what the test says."""

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        super().__init__(Connector(NOWHERE))
        self.sent: list[Any] = []
        self._answer = answer

    def run(self, keys: Keys, command: Any) -> Any:
        self.sent.append(command)
        answer = self._answer(command)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Told:
    """A reporter on a list of runs."""

    def __init__(
        self, answer: Callable[[Any], Any], on_answer: Callable[[str, str, str], object] | None = None
    ) -> None:
        self.wire = FakeWire(answer)
        self.running = Running()
        self.account = SharedAccount(on_answer)
        self.hurried = threading.Event()
        self.broken = threading.Event()
        self.reporter = Reporter(
            self.wire,
            KEYS,
            "w.1-00000000",
            self.running,
            self.account,
            beat_now=self.hurried.set,
            save_timeout=LIMIT,
            on_broken=self.broken.set,
        )

    def run(self, id: str) -> Run:
        run = self.running.begin(taken(id))
        assert run is not None
        return run


def fine(command: Any) -> Any:
    """What a Redis in order answers."""
    if isinstance(command, Complete):
        return ["completed"] * len(command.pairs)
    if isinstance(command, Release):
        return ["released"] * len(command.pairs)
    return "retried"


def test_completions_that_have_come_by_now_go_in_one_call_of_at_most_fifty() -> None:
    told = Told(fine)
    for number in range(120):
        told.reporter.tell(Report(told.run(f"t{number}"), DONE))
    told.reporter.start()
    assert told.reporter.finish(LIMIT)
    assert [len(command.pairs) for command in told.wire.sent] == [50, 50, 20]
    assert told.account.get().completed == 120 and len(told.running) == 0


def test_an_outcome_is_told_until_it_is_answered_and_stands_on_the_list_until_then() -> None:
    listed: list[int] = []
    answers: list[Any] = [UNKNOWN, UNKNOWN, ["already"]]

    def answer(command: Any) -> Any:
        listed.append(len(told.running))
        return answers.pop(0)

    told = Told(answer)
    told.reporter.tell(Report(told.run("t"), DONE))
    told.reporter.start()
    assert told.reporter.finish(LIMIT)
    assert listed == [1, 1, 1] and len(told.running) == 0
    assert told.wire.sent[0] is told.wire.sent[2], "the same command again"
    assert told.account.get().completed == 1


def test_what_is_refused_is_told_again_later_and_holds_up_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backstop.reporter.REFUSED_AGAIN", 0.05)
    refusals = [REFUSED, REFUSED]

    def answer(command: Any) -> Any:
        return refusals.pop() if isinstance(command, Fail) and refusals else fine(command)

    told = Told(answer)
    told.reporter.tell(Report(told.run("bad"), Failed("e", final=False)))
    told.reporter.tell(Report(told.run("good"), DONE))
    told.reporter.start()
    assert told.reporter.finish(LIMIT)
    assert [type(command) for command in told.wire.sent] == [Fail, Complete, Fail, Fail]
    assert (told.account.get().retried, told.account.get().completed) == (1, 1)


def test_a_reporter_that_nobody_waits_for_gives_up_and_says_so() -> None:
    told = Told(lambda command: UNKNOWN)
    told.reporter.tell(Report(told.run("t"), DONE))
    told.reporter.start()
    assert not told.reporter.finish(0.05)
    assert len(told.running) == 1


def test_refused_completions_are_counted_apart_and_each_answer_is_heard() -> None:
    heard: list[tuple[str, str]] = []

    def hear(id: str, token: str, word: str) -> None:
        heard.append((id, word))
        raise RuntimeError("a listener's fault is its own")

    words = ["completed", "withdrawn", "late", "gone"]
    told = Told(lambda command: words, hear)
    for word in words:
        told.reporter.tell(Report(told.run(word), DONE))
    told.reporter.start()
    assert told.reporter.finish(LIMIT)
    account = told.account.get()
    assert (account.completed, account.withdrawn, account.refused) == (1, 1, 2)
    assert heard == [(word, word) for word in words]


def test_a_checkpoint_goes_before_its_task_is_given_back() -> None:
    told = Told(fine)
    run = told.run("t")
    told.running.save(run, b"cprogress")
    told.reporter.tell(Report(run, GaveBack(0.0)))
    told.reporter.start()
    assert told.hurried.wait(LIMIT)
    assert told.wire.sent == [], "it waits for the beat's answer"
    told.running.sent(told.running.listed())
    assert told.reporter.finish(LIMIT)
    assert told.wire.sent == [Release("w.1-00000000", 0, [("t", run.token)])]


def test_a_completed_task_s_checkpoint_is_waited_for_by_nobody() -> None:
    told = Told(fine)
    run = told.run("t")
    told.running.save(run, b"cprogress")
    told.reporter.tell(Report(run, DONE))
    told.reporter.start()
    assert told.reporter.finish(LIMIT) and not told.hurried.is_set()


def test_delays_are_milliseconds_and_none_is_the_policy_s() -> None:
    told = Told(fine)
    for delay in (None, 1.5, None):
        told.reporter.tell(Report(told.run(f"t{len(told.running)}"), GaveBack(delay)))
    told.reporter.start()
    assert told.reporter.finish(LIMIT)
    assert [(c.delay_ms, [id for id, _ in c.pairs]) for c in told.wire.sent] == [(-1, ["t0", "t2"]), (1500, ["t1"])]


def test_a_reporter_that_breaks_says_so() -> None:
    told = Told(lambda command: ValueError("a fault of the program"))
    told.reporter.tell(Report(told.run("t"), DONE))
    told.reporter.start()
    assert told.broken.wait(LIMIT)


def test_an_answer_that_comes_after_its_time_out_is_dropped_unread() -> None:
    inbox = Inbox()
    taker = Taker(Connector(NOWHERE, response_timeout=0.02), KEYS, "w.1-00000000", inbox)
    pause = threading.Event()
    slow = True

    def answer(command: Any) -> Any:
        assert isinstance(command, Take) and command.most == 7
        if slow:
            pause.wait(0.05)
        return Took([taken()])

    taker._wire = FakeWire(answer)
    taker.start()
    taker.take(7)
    late = inbox.next(LIMIT)
    slow = False
    taker.take(7)
    in_time = inbox.next(LIMIT)
    taker.stop()
    assert isinstance(late, Answered) and isinstance(late.answer, StoreError)
    assert late.answer.failure is Failure.UNKNOWN
    assert isinstance(in_time, Answered) and isinstance(in_time.answer, Took)


def test_each_take_has_a_nonce_of_its_own() -> None:
    inbox, wire = Inbox(), FakeWire(lambda command: "paused")
    taker = Taker(Connector(NOWHERE), KEYS, "w.1-00000000", inbox)
    taker._wire = wire
    taker.start()
    for _ in range(3):
        taker.take(1)
        assert inbox.next(LIMIT)
    taker.stop()
    assert len({command.nonce for command in wire.sent}) == 3


def test_a_session_s_silence_is_counted_from_the_first_call_that_may_have_made_it() -> None:
    refused = StoreError(Failure.TRANSIENT, "ask", "it can't be reached")
    began = Registered("w.1-00000000", Rhythm(5.0, 22.5, 30.0), [])
    answers: list[Any] = [refused, UNKNOWN, refused, began]
    sent: list[float] = []

    def answer(command: Any) -> Any:
        sent.append(time.monotonic())
        return answers.pop(0)

    chosen = settings(
        queue="q",
        identity="w",
        pool=None,
        concurrency=1,
        count=None,
        drain_timeout=0,
        stop_grace=0,
        on_reconnect="reset",
        on_pool_full="end",
    )
    wire = FakeWire(answer)
    beginning = Beginning(wire, KEYS, chosen, Inbox(), None)
    beginning.register()
    assert sent[0] < beginning.began <= sent[1]
    assert len({command.nonce for command in wire.sent}) == 1


def test_how_a_handler_ends_is_what_is_told() -> None:
    assert of_error(GiveBack(2.0)) == GaveBack(2.0) and of_error(GiveBack()) == GaveBack(None)
    assert of_error(Fatal("in vain")) == Failed("in vain", final=True)
    assert of_error(Retry("as it is")) == Failed("as it is", final=False)
    assert of_error(ValueError("odd")) == Failed("ValueError: odd", final=False)
    assert of_error(SystemExit()) == Failed("SystemExit", final=False)

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert isinstance(of_error(Mute()), Failed)


def test_an_error_s_text_is_cut_between_characters() -> None:
    assert cut("ä" * 600) == ("ä" * 512).encode()
    assert cut("x" + "ä" * 600) == ("x" + "ä" * 511).encode()
    assert cut("\udcff") == b"?"


def test_a_handle_is_recorded_until_that_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = [UNKNOWN, "recorded", "late"]
    wire = FakeWire(lambda command: answers.pop(0))
    running = Running()
    recorder = Recorder(Connector(NOWHERE), KEYS, running)
    monkeypatch.setattr(recorder, "_wire", lambda: wire)
    run = running.begin(taken("t"))
    assert run is not None
    recorder.record(run, "job-7")
    assert wire.sent == [External("t", run.token, "default", b"job-7", 1)] * 2
    for wrong in ("", "x" * 1025):
        with pytest.raises(TooLarge):
            recorder.record(run, wrong)
    with pytest.raises(Fenced):
        recorder.record(run, "job-8")
    assert run.stop.is_set() and running.why(run) == "fenced"
    answers.append(UNKNOWN)
    with pytest.raises(StoreError):
        recorder.record(run, "job-9")
    assert not answers and len(wire.sent) == 4, "one that is another's is not tried again"
