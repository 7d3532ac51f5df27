"""Plays a case: its steps against a driver, a proxy and a server of its own."""

import time

from .cases import verb_of
from .driver import Driver
from .match import argument, fill, fits, readable
from .proxy import Proxy
from .resp import RespError
from .server import Server

WITHIN = 5000
"""How long a step waits for what it expects, ms."""
LIMIT = 40000
"""How long a case may take, ms."""
QUEUE = "q"

# Silence that no case is ended by, unless it says so; beats that no case waits long for.
POLICY = {
    "_heartbeat_interval": 200,
    "_heartbeat_timeout": 15000,
    "_lost_after": 15000,
    "_adopt_within": 30000,
    "_keep_done": 120000,
    "_stop_on_agent_after": 22500,
    "_task": "3600000 0 -1 30000 -1 3 5 100 2000 1000 300 1",
}


class Failed(Exception):
    """A step that wasn't as it should be."""


class Skipped(Exception):
    """A case that needs what this driver doesn't have."""


class Play:
    """One case, from the start of its server to its end."""

    def __init__(self, case, command, redis_server, scripts):
        self.case, self._command, self._scripts = case, command, scripts
        self._until = time.monotonic() + case.get("limit_ms", LIMIT) / 1000
        self._server = Server(redis_server)
        self._proxy, self._driver = None, None
        self._retired = []
        try:
            self._proxy = Proxy(scripts, self._server.port)
            self._variables = {
                "PORT": self._proxy.port,
                "REDIS": f"redis://127.0.0.1:{self._proxy.port}/0",
                "RUN_ID": self._server.run_id(),
                # As the heartbeat that a sweeper saw: a beat that is on its way still doesn't refute it.
                "ANY_BEAT": "9999999999999",
            }
            self._drive()
        except BaseException:
            self.close()
            raise

    def run(self):
        """Plays all steps; raises Failed with the number of the step that failed."""
        policy = {**POLICY, **self.case.get("policy", {})}
        if not self.case.get("without_policy"):
            self._scripts.run(self._server.connection, QUEUE, "publish", [x for pair in policy.items() for x in pair])
        self._play(self.case["steps"], "")
        if self._proxy.foreign():
            raise Failed(f"a script was sent that isn't the repository's: {self._proxy.foreign()[0]!r}")

    def _play(self, steps, before):
        for number, step in enumerate(steps, 1):
            where = f"{before}{number}"
            verb = verb_of(step)
            if time.monotonic() > self._until:
                raise Failed(f"step {where}: the case takes longer than its limit")
            try:
                getattr(self, "do_" + verb)(fill(step, self._variables) if verb != "repeat" else step, where)
            except Failed as why:
                raise Failed(str(why) if str(why).startswith("step ") else f"step {where}, {verb}: {why}") from None
            except (RespError, RuntimeError, OSError, KeyError, IndexError) as why:
                raise Failed(f"step {where}, {verb}: {type(why).__name__}: {why}") from None

    def _within(self, step):
        return min(self._until, time.monotonic() + step.get("within_ms", WITHIN) / 1000)

    def _eventually(self, step, look, said):
        """Looks until it answers None, which is that all is well; else says what was seen at last."""
        until = self._within(step)
        while True:
            seen = look()
            if seen is None:
                return
            if time.monotonic() > until:
                raise Failed(f"{said}; seen: {short(seen)}")
            time.sleep(0.02)

    # Steps that speak to the driver.

    def _drive(self):
        self._driver = Driver(self._command)
        ready = self._driver.wait(lambda event: event["event"] == "ready", time.monotonic() + 15)
        if ready is None:
            raise Failed("the driver doesn't say that it is ready")
        needs = self.case.get("needs")
        if needs is not None and needs not in ready.get("can", []):
            raise Skipped(f"the driver can't {needs}")

    def do_tell(self, step, _):
        command = step["tell"]
        if command.get("do") == "start":
            command = {"redis": self._variables["REDIS"], "queue": QUEUE, **command}
        if command.get("do") == "enqueue":
            command = {"redis": self._variables["REDIS"], "queue": QUEUE, "payload_hex": "", **command}
        self._driver.tell(command)

    def do_expect(self, step, _):
        pattern = step["expect"]
        event = self._driver.wait(lambda event: fits(pattern, event), self._within(step))
        if event is None:
            raise Failed(f"expected {short(pattern)}")
        for field, name in step.get("keep", {}).items():
            self._variables[name] = event[field]

    def do_expect_none(self, step, _):
        pattern = step["expect_none"]
        until = min(self._until, time.monotonic() + step["for_ms"] / 1000)
        event = self._driver.wait(lambda event: fits(pattern, event), until)
        if event is not None:
            raise Failed(f"expected none like {short(pattern)}; seen: {short(event)}")

    def do_signal(self, step, _):
        self._driver.signal(step["signal"])

    def do_exits(self, step, _):
        code = self._driver.exit_code(self._within(step))
        if code != step["exits"]:
            raise Failed(f"expected the exit code {step['exits']}; seen: {code}")

    def do_restart_driver(self, _step, _):
        self._retired.append(self._driver)
        self._driver.close()
        self._drive()

    def do_never_said(self, step, _):
        for driver in [*self._retired, self._driver]:
            for line in [*driver.stderr(), *(text for _, text in driver.events())]:
                if step["never_said"] in line:
                    raise Failed(f"the driver's output holds {step['never_said']!r}: {line[:200]}")

    # Steps that look at what the driver sent.

    def do_calls(self, step, _):
        wanted = step["calls"]
        at = {int(place): pattern for place, pattern in wanted.get("args", {}).items()}

        def matching():
            calls = [readable(call.args) for call in self._proxy.calls(wanted["of"])]
            return [
                args
                for args in calls
                if all(place < len(args) and fits(p, args[place]) for place, p in at.items())
                and fits(wanted.get("all", {"$not": None}), args)
            ]

        def look():
            calls = matching()
            good = fits({"$at_least": step.get("at_least", 0)}, len(calls))
            good = good and fits({"$at_most": step.get("at_most", 1 << 40)}, len(calls))
            if "distinct" in step:
                values = [args[step["distinct"]] for args in calls]
                good = good and len(set(values)) == len(values)
            if "same" in step:
                good = good and len({args[step["same"]] for args in calls}) <= 1
            if "each" in step:
                good = good and all(
                    fits(step["each"][place], args[int(place)]) for args in calls for place in step["each"]
                )
            if "most_args" in step:
                good = good and all(len(args) <= step["most_args"] for args in calls)
            return None if good else (len(calls), calls[-3:])

        said = f"expected calls {short({word: part for word, part in step.items() if word != 'within_ms'})}"
        self._eventually(step if "at_least" in step else {"within_ms": 0}, look, said)

    # Steps in which the suite is another party.

    def do_script(self, step, _):
        args = [argument(arg) for arg in step.get("args", [])]
        reply = self._scripts.run(self._server.connection, step.get("queue", QUEUE), step["script"], args)
        self._answered(step, readable(reply))

    def do_redis(self, step, _):
        self._answered(step, readable(self._server.connection.command(*map(argument, step["redis"]))))

    def _answered(self, step, reply):
        if "answer" in step and not fits(step["answer"], reply):
            raise Failed(f"expected the answer {short(step['answer'])}; seen: {short(reply)}")
        self._keep(step, reply)

    def _keep(self, step, reply):
        keep = step.get("keep", {})
        if isinstance(keep, str):
            self._variables[keep] = reply
            return
        for path, name in keep.items():
            value = reply
            for place in path.split("."):
                value = value[int(place)]
            self._variables[name] = value

    def do_wait_redis(self, step, _):
        def look():
            reply = readable(self._server.connection.command(*map(argument, step["wait_redis"])))
            if not fits(step["is"], reply):
                return (reply,)
            self._keep(step, reply)
            return None

        self._eventually(step, look, f"expected {short(step['is'])}")

    # Steps that something befalls.

    def do_server(self, step, _):
        what = step["server"]
        if what == "pause":
            self._server.connection.command("CLIENT", "PAUSE", step["ms"], "ALL")
        elif what == "kill_clients":
            self._server.connection.command("CLIENT", "KILL", "SKIPME", "yes", "TYPE", "normal")
        elif what == "restart_empty":
            self._server.restart_empty()
            self._variables["RUN_ID"] = self._server.run_id()
        else:
            raise Failed(f"there is no server step {what!r}")

    def do_proxy(self, step, _):
        what, name, times = step["proxy"], step.get("of"), step.get("times", 1)
        if what in ("lose_answer", "lose_request"):
            self._proxy.lose(what[5:], name, times)
        elif what == "swallow":
            self._proxy.swallow(name, times)
        elif what == "delay":
            self._proxy.delay(name, step["ms"], times)
        elif what == "hold":
            self._proxy.hold(name)
        elif what == "silence":
            self._proxy.silence()
        elif what == "open":
            self._proxy.open()
        else:
            raise Failed(f"there is no proxy step {what!r}")

    def do_repeat(self, step, where):
        for number in range(1, step["repeat"] + 1):
            self._variables[step.get("as", "I")] = number
            self._play(step["steps"], f"{where}.")

    # What is shown and what is left.

    def account(self):
        """The last that the driver said, for a case that failed."""
        if self._driver is None:
            return [], []
        return [text for _, text in self._driver.events()[-12:]], self._driver.stderr()[-8:]

    def hurry(self):
        """The case ends, failed, with the step that it is at."""
        self._until = 0

    def close(self):
        for part in (self._driver, self._proxy, self._server):
            if part is not None:
                part.close()


def short(value):
    text = repr(value)
    return text if len(text) <= 400 else text[:400] + "…"
