"""The rules of the list of what runs: what an interleaving could lose or double."""

from __future__ import annotations

import threading
import time

import pytest

from backstop.protocol import BeatAnswer, Rhythm
from backstop.protocol.agent import StopWhy
from backstop.running import ANSWER_MAY_COME, FENCED_GRACE, Run, Running
from support import taken

TIMEOUT = 3.0


def answer(
    unlisted: list[tuple[str, str]] | None = None, stop: list[tuple[str, str, StopWhy]] | None = None
) -> BeatAnswer:
    return BeatAnswer("go_on", Rhythm(5.0, None, 30.0), None, stop or [], unlisted or [])


def begin(running: Running, id: str, token: str) -> Run:
    run = running.begin(taken(id, token))
    assert run is not None
    return run


def test_a_pair_that_two_beats_show_is_given_back_once_no_answer_can_bring_it_any_more() -> None:
    running, seen = Running(), answer([("t", "1")])
    assert running.heard(seen, 0.0, TIMEOUT, now=0.1) == [], "its answer may be on its way"
    assert running.heard(seen, 1.5, TIMEOUT, now=1.6) == []
    assert running.heard(seen, 3.05, TIMEOUT, now=3.06) == [], "counted from the first answer, not from its beat"
    assert running.heard(seen, 6.2, TIMEOUT, now=6.3) == [("t", "1")]


def test_a_pair_that_a_beat_in_between_did_not_show_begins_anew() -> None:
    running, seen = Running(), answer([("t", "1")])
    running.heard(seen, 0.0, TIMEOUT, now=0.0)
    running.heard(answer(), 1.0, TIMEOUT, now=1.0)
    assert running.heard(seen, 6.0, TIMEOUT, now=6.0) == []


def test_what_was_taken_meanwhile_or_is_being_adopted_is_not_given_back() -> None:
    running, seen = Running(), answer([("t", "1"), ("a", "2")])
    running.adopting(["a"])
    running.heard(seen, 0.0, TIMEOUT, now=0.0)
    begin(running, "t", "1")
    assert running.heard(seen, 6.0, TIMEOUT, now=6.0) == []
    running.adopting(())
    assert running.heard(answer([("a", "2")]), 12.0, TIMEOUT, now=12.0) == [], "once is not enough"


def test_another_attempt_of_a_task_that_runs_is_not_known() -> None:
    running, seen = Running(), answer([("t", "2")])
    begin(running, "t", "1")
    running.heard(seen, 0.0, TIMEOUT, now=0.0)
    assert running.heard(seen, 6.0, TIMEOUT, now=6.0) == [("t", "2")]


def test_a_task_that_comes_again_stops_its_older_run() -> None:
    running = Running()
    older = begin(running, "t", "1")
    newer = begin(running, "t", "2")
    assert older.stop.is_set() and not newer.stop.is_set()
    assert running.why(older) == "fenced" and running.why(newer) is None
    running.end(older)
    assert len(running) == 1, "the older run's end is not the newer one's"
    running.end(newer)
    assert len(running) == 0


def test_a_stop_reaches_the_token_that_it_names() -> None:
    running = Running()
    run = begin(running, "t", "2")
    running.heard(answer(stop=[("t", "1", "gone")]), 0.0, TIMEOUT)
    assert not run.stop.is_set()
    running.heard(answer(stop=[("t", "2", "revoked")]), 0.0, TIMEOUT)
    assert run.stop.is_set() and running.why(run) == "revoked"
    running.heard(answer(stop=[("t", "2", "cancelled")]), 0.0, TIMEOUT)
    assert running.why(run) == "revoked", "the first reason stands"
    running.heard(answer(stop=[("t", "2", "gone")]), 0.0, TIMEOUT)
    assert running.why(run) == "fenced", "but for one that leaves nothing to report"


def test_a_task_that_was_given_back_does_not_run_when_its_answer_comes_after_all() -> None:
    running, seen = Running(), answer([("t", "1")])
    running.heard(seen, 0.0, TIMEOUT, now=0.0)
    assert running.heard(seen, 6.0, TIMEOUT, now=6.0) == [("t", "1")]
    running.heard(answer(), 7.0, TIMEOUT, now=7.0)
    assert running.begin(taken("t", "1")) is None, "another may have it by now"
    assert len(running) == 0
    assert running.begin(taken("t", "2")) is not None, "a later attempt is this agent's"


