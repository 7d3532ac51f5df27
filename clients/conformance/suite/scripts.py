"""The scripts of the protocol, assembled from the repository's files as src/store/script.rs does it."""

import hashlib
import pathlib

FORMAT = "1"
KEYS = "control pending delayed expiring agents due dead policy stats events lease unwanted none".split()


def squeezed(text):
    """A script without blank lines: who assembles it may end a part with one more."""
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip())


class Scripts:
    """All scripts of a folder, by name, by hash and by text."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        parts = {path.stem: path.read_text("utf-8") for path in (folder / "lib").glob("*.lua")}
        self._by_name, self._by_sha, self._by_text = {}, {}, {}
        for path in sorted(folder.glob("*.lua")):
            source = assemble(path.read_text("utf-8"), parts)
            sha = hashlib.sha1(source.encode()).hexdigest()
            self._by_name[path.stem] = (source, sha)
            self._by_sha[sha] = path.stem
            self._by_text[squeezed(source)] = path.stem
        if not self._by_name:
            raise SystemExit(f"there are no scripts in {folder}: name the folder with --scripts")

    def run(self, connection, queue, name, args):
        """Runs a script on a queue, the format put before the arguments."""
        source, _ = self._by_name[name]
        keys = [f"backstop:{{{queue}}}:{key}" for key in KEYS]
        return connection.command("EVAL", source, len(keys), *keys, FORMAT, *args)

    def knows(self, name):
        return name in self._by_name

    def source(self, name):
        return self._by_name[name][0]

    def sha(self, name):
        return self._by_name[name][1]

    def name_by_sha(self, sha):
        return self._by_sha.get(sha.lower())

    def name_by_text(self, text):
        """The name of a text that somebody sends; from then on its hash is known too."""
        name = self._by_text.get(squeezed(text))
        if name is not None:
            self._by_sha[hashlib.sha1(text.encode()).hexdigest()] = name
        return name


def assemble(text, parts):
    """Puts the parts that a script includes in the place of the line that names them."""
    out = []
    for line in text.splitlines():
        if line.startswith("--! include "):
            out += [parts[name] + "\n" for name in line.split()[2:]]
        else:
            out.append(line + "\n")
    return "".join(out)
