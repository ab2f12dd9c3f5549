"""cpus - llama_cpus: the engine computes on those processors alone, the rest of its worker where it likes, and what
cannot be had is said at the start."""

import os
import unittest

from harness import Server, main, run_millrace
from roles import role_pid
from surfaces import completions

OURS = sorted(os.sched_getaffinity(0))


def affinities(pid):
    """Of each thread of a process."""
    return [sorted(os.sched_getaffinity(int(thread))) for thread in os.listdir(f"/proc/{pid}/task")]


class Cpus(unittest.TestCase):
    def serve(self, **keys):
        return Server("--llama-slots=1", ready=None, **keys)

    @unittest.skipIf(len(OURS) < 2, "there is one processor only")
    def test_the_engine_stays_on_them_and_nothing_else_does(self):
        # With a thread for the disk, which the engine's starts.
        with self.serve(llama_cpus=str(OURS[-1]), llama_n_threads=2, prefix_disk_bytes=1 << 20) as server:
            server.need_llama()
            self.assertTrue(completions.ask(server, "Once", model="llama", max_tokens=3, ignore_eos=True).text)
            threads = affinities(role_pid(server, "worker", "llama"))
            self.assertEqual(threads.count([OURS[-1]]), 2)
            self.assertEqual(threads.count(OURS), len(threads) - 2)
            server.wait_log("level=warn .*event=threads_above_cpus llama_n_threads=2 llama_cpus=1")

    def test_there_are_no_more_threads_than_processors(self):
        with self.serve(llama_cpus=str(OURS[0])) as server:
            server.need_llama()
            server.wait_log("event=model_memory .* threads=1")

    def test_one_that_is_not_ours_is_named_with_those_that_are(self):
        with self.serve() as server:
            server.need_llama()
        done = run_millrace("serve", 0, "--llama-cpus=1023")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"(?m)^millrace: the model 'llama' cannot be loaded: llama_cpus is 1023, "
                                      r"and this process may use [0-9,-]+ only")


if __name__ == "__main__":
    main()
