"""The scripts are the repository's, byte for byte, in a checkout and in what is built."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from backstop import scripts

CLIENT = Path(__file__).resolve().parents[1]
REPOSITORY = CLIENT.parents[1] / "src" / "native" / "scripts"
FILES = sorted(
    [f"{name}.lua" for name in scripts.NAMES] + [f"lib/{name}.lua" for name in ("charge", "head", "move", "policy")]
)


def test_a_checkout_uses_the_repository_s_scripts() -> None:
    for file in FILES:
        assert (scripts.directory() / file).read_bytes() == (REPOSITORY / file).read_bytes(), file


def test_a_script_is_put_together_as_the_daemon_does_it() -> None:
    text = "#!lua\n--! include a b\nreturn 1\n"
    assert scripts.assemble(text, {"a": "A\n", "b": "B"}) == "#!lua\nA\n\nB\nreturn 1\n"
    with pytest.raises(KeyError):
        scripts.assemble(text, {"a": "A"})


@pytest.mark.parametrize("name", scripts.NAMES)
def test_each_script_is_whole(name: str) -> None:
    script = scripts.script(name)
    assert script.source.startswith(b"#!lua") and b"--! include" not in script.source
    assert b"local control, pending" in script.source
    assert script.sha == hashlib.sha1(script.source).hexdigest().encode()


def test_what_is_built_carries_the_scripts_byte_for_byte(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(tmp_path)]
    subprocess.run(build, cwd=CLIENT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        lua = sorted(name for name in packed.namelist() if name.endswith(".lua"))
        assert lua == sorted(f"backstop/lua/{file}" for file in FILES)
        assert "backstop/py.typed" in packed.namelist()
        for file in FILES:
            assert packed.read(f"backstop/lua/{file}") == (REPOSITORY / file).read_bytes(), file
    # A wheel that is built of the unpacked sdist, far from the repository, is the same.
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as packed_source:
        packed_source.extractall(tmp_path / "apart", filter="data")
    (unpacked,) = (tmp_path / "apart").iterdir()
    subprocess.run([*build[:-1], str(tmp_path / "again"), "-t", "wheel"], cwd=unpacked, check=True, capture_output=True)
    (again,) = (tmp_path / "again").glob("*.whl")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())
        for name in one.namelist():
            if not name.endswith("RECORD"):
                assert one.read(name) == other.read(name), name
