"""The subcommands of `evalkit`, by name: where `main(argv) -> int` lives, and one line of help."""

COMMANDS = {
    "passk": ("evalkit.commands.passk:main", "draw samples of a model, judge them, score pass@k"),
    "check": ("evalkit.commands.check:main", "run a benchmark's references; all must pass"),
    "list": ("evalkit.commands.list:main", "list benchmarks and their languages"),
    "hack-test": (
        "evalkit.commands.hack_test:main",
        "attack the judge with completions that solve nothing",
    ),
    "doctor": (
        "evalkit.commands.doctor:main",
        "attack the sandbox from inside; nothing may get out",
    ),
    "toolchains": ("evalkit.commands.toolchains:main", "which languages run here; install others"),
    "render": ("evalkit.commands.render:main", "print a neutral problem as a prompt"),
    "compare": ("evalkit.commands.compare:main", "compare two runs, task by task"),
    "report": ("evalkit.commands.report:main", "show a run's report, or write it as a page"),
    "estimate": ("evalkit.commands.estimate:main", "estimate pass@k of one problem from counts"),
}
