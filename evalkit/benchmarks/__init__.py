"""Benchmarks by name. Others come by the entry point group `evalkit.benchmarks`, or by path."""

BENCHMARKS = {
    "core": "evalkit.benchmarks.core:Core",
    "evalplus": "evalkit.benchmarks.evalplus:EvalPlus",
    "humaneval": "evalkit.benchmarks.humaneval:HumanEval",
    "humaneval-rendered": "evalkit.benchmarks.humaneval_rendered:HumanEvalRendered",
    "humaneval-x": "evalkit.benchmarks.humaneval_x:HumanEvalX",
    "infilling": "evalkit.benchmarks.infilling:Infilling",
    "mbpp": "evalkit.benchmarks.mbpp:Mbpp",
    "multipl-e": "evalkit.benchmarks.multipl_e:MultiPlE",
    "web": "evalkit.benchmarks.web:Web",
}
