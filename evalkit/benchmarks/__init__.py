"""Benchmarks by name. Others come by the entry point group `evalkit.benchmarks`, or by path."""

BENCHMARKS = {
    "core": "evalkit.benchmarks.core:Core",
    "humaneval": "evalkit.benchmarks.humaneval:HumanEval",
    "infilling": "evalkit.benchmarks.infilling:Infilling",
}
