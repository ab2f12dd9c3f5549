"""roles - the processes behind one `millrace serve`: who they are, seen from outside (/proc)."""

import os
import re
from pathlib import Path

from harness import Failure, eventually, run_millrace

ROLES = ("manager", "gateway", "worker")


def _stat(pid):
    """The fields of /proc/PID/stat behind the name, or None when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def is_alive(pid):
    """A zombie is not."""
    stat = _stat(pid)
    return stat is not None and stat[0] != "Z"


def children(pid):
    """{pid: its arguments} of the living children."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        stat = _stat(entry)
        if stat is None or stat[0] == "Z" or int(stat[1]) != pid:
            continue
        try:
            found[int(entry)] = Path(f"/proc/{entry}/cmdline").read_bytes().decode().split("\0")[:-1]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def role_pids(server, role, model=None):
    """The processes of that role, oldest first."""
    wanted = [role] if model is None else [role, model]
    return sorted(pid for pid, args in children(server.process.pid).items() if args[1:1 + len(wanted)] == wanted)


def role_pid(server, role, model=None):
    """The one process of that role, once there is one."""
    def only():
        pids = role_pids(server, role, model)
        if len(pids) > 1:
            raise Failure(f"more than one {role}: {pids}")
        return pids and pids[0]

    return eventually(only, f"there is a {role}")


def ps(server):
    """The table of `millrace ps`: a dict for each role, by the names in its head."""
    done = run_millrace("ps", env=server.env, folder=server.folder, home=server.folder)
    if done.returncode != 0:
        return []
    head, *rows = [re.split(r"\s{2,}", line.strip()) for line in done.stdout.splitlines() if line.strip()]
    return [dict(zip(head, row)) for row in rows]
