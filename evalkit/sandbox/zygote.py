"""The way into a sandbox that is quick: a fork of the warden, in new namespaces.

For Python no interpreter has to start, so a run costs a few milliseconds; other programs are
executed there, which costs half of what bubblewrap takes. The promises are those of the way through
bubblewrap. The program is the second process of its namespaces. The first is out of reach for it,
and everything dies with it: a keeper (`keeper.py`) or, where the machine allows none, a fork that
waits. The loopback interface stays down, which saves a tenth, and there are no terminals: a program
that needs those needs the other way. Read `carry_out` first.
"""

from __future__ import annotations

import ast
import atexit
import gc
import importlib
import os
import signal
import site
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from evalkit.programs import NAMES, program_text
from evalkit.sandbox import kernel
from evalkit.sandbox.confinement import (
    IGNORED,
    Run,
    become_user,
    enter_limits,
    mount_disk,
    say,
    wire_standard_streams,
    write_files,
)
from evalkit.sandbox.mounts import BOX
from evalkit.sandbox.orders import unpack
from evalkit.sandbox.seccomp import filter_program
from evalkit.sandbox.stage import SAFE_FLAGS, WRITABLE

# Besides these, the network: see `network.py`.
NAMESPACES = (
    kernel.CLONE_NEWNS
    | kernel.CLONE_NEWPID
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUTS
    | kernel.CLONE_NEWCGROUP
)
# Options of the interpreter that change nothing here, or are heeded below; -S is taken for -s.
_OPTIONS = frozenset({"-B", "-E", "-I", "-P", "-S", "-s", "-u"})
_INTERPRETERS = frozenset({"python", "python3"})

# What programs import most. Only whole modules: a submodule would be found without its import.
# Never `threading`: what it does after a fork doubles the price of one. Nor what is large and
# seldom used, as `decimal`: every fork pays for it.
# fmt: off
_WARM = (
    "abc", "array", "bisect", "collections", "copy", "dataclasses", "enum", "functools", "heapq",
    "io", "itertools", "json", "math", "operator", "random", "re", "string", "struct", "textwrap",
    "time", "types", "typing",
)
# fmt: on
# Programs of ours that have been executed but for their last statement.
_PREPARED: dict[str, tuple[types.ModuleType, types.CodeType]] = {}
# Calls of ours between the setting of the recursion limit and the program's first line.
_DEEPER = 3
_OWN = os.path.dirname(os.path.abspath(__file__)) + os.sep


def suits(argv: Sequence[str]) -> bool:
    """Say whether a command has the form `python3 [options] FILE [arguments]`."""
    if not argv or argv[0] not in _INTERPRETERS:
        return False
    options, rest = _split(argv)
    return bool(rest) and not rest[0].startswith("-") and options <= _OPTIONS


def warm_up(env: Mapping[str, str]) -> None:
    """Import in the warden what programs will not have to; `env` is what all of them are given."""
    os.environ.clear()
    os.environ.update(env)
    for name in _WARM:
        importlib.import_module(name)
    for uncounted in (False, True):
        # Both are remembered; a run does not assemble it again.
        kernel.loaded_filter(filter_program(deny_uncounted=uncounted))
    kernel.find_functions()
    for name in NAMES:
        _PREPARED[name] = _prepared(f"{BOX}/main.py", program_text(name))
    # From here on the interpreter looks as if it had been started for a program, one of ours.
    sys.argv[:] = ["main.py"]
    site.setquit()
    site.setcopyright()
    site.sethelper()
    own_root = os.path.dirname(os.path.dirname(os.path.dirname(_OWN)))
    sys.path[:] = [path for path in sys.path if path != own_root]
    for name in [name for name in sys.modules if name.partition(".")[0] == "evalkit"]:
        del sys.modules[name]
    gc.collect()
    gc.freeze()


def furnish(run: Run) -> None:
    """Mount what a sandbox can write, in namespaces of its own that are a copy of its toolchain's.

    By a process that nothing has to be copied for, so before the fork where that is possible.
    """
    places = [path for path, _ in WRITABLE.values()]
    mount_disk(run, places[-1])
    for name, place in zip(WRITABLE, places, strict=True):
        kernel.mount(f"{places[-1]}/{name}", place, None, kernel.MS_BIND)


