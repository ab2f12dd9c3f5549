"""model_files - GGUF files that are not what they say: missing, cut, garbage, lying. The process may
refuse them, with a sentence and a status; it never hangs, crashes or serves nonsense."""

import os
import re
import struct
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness import Server, eventually, main, seeded_random
from surfaces import completions

ROOT = Path(__file__).resolve().parent.parent
NANO = ROOT / "models" / "nano.gguf"
U32, U64, STRING, ARRAY = 4, 10, 8, 9
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


class Walker:
    """Where each number of a GGUF file's head is (ggml/docs/gguf.md): name -> (offset, format)."""

    def __init__(self, data):
        self.data, self.at, self.places = data, 4, {}
        self.number("version", "<I")
        tensors = self.number("tensor count", "<Q")
        pairs = self.number("metadata count", "<Q")
        for index in range(pairs):
            self.pair(index)
        for index in range(tensors):
            self.tensor(index)
        self.head_bytes = self.at

    def number(self, name, form):
        self.places.setdefault(name, (self.at, form))
        (value,) = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return value

    def string(self, name):
        length = self.number(name + " length", "<Q")
        self.at += length
        return self.data[self.at - length:self.at].decode()

    def pair(self, index):
        key = self.string(f"key {min(index, 1)}")
        self.value(key, self.number(f"type of {key}", "<I"))

    def value(self, key, kind):
        if kind == STRING:
            self.string(key)
        elif kind == ARRAY:
            kind, count = self.number(f"element type of {key}", "<I"), self.number(f"count of {key}", "<Q")
            for _ in range(count):
                self.value(f"element of {key}", kind)
        else:
            self.places.setdefault(key, (self.at, {1: "<B", 2: "<H", 4: "<I", 8: "<Q"}[SIZES[kind]]))
            self.at += SIZES[kind]

    def tensor(self, index):
        name = f"tensor {min(index, 1)}"
        self.string(name)
        for _ in range(self.number(name + " dimensions", "<I")):
            self.number(name + " size", "<Q")
        self.number(name + " type", "<I")
        self.number(name + " offset", "<Q")


def lie(data, place, value):
    offset, form = place
    size = struct.calcsize(form)
    return data[:offset] + (value % 256**size).to_bytes(size, "little") + data[offset + size:]


class ModelFiles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.whole = NANO.read_bytes()
        cls.head = Walker(cls.whole)

    def outcome(self, path):
        """"refused" with a sentence and status 1, or "served": a whole answer, if only an error, and a clean end."""
        server = Server(f"--model={path}", "--llama-slots=1", "--llama-n-ctx=64", ready=None)
        try:
            with server:
                eventually(lambda: server.process.poll() is not None or "event=model_ready model=llama" in server.log(),
                           "refused or ready")
                if server.process.poll() is None:
                    server.wait_ready("llama")
                    server.post("/v1/completions", {"prompt": "Once", "max_tokens": 2})  # whatever the weights say
                    return "served"
                server.expected_exit = 1
                line = server.log().strip().splitlines()[-1]
                refusals = [line for line in server.log().splitlines()
                            if re.fullmatch("millrace: the model 'llama' cannot be loaded: .{20}.*", line)]
                return "refused" if refusals else f"ended without a sentence: {line}"
        except AssertionError as failure:
            return f"failed: {failure}"

    def check(self, files, *allowed):
        """[(name, bytes)]: what becomes of each, two at a time."""
        paths = []
        for number, (_, data) in enumerate(files):
            paths.append(self.folder / f"{number}.gguf")
            paths[-1].write_bytes(data)
        with ThreadPoolExecutor(2) as pool:
            for (name, _), outcome in zip(files, pool.map(self.outcome, paths)):
                with self.subTest(name):
                    self.assertIn(outcome, allowed)
        for path in paths:
            path.unlink()

    def test_missing_and_not_a_file(self):
        fifo = self.folder / "fifo"
        os.mkfifo(fifo)
        for path in ("/nowhere/model.gguf", self.folder, fifo, "/dev/null", "/dev/zero", "/dev/full",
                     self.folder / ("x" * 300), "/proc/self/mem", __file__):
            with self.subTest(path):
                self.assertEqual(self.outcome(path), "refused")

    def test_truncated_at_many_lengths(self):
        head, size = self.head.head_bytes, len(self.whole)
        lengths = sorted({0, 1, 3, 4, 5, 8, 16, 23, 24, 25, 64, *(head * n // 8 for n in range(1, 8)), head - 1, head,
                          head + 1, head + 31, *(head + (size - head) * n // 8 for n in range(1, 8)), size - 1})
        self.check([(f"{length} bytes", self.whole[:length]) for length in lengths], "refused")

    def test_garbage(self):
        random = seeded_random()
        noise = random.randbytes(100_000)
        self.check([("noise", noise), ("magic and noise", b"GGUF" + noise),
                    ("version 3 and noise", b"GGUF\3\0\0\0" + noise), ("zeros", bytes(100_000)),
                    ("text", b"model\n" * 1000),
                    ("a noisy head", self.whole[:64] + noise + self.whole[100_064:]),
                    ("big-endian", b"FUGG" + self.whole[4:]), ("an old version", b"GGML" + self.whole[4:])],
                   "refused")

    def test_lying_headers(self):
        """Each number that frames the file, set to what cannot be."""
        framing = [name for name in self.head.places
                   if name.endswith((" length", " count", " dimensions", " size", " offset", " type")) or
                   name.startswith(("type of", "element type of", "count of")) or
                   name in ("version", "general.alignment")]
        files = []
        for name in framing:
            offset, form = self.head.places[name]
            (true,) = struct.unpack_from(form, self.whole, offset)
            lies = {"version": [0, 2**31], "general.alignment": [0, 3]}.get(name, [2**64 - 1, 2**62, true + 1])
            if len(files) > 45:  # of the long tail one each
                lies = lies[:1]
            files += [(f"{name}: {true} -> {value}", lie(self.whole, self.head.places[name], value)) for value in lies]
        self.assertGreater(len(files), 30)
        self.check(files, "refused")

    def test_geometry_that_does_not_fit_its_tensors(self):
        """Well-formed, but the numbers do not describe these weights: no crash, no hang."""
        files = []
        for key in self.head.places:
            if " " not in key and key.startswith(("llama.", "tokenizer.")):
                for value in (0, 1, 2**31 - 1, 2**32 - 1):
                    files.append((f"{key} -> {value}", lie(self.whole, self.head.places[key], value)))
        self.assertGreater(len(files), 30)
        self.check(files, "refused", "served")

    def test_after_all_that_the_true_one_is_loaded(self):
        with Server("--llama-slots=1", ready=None) as server:
            server.need_llama()
            self.assertTrue(completions.ask(server, "Once", stream=False, max_tokens=3, ignore_eos=True).text)

    def test_a_broken_file_does_not_touch_who_serves_dummy_alone(self):
        broken = self.folder / "broken.gguf"
        broken.write_bytes(b"GGUF")
        with Server(f"--model={broken}") as server:  # default_model dummy: no weights are asked for
            self.assertEqual(completions.ask(server).finish, "stop")


if __name__ == "__main__":
    main()