def test_what_was_given_back_is_forgotten_when_no_answer_can_come_any_more() -> None:
    running, seen = Running(), answer([("t", "1")])
    running.heard(seen, 0.0, TIMEOUT, now=0.0)
    running.heard(seen, 6.0, TIMEOUT, now=6.0)
    running.heard(answer(), 0.0, TIMEOUT, now=6.0 + ANSWER_MAY_COME)
    assert running.begin(taken("t", "1")) is not None


def test_who_may_have_lost_a_task_ends_before_others_begin_it() -> None:
    running = Running()
    outage, stop = begin(running, "outage", "1"), begin(running, "stop", "1")
    running.has_to_stop_within(6.0)
    running.heard(answer(stop=[("stop", "1", "cancelled")]), 0.0, TIMEOUT)
    assert running.grace(stop, 60.0) == 60.0, "it is this agent's still"
    running.stop_all("out_of_touch")
    assert running.grace(outage, 60.0) == running.grace(stop, 60.0) == 6.0
    running.fence_all()
    assert running.grace(stop, 60.0) == FENCED_GRACE and running.grace(stop, 0.1) == 0.1


def test_orders_to_stop_are_counted_once_a_run() -> None:
    running = Running()
    run = begin(running, "t", "1")
    running.stop_all("stopping")
    told_at = run.told_at
    running.stop_all("stopping")
    running.fence(run)
    assert running.stops == 1 and run.told_at == told_at and running.why(run) == "fenced"


def test_a_checkpoint_goes_with_the_next_beat_that_is_answered() -> None:
    running = Running()
    run = begin(running, "t", "1")
    running.save(run, b"cone")
    running.save(run, b"+")
    sent = running.listed()
    assert sent == [("t", "1", b"cone")]
    running.unsent(sent)
    assert running.listed() == [("t", "1", b"cone")]
    assert running.listed() == [("t", "1", b"")]


def test_a_checkpoint_of_a_lost_beat_outlives_a_sign_of_life_but_not_a_newer_one() -> None:
    running = Running()
    run = begin(running, "t", "1")
    running.save(run, b"cold")
    sent = running.listed()
    running.save(run, b"+")
    running.unsent(sent)
    assert running.listed() == [("t", "1", b"cold")]
    running.save(run, b"cnew")
    running.unsent(sent)
    assert running.listed() == [("t", "1", b"cnew")]


def test_a_lost_beat_marks_no_other_attempt() -> None:
    running = Running()
    running.save(begin(running, "t", "1"), b"cold")
    sent = running.listed()
    begin(running, "t", "2")
    running.unsent(sent)
    assert running.listed() == [("t", "2", b"")]


def test_a_checkpoint_is_saved_when_its_beat_is_answered_and_no_earlier() -> None:
    running = Running()
    run = begin(running, "t", "1")
    running.save(run, b"c1")
    assert running.has_unsaved(run)
    sent = running.listed()
    assert running.has_unsaved(run), "its beat is on its way"
    threading.Timer(0.05, running.sent, [sent]).start()
    began = time.monotonic()
    running.wait_saved([run], 10.0)
    assert not running.has_unsaved(run) and time.monotonic() - began < 5.0
    running.save(run, b"c2")
    running.wait_saved([run], 0.01)
    assert running.has_unsaved(run), "the wait has a limit"


def test_nobody_waits_for_the_checkpoint_of_a_run_that_no_beat_lists_any_more() -> None:
    running = Running()
    run = begin(running, "t", "1")
    running.save(run, b"c1")
    threading.Timer(0.05, running.fence_all).start()
    began = time.monotonic()
    running.wait_saved([run], 10.0)
    assert not running.has_unsaved(run) and time.monotonic() - began < 5.0


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_stop_is_heard_whenever_one_begins_to_listen(when: str) -> None:
    run, heard = begin(Running(), "t", "1"), threading.Event()
    if when == "before":
        run.stop.subscribe(heard.set)
    waiting = threading.Thread(target=run.stop.wait)
    waiting.start()
    run.stop.set()
    if when == "after":
        run.stop.subscribe(heard.set)
    waiting.join(5.0)
    assert heard.is_set() and not waiting.is_alive() and run.stop.wait(0)
