"""The process that starts sandboxes, one after the other, and watches each until all of it is dead.

It runs apart from evalkit, with one thread, an empty environment and none of evalkit's memory, so
that forking it is quick, safe and tells nothing. Evalkit keeps as many as it runs programs at once.
When evalkit dies, in whatever way, the channel closes, and the warden kills what it runs, removes
its control group and ends. Read `main`, then `_serve_one`.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import time
from dataclasses import dataclass, field

from evalkit.execution import Ending
from evalkit.sandbox import cgroups, kernel, orders, zygote
from evalkit.sandbox.cgroups import Group, Hierarchy
from evalkit.sandbox.confinement import FAILED, SUPERVISORS
from evalkit.sandbox.forker import Forker, ForkerEnded, Ground, Started, open_forker
from evalkit.sandbox.orders import Answer, Order, Setup
from evalkit.sandbox.stage import build
from evalkit.sandbox.usage import Usage

_UNREGISTERED_IDS = 1_900_000_000
_PARENT_CHECK_S = 1.0
_SHORTEST_LOOK_S = 0.002
# The clock may stop for so long, in all, that the whole takes this many times as long.
_MOST_TIMES_WALL = 20
_EXIT = re.compile(rb'"(exit-code|signal)": ?(\d+)')


@dataclass(slots=True)
class Station:
    """What a warden has for all its runs."""

    channel: socket.socket
    ground: Ground
    forker: Forker
    hierarchy: Hierarchy | None
    parent: int = field(default_factory=os.getppid)
    group: Group | None = None
    groups: int = 0


def main() -> None:
    """Serve orders from the socket that is descriptor 0 until it closes."""
    channel = socket.socket(fileno=os.dup(0))
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    fields, _ = orders.receive(channel)
    if fields is None:
        return
    setup = Setup.of(fields)
    hierarchy, user = cgroups.find_hierarchy(), _outside_user()
    try:
        stage = build(setup, user)
    except OSError as error:
        orders.send(channel, Answer(broken=f"cannot mount in namespaces of its own: {error}"))
        return
    zygote.warm_up(setup.views["python"].env)
    # Sandboxed programs run as a user of the same machine; they must not look in here.
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    ground = Ground(setup, stage, user)
    forker = open_forker(ground, channel, counted=hierarchy is not None)
    station = Station(channel, ground, forker, hierarchy)
    # Evalkit may be killed at any moment, and so may be the forker.
    try:
        with contextlib.suppress(ForkerEnded, ConnectionError):
            while _serve_one(station):
                pass
    finally:
        if station.group is not None:
            station.group.remove()


def _outside_user() -> int:
    """Return the user that programs run as: one that exists nowhere else, where root may choose."""
    if os.getuid() != 0:
        return os.getuid()
    with open("/proc/self/uid_map", encoding="ascii") as file:
        ranges = [tuple(map(int, line.split())) for line in file]
    wanted = _UNREGISTERED_IDS + os.getpid()
    return wanted if any(low <= wanted < low + size for low, _, size in ranges) else 65534


def _serve_one(station: Station) -> bool:
    fields, descriptors = orders.receive(station.channel)
    if fields is None:
        return False
    order = Order(**fields)
    folders: list[int] = []
    try:
        answer, gone = _run(station, order, descriptors, folders)
    except OSError as error:
        answer, gone = Answer(broken=str(error)), False
    try:
        if not gone:
            orders.send(station.channel, answer, tuple(folders))
    finally:
        for folder in folders:
            os.close(folder)
    return not gone


def _run(
    station: Station, order: Order, descriptors: list[int], folders: list[int]
) -> tuple[Answer, bool]:
    """Run one order; also say whether evalkit is gone."""
    group = _group_for(station, order)
    with contextlib.ExitStack() as held:
        held.callback(_bury_children)
        given = list(descriptors)
        if order.how != "bubblewrap":
            ground = station.ground
            view = ground.setup.views[order.toolchain]
            given.append(ground.stage.mounts_of(order.toolchain, view))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        held.enter_context(ours)
        began = time.monotonic()
        with theirs:
            try:
                doors = group.doors if group is not None else ()
                started = station.forker.start(order, theirs, given, doors)
            except OSError:
                _end_others(station.forker.pid)
                raise
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
        watch = _Watch(station, order, group, started, began)
        watch.until_dead()
        if started.keeper == started.pid:
            _kill_orphans(station.forker.pid)
        watch.orphans_s = _bury_children()
        answer = watch.answer(_reported(ours, folders, alone=started.keeper == started.pid))
    if group is not None:
        try:
            group.wait_until_empty()
        except OSError:
            station.group = None
            raise
    if not order.collect or answer.code != 0:
        while folders:
            os.close(folders.pop())
    return answer, watch.gone


def _group_for(station: Station, order: Order) -> Group | None:
    """Return the group of the next run: the last one's, or a new one."""
    if station.hierarchy is None:
        return None
    limits = (order.memory_mb << 20, order.processes + SUPERVISORS)
    if station.group is not None:
        if station.group.begin_again(*limits):
            return station.group
        group, station.group = station.group, None
        group.remove()
    station.groups += 1
    name = f"{cgroups.PREFIX}{cgroups.owner()}-{station.groups}"
    station.group = station.hierarchy.create(name, *limits)
    return station.group


