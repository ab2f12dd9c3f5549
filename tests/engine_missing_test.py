"""engine_missing - no engine library: the program says what is missing and how to get it, serves
what it can, and does not pretend."""

import tempfile
import unittest

from harness import Server, main, run_millrace
from surfaces import SURFACES, chat


class EngineMissing(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.server = Server(ready=None, engine_dir=folder, dummy_delay_ms=0, dummy_text="Hello")
        cls.server.__enter__()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)
        cls.folder = folder
        cls.server.wait_model("llama", state="failed")
        cls.server.wait_ready("dummy")

    def test_the_log_says_what_is_missing_and_how_to_get_it(self):
        line = self.server.wait_log(r"(?m)^millrace: the model 'llama' cannot run: (.*)$")[1]
        self.assertRegex(line, "llama")
        self.assertRegex(line, r"\./run|tools/setup-engine")

    def test_health_is_degraded(self):
        health = self.server.health()
        self.assertEqual(health["status"], "degraded")
        self.assertEqual({model["id"]: model["state"] for model in health["models"]},
                         {"llama": "failed", "dummy": "ready"})
        self.assertTrue(self.server.model("llama")["detail"])
        self.assertEqual(self.server.get("/health/ready").status, 503)
        self.assertEqual(self.server.get("/health/live").status, 200)
        listed = self.server.get("/v1/models").json()["data"]
        self.assertEqual({model["id"]: model["state"] for model in listed}, {"llama": "failed", "dummy": "ready"})

    def test_the_default_model_is_refused_by_a_status_on_every_surface(self):
        for surface in SURFACES:
            with self.subTest(surface.name):
                response = self.server.exchange(surface.request("x", surface.can_stream), surface.method)
                self.assertEqual((response.status, response.error()["code"]), (503, "model_failed"))
                self.assertGreaterEqual(int(response.field("Retry-After")), 1)

    def test_dummy_answers(self):
        for surface in SURFACES:
            with self.subTest(surface.name):
                self.assertEqual(surface.ask(self.server, stream=surface.can_stream, model="dummy").text, "Hello")
        self.assertEqual(chat.ask(self.server, stream=False, model="dummy").text, "Hello")

    def test_a_model_that_was_asked_for_ends_the_start(self):
        """Whoever names a file wants that model, and finds out at once."""
        done = run_millrace("serve", 0, "--model=/nowhere/x.gguf", f"--engine-dir={self.folder}")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, "(?m)^millrace: the model 'llama' cannot be loaded: .")


if __name__ == "__main__":
    main()
