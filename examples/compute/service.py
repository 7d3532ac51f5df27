#!/usr/bin/env python3
"""A small compute service: jobs that take their time, kept in a file, so that it may be killed at any moment.

    service.py --port 8500 --db jobs.db

    PUT    /jobs/NAME    begins a job; the body is how many seconds it takes, perhaps followed by `fails` or `stubborn`.
                         Harmless when repeated: a name is one job, for ever. 409 if it was ended before it began.
    GET    /jobs/NAME    how it stands: {"state": "active" | "succeeded" | "failed" | "ended"}
    DELETE /jobs/NAME    ends it: {"state": "ended"}, or how it ended by itself, or "cannot" if it is stubborn
    GET    /jobs         all of them

What makes it fit for Backstop's hooks: whoever asks for a name that was never begun is told `ended`, *and it stays so*. A
submission that was on its way when its agent died finds the name ended, and begins nothing that nobody knows of.
"""

import argparse
import json
import sqlite3
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


class Jobs:
    """The jobs, in a file. A job is its beginning, its length and its end: nothing runs that a kill could stop."""

    def __init__(self, path):
        self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute(
            "CREATE TABLE IF NOT EXISTS jobs (name TEXT PRIMARY KEY, began REAL, seconds REAL, how TEXT, ended REAL,"
            " submitted INTEGER NOT NULL DEFAULT 0)"
        )

    def submit(self, name, seconds, how):
        """Begins it once; whether it runs or ran."""
        self.db.execute(
            "INSERT INTO jobs (name, began, seconds, how) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (name, time.time(), seconds, how),
        )
        began, = self.db.execute(
            "UPDATE jobs SET submitted = submitted + 1 WHERE name = ? RETURNING began", (name,)
        ).fetchone()
        return began is not None

    def state(self, name):
        """How it stands. A name that nobody has begun is ended from here on."""
        self.db.execute("INSERT INTO jobs (name, ended) VALUES (?, ?) ON CONFLICT DO NOTHING", (name, time.time()))
        return self.read(self.db.execute("SELECT * FROM jobs WHERE name = ?", (name,)).fetchone())["state"]

    def end(self, name):
        """Ends it, if it runs and can be."""
        state = self.state(name)
        how, = self.db.execute("SELECT how FROM jobs WHERE name = ?", (name,)).fetchone()
        if state != "active":
            return state
        if how == "stubborn":
            return "cannot"
        self.db.execute("UPDATE jobs SET ended = ? WHERE name = ? AND ended IS NULL", (time.time(), name))
        return "ended"

    def all(self):
        return [self.read(row) for row in self.db.execute("SELECT * FROM jobs ORDER BY rowid")]

    @staticmethod
    def read(row):
        name, began, seconds, how, ended, submitted = row
        if ended is not None:
            state = "ended"
        elif time.time() < began + seconds:
            state = "active"
        else:
            state = "failed" if how == "fails" else "succeeded"
        return {"name": name, "state": state, "submitted": submitted}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, code, body):
        body = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def name(self):
        kind, _, name = self.path.lstrip("/").partition("/")
        return unquote(name) if kind == "jobs" and name else None

    def do_PUT(self):
        words = self.rfile.read(int(self.headers.get("content-length", 0))).decode().split()
        try:
            seconds, how = float(words[0]), words[1] if len(words) > 1 else ""
        except (IndexError, ValueError):
            return self.answer(400, {"error": "the body is how many seconds it takes"})
        if self.name() is None:
            return self.answer(404, {"error": "PUT /jobs/NAME"})
        begun = self.server.jobs.submit(self.name(), seconds, how)
        return self.answer(200 if begun else 409, {"state": self.server.jobs.state(self.name())})

    def do_GET(self):
        if self.path == "/jobs":
            return self.answer(200, self.server.jobs.all())
        if self.name() is None:
            return self.answer(404, {"error": "GET /jobs or /jobs/NAME"})
        return self.answer(200, {"state": self.server.jobs.state(self.name())})

    def do_DELETE(self):
        if self.name() is None:
            return self.answer(404, {"error": "DELETE /jobs/NAME"})
        return self.answer(200, {"state": self.server.jobs.end(self.name())})

    def log_message(self, *_):
        """Says nothing: the jobs are the log."""


def main():
    parser = argparse.ArgumentParser(description="A small compute service.")
    parser.add_argument("--port", type=int, default=8500)
    parser.add_argument("--db", default="jobs.db")
    args = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", args.port), Handler)
    server.jobs = Jobs(args.db)
    server.serve_forever()


if __name__ == "__main__":
    main()
