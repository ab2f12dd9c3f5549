"""prefix_disk - with prefix_disk_bytes what was computed of a prompt outlives its worker: the next one finds it, and
says the same; a worker killed at any moment, and a disk that takes nothing, cost only time. On the shipped model."""

import os
import re
import resource
import signal
import unittest

from harness import Server, eventually, main, seeded_random
from prefix_test import QUESTIONS, SYSTEM, ask, messages_of
from roles import is_alive, role_pid, role_pids


def metric(server, name):
    match = re.search(rf'^{name}{{model="llama"}} (\S+)$', server.get("/metrics").text(), re.MULTILINE)
    return float(match[1]) if match else 0


class PrefixDisk(unittest.TestCase):
    def server(self, **keys):
        server = Server(ready=None, llama_slots=4, **keys)
        server.__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        server.need_llama()
        return server

    def files(self, server, ending):
        return [path for path in (server.folder / "state" / "millrace").glob("prefixes-*/*") if path.name.endswith(ending)]

    def bytes(self, server):
        """Of the files; infinitely many when one of them goes while they are counted."""
        try:
            return sum(path.stat().st_size for path in self.files(server, ".kv"))
        except FileNotFoundError:
            return float("inf")

    def kill_worker(self, server):
        pid = role_pid(server, "worker", "llama")
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not is_alive(pid), "the worker is gone")
        eventually(lambda: role_pid(server, "worker", "llama") != pid, "there is another")
        server.wait_ready("llama")

    def test_the_next_worker_finds_what_one_saved_and_says_the_same(self):
        server = self.server(prefix_disk_bytes=64 << 20)
        messages = messages_of(SYSTEM, QUESTIONS[0])
        text, cached, prompt = ask(server, messages)
        self.assertEqual(cached, 0)
        eventually(lambda: self.files(server, ".kv"), "it lies on disk")
        self.kill_worker(server)
        again, cached, _ = ask(server, messages)
        self.assertEqual(again, text)
        self.assertGreater(cached, prompt // 2)
        eventually(lambda: metric(server, "millrace_prefix_disk_fetched_total") == 1, "it is counted")
        self.assertGreater(metric(server, "millrace_prefix_disk_bytes"), 0)
        # Nobody else may read it, and no name says what was asked.
        for path in self.files(server, ""):
            self.assertEqual(path.stat().st_mode & 0o777, 0o600)
            self.assertRegex(path.name, r"^(secret|[0-9a-f]{32}\.kv)$")
            self.assertEqual(path.parent.stat().st_mode & 0o777, 0o700)

    def test_the_workers_of_a_model_share_the_folder_from_its_first_moment(self):
        """Two that started together in an empty one: what either saved, both find after both were killed."""
        server = self.server(prefix_disk_bytes=64 << 20, llama_workers=2, solo=False)
        server.wait_model("llama", workers=2)
        answers = {}
        for number in range(4):  # in turns: both have the same room
            before = len(self.files(server, ".kv"))
            messages = messages_of(f"Book {number}. {SYSTEM}", QUESTIONS[0])
            answers[number] = ask(server, messages)[0]
            eventually(lambda: len(self.files(server, ".kv")) > before, f"{number} lies on disk")
        self.assertEqual(len(set(re.findall(r"event=request_done .*worker=(\S+)", server.log()))), 2)
        killed = role_pids(server, "worker", "llama")
        self.assertEqual(len(killed), 2)
        files = sorted(path.name for path in self.files(server, ""))
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: len(pids := role_pids(server, "worker", "llama")) == 2 and not set(pids) & set(killed),
                   "there are two others")
        server.wait_ready("llama")
        server.wait_model("llama", workers=2)
        self.assertEqual(sorted(path.name for path in self.files(server, "")), files)
        for number, text in reversed(answers.items()):
            again, cached, prompt = ask(server, messages_of(f"Book {number}. {SYSTEM}", QUESTIONS[0]))
            self.assertEqual(again, text)
            self.assertGreater(cached, prompt // 2)
        self.assertEqual(metric(server, "millrace_prefix_disk_failed_total"), 0)

    def test_a_worker_killed_while_it_saves_costs_only_time(self):
        server = self.server(prefix_disk_bytes=64 << 20)
        random = seeded_random()
        for number in range(3):
            messages = messages_of(f"Book {number}. {SYSTEM}", QUESTIONS[1])
            text, _, _ = ask(server, messages)
            ask(server, messages_of(f"Page {random.randrange(1000)}. {SYSTEM}", QUESTIONS[2]))
            self.kill_worker(server)
            self.assertEqual(self.files(server, ".part"), [])
            self.assertEqual(ask(server, messages)[0], text)

    def test_a_disk_that_takes_nothing_is_one_warning(self):
        server = self.server(prefix_disk_bytes=64 << 20)
        pid = role_pid(server, "worker", "llama")
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, before[1]))
        for number in range(3):
            messages = messages_of(f"Book {number}. {SYSTEM}", QUESTIONS[0])
            text, _, _ = ask(server, messages)
            again, cached, prompt = ask(server, messages)
            self.assertEqual(again, text)
            self.assertGreater(cached, prompt // 2)
        eventually(lambda: metric(server, "millrace_prefix_disk_failed_total") >= 1, "it is counted")
        self.assertEqual(self.files(server, ".kv"), [])
        server.wait_log("event=prefix_disk_failed")  # it comes by another way than the counter
        self.assertEqual(server.log().count("event=prefix_disk_failed"), 1)
        self.assertEqual(role_pid(server, "worker", "llama"), pid)

    def test_a_small_bound_holds(self):
        cap = 1 << 20
        server = self.server(prefix_disk_bytes=cap)
        for number in range(6):
            ask(server, messages_of(f"Book {number}. {SYSTEM}", QUESTIONS[0]))
        eventually(lambda: metric(server, "millrace_prefix_disk_written_total") >= 2, "some were written")
        eventually(lambda: self.bytes(server) <= cap, "the files keep to the bound")

    def test_without_the_key_there_is_nothing_on_disk(self):
        server = self.server()
        ask(server, messages_of(SYSTEM, QUESTIONS[0]))
        self.assertEqual(self.files(server, ""), [])


if __name__ == "__main__":
    main()
