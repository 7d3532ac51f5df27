#!/usr/bin/env python3
"""Tests the suite itself: its own driver passes, each fault of that driver is found, and each case finds one.

clients/conformance/selftest.py [--jobs N]
"""

import argparse
import concurrent.futures
import json
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
DRIVER = [sys.executable, str(HERE / "reference/driver.py")]


def verdicts(cases, jobs, fault=None):
    """What the suite says of each case, with the driver sound or with one fault."""
    command = [sys.executable, str(HERE / "run.py"), "--jobs", str(jobs)]
    if cases:
        command += ["--cases", *(str(HERE / "cases" / f"{name}.json") for name in cases)]
    command += ["--", *DRIVER] + (["--fault", fault] if fault else [])
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    if said.returncode not in (0, 1) or said.stderr:
        sys.exit(f"the suite broke: {said.stderr}")
    return {name: word for word, name in re.findall(r"^(ok|FAILED) +(\S+) \(", said.stdout, re.MULTILINE)}, said.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=4, help="faults tried at once; default 4")
    jobs = parser.parse_args().jobs
    faults = json.loads((HERE / "reference/faults.json").read_text("utf-8"))
    wrong = []
    sound, said = verdicts([], jobs)
    wrong += [f"the sound driver fails {name}:\n{said}" for name, word in sound.items() if word != "ok"]
    wrong += [
        f"no fault is written down for {name}" for name in sound if not any(name in cases for cases in faults.values())
    ]
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        tried = {fault: pool.submit(verdicts, cases, 1, fault) for fault, cases in faults.items()}
        for fault, cases in faults.items():
            found, _ = tried[fault].result()
            wrong += [f"{name} doesn't find the fault {fault}" for name in cases if found.get(name) != "FAILED"]
    print(
        "\n".join(wrong) if wrong else f"{len(sound)} cases, {len(faults)} faults: each case finds one, each is found"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
