"""lora - LoRA adapters of a model, by request: they change what is said, and nothing that is said beside it; what is
not there is refused by name. On the shipped model, with adapters of random numbers."""

import json
import os
import re
import subprocess
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness import Server, eventually, main
from surfaces import completions

MAKE_MODEL = os.environ.get("MAKE_MODEL")
NANO = Path(__file__).resolve().parent.parent / "models" / "nano.gguf"
PROMPT = "Tell me a story about a fox. " * 3
TOKENS = 16
SETS = [None, [], [{"id": 0, "scale": 1}], [{"name": "second", "scale": 1}], [{"id": 0, "scale": 0.5}],
        [{"id": 0, "scale": 1}, {"id": 1, "scale": 0.5}]]


def make(*args):
    if not MAKE_MODEL:
        raise unittest.SkipTest("MAKE_MODEL is not set: the program tools/models/make_model of the same build")
    made = subprocess.run([MAKE_MODEL, *map(str, args)], capture_output=True, text=True, timeout=60)
    if made.returncode != 0:
        raise unittest.SkipTest(made.stderr)


class Lora(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="millrace-test-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        make("--lora-for", NANO, cls.folder / "first.gguf")
        make("--lora-for", NANO, "--seed", 2, cls.folder / "second.gguf")

    def server(self, adapters):
        lora = [{"path": str(self.folder / f"{adapter['name']}.gguf"), **adapter} for adapter in adapters]
        server = Server(ready=None, llama_slots=4, llama_lora=lora, max_queue_wait_ms=120_000)
        server.__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        server.need_llama()
        return server

    def ask(self, server, lora):
        more = {} if lora is None else {"lora": lora}
        answer = completions.ask(server, stream=False, model="llama", prompt=PROMPT, temperature=0,
                                 max_tokens=TOKENS, ignore_eos=True, **more)
        return answer.text

    def changes(self, server):
        match = re.search(r'^millrace_adapter_changes_total{model="llama"} (\S+)$', server.get("/metrics").text(),
                          re.MULTILINE)
        return float(match[1]) if match else 0

    def refusal(self, server, lora):
        answer = server.post("/v1/completions", {"model": "llama", "prompt": "x", "max_tokens": 1, "lora": lora})
        self.assertEqual(answer.status, 400)
        error = json.loads(answer.body)["error"]
        self.assertEqual(error["param"], "lora")
        return error["message"]

    def test_each_set_says_its_own_alone_and_beside_the_others(self):
        server = self.server([{"name": "first"}, {"name": "second"}])
        alone = [self.ask(server, lora) for lora in SETS]
        self.assertEqual(alone[0], alone[1])
        self.assertEqual(len(set(alone[1:])), len(SETS) - 1)
        with ThreadPoolExecutor(2 * len(SETS)) as pool:
            together = list(pool.map(lambda lora: self.ask(server, lora), 2 * SETS))
        self.assertEqual(together, 2 * alone)
        plain = Server(ready=None, llama_slots=4)
        with plain:
            plain.need_llama()
            self.assertEqual(self.ask(plain, None), alone[0])
        eventually(lambda: self.changes(server) >= len(SETS) - 2, "the changes of sets are counted")

    def test_a_scale_of_the_configuration_is_for_who_says_nothing(self):
        server = self.server([{"name": "first", "scale": 1}, {"name": "second"}])
        self.assertEqual(self.ask(server, None), self.ask(server, [{"name": "first"}]))
        self.assertNotEqual(self.ask(server, None), self.ask(server, []))

    def test_models_list_them_and_others_are_refused_by_name(self):
        server = self.server([{"name": "first"}, {"name": "second", "scale": 0.5}])
        models = {model["id"]: model for model in json.loads(server.get("/v1/models").body)["data"]}
        self.assertEqual(models["llama"]["adapters"], [{"id": 0, "name": "first", "scale": 0},
                                                       {"id": 1, "name": "second", "scale": 0.5}])
        self.assertNotIn("adapters", models["dummy"])
        self.assertEqual(self.refusal(server, [{"name": "third"}]),
                         "the model has no adapter third: it has 0 'first', 1 'second'")
        self.assertEqual(self.refusal(server, [{"id": 2}]),
                         "the model has no adapter 2: it has 0 'first', 1 'second'")
        self.assertEqual(self.refusal(server, [{"id": 0}, {"name": "first"}]), "the adapter 'first' is named twice")
        self.assertEqual(self.refusal(server, [{"id": 0, "scale": 101}]),
                         "lora[0] has a scale that is not a number in -100..100")
        answer = server.post("/v1/completions", {"model": "dummy", "prompt": "x", "lora": [{"id": 0}]})
        self.assertEqual(answer.status, 400)
        self.assertIn("it has none", json.loads(answer.body)["error"]["message"])
        answer = server.post("/v1/embeddings", {"model": "llama", "input": "x", "lora": [{"id": 0}]})
        error = json.loads(answer.body)["error"]
        self.assertEqual((answer.status, error["code"], error["param"]), (400, "unsupported_parameter", "lora"))

    def check_cannot_be_loaded(self, name, why):
        lora = [{"name": "bad", "path": str(self.folder / name)}]
        with Server(ready=None, llama_slots=1, llama_lora=lora) as server:
            server.expected_exit = 1
            eventually(lambda: server.process.poll() is not None, "refused")
            said = re.search(r"millrace: the model 'llama' cannot be loaded: (.*)", server.log())[1]
            self.assertIn(f"the adapter 'bad' ({self.folder / name}) cannot be used: ", said)
            self.assertIn(why, said)

    def test_a_file_that_is_no_adapter_for_the_model_ends_the_load_with_its_name(self):
        with Server(ready=None, llama_slots=1) as server:
            server.need_llama()  # or the test is skipped
        (self.folder / "cut.gguf").write_bytes((self.folder / "first.gguf").read_bytes()[:-5000])
        make("--kind", "llama", self.folder / "tiny.gguf")
        make("--lora-for", self.folder / "tiny.gguf", self.folder / "other.gguf")
        self.check_cannot_be_loaded("cut.gguf", "it is cut off")
        self.check_cannot_be_loaded("other.gguf", "is it for another model?")
        self.check_cannot_be_loaded("tiny.gguf", "its general.type is model")
        self.check_cannot_be_loaded("nowhere.gguf", "No such file or directory")


if __name__ == "__main__":
    main()
