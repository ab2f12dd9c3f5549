"""proctree - a process and its children, seen through /proc: memory, CPU time, descriptors, roles. Linux.

A process that goes while it is looked at counts nothing."""

import os
import re
import time
from pathlib import Path

GONE = (FileNotFoundError, ProcessLookupError, PermissionError)


def children(pid):
    found = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
    except GONE:
        pass
    return found


def tree(pid):
    """The process, its children, theirs."""
    found = [pid]
    for child in children(pid):
        found += tree(child)
    return found


def pss_kib(pid):
    """Its memory, with a page that n processes share counted as a nth of a page. 0: it is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except GONE:
        return 0
    match = re.search(r"^Pss:\s+(\d+) kB", text, re.M)
    return int(match[1]) if match else 0


def cpu_s(pid):
    """Seconds on a processor, of all its threads, also of those that ended. 0: it is gone."""
    try:
        return time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3), which Python has not
    except OSError:
        return 0


def fds(pid):
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except GONE:
        return 0


def role_of(pid):
    """host, gateway, manager, "worker dummy"...: from its arguments."""
    try:
        args = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[1:-1]
    except GONE:
        return None
    if not args or args[0] == "serve":
        return "host"
    return " ".join(args[:2]) if args[0] == "worker" else args[0]


def sockets_per_loop(pid):
    """{epoll instance: how many descriptors it watches}: a loop thread has one, and a connection belongs
    to one loop."""
    counts = {}
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            if os.readlink(f"/proc/{pid}/fd/{fd}") == "anon_inode:[eventpoll]":
                counts[fd] = Path(f"/proc/{pid}/fdinfo/{fd}").read_text().count("tfd:")
    except GONE:
        pass
    return counts
