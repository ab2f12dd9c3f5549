"""loading - a real model on its way into memory: who asked for it sees how far it is, by bytes, however they get
there; and a stop ends the load. The worker runs in slices between signals, so that a load of any speed is met in
its middle."""

import json
import os
import re
import signal
import subprocess
import tempfile
import unittest

from pathlib import Path

from harness import Failure, Server, eventually, main
from http_client import request
from roles import role_pid
from surfaces import completions

MAKE_MODEL = os.environ.get("MAKE_MODEL")
PARTS = 64  # of the file, one for each slice
POLLS = 300  # of how far it is, each at least some 20 us: then it is not reading


class Slices:
    """A worker that is stopped, but for slices of so many bytes that it reads."""

    def __init__(self, server, model_bytes):
        self.server = server
        self.model_bytes = model_bytes
        self.pid = role_pid(server, "worker", "llama")
        os.kill(self.pid, signal.SIGSTOP)

    def read_bytes(self):
        return int(re.search(r"rchar: (\d+)", Path(f"/proc/{self.pid}/io").read_text())[1])

    def run(self):
        """A slice; or a moment, when it has nothing to read. Returns what /health then says of it."""
        until = self.read_bytes() + self.model_bytes // PARTS
        os.kill(self.pid, signal.SIGCONT)
        for _ in range(POLLS):
            if self.read_bytes() >= until:
                break
            os.sched_yield()
        os.kill(self.pid, signal.SIGSTOP)
        return self.server.model("llama")

    def run_until_loading(self):
        """Stopped somewhere in the load, and every thread of the gateway knows that it loads."""
        eventually(lambda: self.run().get("state"), "the worker says that it is there")
        self.server.wait_state("llama", "loading")

    def run_until_ready(self):
        """The fractions that /health showed, each once: never more than the worker has read of the file. One that
        came to no beat for seconds is not shown until the next."""
        fractions = []

        def is_ready():
            seen = self.run()
            if seen.get("state") == "loading" and seen["load_fraction"] not in fractions[-1:]:
                fractions.append(seen["load_fraction"])
                if fractions[-1] > self.read_bytes() / self.model_bytes:
                    raise Failure(f"{fractions[-1]} of {self.model_bytes} bytes after {self.read_bytes()}")
            return seen.get("state") == "ready"

        eventually(is_ready, "the model is loaded")
        return fractions

    def end(self):
        os.kill(self.pid, signal.SIGCONT)


class Loading(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not MAKE_MODEL:
            raise unittest.SkipTest("MAKE_MODEL is not set: the program tools/models/make_model of the same build")
        folder = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="millrace-test-"))
        cls.model = Path(folder) / "model.gguf"
        subprocess.run([MAKE_MODEL, "--size", "110m", cls.model], check=True)
        with Server(ready=None) as server:
            server.need_llama()

    def serve(self, **keys):
        """With one table of models: of two, what one shows may be behind what the other one did."""
        return Server(ready=None, llama_model_path=str(self.model), llama_slots=1, llama_n_ctx=64, worker_threads=1,
                      **keys)

    def check_fractions(self, fractions):
        self.assertEqual(fractions, sorted(fractions))
        self.assertTrue(all(0 <= fraction <= 1 for fraction in fractions), fractions)
        self.assertTrue(any(0 < fraction < 1 for fraction in fractions), fractions)

    def test_who_waits_for_it_sees_how_far_it_is(self):
        for load in ("mmap", "read"):
            with self.subTest(load), self.serve(llama_load=load) as server, server.connect() as waiting:
                slices = Slices(server, self.model.stat().st_size)
                slices.run_until_loading()
                waiting.send(completions.request("Hi", True, max_tokens=1, ignore_eos=True,
                                                 stream_options={"include_progress": True}))
                shown = slices.run_until_ready()
                slices.end()
                answer = completions.read(waiting.response(completions.method), True)
                told = [progress["fraction"] for progress in answer.progress if progress["state"] == "loading"]
                self.check_fractions(told)
                self.check_fractions(shown)
                self.assertEqual(answer.progress[-1], {"state": "started"})

    def test_whoever_follows_it_sees_layers_and_bytes(self):
        with self.serve(llama_load="mmap") as server, server.connect() as connection:
            slices = Slices(server, self.model.stat().st_size)
            slices.run_until_loading()
            stream = connection.stream(request("GET", "/v1/loading/progress"), "GET")
            slices.run_until_ready()
            slices.end()
            *loads, ready, done = [event.data for event in stream.events()]
            loads = [json.loads(load) for load in loads]
            self.check_fractions([load["fraction"] for load in loads])
            for load in loads[1:]:  # the first word of a worker may come before it has seen its file
                self.assertEqual(load["layers_loaded"], int(load["fraction"] * load["layers_total"]))
                self.assertGreater(load["layers_total"], 0)
                self.assertLessEqual(load["vram_mb"], self.model.stat().st_size / 2**20)
            self.assertEqual((json.loads(ready)["stage"], done), ("ready", "[DONE]"))

    def test_a_stop_in_the_middle_ends_it(self):
        for load in ("mmap", "read"):
            with self.subTest(load), self.serve(llama_load=load) as server:
                slices = Slices(server, self.model.stat().st_size)
                slices.run_until_loading()
                server.signal(signal.SIGTERM)
                slices.end()
                self.assertEqual(server.wait_exit(), 0)
                self.assertNotIn("event=model_failed", server.log())


if __name__ == "__main__":
    main()
