"""Pass@k that can be trusted: sandboxes, judges, benchmarks, statistics. See docs/evalkit.md.

Read `passk.py` for the main path, `judge.py` for how a sample is decided, and `sandbox/seam.py` for
where it runs.
"""
