"""guard - who else is on the machine: other users at the bus socket, folders that cannot be used or have
long names, what a killed one left behind, garbage on the socket."""

import json
import os
import socket
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import harness
from harness import WAIT_S, Server, check_stderr, environment, main, run_millrace
from surfaces import infer

NOBODY = 65534
IS_ROOT = os.geteuid() == 0
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


def bus_folder(server):
    return Path(json.loads((server.folder / "state" / "millrace" / "instance.json").read_text())["bus"])


# Messages of the bus (src/bus/bus_envelope.h): a length, then version, kind and the rest of an envelope's head.
HELLO = bytes([32, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1]) + bytes(23)
WELCOME = bytes([32, 0, 0, 0, 1, 2])


def greeting(path, as_nobody=False):
    """The first bytes that the bus socket says to who says HELLO; b"": it hangs up; None: may not connect."""
    script = ("import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.settimeout(20)\n"
              "try:\n s.connect(sys.argv[1])\nexcept PermissionError:\n sys.exit(3)\n"
              "try:\n s.sendall(bytes.fromhex(sys.argv[2]))\n sys.stdout.buffer.write(s.recv(6))\n"
              "except (BrokenPipeError, ConnectionResetError):\n pass\n")
    done = subprocess.run([*(AS_NOBODY if as_nobody else ()), "python3", "-c", script, str(path), HELLO.hex()],
                          capture_output=True, timeout=WAIT_S, cwd="/")
    if done.returncode == 3:
        return None
    if done.returncode != 0:
        raise harness.Failure(done.stderr.decode())
    return done.stdout


def serve_as_nobody(folder, *args, **more):
    """`millrace serve`, which must end by itself, as another user."""
    env = environment(Path(folder), more)
    done = subprocess.run([*AS_NOBODY, harness.MILLRACE, "serve", "--http-port=0", "--default-model=dummy", *args],
                          env=env, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WAIT_S)
    check_stderr(done.stderr)
    return done


@unittest.skipUnless(IS_ROOT, "only root can become another user")
class OtherUsers(unittest.TestCase):
    def test_another_user_cannot_reach_the_bus(self):
        with Server(solo=False) as server:
            folder = bus_folder(server)
            self.assertEqual(folder.stat().st_mode & 0o777, 0o700)
            self.assertEqual(folder.parent.stat().st_mode & 0o777, 0o700)
            self.assertIsNone(greeting(folder / "bus", as_nobody=True))

    def test_another_user_is_refused_even_where_the_folders_are_open(self):
        with Server(solo=False) as server:
            folder = bus_folder(server)
            for path, mode in ((server.folder, 0o755), (folder.parent, 0o755), (folder, 0o755), (folder / "bus", 0o777)):
                path.chmod(mode)
            for _ in range(20):
                self.assertEqual(greeting(folder / "bus", as_nobody=True), b"")
            self.assertEqual(greeting(folder / "bus"), WELCOME)
            self.assertEqual(infer.ask(server).error, None)

    def test_a_folder_without_permission_is_named_with_what_to_do(self):
        with tempfile.TemporaryDirectory(prefix="millrace-test-") as folder:
            Path(folder).chmod(0o755)
            done = serve_as_nobody(folder)
            self.assertEqual((done.returncode, done.stdout), (1, ""), done)
            self.assertIn(f"cannot make the folder {folder}/state: Permission denied; state_dir names another", done.stderr)
            state = Path(folder) / "state"
            state.mkdir()
            os.chown(state, NOBODY, NOBODY)
            done = serve_as_nobody(folder)
            self.assertEqual((done.returncode, done.stdout), (1, ""), done)
            self.assertIn(f"cannot make the folder {folder}/millrace: Permission denied; XDG_RUNTIME_DIR", done.stderr)
            (Path(folder) / "millrace").mkdir(0o700)  # somebody else's
            done = serve_as_nobody(folder)
            self.assertEqual((done.returncode, done.stdout), (1, ""), done)
            self.assertIn(f"{folder}/millrace must be a folder of this user with mode 0700", done.stderr)


