"""self_test - an idle model finds out whether its answers depend on what else runs, /v1/models says it, and the next
start knows it at once."""

import unittest

from harness import Server, eventually, main
from metrics_page import scrape

SMALL = {"llama_slots": 2, "llama_n_ctx": 256}  # fewer ways to try: the shipped model is as exact with more


class SelfTest(unittest.TestCase):
    def server(self, **keys):
        server = Server(ready=None, **SMALL, **keys)
        server.__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        server.need_llama()
        return server

    def numerics(self, server):
        return server.get("/v1/models/llama").json()["numerics"]

    def result(self, server):
        """As one thread of the gateway says it: another may not have heard of it yet."""
        def known():
            numerics = self.numerics(server)
            return numerics if numerics["determinism"] != "unknown" else None

        return eventually(known, "the self-test is over")

    def counted(self, server):
        """{word: nodes}; nothing before somebody has told it."""
        family = scrape(server).families.get("millrace_numerics_nodes")
        if not family:
            return {}
        self.assertEqual({labels["model"] for _, labels, _ in family.samples}, {"llama"})
        return {labels["determinism"]: number for _, labels, number in family.samples}

    def again(self, server):
        server.signal()
        self.assertEqual(server.wait_exit(), 0)
        server.restart()
        server.need_llama()

    def file(self, server):
        """Written behind the scenes, so a moment after the result is told."""
        folder = server.folder / "state" / "millrace"
        return eventually(lambda: next(folder.glob("self-test-*.json"), None), "the file is written")

    def test_the_result_is_kept_for_the_next_start(self):
        server = self.server()
        first = self.result(server)
        self.assertEqual((first["profile"], first["determinism"], first["width_max"]), ("exact", "exact", 2))
        self.assertRegex(first["fingerprint"], "^[0-9a-f]{32}$")
        server.wait_log("event=self_test model=llama determinism=exact .* was=measured")
        self.assertNotIn("numerics", server.get("/v1/models/dummy").json())
        eventually(lambda: self.counted(server) == {"exact": 1, "compatible": 0, "unknown": 0}, "it is a metric")
        self.again(server)
        self.assertEqual(self.result(server), first)
        server.wait_log("event=self_test model=llama determinism=exact .* was=kept")

    def test_a_damaged_file_costs_a_warning_and_another_test(self):
        server = self.server()
        first = self.result(server)
        eventually(lambda: self.file(server).stat().st_size > 0, "the file is written")
        text = self.file(server).read_bytes()
        self.file(server).write_bytes(text[:len(text) // 2])
        self.again(server)
        server.wait_log("event=self_test_file_ignored")
        self.assertEqual(self.result(server), first)
        eventually(lambda: len(self.file(server).read_bytes()) > len(text) // 2, "it is whole again")

    def test_each_worker_of_a_model_is_counted(self):
        server = self.server(llama_workers=2, solo=False)
        eventually(lambda: self.counted(server) == {"exact": 2, "compatible": 0, "unknown": 0}, "both are exact")

    def quoted(self, server):
        body = {"model": "llama", "max_tokens": 60, "temperature": 0, "messages": [
            {"role": "user", "content": "Repeat after me: " + "bina toru kel dovi " * 3}]}
        return server.post("/v1/chat/completions", body).json()["choices"][0]["message"]["content"]

    def test_profile_fast_promises_nothing_beside_others_and_drafts_what_was_tested(self):
        server = self.server(engine_profile="fast")
        numerics = self.result(server)
        self.assertEqual((numerics["profile"], numerics["determinism"], numerics["width_max"]), ("fast", "compatible", 0))
        server.wait_log("event=self_test model=llama .* draft_rows_exact_max=[1-9] ")
        without = self.server(engine_profile="fast", draft_tokens=0)
        self.result(without)
        without.wait_log("event=self_test model=llama .* draft_rows_exact_max=1 ")
        text = self.quoted(without)
        self.assertIn("bina toru kel dovi", text)
        self.assertEqual([self.quoted(server) for _ in range(3)], [text] * 3)

    def test_without_a_self_test_nothing_is_known(self):
        server = self.server(self_test_ms=0)
        self.assertEqual(self.numerics(server), {"profile": "exact", "determinism": "unknown", "width_max": 0,
                                                 "fingerprint": None})


if __name__ == "__main__":
    main()
