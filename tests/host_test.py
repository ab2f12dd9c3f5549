"""host - `millrace serve` as the supervisor of its roles: what the operator and systemd see of it, one
instance per state folder, folders that cannot be used, restarts and their limit, `millrace ps`."""

import json
import os
import resource
import signal
import socket
import subprocess
import tempfile
import unittest
from pathlib import Path

from harness import WAIT_S, Failure, Server, environment, eventually, main, run_millrace
from http_client import Reset, request
from roles import ROLES, children, is_alive, ps, role_pid, role_pids
from surfaces import infer


class Host(unittest.TestCase):
    def test_ps_shows_every_role_with_its_process(self):
        with Server() as server:
            rows = eventually(lambda: [row for row in ps(server) if row["role"] in ROLES], "ps shows the roles")
            self.assertEqual(sorted(row["role"] for row in rows), ["gateway", "manager", "worker"])
            for row in rows:
                self.assertEqual(int(row["pid"]), role_pid(server, row["role"]))
                self.assertEqual((row["state"], row["restarts"]), ("ready", "0"))
            os.kill(role_pid(server, "manager"), signal.SIGKILL)
            eventually(lambda: any((row["role"], row["state"], row["restarts"]) == ("manager", "ready", "1")
                                   for row in ps(server)), "ps shows the restart")

    def test_ps_without_a_service_says_so(self):
        with tempfile.TemporaryDirectory(prefix="millrace-test-") as folder:
            done = run_millrace("ps", folder=folder)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"^millrace: .*no(t| service| millrace).*\n$")

    def test_readiness_is_told_to_whoever_started_it(self):
        with tempfile.TemporaryDirectory(prefix="millrace-test-") as folder:
            path = str(Path(folder) / "notify")
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
                notify.bind(path)
                notify.settimeout(WAIT_S)
                with Server(env={"NOTIFY_SOCKET": path}) as server:
                    said = ""
                    while "READY=1" not in said:
                        said = notify.recv(4096).decode()
                    server.signal()
                    while "STOPPING=1" not in said:
                        said = notify.recv(4096).decode()
                    self.assertEqual(server.wait_exit(), 0)

    def test_two_on_one_state_folder_are_one_too_many(self):
        with Server() as server:
            done = run_millrace("serve", "--http-port=0", "--default-model=dummy", env=server.env, home=server.folder)
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"{server.process.pid}", done.stderr)
            self.assertIn("state", done.stderr)
            self.assertEqual(infer.ask(server).error, None)
            server.signal()
            self.assertEqual(server.wait_exit(), 0)
            server.restart()  # and the next one finds it free
            self.assertEqual(infer.ask(server).error, None)

    def test_a_state_folder_that_cannot_be_written_is_named(self):
        with tempfile.TemporaryDirectory(prefix="millrace-test-") as folder:
            (Path(folder) / "file").write_text("")
            done = run_millrace("serve", "--http-port=0", f"--state-dir={folder}/file/state")
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"{folder}/file/state", done.stderr)
            done = run_millrace("serve", "--http-port=0", "--state-dir=/proc/millrace")
            self.assertEqual(done.returncode, 1)
            self.assertIn("/proc/millrace", done.stderr)

    def test_a_read_only_state_folder_is_named(self):
        with tempfile.TemporaryDirectory(prefix="millrace-test-") as folder:
            self._in_namespace(folder, "ro", "Read-only file system")

    def test_a_full_disk_is_named_at_the_start(self):
        with tempfile.TemporaryDirectory(prefix="millrace-test-") as folder:
            self._in_namespace(folder, "size=4k,nr_inodes=1", "No space left")

    def _in_namespace(self, folder, options, expected):
        """A file system of its own, that only the process sees: needs user namespaces, or root."""
        script = f"mount -t tmpfs -o {options} none {folder} && exec \"$0\" serve --http-port=0 --state-dir={folder}/state"
        unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
        if subprocess.run([*unshare, "true"], capture_output=True).returncode != 0:
            self.skipTest("this machine allows no mount namespace")
        done = subprocess.run([*unshare, "sh", "-c", script, os.environ["MILLRACE"]], capture_output=True, text=True,
                              timeout=WAIT_S, stdin=subprocess.DEVNULL, env=environment(Path(folder)))
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(expected, done.stderr)

    def test_a_full_disk_while_it_runs_harms_no_stream(self):
        """Nothing can be written any more (a limit on file sizes stands for the full disk): logs are
        lost, answers are not."""
        with Server(dummy_delay_ms=1) as server:
            for pid in [server.process.pid, *children(server.process.pid)]:
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            for _ in range(20):
                self.assertEqual(infer.ask(server).error, None)
            for pid in [server.process.pid, *children(server.process.pid)]:
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def test_a_low_descriptor_limit_is_said_and_nobody_waits_for_one(self):
        """The limit is the host's, who got it after it had read it; so the next gateway has to find it.
        Whoever connects is served, or told that there is no room."""
        with Server() as server:
            resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (300, 300))
            os.kill(role_pid(server, "gateway"), signal.SIGKILL)
            said = server.wait_log(r"event=fd_limit_low max_connections=10000 fd_limit=300 connections=(\d+)")
            room, threads = int(said[1]), min(2, len(os.sched_getaffinity(0)))
            self.assertEqual(room, 300 - 128 - 10 * threads)
            held = [connection for connection in (self._admitted(server) for _ in range(2 * room)) if connection]
            self.assertEqual(len(held), threads * -(-room // threads))  # an equal share each, rounded up
            for connection in held:
                connection.close()

    @staticmethod
    def _admitted(server):
        """A connection that was served, or None: one that was refused at once."""
        connection = server.connect()
        try:
            status = connection.exchange(request("GET", "/live"), "GET").status
            if status == 200:
                return connection
            if status != 503:
                raise Failure(f"status {status}")
        except Reset:  # turned away while it sent
            pass
        connection.close()
        return None

    def test_a_worker_that_crashes_again_and_again_is_held_back_and_said(self):
        """Each time while it loads: who has served is not held back (kill_test)."""
        with Server(ready=None, default_model="dummy", dummy_load_ms=3000) as server:
            for _ in range(3):
                pid = role_pid(server, "worker")
                os.kill(pid, signal.SIGKILL)
                eventually(lambda: not is_alive(pid), "it is gone")
            server.wait_log(r"level=error [^\n]*event=role_held_back [^\n]*worker")
            server.wait_model(state="failed")
            response = server.exchange(infer.request("x", True))
            self.assertEqual((response.status, response.error()["code"]), (503, "model_failed"))
            self.assertEqual(server.health()["status"], "degraded")
            self.assertEqual(role_pids(server, "worker"), [])
            server.signal(signal.SIGHUP)  # an operator who has mended it need not wait
            server.wait_model(state="ready")
            self.assertEqual(infer.ask(server).error, None)

    def test_a_stuck_engine_costs_its_worker_and_not_the_service(self):
        with Server(dummy_stall_at=3, watchdog_ms=2000) as server:
            pid = role_pid(server, "worker")
            answer = infer.ask(server)
            self.assertEqual(answer.error["code"], "worker_lost")
            self.assertEqual(answer.text, "tok1 tok2")
            self.assertNotEqual(role_pid(server, "worker"), pid)
            self.assertEqual(infer.ask(server, max_tokens=2).error, None)

    def test_a_role_that_is_asked_to_stop_finishes_what_it_does(self):
        """SIGTERM to each role in turn, in the middle of a stream: nobody notices."""
        with Server(dummy_delay_ms=20, dummy_tokens=50) as server:
            for role in ROLES:
                with self.subTest(role), server.connect() as connection:
                    pid = role_pid(server, role)
                    connection.send(infer.request("x", True))
                    server.wait_model(slots_busy=1)
                    os.kill(pid, signal.SIGTERM)
                    answer = infer.read(connection.response("POST"), True)
                    self.assertEqual((len(answer.text.split()), answer.error), (50, None))
                    connection.close()  # a gateway waits for it, as long as it may
                    eventually(lambda: not is_alive(pid), f"the {role} has ended")
                    self.assertNotEqual(role_pid(server, role), pid)
                    server.wait_ready("dummy")

    def test_lines_of_a_role_that_crashed_are_kept(self):
        with Server() as server:
            pid = role_pid(server, "worker")
            server.wait_log(rf"event=model_ready [^\n]*model=dummy")
            os.kill(pid, signal.SIGABRT)
            server.wait_log(rf"event=role_ended [^\n]*pid={pid} [^\n]*signal=6")

    def test_a_second_signal_ends_it_at_once(self):
        with Server(dummy_delay_ms=60_000) as server:
            family = children(server.process.pid)
            with server.connect() as connection:
                connection.send(infer.request("x", True))
                server.wait_model(slots_busy=1)
                server.signal()
                eventually(lambda: not server.is_listening(), "it is draining")
                server.signal()
                server.expected_exit = 130
                self.assertEqual(server.wait_exit(), 130)
                eventually(lambda: not any(map(is_alive, family)), "its children are gone")


if __name__ == "__main__":
    main()
