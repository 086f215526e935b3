"""Benchmarks by name. Others come by the entry point group `evalkit.benchmarks`, or by path."""

BENCHMARKS = {
    "humaneval": "evalkit.benchmarks.humaneval:HumanEval",
}