class _Watch:
    """Looks at one running sandbox until its first process is dead, and kills it at a limit."""

    def __init__(
        self, station: Station, order: Order, group: Group | None, started: Started, began: float
    ) -> None:
        self.gone = False
        self._stopped = False
        self._station = station
        self._order = order
        self._usage = Usage(group, (started.keeper, started.pid))
        self._pid = started.pid
        self._keeper = started.keeper
        self._began = began
        self._reasons: set[Ending] = set()
        self._status = 0
        self._used_s = 0.0  # of processor time, at the last look
        self.orphans_s = 0.0
        self._rusage_s = 0.0
        self._ended = began

    def until_dead(self) -> None:
        """Return when all is dead and reaped."""
        process = os.pidfd_open(self._pid)
        poller = select.poll()
        poller.register(process, select.POLLIN)
        poller.register(self._station.channel, select.POLLIN)
        try:
            while True:
                ready = {fd for fd, _ in poller.poll(self._patience_s() * 1000)}
                if process in ready:
                    break
                if self._station.channel.fileno() not in ready:
                    self._check()
                    continue
                self._obey()
                if self.gone:
                    poller.unregister(self._station.channel)
        finally:
            os.close(process)
        _, self._status, used = os.wait4(self._pid, kernel.WAIT_ALL)
        self._rusage_s = used.ru_utime + used.ru_stime
        if self._keeper != self._pid:
            os.kill(self._keeper, signal.SIGKILL)
            _, _, used = os.wait4(self._keeper, kernel.WAIT_ALL)
            self._rusage_s += used.ru_utime + used.ru_stime
        self._ended = time.monotonic()

    def answer(self, report: _Report) -> Answer:
        """Put together what was seen; everything of the sandbox is dead by now."""
        cpu_s = self._usage.final_cpu_s(self._rusage_s + self.orphans_s)
        if self._usage.ran_out_of_memory():
            self._reasons.add(Ending.MEMORY)
        if cpu_s > self._order.cpu_s:
            self._reasons.add(Ending.CPU_TIME)
        own = os.waitstatus_to_exitcode(self._status)
        code = report.code if self._keeper == self._pid else own
        killed = -own if own < 0 else report.signal
        broken = "" if self._reasons or self._stopped else report.broken
        ending = next(iter(reason for reason in Ending if reason in self._reasons), None)
        if ending is None:
            ending = Ending.EXIT if killed is None else Ending.SIGNAL
        return Answer(
            ending=ending.value,
            code=code if killed is None else None,
            signal=killed,
            cpu_s=cpu_s,
            wall_s=self._ended - self._began,
            peak_mb=self._usage.peak_mb(),
            broken=broken,
        )

    def _patience_s(self) -> float:
        """Return how long nothing can have happened that must be acted on."""
        if self._reasons or self._stopped:
            return _PARENT_CHECK_S
        wall_s = self._clock_left_s()
        cpu_s = (self._order.cpu_s - self._used_s) / (os.cpu_count() or 1)
        look_s = min(wall_s, cpu_s, self._usage.patience_s, _PARENT_CHECK_S)
        return max(_SHORTEST_LOOK_S, look_s)

    def _clock_left_s(self) -> float:
        """Return what is left for sleeping: while a program waits for a processor the clock stops.

        So a program that computes ends by its processor time, however busy the machine is.
        """
        passed_s = time.monotonic() - self._began
        if passed_s < self._order.wall_s:
            return self._order.wall_s - passed_s
        most_s = _MOST_TIMES_WALL * self._order.wall_s - passed_s
        return min(most_s, self._order.wall_s - passed_s + self._usage.starved_s())

    def _obey(self) -> None:
        """Kill at a message, which names the reason; the end of the channel is a reason too."""
        try:
            message = self._station.channel.recv(64)
        except ConnectionError:
            message = b""
        self.gone = not message
        self._stopped = True
        self._kill(Ending.OUTPUT if message == b"output" else None)

    def _check(self) -> None:
        if os.getppid() != self._station.parent:
            self.gone = True
            self._kill(None)
        self._used_s = self._usage.cpu_s()
        if self._used_s >= self._order.cpu_s:
            self._kill(Ending.CPU_TIME)
        if self._clock_left_s() <= 0:
            self._kill(Ending.WALL_TIME)
        if self._usage.resident_mb() > self._order.memory_mb:
            self._kill(Ending.MEMORY)

    def _kill(self, reason: Ending | None) -> None:
        if reason is not None:
            self._reasons.add(reason)
        os.kill(self._keeper, signal.SIGKILL)


