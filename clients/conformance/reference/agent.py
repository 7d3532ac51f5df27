"""A small agent for the suite's own tests: as the protocol says, but for one fault that it is told to have.

No client to build on: its tasks are ended from outside, so it has no handlers, and it is as slow as its polls.
"""

import os
import random
import secrets
import threading
import time

from suite.resp import Connection, RespError

WORDS_OF_STOP = {"gone": "fenced", "revoked": "revoked", "cancelled": "cancelled"}


class Ended(Exception):
    """Why an agent ends that didn't end in order: superseded, pool_full, stopped, lost or error."""


class Run:
    """A task that runs here, or whose outcome has no answer yet."""

    def __init__(self, row):
        row = list(row) + [b""] * (11 - len(row))
        self.id, self.token, self.type = (part.decode("utf-8", "replace") for part in row[:3])
        self.attempt, self.payload, self.checkpoint = int(row[3]), row[4], row[9]
        self.external = row[10].decode("utf-8", "replace") if row[10] else None
        self.why, self.mark, self.ignores_stop, self.ended = None, b"", False, False
        self.recorded = 0


class Agent:
    """One agent. `tell` hears what the protocol's events are; `faults` are the names of what it does wrong."""

    def __init__(self, scripts, start, tell, faults):
        self.scripts, self.tell, self.faults = scripts, tell, faults
        self.port = int(start["redis"].split(":")[-1].split("/")[0])
        self.queue, self.identity, self.pool = start["queue"], start.get("as"), start.get("pool")
        self.concurrency, self.count = start.get("concurrency", 1), start.get("count")
        self.choice, self.waits_for_pool = start.get("on_reconnect", "reset"), start.get("pool_full") == "wait"
        self.drain_timeout = start.get("drain_timeout_ms", 30000) / 1000
        self.answer_timeout = start.get("response_timeout_ms", 3000) / 1000
        self.keys = [
            f"backstop:{{{self.queue}}}:{key}"
            for key in "control pending delayed expiring agents due dead policy stats events lease unwanted none".split()
        ]
        self.lock, self.changed = threading.RLock(), threading.Condition()
        self.account = dict.fromkeys(
            "taken adopted completed withdrawn refused retried dead released fenced".split(), 0
        )
        self.stop, self.decisions = threading.Event(), {}
        self.sent_whole, self.blocked_until = set(), 0
        self.main, self.beating, self.telling, self.asking = (self._connection() for _ in range(4))
        self.begin_session()

    def _connection(self):
        return Connection(self.port, 60 if self.has("waits-for-ever") else self.answer_timeout)

    def begin_session(self):
        """What belongs to one session."""
        self.session, self.over, self.out_of_touch, self.drain = None, None, False, ""
        self.runs, self.adopting, self.unknown, self.given_back = {}, set(), {}, set()
        self.outcomes, self.answered_at, self.closing = [], time.monotonic(), False

    def has(self, fault):
        return fault in self.faults

    def script(self, connection, name, *args):
        """One call; what RespError or OSError it raises says whether it may have run."""
        form = "9" if self.has("ignores-format") else "1"
        args = [*self.keys, form, *args]
        sha = self.scripts.sha(name)
        try:
            if self.has("always-eval"):
                return connection.command("EVAL", self.scripts.source(name), len(self.keys), *args)
            return connection.command("EVALSHA", sha, len(self.keys), *args)
        except RespError as error:
            if not str(error).startswith("NOSCRIPT") or self.has("evals-once") and name in self.sent_whole:
                raise
            self.sent_whole.add(name)
            source = self.scripts.source(name) + ("-- mine\n" if self.has("other-text") else "")
            return connection.command("EVAL", source, len(self.keys), *args)

    def until_answered(self, connection, name, *args, until=lambda: False, patience=None):
        """The same command until it is answered."""
        wait, began = 0.05, time.monotonic()
        while True:
            try:
                return self.script(connection, name, *args)
            except OSError:
                if self.has("never-repeats"):
                    raise Ended("error") from None
            except RespError as error:
                if not str(error).startswith(("OOM", "LOADING", "READONLY", "MISCONF", "BUSY")):
                    if patience is None or self.has("gives-up-outcomes"):
                        raise Ended("error") from None
                    time.sleep(patience)
            if until() and not self.has("deaf") or self.over == "kill" or time.monotonic() - began > 60:
                raise Ended("stopped")
            time.sleep(wait)
            wait = min(wait * 2, 2)

    # The session's life.

    def work(self):
        """Lives until it ends; how, and why if that was an error."""
        lost = ""
        try:
            while True:
                how = self.live(lost)
                if how != "lost":
                    return how
                lost = self.session
                self.begin_session()
        except Ended as ended:
            return str(ended)
        finally:
            self.over = self.over or "kill"

    def register(self, lost):
        nonce = secrets.token_hex(8)
        name, size = (self.identity, 0) if self.pool is None else self.pool
        if self.has("pool-by-hand") and size:
            name, size = f"{name}-0", 0
        lost = "" if self.has("names-no-lost") else lost
        words = ["somewhere", os.getpid(), "reference"]
        while True:
            if self.has("fresh-nonce-each-register"):
                nonce = secrets.token_hex(8)
                try:
                    answer = self.script(self.main, "register", nonce, name, size, lost, *words)
                except OSError:
                    continue
            else:
                answer = self.until_answered(
                    self.main, "register", nonce, name, size, lost, *words, until=self.stop.is_set
                )
            if answer[0] == b"superseded":
                raise Ended("superseded")
            if answer[0] != b"pool_full":
                return nonce, answer
            if not self.waits_for_pool and not self.has("always-waits") or self.has("never-waits"):
                raise Ended("pool_full")
            if self.stop.wait(0.5 + random.random() / 2) and not self.has("deaf"):
                raise Ended("stopped")
            nonce = secrets.token_hex(8)

    def live(self, lost):
        nonce, answer = self.register(lost)
        self.session = answer[1].decode()
        self.rhythm(answer[2:5])
        self.answered_at = time.monotonic()
        threads = [threading.Thread(target=work, daemon=True) for work in (self.beat_on, self.report_on, self.watch)]
        if self.has("settles-first"):
            self.settle(nonce, answer[5])
        for thread in threads:
            thread.start()
        self.settle(nonce, answer[5])
        left, look_at, force_at, stopping = (
            (None if self.has("ignores-count") else self.count) or 1 << 40,
            0,
            None,
            False,
        )
        left -= self.account["taken"]
        while self.over is None:
            if self.stop.is_set() and not stopping:
                stopping, force_at = True, time.monotonic() + self.drain_timeout
                if self.has("stops-at-once"):
                    force_at = 0
            if force_at is not None and time.monotonic() > force_at and not self.has("never-forces"):
                self.stop_all("stopping")
            if (self.drain == "release" or self.drain and self.has("drain-is-release")) and not self.has(
                "ignores-drain"
            ):
                self.stop_all("stopping")
            if self.out_of_touch and not self.has("stays-in-touch"):
                self.stop_all("out_of_touch")
            running = self.running()
            if not running and (stopping or left <= 0):
                return self.end()
            room = min(self.concurrency - running, left, 50, 256 - len(self.runs))
            if self.has("greedy"):
                room = 10
            drained = self.drain and not self.has("ignores-drain")
            if stopping or drained or self.out_of_touch or room < 1 or time.monotonic() < look_at:
                time.sleep(0.01)
                continue
            look_at = time.monotonic() + 0.05
            took = self.take(room)
            left -= took or 0
            if took is None:
                look_at = time.monotonic() + (60 if self.has("never-polls") else 0.3)
        self.closing = True
        for run in list(self.runs.values()):
            if not run.ended:
                self.tell_to_stop(run, "fenced")
        over = self.over
        if self.has("drops-outcomes"):
            self.over = "kill"
        else:
            threads[1].join(12)
        if over == "superseded" and self.has("registers-again"):
            return "lost"
        if over == "lost" and self.has("ends-when-lost"):
            return "error"
        if over == "superseded":
            raise Ended("superseded")
        return over

    def running(self):
        with self.lock:
            return sum(not run.ended for run in self.runs.values())

    def settle(self, nonce, held):
        """What predecessors left, page by page."""
        first = True
        while held and (first or not self.has("one-page")):
            first = False
            rows = [held[at : at + 6] for at in range(0, len(held), 6)]
            mine, others = [], []
            room = self.concurrency - self.running()
            for _, task, token, kind, checkpoint, handle in rows:
                choice = self.choice
                if choice == "ask":
                    choice = self.ask(rows, task, token, kind, checkpoint, handle)
                if choice == "resume" and (room > len(mine) or self.has("adopts-too-many")):
                    mine += [task, token]
                elif choice == "fail" and not self.has("resets-always"):
                    self.until_answered(self.main, "fail", task, token, "its agent was lost", 500, 1)
                else:
                    others += [task, token]
            if self.has("resets-always"):
                mine, others = [], others + mine
            if self.has("ignores-held"):
                return
            for at in range(0, len(mine), 100):
                self.adopt(mine[at : at + 100])
            for at in range(0, len(others), 100):
                session = rows[0][0] if self.has("releases-as-former") else self.session
                self.until_answered(self.main, "release", session, 0, *others[at : at + 100])
            name, size = (self.identity, 0) if self.pool is None else self.pool
            answer = self.until_answered(
                self.main, "register", nonce, name, size, "", "somewhere", os.getpid(), "reference"
            )
            if answer[0] != b"registered":
                raise Ended("superseded")
            held = answer[5]

    def ask(self, rows, task, token, kind, checkpoint, handle):
        name = task.decode()
        session = next(row[0] for row in rows if row[1] == task).decode()
        self.tell(
            event="asked",
            id=name,
            type=kind.decode("utf-8", "replace"),
            session=session,
            token=token.decode(),
            checkpoint_hex="" if self.has("asks-blindly") else checkpoint.hex(),
            external=handle.decode("utf-8", "replace") or None,
        )
        with self.changed:
            self.changed.wait_for(lambda: name in self.decisions, 20)
        return self.decisions.get(name, "reset") if not self.has("decides-itself") else "reset"

    def adopt(self, pairs):
        with self.lock:
            if not self.has("forgets-adopting"):
                self.adopting = {task.decode() for task in pairs[::2]}
        nonce = secrets.token_hex(8)
        while True:
            try:
                answers = self.script(self.main, "adopt", self.session, nonce, *pairs)
                break
            except OSError:
                if self.has("fresh-nonce-each-adopt"):
                    nonce = secrets.token_hex(8)
                time.sleep(0.05)
        with self.lock:
            for answer in answers:
                if answer[0] == b"adopted":
                    self.account["adopted"] += 1
                    self.begin(Run(answer[1]))
            self.adopting = set()

    def take(self, room):
        nonce = "1" * 16 if self.has("same-take-nonce") else secrets.token_hex(8)
        taker = Connection(self.port, 10) if self.has("runs-late-answers") else self.main
        try:
            answer = self.script(taker, "take", self.session, nonce, room, 1 << 20)
        except OSError:
            if not self.has("resends-take"):
                return None
            try:
                answer = self.script(self.main, "take", self.session, nonce, room, 1 << 20)
            except OSError:
                return None
        except RespError:
            if self.has("dies-when-full"):
                raise Ended("error") from None
            return None
        word = answer[0].decode()
        if word == "took":
            taken = 0
            if self.has("strict-numbers") and not all(row[5].isdigit() for row in answer[1]):
                return None
            for row in answer[1]:
                run = Run(row)
                if self.has("lossy-payload"):
                    run.payload = run.payload.decode("utf-8", "replace").encode()
                if self.has("drops-odd-types") and " " in run.type:
                    continue
                taken += self.begin(run)
            self.account["taken"] += taken
            return taken
        if word in ("superseded", "lost") and not (self.has("ignores-take-words") or self.has("ignores-" + word)):
            self.over = self.over or word
        return None

    def begin(self, run):
        with self.lock:
            if (run.id, run.token) in self.given_back and not self.has("runs-late-answers"):
                return 0
            self.unknown.pop((run.id, run.token), None)
            older = self.runs.get(run.id)
            self.runs[run.id] = run
        if older is not None and not older.ended and not self.has("keeps-older-run"):
            older.ended = True
            self.tell(event="stopping", id=older.id, why="fenced")
        self.tell(
            event="started",
            id=run.id,
            token=run.token,
            type=run.type,
            attempt=run.attempt,
            payload_hex=run.payload.hex(),
            checkpoint_hex="" if self.has("no-checkpoint-in") else run.checkpoint.hex(),
            external=None if self.has("no-external-in") else run.external,
        )
        return 1

    def end(self):
        """Tells what is left to tell, and leaves."""
        self.closing = True
        until = time.monotonic() + 10
        while self.runs and time.monotonic() < until and not self.has("drops-outcomes"):
            time.sleep(0.01)
        if self.has("never-leaves"):
            return "done"
        while time.monotonic() < until:
            try:
                answer = self.script(self.main, "leave", self.session)
            except (OSError, RespError):
                if self.has("leaves-once"):
                    return "done"
                time.sleep(0.1)
                continue
            if answer[0] == b"left" or self.has("leaves-strays"):
                break
            self.until_answered(self.main, "release", self.session, 0, *answer[1][:100])
        return "done"

    # The heart.

    def rhythm(self, three):
        every, stop, lost = (int(one) for one in three)
        every = 100 if self.has("own-rhythm") else every
        stop = 1000 if self.has("always-stops") else stop
        self.every, self.stop_after, self.lost_after = every / 1000, None if stop < 0 else stop / 1000, lost / 1000

    def beat_on(self):
        session, number, connection = self.session, 0, self.beating
        while self.over is None and self.session == session:
            number += 1 if not self.has("beats-unnumbered") else 0
            while self.has("beats-where-handlers-run") and time.monotonic() < self.blocked_until:
                time.sleep(0.01)
            sent = time.monotonic()
            with self.lock:
                listed = [
                    (run.id, run.token, run.mark)
                    for run in self.runs.values()
                    if not (self.has("lists-running-only") and run.ended)
                ]
                for run in self.runs.values():
                    run.mark = b""
            if self.has("no-marks"):
                listed = [(task, token, b"") for task, token, _ in listed]
            try:
                answer = self.script(
                    connection, "beat", session, number or 1, *[part for one in listed for part in one]
                )
            except (OSError, RespError):
                with self.lock:
                    for task, token, mark in listed:
                        run = self.runs.get(task)
                        newer = run and (
                            run.mark.startswith(b"c") or run.mark and (mark == b"+" or self.has("alive-overwrites"))
                        )
                        if run and run.token == token and not newer and not self.has("loses-marks"):
                            run.mark = mark
                time.sleep(min(self.every / 5, 1))
                continue
            if self.closing and not self.runs:
                return
            self.heard(answer, sent)
            time.sleep(self.every * random.uniform(0.9, 1.1))
            if self.has("beats-once"):
                return

    def heard(self, answer, sent):
        self.answered_at = sent
        self.rhythm(answer[1:4])
        word = answer[0].decode()
        self.out_of_touch = False
        self.drain = answer[4].decode()
        stop = answer[5]
        for at in range(0, len(stop), 3):
            task, token, why = (part.decode() for part in stop[at : at + 3])
            run = self.runs.get(task)
            if run and run.token == token and not self.has("ignores-stop"):
                why = WORDS_OF_STOP[why]
                if self.has("calls-all-fenced"):
                    why = "fenced"
                self.tell_to_stop(run, why)
        pairs = [(answer[6][at].decode(), answer[6][at + 1].decode()) for at in range(0, len(answer[6]), 2)]
        give_back, unknown, now = [], {}, time.monotonic()
        with self.lock:
            for task, token in pairs:
                run = self.runs.get(task)
                if (run and run.token == token) or task in self.adopting or self.has("ignores-unlisted"):
                    continue
                first = self.unknown.get((task, token))
                if self.has("hasty") or first is not None and sent - first > self.answer_timeout:
                    give_back.append((task, token))
                else:
                    unknown[task, token] = first or now
            self.unknown = unknown
            self.given_back |= set(give_back)
        if give_back:
            try:
                self.script(self.beating, "release", self.session, 0, *[part for pair in give_back for part in pair])
            except (OSError, RespError):
                pass  # The next beats show them again.
        if word in ("superseded", "lost") and not self.has("ignores-" + word):
            self.over = self.over or word

    def watch(self):
        """Sees whether beats are answered; apart from the heart, which waits for an answer."""
        session = self.session
        while self.over is None and self.session == session:
            silent = time.monotonic() - self.answered_at
            limit = self.stop_after / 10 if self.stop_after and self.has("panics") else self.stop_after
            if limit is not None and silent > limit and not self.out_of_touch and not self.has("stays-in-touch"):
                self.out_of_touch = True
                self.stop_all("out_of_touch")
            time.sleep(0.02)

    def stop_all(self, why):
        for run in list(self.runs.values()):
            self.tell_to_stop(run, why)

    def tell_to_stop(self, run, why):
        with self.lock:
            if run.ended or run.why == why or (run.why is not None and why != "fenced"):
                return
            run.why = why
        self.tell(event="stopping", id=run.id, why=why)
        if not run.ignores_stop:
            self.finish(run.id, "give_back", delay_ms=0)

    # Outcomes.

    def finish(self, task, how, error="", delay_ms=None):
        with self.lock:
            run = self.runs.get(task)
            if run is None or run.ended:
                return
            run.ended = True
            if run.why == "fenced" and not self.has("reports-fenced"):
                self.account["fenced"] += 1
                self.drop(run)
                return
            if self.has("releases-when-done") and how == "done":
                how, delay_ms = "give_back", 60000
            if run.why is not None and (how != "done" or self.has("gives-back-when-told")):
                how, delay_ms = ("retry", None) if self.has("fails-when-stopped") else ("give_back", 0)
            self.outcomes.append((run, how, error, -1 if delay_ms is None else delay_ms))

    def drop(self, run):
        with self.lock:
            if self.runs.get(run.id) is run:
                del self.runs[run.id]

    def report_on(self):
        session = self.session
        while self.session == session:
            with self.lock:
                batch, self.outcomes = self.outcomes[:50], self.outcomes[50:]
            if not batch:
                if self.closing and not self.outcomes and (self.over or not self.running()):
                    return
                time.sleep(0.005)
                continue
            try:
                self.report(batch)
            except Ended:
                return

    def report(self, batch):
        done = [run for run, how, _, _ in batch if how == "done"]
        step = 1 if self.has("completes-singly") else 50
        for at in range(0, len(done), step):
            self.complete(done[at : at + step])
        for run, how, error, delay in batch:
            if how == "give_back":
                if self.has("no-delay"):
                    delay = 0
                if self.has("delay-is-truthy"):
                    delay = delay or -1
                self.tell_script("release", self.session, delay, run.id, run.token)
                self.account["released"] += 1
                self.drop(run)
            elif how in ("retry", "fatal"):
                final = int(how == "fatal") if not self.has("retries-fatal") else 0
                error = "" if self.has("drops-errors") else error
                error = error.encode()[: 1 << 20 if self.has("long-errors") else 1024]
                answer = self.tell_script("fail", run.id, run.token, error, random.randrange(1001), final)
                word = {b"retried": "retried", b"dead": "dead", b"discarded": "released"}.get(answer[0], "refused")
                self.account["retried" if self.has("miscounts") else word] += 1
                self.drop(run)

    def tell_script(self, name, *args):
        return self.until_answered(self.telling, name, *args, patience=2)

    def complete(self, runs):
        answers = self.tell_script("complete", *[part for run in runs for part in (run.id, run.token)])
        for run, word in zip(runs, answers):
            word = word.decode()
            named = {"completed": "completed", "already": "completed", "withdrawn": "withdrawn"}.get(word, "refused")
            if self.has("miscounts"):
                named = "completed"
            self.account[named] += 1
            self.drop(run)
            self.tell(event="answer", id=run.id, token=run.token, word=word)

    # What a handler asks for.

    def save(self, task, data):
        if len(data) > 65536 and not self.has("any-size"):
            return "the checkpoint has more than 65536 bytes"
        with self.lock:
            self.runs[task].mark = b"c" + data
        return None

    def alive(self, task):
        with self.lock:
            run = self.runs[task]
            if not run.mark or self.has("alive-overwrites"):
                run.mark = b"+"

    def record(self, task, handle):
        run = self.runs[task]
        if not 1 <= len(handle.encode("utf-8", "surrogateescape")) <= 1024 and not self.has("any-size"):
            return {"event": "refused", "id": task, "error": "a handle has 1 to 1024 bytes"}
        if self.has("plain-handles"):
            handle = handle.split("\n")[0].split("\0")[0]
        if self.has("forgets-handles"):
            return {"event": "recorded", "id": task}
        run.recorded += 1
        number = 1 if self.has("unnumbered") else run.recorded
        answer = self.until_answered(self.asking, "external", run.id, run.token, run.type, handle, number)
        held = answer == b"recorded" or self.has("records-late")
        return {"event": "recorded" if held else "fenced", "id": task}
