"""roles_by_hand - a role that is started alone joins the service at --bus-url, serves there, and goes
again without anybody noticing; and what it says when it cannot."""

import json
import subprocess
import unittest

import harness
from harness import LISTENS, Server, eventually, main, run_millrace
from http_client import Connection, request
from surfaces import infer


class ByHand:
    """`millrace ROLE ...` on the bus of a server."""

    def __init__(self, server, *args):
        state = json.loads((server.folder / "state" / "millrace" / "instance.json").read_text())
        self.log = open(server.folder / "by-hand.log", "wb")
        self.process = subprocess.Popen(
            [harness.MILLRACE, *args, f"--bus-url=ipc://{state['bus']}", "--default-model=dummy"], cwd=server.folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, env=harness.environment(server.folder))

    def stop(self):
        self.process.terminate()
        return self.process.wait(harness.WAIT_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log.close()


class RolesByHand(unittest.TestCase):
    def test_a_second_worker_joins_and_leaves(self):
        with Server(dummy_delay_ms=0, solo=False) as server:
            with ByHand(server, "worker", "dummy") as worker:
                server.wait_model(workers=2)
                self.assertEqual(infer.ask(server).error, None)
                self.assertEqual(worker.stop(), 0)
                server.wait_model(workers=1, state="ready")
                self.assertEqual(infer.ask(server).error, None)

    def test_a_second_gateway_has_an_address_of_its_own(self):
        with Server(dummy_delay_ms=0, dummy_tokens=3, solo=False) as server:
            with ByHand(server, "gateway", "0") as gateway:
                port = int(LISTENS.match(gateway.process.stdout.readline().decode())[1])
                self.assertNotEqual(port, server.port)
                with Connection(port) as connection:
                    eventually(lambda: connection.exchange(request("GET", "/health/ready"), "GET").status == 200,
                               "the gateway has heard of the worker")
                    answer = infer.read(connection.exchange(infer.request("x", True), "POST"), True)
                    self.assertEqual(answer.text, "tok1 tok2 tok3")
                self.assertEqual(gateway.stop(), 0)
            self.assertEqual(server.get("/live").status, 200)

    def test_what_cannot_start_says_why(self):
        for args, status, words in ((("manager",), 1, "bus_url is not set"), (("gateway", "0"), 1, "bus_url is not set"),
                                    (("worker", "dummy"), 1, "bus_url is not set"), (("worker",), 2, "which model?"),
                                    (("worker", "--bus-url=ipc:///x"), 2, "which model?"),
                                    (("manager", "--bus-url=tcp://x"), 2, "ipc:///FOLDER")):
            done = run_millrace(*args, "--log-level=error")
            with self.subTest(args):
                self.assertEqual((done.returncode, done.stdout), (status, ""), done)
                self.assertIn(words, done.stderr)

    def test_no_switch_is_an_error_after_a_while(self):
        done = run_millrace("manager", "--bus-url=ipc:///tmp/millrace-no-such-folder", "--log-level=error")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no switch answers", done.stderr)


if __name__ == "__main__":
    main()
