"""config - the program's own words about its configuration: check, show, doc, help; what wins over
what; and a wrong value ends it with 2 and a sentence that names key, value and range."""

import hashlib
import json
import os
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path

import harness
from harness import Server, main, run_millrace
from http_client import Connection, ProtocolError, request
from port_test import free_port
from roles import role_pid
from surfaces import infer

ROOT = Path(__file__).resolve().parent.parent


class Config(unittest.TestCase):
    def run_in(self, files, *args, **options):
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                (Path(folder) / name).write_text(content if isinstance(content, str) else json.dumps(content))
            return run_millrace(*args, folder=folder, **options)

    def refused(self, *sentence, files=None, args=(), env=None):
        for command in (("config", "check"), ("config", "show"), ("serve",)):
            done = self.run_in(files or {}, *command, *args, env=env)
            with self.subTest(command=command, sentence=sentence):
                self.assertEqual((done.returncode, done.stdout), (2, ""), done)
                self.assertTrue(done.stderr.startswith("millrace: "), done.stderr)
                for word in sentence:
                    self.assertIn(word, done.stderr)

    def shown(self, key, files=None, args=(), env=None):
        """(value, where from) of one key."""
        done = self.run_in(files or {}, "config", "show", *args, env=env)
        self.assertEqual(done.returncode, 0, done)
        (line,) = [line for line in done.stdout.splitlines() if line.split(" = ")[0].strip() == key]
        value, origin = line.split(" = ", 1)[1].rsplit("(", 1)
        return value.strip(), origin.rstrip(")")

    def test_check(self):
        done = self.run_in({"config.json": {"http_port": 1}}, "config", "check")
        self.assertEqual((done.returncode, done.stdout), (0, "config is fine: config.json\n"))
        self.assertEqual(run_millrace("config", "check").stdout, "config is fine\n")

    def test_the_doc_is_the_table_of_docs(self):
        table = run_millrace("config", "doc").stdout
        self.assertIn("| `http_port` |", table)
        self.assertIn(table, (ROOT / "docs" / "config.md").read_text())

    def test_which_source_wins(self):
        file, env, args = {"config.json": {"http_port": 1}}, {"HTTP_PORT": "2"}, ["--http-port", "3"]
        self.assertEqual(self.shown("http_port"), ("8080", "default"))
        for given, expected in (({"files": file}, "1"), ({"files": file, "env": env}, "2"),
                                ({"files": file, "env": env, "args": args}, "3"), ({"args": ["4"]}, "4"),
                                ({"args": ["--port=5"]}, "5")):
            self.assertEqual(self.shown("http_port", **given)[0], expected)
        self.assertIn("environment", self.shown("http_port", env=env)[1])
        self.assertIn("command line", self.shown("http_port", args=args)[1])
        self.assertEqual(self.shown("http_port", files=file)[1], "config file")

    def test_two_sources_that_differ_are_told_at_the_start(self):
        with Server("--ping-ms", "200", env={"PING_MS": "300"}, ping_ms=400) as server:
            lines = [line for line in server.log().splitlines() if "ping_ms" in line]
            self.assertEqual(lines, ["ping_ms is 200 from the command line; the config file says 400",
                                     "ping_ms is 200 from the command line; the environment says 300"])

    def test_where_the_file_is(self):
        named = {"other.json": {"http_port": 7}, "config.json": {"http_port": 8}}
        self.assertEqual(self.shown("http_port", files=named)[0], "8")
        self.assertEqual(self.shown("http_port", files=named, env={"CONFIG_PATH": "other.json"})[0], "7")
        self.assertEqual(self.shown("http_port", files=named, args=["--config", "other.json"],
                                    env={"CONFIG_PATH": "config.json"})[0], "7")
        self.refused("nowhere.json", args=["--config=nowhere.json"])

    def test_an_empty_variable_counts_as_not_set(self):
        self.assertEqual(self.shown("http_port", env={"HTTP_PORT": ""}), ("8080", "default"))

    def test_wrong_values(self):
        for key, value, words in (
                ("http_port", "65536", ["0..65535"]), ("http_port", "-1", ["0..65535"]), ("http_port", "x", []),
                ("http_port", "80 ", []), ("dummy_tokens", "0", ["1..65536"]), ("log_level", "loud", ["info"]),
                ("allow_no_keys", "maybe", ["true"]), ("body_max_bytes", "1", ["1024.."]),
                ("body_max_bytes", "8MiBs", []), ("kv_memory", "99T", ["0.."]),
                ("engine_profile", "faster", ["exact", "fast"]), ("stall_ms", "99", ["100.."]),
                ("llama_cpus", "0-3,x", ["'x' is neither a CPU", "allowed is empty, or CPUs as in 0-3,8"]),
                ("default_model", "x" * 129, ["1..128"])):
            option = "--" + key.replace("_", "-")
            self.refused(key, value[:60], *words, "command line", args=[f"{option}={value}"])
            if value.lstrip("-").isdigit():  # in a file numbers are numbers
                self.refused(key, value, *words, "config file", files={"config.json": f'{{"{key}": {value}}}'})
            else:
                self.refused("config.json", key, files={"config.json": {key: value}})
            if not key.startswith("kv"):
                self.refused(key, value[:60], *words, "environment", env={key.upper(): value})

    def test_wrong_files(self):
        for content, word in (("", ""), ("{", ""), ("[]", "object"), ('{"http_prot": 1}', "http_prot"),
                              ('{"http_port": []}', "http_port"), ('{"http_port": 1, "http_port": 2}', ""),
                              ('{"http_port": true}', "http_port"), ('{"http_port": 1.5}', "http_port"),
                              ('{"http_port": null}', "http_port"), ('{"log_level": 1}', "log_level"),
                              ("\xff", ""), ("[" * 100_000, "")):
            self.refused("config.json", word, files={"config.json": content})

    def test_wrong_options(self):
        for args in (["--nonsense"], ["--nonsense=1"], ["80", "81"], ["--http-port"], ["--", "-1"]):
            done = run_millrace("config", "check", *args)
            with self.subTest(args):
                self.assertEqual((done.returncode, done.stdout), (2, ""), done)
                self.assertTrue(done.stderr.startswith("millrace: "), done.stderr)

    def test_sizes_have_units(self):
        for value, expected in (("64KiB", 65536), ("64K", 65536), ("1M", 2**20), ("65536", 65536)):
            with Server(f"--body-max-bytes={value}") as server:
                head = f"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: {expected + 1}\r\n\r\n"
                self.assertEqual(server.exchange(head.encode()).status, 413)
        self.assertEqual(self.shown("body_max_bytes", args=["--body-max-bytes", "64KiB"])[1], "command line")

    def test_every_key_is_shown(self):
        keys = [line.split("`")[1] for line in run_millrace("config", "doc").stdout.splitlines()
                if line.startswith("| `")]
        shown = [line.split(" = ")[0].strip() for line in run_millrace("config", "show").stdout.splitlines()]
        self.assertGreater(len(keys), 30)
        self.assertEqual(keys, [key for key in shown if key in keys])

    def test_mistakes_in_keys_name_the_entry(self):
        good = {"name": "a", "sha256": "a" * 64}
        for keys, words in (
                ([good, {"name": "b", "sha256": "b" * 63}], "keys[1].sha256 must be 64 hex digits"),
                ([good, {**good, "name": "b"}], "keys[1].sha256 is the same as keys[0].sha256"),
                ([good, {**good, "sha256": "b" * 64}], "keys[1].name is the same as keys[0].name"),
                ([{**good, "weight": 0}], "keys[0].weight must be a whole number in 1..1000"),
                ([{**good, "key": "mr-secret"}], "keys[0]: unknown member 'key'"), ("mr-secret", "keys must be a list")):
            self.refused("config.json", words, files={"config.json": {"keys": keys}})

    def test_keys_are_shown_without_their_digests(self):
        value, origin = self.shown("keys", files={"config.json": {"keys": [{"name": "alice", "sha256": "a" * 64}]}})
        self.assertEqual(json.loads(value), [{"name": "alice", "sha256": "(masked)", "tenant": "alice", "weight": 1}])
        self.assertEqual(origin, "config file")

    def test_key_new(self):
        """The key once, and an entry that the configuration takes."""
        made = [run_millrace("key", "new", "--name", "alice", "--tenant=team", "--weight", "3") for _ in range(2)]
        secrets = set()
        for done in made:
            self.assertEqual(done.returncode, 0, done)
            secret, entry = done.stdout.splitlines()
            self.assertRegex(secret, r"^mr-[A-Za-z0-9_-]{43}$")
            secrets.add(secret)
            self.assertEqual(json.loads(entry), {"name": "alice", "sha256": hashlib.sha256(secret.encode()).hexdigest(),
                                                 "tenant": "team", "weight": 3})
            check = self.run_in({"config.json": f'{{"keys": [{entry}]}}'}, "config", "check")
            self.assertEqual(check.returncode, 0, check)
            self.assertNotIn(secret, done.stderr)
        self.assertEqual(len(secrets), 2)

    def test_key_new_refuses_what_the_configuration_would(self):
        for args, words in (([], "--name NAME is missing"), (["--name", ""], "--name must be a string of 1..64 bytes"),
                            (["--name", "x" * 65], "--name must be"), (["--name", "a\nb"], "--name must be"),
                            (["--name=a", "--tenant="], "--tenant must be"), (["--name=a", "--weight=0"], "1..1000"),
                            (["--name=a", "--weight=x"], "1..1000"), (["--name"], "'--name'"),
                            (["--name=a", "--wieght=1"], "--wieght"), (["--name=a", "b"], "'b'")):
            done = run_millrace("key", "new", *args)
            with self.subTest(args):
                self.assertEqual((done.returncode, done.stdout), (2, ""), done)
                self.assertTrue(done.stderr.startswith("millrace: key new: "), done.stderr)
                self.assertIn(words, done.stderr)

    def test_an_address_that_others_reach_needs_keys(self):
        for args in (["--solo"], []):
            done = run_millrace("serve", "0", "--host=0.0.0.0", *args)
            self.assertEqual((done.returncode, done.stdout), (1, ""), done)
            self.assertIn("no API keys are set", done.stderr)
        with Server(http_host="0.0.0.0", keys=[{"name": "a", "sha256": "a" * 64}], ready=None) as server:
            self.assertEqual(server.get("/live").status, 200)
            # A reload that would open it to everybody is a mistake like any other.
            config = server.folder / "config.json"
            before = config.read_text()
            config.write_text(json.dumps({**json.loads(before), "keys": []}))
            server.signal(signal.SIGHUP)
            server.wait_log("event=reload_refused .*no API keys")

    def test_a_reload_cannot_take_the_keys_together_with_the_address_that_needs_them(self):
        """The new http_host would hold after a restart; until then the old one is open to others."""
        for solo in (True, False):
            with self.subTest(solo=solo), Server(http_host="0.0.0.0", keys=[{"name": "a", "sha256": "a" * 64}],
                                                 ready=None, default_model="dummy", solo=solo) as server:
                config = server.folder / "config.json"
                before = json.loads(config.read_text())
                config.write_text(json.dumps({**before, "http_host": "127.0.0.1", "keys": []}))
                server.signal(signal.SIGHUP)
                server.wait_log("event=reload_refused .*no API keys")
                for _ in range(16):  # each thread
                    self.assertEqual(server.get("/v1/models").status, 401)
                config.write_text(json.dumps({**before, "keys": [], "allow_no_keys": True}))
                server.signal(signal.SIGHUP)  # a clear word
                harness.eventually(lambda: server.get("/v1/models").status == 200, "everybody may ask")
                if not solo:  # and whoever is started from now on knows it too
                    os.kill(role_pid(server, "gateway"), signal.SIGKILL)
                    harness.eventually(lambda: self.status_of(server) == 200, "a new gateway answers")

    def status_of(self, server):
        try:
            return server.get("/v1/models").status
        except (OSError, ProtocolError):
            return None  # its connection went with the old one

    def test_a_reload_ends_no_role_that_is_just_starting(self):
        with Server(ready=None, default_model="dummy", solo=False) as server:
            for _ in range(2):
                self.assertEqual(infer.ask(server).error, None)
                os.kill(role_pid(server, "manager"), signal.SIGKILL)
                count = server.log().count("event=manager_started")
                harness.eventually(lambda: server.signal(signal.SIGHUP) or
                                   server.log().count("event=manager_started") > count, "a new manager")
            self.assertEqual(infer.ask(server).error, None)
            self.assertNotIn("signal=1 ", server.log())

    def test_sighup_reads_it_again(self):
        with Server() as server:
            config = server.folder / "config.json"
            keys = json.loads(config.read_text())
            config.write_text(json.dumps({**keys, "log_level": "debug", "ping_ms": 500}))
            server.signal(signal.SIGHUP)
            server.wait_log("event=reload_applied key=log_level")
            server.wait_log("event=reload_needs_restart key=ping_ms")
            server.wait_log("event=reloaded differs_from_start=2")
            config.write_text("{")
            server.signal(signal.SIGHUP)
            server.wait_log("event=reload_refused .*config.json")
            self.assertEqual(server.get("/live").status, 200)

    def test_standard_descriptors_may_be_closed(self):
        """Its sockets must not get their numbers: log lines would go to clients."""
        port = free_port()
        with tempfile.TemporaryDirectory() as folder:
            process = subprocess.Popen(
                ["sh", "-c", 'exec "$0" serve "$1" --default-model=dummy <&- >&- 2>&-',
                 harness.MILLRACE, str(port)], env=harness.environment(Path(folder)), cwd=folder)
            try:
                def answers():
                    try:
                        with Connection(port) as connection:
                            connection.send(request("GET", "/live"))
                            return connection.response().status == 200
                    except OSError:
                        return False
                harness.eventually(answers, "an answer")
                process.terminate()
                self.assertEqual(process.wait(harness.WAIT_S), 0)
            finally:
                process.kill()
                process.wait()

    def test_output_that_cannot_be_written_is_a_failure(self):
        for verb in ("show", "check", "doc"):
            with open("/dev/full", "w") as full:
                done = subprocess.run([harness.MILLRACE, "config", verb], stdout=full, text=True,
                                      stderr=subprocess.PIPE, env=harness.environment(Path("/")), cwd="/")
            self.assertEqual(done.returncode, 1)
            self.assertIn("standard output", done.stderr)

    def test_help_version_and_a_wrong_command(self):
        for command, words in ((("serve",), "--http-port"), (("serve",), "--solo"), (("ps",), "--state-dir"),
                               (("gateway",), "--bus-url"), (("manager",), "--bus-url"), (("worker",), "--bus-url"),
                               (("worker", "dummy"), "--bus-url"), (("key", "new"), "--tenant")):
            helped = run_millrace(*command, "--help")
            self.assertEqual((helped.returncode, helped.stderr), (0, ""), command)
            self.assertIn(words, helped.stdout)
        self.assertRegex(run_millrace("version").stdout, r"millrace \d+\.\d+\.\d+\n")
        for args in ((), ("sevre",), ("config",), ("config", "sow")):
            done = run_millrace(*args)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn("millrace serve", done.stderr)

    def test_the_first_line_tells_the_address_and_then_a_curl(self):
        with Server("0") as server:
            self.assertGreater(server.port, 0)
            self.assertIn(f"http://127.0.0.1:{server.port}/v1/chat/completions", server.stdout)


if __name__ == "__main__":
    main()