def _kill_orphans(forker: int) -> None:
    """Kill what is left of a sandbox: bubblewrap ends with its parent, but not from the start.

    They are children of the warden now, which has no others but its forker.
    """
    for pid in _others(forker):
        os.kill(pid, signal.SIGKILL)


def _end_others(forker: int) -> None:
    """Kill what there is of a sandbox that could not be started, and wait for it."""
    _kill_orphans(forker)
    # A first process does not end before somebody has waited for those that it was followed by.
    for pid in reversed(_others(forker)):
        os.wait4(pid, kernel.WAIT_ALL)


def _others(forker: int) -> list[int]:
    """Return the children of the warden but for its forker."""
    with contextlib.suppress(OSError), open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [pid for pid in map(int, file.read().split()) if pid != forker]
    return []


def _bury_children() -> float:
    """Wait for everything that became a child of the warden; return the processor time of it.

    All of it is dead or dying.
    """
    used_s = 0.0
    with contextlib.suppress(ChildProcessError):
        while True:
            _, _, used = os.wait4(-1, 0)
            used_s += used.ru_utime + used.ru_stime
    return used_s


@dataclass(slots=True)
class _Report:
    """What the child of a warden said about the program. broken: why there was none."""

    code: int | None = None
    signal: int | None = None
    broken: str = "the program was not started"


def _reported(channel: socket.socket, folders: list[int], *, alone: bool) -> _Report:
    """Read what the child said, and the working folder, until nobody can say more.

    alone: the child is not the program, so it has to say how that ended.
    """
    report, said = _Report() if alone else _Report(broken=""), b""
    while True:
        data, descriptors, _, _ = socket.recv_fds(channel, 4096, 1)
        folders += descriptors
        if not data:
            break
        if data.startswith(FAILED):
            report.broken = data.removeprefix(FAILED).decode(errors="replace")
            return report
        said += data
    if found := _EXIT.search(said):
        report.broken = ""
        code = int(found[2])
        # Bubblewrap hands a signal on as 128 and its number.
        if found[1] == b"signal" or 128 < code <= 128 + signal.NSIG:
            report.signal = code % 128
        else:
            report.code = code
    return report
