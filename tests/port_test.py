"""port - one port has one server: taken ones are refused with a sentence, whoever holds them, and of
two that start together exactly one wins."""

import os
import socket
import subprocess
import tempfile
import unittest
from pathlib import Path

import harness
from harness import Server, main, run_millrace


def free_port():
    """Outside the range that the kernel picks from: no other test gets it by chance."""
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for attempt in range(100):
        port = low - 1 - (os.getpid() * 7 + attempt * 101) % min(low - 1024, 20000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise AssertionError("no free port")


class Port(unittest.TestCase):
    def refused(self, port, **options):
        done = run_millrace("serve", port, "--default-model=dummy", **options)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done)
        line = done.stderr.splitlines()[-1]
        self.assertRegex(line, rf"millrace: .*{port}.*in use")
        return line

    def test_held_by_another_program(self):
        with socket.create_server(("127.0.0.1", 0)) as holder:
            self.refused(holder.getsockname()[1])
            # Nor does it help the holder to share: ours would get half of its connections.
        with socket.socket() as holder:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            holder.bind(("127.0.0.1", 0))
            holder.listen()
            self.refused(holder.getsockname()[1])

    def test_held_by_another_millrace(self):
        with Server() as server:
            with self.subTest("of the same user, told by its process"):
                line = self.refused(server.port, env={"XDG_RUNTIME_DIR": str(server.folder)})
                self.assertIn(f"process {server.process.pid}", line)
            with self.subTest("with locks elsewhere"):
                self.refused(server.port)
            self.assertEqual(server.get("/live").status, 200)

    def test_free_again_after_the_end_and_after_a_kill(self):
        port = free_port()
        with tempfile.TemporaryDirectory() as folder:
            for end in ("stop", "kill"):
                with Server(http_port=port, runtime_dir=folder) as server:
                    with server.connect() as connection:  # leaves a TIME_WAIT behind
                        connection.send(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
                        self.assertEqual(connection.response().status, 200)
                        if end == "kill":
                            server.expected_exit = -9
                            server.process.kill()
                            server.wait_exit()
            with Server(http_port=port, runtime_dir=folder) as server:
                self.assertEqual(server.port, port)

    def test_of_two_that_start_together_exactly_one_wins(self):
        for round_number in range(5):
            port = free_port()
            with tempfile.TemporaryDirectory() as folder:
                env = harness.environment(Path(folder))
                both = [subprocess.Popen([harness.MILLRACE, "serve", str(port), "--default-model=dummy"], env=env,
                                         cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                        for _ in range(2)]
                try:
                    self.check_one_wins(both, port)
                finally:
                    for process in both:
                        process.kill()
                        process.communicate()

    def check_one_wins(self, both, port):
        harness.eventually(lambda: [process for process in both if process.poll() is not None], "one gives up")
        (loser,) = [process for process in both if process.poll() is not None]
        (winner,) = [process for process in both if process is not loser]
        self.assertEqual(loser.returncode, 1)
        self.assertRegex(loser.stderr.read(), "in use by (millrace, process|another millrace)")
        self.assertIn(f"is listening on http://127.0.0.1:{port}", winner.stdout.readline())
        winner.terminate()
        _, log = winner.communicate(timeout=harness.WAIT_S)
        harness.check_stderr(log)
        self.assertEqual(winner.returncode, 0)

    def test_several_with_port_0_live_side_by_side(self):
        with Server() as one, Server() as two, Server() as three:
            self.assertEqual(len({one.port, two.port, three.port}), 3)
            for server in (one, two, three):
                self.assertEqual(server.get("/live").status, 200)

    def test_ipv6(self):
        if not Path("/proc/net/if_inet6").exists():
            self.skipTest("no IPv6 on this machine")
        with Server(http_host="::1", ready=None, default_model="dummy") as server:
            with server.connect(host="::1") as connection:
                response = connection.exchange(
                    f"GET /live HTTP/1.1\r\nHost: [::1]:{server.port}\r\n\r\n".encode(), "GET")
                self.assertEqual(response.status, 200)

    def test_an_address_for_everyone_needs_a_word(self):
        for host in ("0.0.0.0", "::"):
            done = run_millrace("serve", 0, f"--host={host}", "--default-model=dummy")
            self.assertEqual(done.returncode, 1)
            self.assertIn("--allow-no-keys", done.stderr)
        with Server(http_host="0.0.0.0", allow_no_keys=True, ready=None, default_model="dummy") as server:
            self.assertEqual(server.get("/live").status, 200)

    def test_an_address_that_is_not_one(self):
        for host in ("nowhere.example", "1.2.3", "300.0.0.1", "", "::g"):
            done = run_millrace("serve", 0, f"--host={host}", "--default-model=dummy")
            with self.subTest(host):
                self.assertIn(done.returncode, (1, 2))
                self.assertTrue(done.stderr.startswith("millrace: ") or "\nmillrace: " in done.stderr, done.stderr)


if __name__ == "__main__":
    main()
