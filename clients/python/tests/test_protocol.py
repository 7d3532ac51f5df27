"""Commands become arguments, and answers are closed sets."""

from __future__ import annotations

from typing import Any

import pytest

from backstop.errors import UnknownAnswer
from backstop.protocol import (
    Adopt,
    Beat,
    Complete,
    Enqueue,
    External,
    Fail,
    Idle,
    Leave,
    Left,
    NewTask,
    Register,
    Registered,
    Release,
    Take,
    Taken,
    Took,
    Undecodable,
)

REGISTER = Register("0" * 16, "w", 3, "", "host", 7, "1")
TAKE = Take("w.1-00000000", "0" * 16, 5)
ROW: list[object] = [b"t", b"1-1-n", b"mail", b"2", b"\x00\xff", b"5", b"9", b"1", b"2", b"\x00c", b"h"]


def test_arguments_stand_in_the_order_of_the_scripts_headers() -> None:
    assert REGISTER.args() == ["0" * 16, "w", 3, "", "host", 7, "1"]
    assert TAKE.args() == ["w.1-00000000", "0" * 16, 5, 1024 * 1024]
    assert Enqueue([NewTask("t", "mail", b"p", 3, 4)]).args() == ["t", "mail", 3, 4, b"p"]
    assert Beat("s", 2, [("t", "1", b"c\x00")]).args() == ["s", 2, "t", "1", b"c\x00"]
    assert Complete([("t", "1"), ("u", "2")]).args() == ["t", "1", "u", "2"]
    assert Fail("t", "1", b"e", 5, True).args() == ["t", "1", b"e", 5, 1]
    assert Release("s", -1, [("t", "1")]).args() == ["s", -1, "t", "1"]
    assert Adopt("s", "n", [("t", "1")]).args() == ["s", "n", "t", "1"]
    assert External("t", "1", "mail", b"h", 3).args() == ["t", "1", "mail", b"h", 3]
    assert Leave("s").args() == ["s"]


def test_answers_are_read() -> None:
    began = REGISTER.read([b"registered", b"w-0.1-x", 5000, -1, 30000, [b"old", b"t", b"1", b"mail", b"\xff", b""]])
    assert isinstance(began, Registered)
    assert (began.rhythm.next, began.rhythm.stop_after, began.rhythm.lost_after) == (5.0, None, 30.0)
    assert (began.held[0].checkpoint, began.held[0].external) == (b"\xff", None)
    assert REGISTER.read([b"pool_full"]) == "pool_full"
    took = TAKE.read([b"took", [ROW]])
    assert took == Took([Taken("t", "1-1-n", "mail", 2, b"\x00\xff", 5, 9, 1, 2, b"\x00c", "h")])
    assert TAKE.read([b"empty", -1]) == Idle(None) and TAKE.read([b"empty", 1500]) == Idle(1.5)
    assert TAKE.read([b"lost"]) == "lost"
    answer = Beat("s", 1, []).read([b"drain", 50, 900, 1000, b"release", [b"t", b"1", b"gone"], [b"u", b"2"]])
    assert (answer.word, answer.drain, answer.rhythm.stop_after) == ("drain", "release", 0.9)
    assert (answer.stop, answer.unlisted) == ([("t", "1", "gone")], [("u", "2")])
    assert isinstance(Leave("s").read([b"left"]), Left)
    assert Leave("s").read([b"holds", [b"t", b"1"]]) == [("t", "1")]
    assert Adopt("s", "n", [("t", "1"), ("u", "2")]).read([[b"adopted", ROW], [b"full"]])[1] == "full"
    assert External("t", "1", "mail", b"h", 1).read(b"late") == "late"
    assert Fail("t", "1", b"", 0, False).read([b"retried", 50]) == "retried"


def test_a_fifth_of_the_time_to_stop_is_kept_back() -> None:
    answer = Beat("s", 1, []).read([b"go_on", 5000, 22500, 30000, b"", [], []])
    assert answer.rhythm.time_to_stop == pytest.approx(6.0)
    never = Beat("s", 1, []).read([b"go_on", 5000, -1, 30000, b"", [], []])
    assert never.rhythm.time_to_stop == 0.0


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        (REGISTER, [b"welcome"]),
        (REGISTER, [b"registered", b"s", 1, 2, 3, [b"one too few"]]),
        (REGISTER, [b"pool_full", 1]),
        (TAKE, [b"took"]),
        (TAKE, [b"took", [[b"t"]]]),
        (TAKE, [b"gave", []]),
        (TAKE, []),
        (TAKE, None),
        (Beat("s", 1, []), [b"go_on", 1, 2, 3, b"", []]),
        (Beat("s", 1, []), [b"fine", 1, 2, 3, b"", [], []]),
        (Beat("s", 1, []), [b"go_on", 1, 2, 3, b"perhaps", [], []]),
        (Beat("s", 1, []), [b"go_on", 1, 2, 3, b"", [b"t", b"1", b"tired"], []]),
        (Complete([("t", "1")]), [b"done"]),
        (Complete([("t", "1")]), [b"completed", b"completed"]),
        (Fail("t", "1", b"", 0, False), [b"retried"]),
        (Release("s", 0, [("t", "1")]), [b"kept"]),
        (Adopt("s", "n", [("t", "1")]), [[b"stolen"]]),
        (Leave("s"), [b"stayed"]),
        (External("t", "1", "m", b"h", 1), b"written"),
        (External("t", "1", "m", b"h", 1), [b"recorded"]),
        (Enqueue([NewTask("t", "m", b"")]), [b"added"]),
    ],
)
def test_an_unknown_answer_is_an_error(command: Any, reply: object) -> None:
    with pytest.raises(UnknownAnswer):
        command.read(reply)


def test_a_record_that_was_edited_costs_no_other_task_its_turn() -> None:
    odd_type = [*ROW[:2], b"\xff\xfe", *ROW[3:]]
    no_number = [b"u", b"1-2-n", b"mail", b"many", *ROW[4:]]
    took = TAKE.read([b"took", [odd_type, no_number, ROW]])
    assert isinstance(took, Took)
    first, second, third = took.tasks
    assert isinstance(first, Taken) and isinstance(third, Taken)
    assert second == Undecodable("u", "1-2-n")