def carry_out_as_first(run: Run) -> None:
    """Be the first process of the namespaces: start the one that does everything, and await it.

    It does little, because each page that a forked interpreter touches costs a copy of it.
    """
    kernel.prctl(kernel.PR_SET_PDEATHSIG, 9)
    program = os.fork()
    if program == 0:
        furnish(run)
        carry_out(run)
    become_user(run.user)
    kernel.drop_capabilities()
    # Ending with the program kills whatever it left behind.
    while True:
        pid, status = os.wait()
        if pid == program:
            code = os.waitstatus_to_exitcode(status)
            say(run, b'{"signal": %d}' % -code if code < 0 else b'{"exit-code": %d}' % code)
            os._exit(0)


def carry_out(run: Run) -> NoReturn:
    """Close the sandbox around the calling process, and run the command.

    Nothing is kept but the standard streams.
    """
    enter_limits(run)
    _mount_processes(run)
    become_user(run.user)
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.install_filter(filter_program(deny_uncounted=not run.doors))
    os.setsid()
    bundle = unpack(run.bundle) if run.bundle >= 0 else None
    if bundle is not None:
        write_files(bundle, BOX)
    wire_standard_streams(run)
    os.closerange(3, 1 << 16)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
    os.chdir(BOX)
    if bundle is None:
        _finish(_executed(*_PREPARED[run.order.prepared]))
    if run.order.how != "python":
        _execute(bundle.argv, {**run.view.env, **bundle.env})
    os.environ.update(bundle.env)
    options, arguments = _split(bundle.argv)
    sys.argv[:] = arguments
    if not options & {"-I", "-P"}:
        sys.path.insert(0, os.path.abspath(os.path.dirname(arguments[0])))
    path = os.path.abspath(arguments[0])
    _finish(_executed(_main_module(path), path))


def _mount_processes(run: Run) -> None:
    """Show the processes of the caller's namespace, and not the machine's."""
    if not run.stage.shows_host:
        kernel.mount("proc", "/proc", "proc", SAFE_FLAGS)
        return
    kernel.mount("proc", BOX, "proc", SAFE_FLAGS)
    kernel.unmount("/proc")
    kernel.mount(BOX, "/proc", None, kernel.MS_MOVE)


def _execute(argv: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    """Become another program; where there is none, end as a shell would."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(argv[0], tuple(argv), env)
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode())
    os._exit(127)


def _executed(main: types.ModuleType, program: types.CodeType | str) -> int:
    """Run code, or a file, as the main program; return its exit status."""
    sys.modules["__main__"] = main
    sys.setrecursionlimit(sys.getrecursionlimit() + _depth() + _DEEPER)
    return _status(lambda: exec(_compiled(program), main.__dict__))


def _compiled(program: types.CodeType | str) -> types.CodeType:
    if isinstance(program, types.CodeType):
        return program
    with open(program, "rb") as file:
        return compile(file.read(), program, "exec")


def _main_module(path: str) -> types.ModuleType:
    main = types.ModuleType("__main__")
    main.__dict__.update(__file__=path, __builtins__=sys.modules["builtins"])
    return main


def _prepared(path: str, source: bytes) -> tuple[types.ModuleType, types.CodeType]:
    """Execute all but the last statement of a program of ours, which is where it begins."""
    tree = ast.parse(source, path)
    main, last = _main_module(path), tree.body.pop()
    exec(compile(tree, path, "exec"), main.__dict__)
    return main, compile(ast.Module([last], []), path, "exec")


def _status(task: Callable[[], object]) -> int:
    """Return the exit status that a piece of a program leads to, as the interpreter would."""
    try:
        task()
    except SystemExit as asked:
        if asked.code is None or isinstance(asked.code, int):
            return (asked.code or 0) & 0xFF
        sys.stderr.write(f"{asked.code}\n")
        return 1
    except BaseException as error:  # noqa: BLE001 - the program's, not ours
        trace = error.__traceback__
        # Ours are the first frames: nobody who reads a trace back wants to see them.
        while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OWN):
            trace = trace.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _finish(status: int) -> NoReturn:
    """End as the interpreter ends: other threads first, then exit functions, then the streams."""
    threads = 0
    if used := sys.modules.get("threading"):
        threads = _status(used._shutdown)
    exits = _status(atexit._run_exitfuncs)
    try:
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError):
        status = status or 120
    os._exit(status or threads or exits)


def _split(argv: Sequence[str]) -> tuple[frozenset[str], list[str]]:
    """Split what follows the interpreter into options and the rest."""
    rest = list(argv[1:])
    options = set()
    while rest and rest[0] in _OPTIONS:
        options.add(rest.pop(0))
    return frozenset(options), rest


def _depth() -> int:
    frame, depth = sys._getframe(), 0
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    return depth
