"""Names are checked before anything is sent."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backstop import Agent, Client, GiveBack, InvalidName, NewTask, SetupError, TooLarge
from backstop.client import batches, check
from backstop.names import fresh_nonce, fresh_task_id, identity_name, queue_name, task_id, type_name

# Nothing listens there: a test that sent anything would fail with another error.
NOWHERE = "redis://127.0.0.1:1/0"


@pytest.mark.parametrize("name", ["a", "A-z.0_9", "x" * 64])
def test_sound_names_pass(name: str) -> None:
    assert queue_name(name) == type_name(name) == task_id(name) == name


@pytest.mark.parametrize("name", ["", "_a", "x" * 65, "a b", "a{b}", "ä", "a\n", b"a", None, 7])
def test_odd_names_are_refused(name: object) -> None:
    for check_name in (queue_name, type_name, task_id, identity_name):
        with pytest.raises(InvalidName):
            check_name(name)


def test_what_one_kind_of_name_may_hold_another_may_not() -> None:
    assert task_id("a:b@c/d") == "a:b@c/d"
    for check_name in (queue_name, type_name, identity_name):
        with pytest.raises(InvalidName):
            check_name("a:b")
    assert identity_name("i" * 40)
    for name in ("i" * 41, "a.b"):
        with pytest.raises(InvalidName):
            identity_name(name)


def test_fresh_names_are_sound_and_differ() -> None:
    assert task_id(fresh_task_id()) != fresh_task_id()
    assert len(fresh_nonce()) == 16 and fresh_nonce() != fresh_nonce()


@pytest.mark.parametrize(
    "build",
    [
        lambda: Agent(NOWHERE, queue="_q", identity="w"),
        lambda: Agent(NOWHERE, queue="q", identity="w.1"),
        lambda: Agent(NOWHERE, queue="q", pool=("w", 0)),
        lambda: Agent(NOWHERE, queue="q", pool=("w", 501)),
        lambda: Agent(NOWHERE, queue="q", pool=("w" * 39, 500)),
        lambda: Agent(NOWHERE, queue="q", pool=("w", 1), identity="w"),
        lambda: Agent(NOWHERE, queue="q", identity="w", concurrency=0),
        lambda: Agent(NOWHERE, queue="q", identity="w", concurrency=257),
        lambda: Agent(NOWHERE, queue="q", identity="w", count=-1),
        lambda: Agent(NOWHERE, queue="q", identity="w", drain_timeout=float("nan")),
        lambda: Agent(NOWHERE, queue="q", identity="w", response_timeout=0),
        lambda: Agent(NOWHERE, queue="q", identity="w", on_reconnect="perhaps"),  # type: ignore[arg-type]
        lambda: Agent(NOWHERE, queue="q", identity="w", on_pool_full="perhaps"),  # type: ignore[arg-type]
        lambda: Client(NOWHERE, queue="a b"),
        lambda: GiveBack(-1),
    ],
)
def test_an_agent_that_cannot_be_is_refused_at_once(build: Callable[[], object]) -> None:
    with pytest.raises((InvalidName, SetupError)):
        build()


def test_the_environment_names_an_agent_that_the_program_does_not_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BACKSTOP_IDENTITY", raising=False)
    with pytest.raises(SetupError, match="BACKSTOP_IDENTITY"):
        Agent(NOWHERE, queue="q")
    monkeypatch.setenv("BACKSTOP_IDENTITY", "not.one")
    with pytest.raises(InvalidName, match="not.one"):
        Agent(NOWHERE, queue="q")
    Agent(NOWHERE, queue="q", identity="w")


@pytest.mark.parametrize("url", ["", "localhost", "http://h", "redis://:s3cret@h:port/0", "redis://u:s3cret@h:6379x"])
def test_a_bad_address_is_refused_and_its_password_is_not_said(url: str) -> None:
    with pytest.raises(SetupError) as refused:
        Client(url, queue="q")
    assert "s3cret" not in f"{refused.value} {refused.value.__cause__}"


def test_what_is_too_large_is_refused() -> None:
    assert check(NewTask(b"x" * 1024 * 1024))
    with pytest.raises(TooLarge):
        check(NewTask(b"x" * (1024 * 1024 + 1)))
    with pytest.raises(SetupError):
        check(NewTask("text"))  # type: ignore[arg-type]
    for wrong in (NewTask(b"", delay=-1), NewTask(b"", deadline_in=-1), NewTask(b"", delay=float("inf"))):
        with pytest.raises(SetupError):
            check(wrong)


def test_batches_are_bounded_in_tasks_and_bytes_and_keep_the_order() -> None:
    def sizes(payloads: list[int]) -> list[list[int]]:
        return [[len(t.payload) for t in batch] for batch in batches(check(NewTask(b"x" * n)) for n in payloads)]

    assert [len(batch) for batch in sizes([1] * 101)] == [50, 50, 1]
    most = 1024 * 1024
    assert sizes([most, 1, most - 1, 1]) == [[most], [1, most - 1], [1]]
    assert sizes([]) == []