class Folders(unittest.TestCase):
    def test_no_runtime_folder_is_set(self):
        """The folder is then /tmp/millrace-UID, which only its user may enter."""
        with Server(env={"XDG_RUNTIME_DIR": ""}, solo=False) as server:
            folder = bus_folder(server)
            self.assertEqual(str(folder.parent), f"/tmp/millrace-{os.getuid()}")
            self.assertEqual(folder.stat().st_mode & 0o777, 0o700)
            self.assertEqual(infer.ask(server).error, None)
        self.assertFalse(folder.exists())

    def test_a_name_that_is_too_long_for_a_socket_is_gone_round(self):
        with tempfile.TemporaryDirectory(prefix="millrace-test-") as scratch:
            long = Path(scratch) / ("long" * 40)
            long.mkdir()
            with Server(runtime_dir=long, solo=False) as server:
                folder = bus_folder(server)
                self.assertRegex(str(folder), "^/tmp/millrace-bus-")
                self.assertEqual(infer.ask(server).error, None)
            self.assertFalse(folder.exists())

    def test_a_name_that_is_too_long_altogether_is_refused(self):
        for args, words in ((["--state-dir=/" + "x" * 4095], "state_dir"),
                            (["--bus-url=ipc:///" + "x" * 200], "bus_url"),
                            (["--bus-url=ipc:///proc/millrace/bus"], "/proc/millrace/bus")):
            done = run_millrace("serve", "0", "--default-model=dummy", *args)
            with self.subTest(args):
                self.assertIn(done.returncode, (1, 2))
                self.assertEqual(done.stdout, "")
                self.assertIn(words, done.stderr.splitlines()[-1])

    def test_what_a_killed_one_left_is_used_or_swept(self):
        with Server(solo=False) as server:
            folder, runtime = bus_folder(server), server.folder / "millrace"
            instance = server.folder / "state" / "millrace" / "instance.json"
            server.process.kill()
            server.process.wait()
            self.assertTrue(instance.exists())  # nobody was there to remove it
            done = run_millrace("ps", home=server.folder)
            self.assertEqual((done.returncode, done.stdout), (1, ""), done)
            server.restart()
            self.assertEqual(bus_folder(server), folder)
            self.assertEqual(infer.ask(server).error, None)
            server.signal()
            self.assertEqual(server.wait_exit(), 0)
            self.assertFalse(instance.exists())
            self.assertFalse(folder.exists())
            self.assertEqual([path.name for path in runtime.iterdir() if path.suffix != ".lock"], [])
            self.assertEqual(sorted(path.name for path in instance.parent.iterdir()), ["lock"])

    def test_a_notify_socket_without_a_file(self):
        """An abstract name, as systemd gives it in some containers."""
        name = f"millrace-test-{os.getpid()}-{time.monotonic_ns()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind("\0" + name)
            notify.settimeout(WAIT_S)
            with Server(env={"NOTIFY_SOCKET": "@" + name}, solo=False):
                self.assertRegex(notify.recv(4096).decode(), "^READY=1\n")
        for bad in ("relative", "/no/such/socket", "@"):
            with self.subTest(bad), Server(env={"NOTIFY_SOCKET": bad}, solo=False) as server:
                server.wait_log("level=warn event=notify_refused")


class Garbage(unittest.TestCase):
    def test_bytes_that_are_no_bus_harm_nobody(self):
        """From a process of the same user, which may connect."""
        with Server(dummy_delay_ms=20, dummy_tokens=50, solo=False) as server:
            path, random = str(bus_folder(server) / "bus"), harness.seeded_random()
            with server.connect() as connection:
                connection.send(infer.request("x", True))
                kept = []
                for round_ in range(200):
                    stranger = socket.socket(socket.AF_UNIX)
                    stranger.connect(path)
                    try:
                        # A HELLO, cut or whole, and what must not come after it; or no HELLO.
                        cut = HELLO[:round_] if round_ < len(HELLO) else HELLO
                        stranger.send(random.randbytes(64) if len(HELLO) < round_ < 100 else cut)
                        stranger.send(random.randbytes(random.randrange(1, 5000)))
                    except (BrokenPipeError, ConnectionResetError):
                        pass  # it has seen enough
                    kept.append(stranger) if round_ % 2 else stranger.close()
                answer = infer.read(connection.response("POST"), True)
                self.assertEqual((len(answer.text.split()), answer.error), (50, None))
                for stranger in kept:
                    stranger.close()
            self.assertEqual(infer.ask(server, max_tokens=2).error, None)
            self.assertNotIn("event=role_ended", server.log())


if __name__ == "__main__":
    main()
