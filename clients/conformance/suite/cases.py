"""Cases, read from their files and checked before anything is started."""

import json
import pathlib

# Each step has one of these words, and perhaps those that go with it.
VERBS = {
    "tell": set(),
    "expect": {"within_ms", "keep"},
    "expect_none": {"for_ms"},
    "signal": set(),
    "exits": {"within_ms"},
    "restart_driver": set(),
    "never_said": set(),
    "calls": {"at_least", "at_most", "distinct", "same", "each", "most_args", "within_ms"},
    "script": {"args", "queue", "answer", "keep"},
    "redis": {"answer", "keep"},
    "wait_redis": {"is", "within_ms", "keep"},
    "server": {"ms"},
    "proxy": {"of", "times", "ms"},
    "repeat": {"as", "steps"},
}
FIELDS = {"name", "why", "needs", "policy", "without_policy", "limit_ms", "steps"}


def verb_of(step):
    """The word that says what a step is."""
    return next(word for word in step if word in VERBS)


def check(case, where):
    """Raises SystemExit with what is wrong: a typing error must not make a case pass."""
    if unknown := set(case) - FIELDS:
        raise SystemExit(f"{where}: a case has no {sorted(unknown)}")
    if missing := {"name", "why", "steps"} - set(case):
        raise SystemExit(f"{where}: the case lacks {sorted(missing)}")
    check_steps(case["steps"], where, "")


def check_steps(steps, where, before):
    for number, step in enumerate(steps, 1):
        verbs = [word for word in step if word in VERBS]
        if len(verbs) != 1:
            raise SystemExit(f"{where}: step {before}{number} needs one of {sorted(VERBS)}, and has {sorted(step)}")
        if unknown := set(step) - VERBS[verbs[0]] - {verbs[0]}:
            raise SystemExit(f"{where}: step {before}{number}, {verbs[0]}, has no {sorted(unknown)}")
        if verbs == ["repeat"]:
            check_steps(step["steps"], where, f"{before}{number}.")


def load(paths):
    """The cases of files and folders, in the order of their names."""
    files = []
    for path in map(pathlib.Path, paths):
        if not path.exists():
            raise SystemExit(f"there are no cases at {path}")
        files += sorted(path.glob("*.json")) if path.is_dir() else [path]
    cases = []
    for path in files:
        try:
            case = json.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise SystemExit(f"{path}: {error}") from None
        check(case, path)
        if case["name"] != path.stem:
            raise SystemExit(f"{path}: the case calls itself {case['name']!r}")
        cases.append(case)
    if not cases:
        raise SystemExit("there are no cases to play")
    return cases
