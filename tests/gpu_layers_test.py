"""gpu_layers - layers are asked to be on a GPU where there is none: the model is not served, whoever started it reads why,
and nothing is done by the processor instead."""

import json
import unittest
from pathlib import Path

from harness import Server, eventually, main, run_millrace
from surfaces import completions

NANO = Path(__file__).resolve().parent.parent / "models" / "nano.gguf"
WHY = r"1 layers are to be on a GPU \(llama_n_gpu_layers\), and libllama finds none: set it to 0, or MILLRACE_ENGINE_DIR"
READY = "event=model_ready model=llama"


def gpus():
    """What drivers show of them."""
    return [str(path) for pattern in ("nvidia[0-9]*", "kfd", "dri/renderD*", "dxg") for path in Path("/dev").glob(pattern)]


def is_gpu_used():
    """Libllama has a back-end for it. Asked only where there is one: else the processor did it."""
    with Server(ready=None, llama_n_gpu_layers=1) as server:
        if READY in server.wait_log(f"{READY}|the model 'llama' cannot be loaded")[0]:
            return True
        server.expected_exit = server.wait_exit()
    return False


class GpuLayers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """Without layers on a GPU the model serves: it is for them that it does not."""
        cls.server = Server(ready=None, solo=False)
        cls.server.__enter__()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)
        cls.server.need_llama()
        if gpus() and is_gpu_used():
            raise unittest.SkipTest(f"there is a GPU for libllama: {' '.join(gpus())}")

    def check_refused(self, done):
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, rf"(?m)^millrace: the model 'llama' cannot be loaded: {WHY}")
        self.assertRegex(done.stderr, rf"level=error .*event=model_failed model=llama .*{WHY}")
        self.assertNotIn(READY, done.stderr)

    def test_a_service_does_not_start(self):
        """Nobody should find out by its 503s."""
        for args in ((), (f"--model={NANO}",), ("--llama-workers=2",), ("--solo",)):
            with self.subTest(args):
                self.check_refused(run_millrace("serve", 0, "--llama-n-gpu-layers=1", *args))

    def test_a_worker_does_not_join_those_that_serve(self):
        bus = json.loads((self.server.folder / "state" / "millrace" / "instance.json").read_text())["bus"]
        self.check_refused(run_millrace("worker", "llama", f"--bus-url=ipc://{bus}", "--llama-n-gpu-layers=1"))
        eventually(lambda: self.server.log().count("event=node_gone") == 1, "the manager has seen it come and go")
        self.server.wait_model("llama", state="ready", workers=1)
        self.assertEqual(self.server.log().count(READY), 1)
        self.assertTrue(completions.ask(self.server, "Once", model="llama", max_tokens=3, ignore_eos=True).text)


if __name__ == "__main__":
    main()
