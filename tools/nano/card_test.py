"""card_test - the card of the shipped model (models/README.md) speaks of the file that lies beside it: its digest, its
size, and every gate that it is known not to meet (models/gates.txt) with the score recorded there."""

import hashlib
import re
import unittest
from pathlib import Path

MODELS = Path(__file__).resolve().parents[2] / "models"
CARD = (MODELS / "README.md").read_text()
MODEL = (MODELS / "nano.gguf").read_bytes()


def row(name):
    """The second column of the card's row of that name."""
    match = re.search(rf"^\| {re.escape(name)} \| `?([^|`]+?)`? \|", CARD, re.MULTILINE)
    return match and match[1]


def recorded():
    """{gate: percent} of gates.txt."""
    lines = (line.partition("#")[0].split() for line in (MODELS / "gates.txt").read_text().splitlines())
    return {words[0]: words[1] for words in lines if words}


class Card(unittest.TestCase):
    def test_the_digest_is_the_files(self):
        self.assertEqual(row("SHA-256"), hashlib.sha256(MODEL).hexdigest())

    def test_the_size_is_the_files(self):
        self.assertEqual(row("size"), f"{len(MODEL):,} bytes")

    def test_every_recorded_score_is_told(self):
        for gate, percent in recorded().items():
            with self.subTest(gate):
                self.assertEqual(row(f"`{gate}`"), percent)


if __name__ == "__main__":
    unittest.main()
