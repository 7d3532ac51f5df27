"""The parts of the conformance suite: see README.md beside run.py."""
