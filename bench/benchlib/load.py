"""load - runs bench/load, and gives what it printed: one JSON object. It checks every stream itself."""

import json
import subprocess
from pathlib import Path

RUN_S = 300  # no single run takes a tenth of it
SAID_MAX = 2000


class LoadFailed(Exception):
    """A stream was wrong, or the run could not be made."""


def spawn(arguments):
    """A program of ours that prints one JSON object; Load.finish() takes it."""
    return subprocess.Popen(list(map(str, arguments)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


class Load:
    """The program, and what every run of it has in common. `counts_cpu`: it looks at the server's processes,
    and all of them must live as long as the run."""

    def __init__(self, program, counts_cpu=True):
        self.program = Path(program).resolve()
        self.counts_cpu = counts_cpu

    def arguments(self, mode, server, options):
        given = [str(self.program), mode, "--url", server.url]
        if self.counts_cpu:
            given += ["--pid", str(server.pid)]
        for name, value in options.items():
            given += ["--" + name.replace("_", "-")] + ([] if value is True else [str(value)])
        return given

    def start(self, mode, server, **options):
        """It runs beside what follows; hand it to finish()."""
        return spawn(self.arguments(mode, server, options))

    def finish(self, process, allowed_s=RUN_S):
        try:
            out, err = process.communicate(timeout=allowed_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise LoadFailed(f"{' '.join(process.args)} runs for more than {allowed_s} s") from None
        if process.returncode != 0:
            raise LoadFailed(f"{' '.join(process.args)} ended with {process.returncode}:\n{(err + out)[-SAID_MAX:]}")
        try:
            return json.loads(out)
        except json.JSONDecodeError as error:
            raise LoadFailed(f"{' '.join(process.args)} printed no JSON ({error}): {out[:SAID_MAX]}") from None

    def run(self, mode, server, **options):
        return self.finish(self.start(mode, server, **options))

    def stop(self, process):
        """Ends one that would go on; what it has to say is not asked for."""
        process.terminate()
        try:
            process.communicate(timeout=RUN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
