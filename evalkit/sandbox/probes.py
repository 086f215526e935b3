"""Hostile programs, small and bounded, that look for a way out of a sandbox.

Each is Python source behind `HEAD` and prints a line for every hole it finds; `given` holds what
`checks.py` tells it. Nothing here runs in evalkit itself.
"""

from __future__ import annotations

HEAD = """
import ctypes, errno, json, os, signal, socket, stat, subprocess, sys, time
given = json.load(open("given.json"))
open("/proc/self/comm", "w").write(given["mark"])
libc = ctypes.CDLL(None, use_errno=True)
def hole(text):
    print("hole:", text, flush=True)
def refused(what, attempt, *arguments):
    try:
        attempt(*arguments)
    except OSError:
        return
    hole(what)
def fields(pid):
    lines = open(f"/proc/{pid}/status").read().splitlines()
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
"""

# Found by what they print; the program must also end by itself.
HONEST: dict[str, str] = {
    "network": """
def reach(kind, address):
    with socket.socket(socket.AF_INET, kind) as s:
        s.settimeout(1)
        s.connect(address)
        s.send(b"x")
refused("host's loopback", reach, socket.SOCK_STREAM, ("127.0.0.1", given["port"]))
refused("internet, TCP", reach, socket.SOCK_STREAM, ("1.1.1.1", 53))
refused("internet, UDP", reach, socket.SOCK_DGRAM, ("8.8.8.8", 53))
refused("names", socket.getaddrinfo, "example.com", 80)
for _, name in socket.if_nameindex():
    # Kernels with tunnels built in give each network its idle ends of them.
    if not name.startswith(("lo", "tunl", "sit", "gre", "erspan", "ip_vti", "ip6", "ifb")):
        hole(f"interface {name}")
""",
    "host's local sockets": """
with socket.socket(socket.AF_UNIX) as s:
    refused("abstract socket of the host", s.connect, "\\0" + given["mark"])
for path in ("/run/docker.sock", "/var/run/docker.sock", "/run/dbus/system_bus_socket"):
    if os.path.exists(path):
        hole(path)
""",
    "socket families": """
for family in (15, 17, 21, 29, 30, 31, 38, 40, 44):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
        refused(f"family {family}", lambda: socket.socket(family, kind).close())
refused("raw socket", socket.socket, socket.AF_INET, socket.SOCK_RAW, 1)
""",
    "host's files": """
for path in given["hidden"]:
    if os.path.exists(path) or os.path.exists("/proc/1/root" + path):
        hole(path)
for path in ("/etc/shadow", "/etc/ssh", "/proc/kcore", "/dev/mem"):
    refused(path, lambda: os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(1))
""",
    "writing outside": """
places = "/ /bin /boot /dev /etc /home /lib /opt /proc /proc/sys/kernel /root /run /sbin /srv /sys"
places += " /sys/fs/cgroup /usr /usr/bin /var " + sys.prefix
for place in places.split():
    refused(place, lambda: open(os.path.join(place, "written"), "w"))
refused("/proc/sys", open, "/proc/sys/kernel/core_pattern", "w")
refused("/etc/passwd", open, "/etc/passwd", "a")
""",
    "environment of others": """
seen = {value for value in os.environ.values()}
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        seen |= set(open(f"/proc/{pid}/environ", "rb").read().decode(errors="replace").split("\\0"))
    except OSError:
        pass
import hashlib
for text in seen:
    for value in (text, text.partition("=")[2]):
        if hashlib.sha256(value.encode()).hexdigest() in given["secrets"]:
            hole("a value of evalkit's environment")
""",
    "other processes": """
own = {str(os.getpid()), str(os.getppid()), "1"}
others = set(filter(str.isdigit, os.listdir("/proc"))) - own
if others:
    hole(f"processes {others}")
if os.getpid() > 100:
    hole("process numbers of the host")
try:
    os.pwrite(os.open("/proc/1/mem", os.O_RDWR), b"", 0)
except OSError:
    pass
else:
    first = fields(1)
    # A first process that can be written to must have nothing that we have not.
    if os.getpid() != 1 and (int(first["CapEff"][0], 16) or first["Seccomp"] != ["2"]):
        hole("memory of a privileged process")
""",
    "privileges": """
own = fields("self")
for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
    if int(own[name][0], 16):
        hole(name)
if own["NoNewPrivs"] != ["1"] or own["Seccomp"] != ["2"]:
    hole("no filter, or privileges can be gained")
if 0 in (os.getuid(), os.getgid(), os.geteuid()):
    hole("root inside")
refused("setuid", os.setuid, 0)
refused("setgroups", os.setgroups, [0])
""",
    "programs that change the user": """
for command in (["su", "-c", "id -u"], ["sudo", "-n", "id", "-u"], ["pkexec", "id", "-u"]):
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        continue
    if done.stdout.strip() == b"0":
        hole(command[0])
""",
    "denied system calls": """
for name, number in given["denied"].items():
    if libc.syscall(ctypes.c_long(number), *[ctypes.c_long(0)] * 6) != -1:
        hole(name)
    elif ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS):
        hole(f"{name}: reaches the kernel, errno {ctypes.get_errno()}")
""",
    "new namespaces": """
for bit in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
    words = [given["clone"], bit | 17, 0, 0, 0, 0]
    pid = libc.syscall(*[ctypes.c_long(word) for word in words])
    if pid == 0:
        os._exit(0)
    if pid > 0:
        hole(f"clone {bit:x}")
    if libc.unshare(bit) != -1:
        hole(f"unshare {bit:x}")
""",
    "mounting": """
if libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) != -1:
    hole("mount")
if libc.umount2(b"/proc", 2) != -1:
    hole("umount")
refused("chroot", os.chroot, "/tmp")
for kind in (stat.S_IFBLK, stat.S_IFCHR):
    refused("mknod", os.mknod, "/tmp/node", kind | 0o600, os.makedev(1, 1))
""",
    "calls of another architecture": """
pid = os.fork()
if pid == 0:
    libc.syscall(ctypes.c_long(0x40000000 + 39))
    os._exit(77 if ctypes.get_errno() == errno.ENOSYS else 0)
status = os.waitpid(pid, 0)[1]
if not os.WIFSIGNALED(status) and os.waitstatus_to_exitcode(status) != 77:
    hole("x32 calls")
""",
    "clock": """
refused("clock_settime", time.clock_settime, time.CLOCK_REALTIME, 0)
""",
    "priorities": """
refused("nice", os.nice, -10)
refused("real time", os.sched_setscheduler, 0, os.SCHED_RR, os.sched_param(50))
refused("oom score", lambda: os.write(os.open("/proc/self/oom_score_adj", os.O_WRONLY), b"-1000"))
import resource
for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE):
    try:
        resource.setrlimit(kind, (1 << 30, 1 << 30))
    except (OSError, ValueError):
        continue
    hole("limits")
""",
    "devices": """
for root, _, names in os.walk("/dev"):
    for name in names:
        path = os.path.join(root, name)
        mode = os.stat(path).st_mode if os.path.exists(path) else 0
        if stat.S_ISBLK(mode):
            hole(path)
for name in ("kmsg", "kvm", "fuse", "mem", "port", "vsock", "loop-control", "net/tun", "vda"):
    refused(name, os.open, "/dev/" + name, os.O_RDWR)
""",
    "terminal": """
import fcntl
for request in (0x5412, 0x541C):
    for fd in (0, 1, 2):
        refused("injection", fcntl.ioctl, fd, request, b"x")
refused("/dev/tty", os.open, "/dev/tty", os.O_RDWR)
""",
    "open descriptors": """
for fd in range(3, 1024):
    try:
        kind = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        continue
    hole(f"{fd}: {kind}")
""",
    "signals": """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    for pid in (-1, 1, os.getppid()):
        try:
            os.kill(pid, signal.SIGTERM if pid == -1 else 0)
        except OSError:
            pass
    os._exit(0)
os.wait()
for pid in given["outside"]:
    if pid > 100:
        refused(f"process {pid} of the host", os.kill, pid, 0)
""",
    "shared memory of the host": """
for kind in ("shm", "sem", "msg"):
    try:
        rows = open(f"/proc/sysvipc/{kind}").read().splitlines()[1:]
    except OSError:
        continue
    if rows:
        hole(kind)
""",
    "too many processes": """
children = []
try:
    while len(children) < given["processes"] + 200:
        pid = os.fork()
        if pid == 0:
            time.sleep(30)
            os._exit(0)
        children.append(pid)
except OSError:
    pass
if len(children) > given["processes"] + 3:
    hole(f"{len(children)} processes")
""",
    "too many zombies": """
count = 0
try:
    while count < given["processes"] + 200:
        if os.fork() == 0:
            os._exit(0)
        count += 1
except OSError:
    pass
if count > given["processes"] + 3:
    hole(f"{count} zombies")
""",
    "a process that stays": """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for fd in (0, 1, 2):
            os.close(fd)
        time.sleep(60)
    os._exit(0)
""",
    "full disk": """
written = 0
for place in (".", "/tmp", "/dev/shm", "/run", "/var/tmp"):
    try:
        with open(f"{place}/filled", "wb", buffering=0) as file:
            while written < given["disk"] * 4:
                written += file.write(bytes(1 << 20))
    except OSError:
        pass
# The working folder and /tmp may each have the limit.
if written > 2 * given["disk"] + (8 << 20):
    hole(f"{written >> 20} MB")
""",
    "too many files": """
count = 0
for place in (".", "/tmp", "/dev/shm"):
    try:
        while count < given["files"] + 2000:
            os.close(os.open(f"{place}/f{count}", os.O_CREAT | os.O_WRONLY))
            count += 1
    except OSError:
        pass
if count > 2 * given["files"] + 64:
    hole(f"{count} files")
""",
}

