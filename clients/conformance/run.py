#!/usr/bin/env python3
"""Plays the conformance cases against a driver: does this client keep to docs/protocol.md?

clients/conformance/run.py -- python3 path/to/conformance_driver.py
"""

import argparse
import collections
import concurrent.futures
import pathlib
import shutil
import signal
import sys
import time

from suite import cases
from suite.play import Failed, Play, Skipped
from suite.scripts import Scripts

HERE = pathlib.Path(__file__).resolve().parent


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--redis-server", default="redis-server", metavar="PATH", help="the program to start for each case"
    )
    parser.add_argument(
        "--scripts",
        default=HERE.parents[1] / "src/native/scripts",
        metavar="DIR",
        help="the scripts of the protocol; default: this repository's",
    )
    parser.add_argument("--cases", nargs="+", default=[HERE / "cases"], metavar="DIR|FILE", help="default: all")
    parser.add_argument("--jobs", type=int, default=4, metavar="N", help="cases played at once; default 4")
    parser.add_argument("driver", nargs="+", metavar="DRIVER", help="after --: the program to test, and its arguments")
    given = parser.parse_args()
    if shutil.which(given.redis_server) is None:
        parser.error(f"there is no program {given.redis_server}: install redis-server, or name one with --redis-server")
    if given.jobs < 1:
        parser.error("--jobs is at least 1")
    return given


def play(case, given, scripts, under_way):
    """Plays one case: how it ended, why, what the driver said at last, and how long it took."""
    began, playing, word, why, said = time.monotonic(), None, "ok", None, ([], [])
    try:
        playing = Play(case, given.driver, given.redis_server, scripts)
        under_way.add(playing)
        playing.run()
    except Skipped as skipped:
        word, why = "skipped", str(skipped)
    except Failed as failed:
        word, why = "FAILED", str(failed)
    except (OSError, RuntimeError) as error:
        word, why = "FAILED", f"{type(error).__name__}: {error}"
    finally:
        if playing is not None:
            said = playing.account()
            playing.close()
            under_way.discard(playing)
    return word, why, said, time.monotonic() - began


def report(case, word, why, said, took):
    if word != "FAILED":
        print(f"{word:7} {case['name']} " + (f"({took:.1f} s)" if why is None else f"({why})"), flush=True)
        return
    print(f"FAILED  {case['name']} ({took:.1f} s)\n    checks: {case['why']}\n    {why}")
    for title, lines in zip(("the driver's last events", "the end of its log"), said):
        if lines:
            print(f"    {title}:")
        for line in lines:
            print(f"      {line[:300]}")
    sys.stdout.flush()


def main():
    given = arguments()
    scripts, all_cases = Scripts(given.scripts), cases.load(given.cases)
    words, under_way = collections.Counter(), set()
    # Whoever ends the suite ends also what it has started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with concurrent.futures.ThreadPoolExecutor(given.jobs) as pool:
        submitted = {pool.submit(play, case, given, scripts, under_way): case for case in all_cases}
        try:
            for done in concurrent.futures.as_completed(submitted):
                word, why, said, took = done.result()
                words[word] += 1
                report(submitted[done], word, why, said, took)
        except KeyboardInterrupt:
            for playing in list(under_way):
                playing.hurry()
            pool.shutdown(cancel_futures=True)
            return 130
    skipped = f", {words['skipped']} skipped" if words["skipped"] else ""
    print(f"{words['ok']} of {len(all_cases)} cases passed{skipped}")
    return 1 if words["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
