"""The system calls that a sandboxed program may not make, as a filter for the kernel.

A deny list, assembled by hand, for x86-64 and 64-bit ARM. What the namespaces and the missing
privileges already refuse is denied once more here, and with it whole parts of the kernel that
programs do not need. Calls newer than this list are answered as unknown, 32-bit and x32 calls kill.
`CONTAINER_PROFILE` in `docker.py` says the same to a container engine. Read `filter_program` first.
"""

from __future__ import annotations

import platform
import struct
from functools import cache

# name → number on (x86-64, 64-bit ARM); None where the architecture has no such call.
DENIED: dict[str, tuple[int | None, int | None]] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "statmount": (457, 457),
    "listmount": (458, 458),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "fanotify_init": (300, 262),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "clock_settime": (227, 112),
    "settimeofday": (164, 170),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "lookup_dcookie": (212, 18),
    "mbind": (237, 235),
    "set_mempolicy": (238, 237),
    "set_mempolicy_home_node": (450, 450),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "memfd_secret": (447, 447),
    "vmsplice": (278, 75),
    "uselib": (134, None),
    "sysfs": (139, None),
    "nfsservctl": (180, 42),
}

# Memory that belongs to no process would escape a limit which is counted process by process.
UNCOUNTED: dict[str, tuple[int | None, int | None]] = {
    "memfd_create": (319, 279),
    "shmget": (29, 194),
}

# Local, IPv4, IPv6 and routing sockets; the network they see is empty.
SOCKET_FAMILIES = (1, 2, 10, 16)

# Every CLONE_NEW* that fits into the flags of clone.
NEW_NAMESPACES = 0x7E020000
TERMINAL_INJECTION = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX

_NEWEST_KNOWN = 462
_X32 = 0x40000000
_FEW = 3

_LOAD, _EQUAL, _GREATER, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST, _SECOND = 0, 4, 16, 24
_ALLOW, _KILL, _REFUSE, _UNKNOWN = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026

# machine → column of the tables, audit architecture, clone, clone3, socket, ioctl
_MACHINES = {
    "x86_64": (0, 0xC000003E, 56, 435, 41, 16),
    "aarch64": (1, 0xC00000B7, 220, 435, 198, 29),
}


def supported_machine(machine: str | None = None) -> bool:
    """Say whether there is a filter for this processor."""
    return (machine or platform.machine()) in _MACHINES


@cache
def filter_program(*, deny_uncounted: bool = False, machine: str | None = None) -> bytes:
    """Assemble the filter: an array of `struct sock_filter`, ready for the kernel."""
    column, architecture, clone, clone3, socket, ioctl = _MACHINES[machine or platform.machine()]
    code: list[bytes] = [
        _op(_LOAD, _ARCHITECTURE),
        _op(_EQUAL, architecture, 1, 0),
        _op(_RETURN, _KILL),
        _op(_LOAD, _NUMBER),
        _op(_AT_LEAST, _X32, 0, 1),
        _op(_RETURN, _KILL),
    ]
    # An unknown clone3 makes libraries fall back to clone, whose flags can be looked at.
    code += [_op(_EQUAL, clone3, 0, 1), _op(_RETURN, _UNKNOWN)]
    code += [_op(_GREATER, _NEWEST_KNOWN, 0, 1), _op(_RETURN, _UNKNOWN)]
    code += _examined(clone, _FIRST, [_op(_ANY_BIT, NEW_NAMESPACES, 0, 1), _op(_RETURN, _REFUSE)])
    known = [line for family in SOCKET_FAMILIES for line in _if_equal(family, _ALLOW)]
    code += _examined(socket, _FIRST, [*known, _op(_RETURN, _REFUSE)])
    injection = [line for request in TERMINAL_INJECTION for line in _if_equal(request, _REFUSE)]
    code += _examined(ioctl, _SECOND, injection)
    rows = [*DENIED.values(), *(UNCOUNTED.values() if deny_uncounted else ())]
    denied = sorted(number for row in rows if (number := row[column]) is not None)
    return b"".join([*code, *_refused(denied)])


def _refused(numbers: list[int]) -> list[bytes]:
    """Refuse these calls and allow the others.

    By halves: the kernel tries a filter with every call there is, each time it is installed.
    """
    if len(numbers) <= _FEW:
        lines = [line for number in numbers for line in _if_equal(number, _REFUSE)]
        return [*lines, _op(_RETURN, _ALLOW)]
    middle = len(numbers) // 2
    below = _refused(numbers[:middle])
    return [_op(_AT_LEAST, numbers[middle], len(below), 0), *below, *_refused(numbers[middle:])]


def _examined(number: int, argument: int, body: list[bytes]) -> list[bytes]:
    """Run `body` on the low half of an argument when the call is this one, then allow."""
    lines = [_op(_LOAD, argument), *body, _op(_RETURN, _ALLOW)]
    return [_op(_EQUAL, number, 0, len(lines)), *lines]


def _if_equal(value: int, verdict: int) -> list[bytes]:
    return [_op(_EQUAL, value, 0, 1), _op(_RETURN, verdict)]


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