# Found by how the sandbox says that they ended.
ENDING: dict[str, tuple[str, tuple[str, ...]]] = {
    "memory bomb": (
        "x = []\nwhile True: x.append(bytearray(8 << 20))",
        ("memory", "exit", "signal"),
    ),
    "files in memory": (
        "held = []\n"
        "while True:\n"
        "    held.append(os.memfd_create('filled'))\n"
        "    for _ in range(8): os.write(held[-1], bytes(1 << 20))",
        ("memory", "exit", "signal"),
    ),
    "flood of output": ("while True: os.write(1, b'x' * 65536)", ("output",)),
    "flood of errors": ("while True: os.write(2, b'x' * 65536)", ("output",)),
    "endless loop": ("while True: pass", ("cpu_time",)),
    "endless loops in many processes": (
        "for _ in range(6):\n    os.fork()\nwhile True: pass",
        ("cpu_time", "memory"),
    ),
    "fork bomb": (
        "while True:\n    try: os.fork()\n    except OSError: pass",
        ("cpu_time", "memory"),
    ),
    "endless sleep, no signal heeded": (
        "for number in range(1, 65):\n"
        "    try: signal.signal(number, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\n"
        "while True: time.sleep(60)",
        ("wall_time",),
    ),
    "stops itself": ("os.kill(os.getpid(), signal.SIGSTOP)\ntime.sleep(60)", ("wall_time",)),
}

# One program, and another that is started after its end.
LEAVING = """
for place in (".", "/tmp", "/dev/shm"):
    open(place + "/earlier", "w").write("x")
named = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
named.bind("\\0earlier")
# In flight over themselves: no process has them, and the kernel finds that out when it likes to.
here, there = socket.socketpair()
socket.send_fds(here, [b"x"], [there.fileno(), named.fileno()])
for _ in range(7):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.sendto(b"x", ("192.0.2.1", 9))
        except OSError:
            pass
"""
LOOKING_FOR_LEFT = """
for place in (".", "/tmp", "/dev/shm"):
    if os.path.exists(place + "/earlier"):
        hole(place)
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
    refused("abstract socket of an earlier run", s.connect, "\\0earlier")
if "@earlier" in open("/proc/net/unix").read():
    hole("name of a socket of an earlier run")
names, values = (line.split() for line in open("/proc/net/snmp") if line.startswith("Ip:"))
if int(dict(zip(names, values))["OutNoRoutes"]):
    hole("an earlier run's attempts to send")
"""
