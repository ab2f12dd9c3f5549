"""keys - who may use the service: 401 on every surface without a key, the tenant's requests and no
others, a bound per key, and a reload that changes all of it (http-api.md sections 1, 2, 5, 8)."""

import hashlib
import json
import signal
import unittest

from harness import Server, eventually, main
from http_client import request
from surfaces import SURFACES, infer

LONG_MS = 60_000
# alice and her notebook share a tenant.
SECRETS = {"alice": "sk-alice-5f8c1e", "notebook": "sk-notebook-77a0", "bob": "sk-bob-c0ffee"}
TENANTS = {"notebook": "alice"}


def key_entries(*names):
    return [{"name": name, "sha256": hashlib.sha256(SECRETS[name].encode()).hexdigest(),
             "tenant": TENANTS.get(name, name)} for name in names]


def bearer(name):
    return [("Authorization", f"Bearer {SECRETS[name]}")]


def with_key(data, name):
    """The same request with the key's field behind its first line."""
    line, rest = data.split(b"\r\n", 1)
    return line + b"\r\n" + f"x-api-key: {SECRETS[name]}\r\n".encode() + rest


class Keys(unittest.TestCase):
    def server(self, **more):
        return Server(keys=key_entries("alice", "notebook", "bob"), **more)

    def check_refused(self, response, status, code):
        self.assertEqual((response.status, response.error()["code"]), (status, code), response)

    def start(self, server, name, connection):
        """A long stream of that key, seen to run; its id."""
        connection.send(with_key(infer.request("x", True), name))
        return eventually(lambda: next((entry["id"] for entry in self.listed(server, name)
                                        if entry["state"] == "running"), None), "it runs and is listed")

    def listed(self, server, name):
        """The manager hears of what runs within half a second; until then nothing may be there."""
        page = server.get("/v1/requests", bearer(name))
        self.assertEqual((page.status, page.json()["object"], page.json()["has_more"]), (200, "list", False))
        return page.json()["data"]

    def delete(self, server, path, name):
        return server.exchange(request("DELETE", path, fields=bearer(name)), "DELETE").status

    def test_every_surface_needs_a_key(self):
        with self.server(dummy_delay_ms=0) as server:
            for surface in SURFACES:
                with self.subTest(surface.name):
                    data = surface.request("x", surface.can_stream)
                    response = server.exchange(data, surface.method)
                    self.check_refused(response, 401, "missing_api_key")
                    self.assertEqual(response.error()["type"], "authentication_error")
                    self.assertEqual(response.field("WWW-Authenticate"), "Bearer")
                    response = server.exchange(with_key(data, "alice"), surface.method)
                    self.assertEqual(response.status, 200, response)
            for path in ("/health", "/health/live", "/live", "/health/ready", "/ready"):
                self.assertEqual(server.get(path).status, 200)
            for path in ("/v1/models", "/v1/requests", "/metrics", "/nothing"):
                self.check_refused(server.get(path), 401, "missing_api_key")
            self.check_refused(server.get("/v1/models", [("x-api-key", "sk-mallory")]), 401, "invalid_api_key")
            self.check_refused(server.get("/v1/models", bearer("alice") + [("x-api-key", SECRETS["bob"])]), 400,
                               "ambiguous_api_key")
            server.wait_idle()
            server.wait_log("event=request_done .*key=alice")  # lines of the roles come through the host
            log = server.log()
            for secret in (*SECRETS.values(), "mallory"):
                self.assertNotIn(secret, log)

    def test_a_tenant_sees_and_cancels_its_own_and_no_others(self):
        with self.server(dummy_delay_ms=LONG_MS) as server:
            with server.connect() as one, server.connect() as other:
                alices = self.start(server, "alice", one)
                bobs = self.start(server, "bob", other)
                self.assertEqual([entry["id"] for entry in self.listed(server, "notebook")], [alices])
                self.assertEqual([entry["id"] for entry in self.listed(server, "bob")], [bobs])
                self.assertEqual(self.delete(server, f"/v1/requests/{alices}", "bob"), 204)  # as if unknown
                server.wait_model(slots_busy=2)
                self.assertEqual(self.delete(server, f"/v1/inference/{alices}", "notebook"), 204)
                server.wait_model(slots_busy=1)
                self.assertEqual(self.delete(server, f"/v1/inference/{alices}", "notebook"), 204)  # idempotent
                self.assertEqual([entry["id"] for entry in self.listed(server, "bob")], [bobs])
            server.wait_idle()

    def test_without_keys_all_are_seen_and_cancelled(self):
        with Server(dummy_delay_ms=LONG_MS) as server:
            with server.connect() as connection:
                connection.send(infer.request("x", True))
                entry = eventually(lambda: server.get("/v1/requests").json()["data"], "it is listed")[0]
                self.assertEqual((entry["model"], entry["tenant"]), ("dummy", None))
                gone = server.exchange(request("DELETE", f"/v1/requests/{entry['id']}"), "DELETE")
                self.assertEqual(gone.status, 204)
                server.wait_idle()
            for bad in ("1", entry["id"] + "0", "g" * 32):
                response = server.exchange(request("DELETE", f"/v1/requests/{bad}"), "DELETE")
                self.check_refused(response, 400, "invalid_value")

    def test_one_key_has_a_bound_and_others_their_own(self):
        with self.server(dummy_delay_ms=LONG_MS, streams_per_key=1, worker_threads=1) as server:
            data = infer.request("x", True)
            with server.connect() as one, server.connect() as other:
                one.send(with_key(data, "alice"))
                server.wait_model(slots_busy=1)
                response = server.exchange(with_key(data, "alice"))
                self.check_refused(response, 429, "rate_limited")
                self.assertGreaterEqual(int(response.field("Retry-After")), 1)
                other.send(with_key(data, "notebook"))  # the bound is the key's, not the tenant's
                server.wait_model(slots_busy=2)
            server.wait_idle()

    def test_a_reload_takes_a_key_away_and_lets_its_stream_end(self):
        with self.server(dummy_delay_ms=50, dummy_tokens=60) as server:
            with server.connect() as connection:
                stream = connection.stream(with_key(infer.request("x", True, max_tokens=60), "alice"))
                self.assertIsNotNone(stream.next_event())
                file = server.folder / "config.json"
                file.write_text(json.dumps({**json.loads(file.read_text()), "keys": key_entries("bob")}))
                server.signal(signal.SIGHUP)
                server.wait_log("event=reload_applied key=keys")
                for _ in range(16):  # one connection after the other meets each thread
                    eventually(lambda: server.get("/v1/models", bearer("alice")).status == 401, "alice is out")
                    self.assertEqual(server.get("/v1/models", bearer("bob")).status, 200)
                events = list(stream.events())
                self.assertEqual(events[-1].data, "[DONE]")
                self.assertEqual(len(events), 60)  # the other 59, and the terminator
            server.wait_idle()


if __name__ == "__main__":
    main()
