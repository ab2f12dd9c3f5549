"""workers - several workers of one model: one that serve started and more by hand. They share the work
by how much they have, one queue stands before all of them, and who leaves takes nobody's answer along."""

import os
import re
import signal
import time
import unittest

from harness import Server, eventually, main
from http_client import Stream
from roles import ps, role_pid, role_pids
from roles_by_hand_test import ByHand
from surfaces import infer

LONG_MS = 60_000


def count_words(text):
    return [f"tok{n}" for n in range(1, len(text.split()) + 1)] == text.split() and len(text.split())


class Workers(unittest.TestCase):
    def start(self, server, **params):
        connection = server.connect()
        connection.send(infer.request("x", True, **params))
        return connection

    def workers_of(self, server):
        """{request: worker} of all that run."""
        return {entry["id"]: entry["worker"] for entry in server.get("/v1/requests").json()["data"]
                if entry["state"] == "running"}

    def spread(self, server, count):
        """The numbers of requests on each worker, once all of them run."""
        found = eventually(lambda: len(running := self.workers_of(server)) == count and running, f"{count} run")
        names = list(found.values())
        return sorted(names.count(name) for name in set(names))

    def test_work_is_shared_evenly_and_one_queue_stands_before_all(self):
        with Server(dummy_slots=3, dummy_delay_ms=LONG_MS, max_model_queue=1, max_queue_wait_ms=LONG_MS,
                    solo=False) as server, ByHand(server, "worker", "dummy"):
            server.wait_model(workers=2, slots=6)
            connections = []
            for expected in ([1], [1, 1], [1, 2], [2, 2], [2, 3], [3, 3]):
                connections.append(self.start(server))
                self.assertEqual(self.spread(server, len(connections)), expected)
            connections.append(self.start(server))
            server.wait_model(slots_busy=6, queued=1)
            response = server.exchange(infer.request("x", True))
            self.assertEqual((response.status, response.error()["code"]), (429, "queue_full"))
            connections[0].close()  # wherever it ran, the next one gets the place
            server.wait_model(slots_busy=6, queued=0)
            for connection in connections:
                connection.close()
            server.wait_idle()

    def test_the_configuration_starts_as_many_as_it_names(self):
        with Server(dummy_workers=3, dummy_slots=2, dummy_delay_ms=LONG_MS, solo=False) as server:
            server.wait_model(workers=3, slots=6)
            connections = [self.start(server) for _ in range(6)]
            self.assertEqual(self.spread(server, 6), [2, 2, 2])
            rows = [row for row in ps(server) if row["role"] == "worker" and row["name"].startswith("dummy")]
            self.assertEqual(sorted(row["name"] for row in rows), ["dummy", "dummy#1", "dummy#2"])
            self.assertEqual(sorted(int(row["pid"]) for row in rows), role_pids(server, "worker", "dummy"))
            self.assertEqual([row["state"] for row in rows], ["ready"] * 3)
            for connection in connections:
                connection.close()
            server.wait_idle()
            killed = role_pids(server, "worker", "dummy")[0]
            os.kill(killed, signal.SIGKILL)
            eventually(lambda: len(pids := role_pids(server, "worker", "dummy")) == 3 and killed not in pids,
                       "another one is started")
            name = next(row["name"] for row in rows if int(row["pid"]) == killed)
            server.wait_log(rf"event=role_ended role=worker name={name} pid={killed} ")
            server.wait_model(workers=3, slots=6)

    def test_in_one_process_too(self):
        with Server(dummy_workers=2, dummy_slots=1, dummy_delay_ms=LONG_MS, solo=True) as server:
            server.wait_model(workers=2, slots=2)
            connections = [self.start(server) for _ in range(2)]
            self.assertEqual(self.spread(server, 2), [1, 1])
            for connection in connections:
                connection.close()
            server.wait_idle()

    def test_who_waits_is_served_in_order_whoever_serves(self):
        with Server(dummy_slots=1, dummy_delay_ms=40, dummy_tokens=10, max_queue_wait_ms=LONG_MS,
                    solo=False) as server, ByHand(server, "worker", "dummy"):
            server.wait_model(workers=2, slots=2)
            connections = []
            for count in range(1, 9):  # one after the other has come to the manager
                connections.append(self.start(server))
                eventually(lambda: self.come(server) == count, f"{count} have come")
            ids = []
            for connection in connections:
                response = connection.response("POST")
                self.assertEqual(count_words(infer.read(response, True).text), 10)
                ids.append(response.field("X-Request-Id"))
                connection.close()
            eventually(lambda: len(self.ended(server)) == 8, "all have ended")
            # Two run at a time, equally long: which of the two ends first is nobody's promise.
            moved = [abs(at - ids.index(request_id)) for at, request_id in enumerate(self.ended(server))]
            self.assertLessEqual(max(moved), 1, moved)

    def test_the_order_outlives_the_manager(self):
        """What it had not given away is asked for again by each of the gateway's threads; the next one serves it in
        the order in which it came the first time."""
        with Server(dummy_slots=1, dummy_delay_ms=30, dummy_tokens=10, max_queue_wait_ms=LONG_MS, max_model_queue=8,
                    solo=False) as server:
            connections = []
            for count in range(1, 10):
                connections.append(self.start(server))
                eventually(lambda: self.come(server) == count, f"{count} have come")
            os.kill(role_pid(server, "manager"), signal.SIGKILL)
            ids = []
            for connection in connections:
                response = connection.response("POST")
                self.assertEqual(count_words(infer.read(response, True).text), 10)
                ids.append(response.field("X-Request-Id"))
                connection.close()
            eventually(lambda: len(self.ended(server)) == 9, "all have ended")
            self.assertEqual(self.ended(server), ids)

    def test_a_worker_by_hand_outlives_the_host_and_joins_the_next_one(self):
        with Server(solo=False) as server, ByHand(server, "worker", "dummy") as worker:
            server.wait_model(workers=2)
            for _ in range(2):
                server.process.kill()
                server.process.wait()
                server.restart()
                server.wait_model(workers=2)
            server.signal()
            self.assertEqual(server.wait_exit(), 0)
            self.assertIsNone(worker.process.poll())
            server.restart()
            server.wait_model(workers=2)
            self.assertEqual(infer.ask(server, max_tokens=2).error, None)
            self.assertEqual(worker.stop(), 0)

    def ended(self, server):
        return re.findall(r"event=request_done req=(\w+) ", server.log())

    def come(self, server):
        listed = [entry["id"] for entry in server.get("/v1/requests").json()["data"]]
        return len({*listed, *self.ended(server)})

    def test_retry_after_is_what_all_workers_together_need(self):
        """Each answer takes a second. With four waiting before two slots the fifth would have its turn in
        2.5 s (one worker: 5 s); who comes back then is served."""
        with Server(dummy_slots=1, dummy_delay_ms=100, dummy_tokens=10, max_model_queue=4, max_queue_wait_ms=LONG_MS,
                    solo=False) as server, ByHand(server, "worker", "dummy"):
            server.wait_model(workers=2, slots=2)
            for _ in range(3):  # what the rate is measured by
                self.assertEqual(infer.ask(server).error, None)
            server.wait_idle()
            connections = [self.start(server) for _ in range(6)]
            server.wait_model(slots_busy=2, queued=4)
            response = server.exchange(infer.request("x", True))
            self.assertEqual((response.status, response.error()["code"]), (429, "queue_full"))
            retry_s = int(response.field("Retry-After"))
            self.assertIn(retry_s, (3, 4))
            waiting = [entry for entry in server.get("/v1/requests").json()["data"] if entry["state"] == "queued"]
            etas = [entry["eta_ms"] for entry in sorted(waiting, key=lambda entry: entry["queue_position"])]
            self.assertEqual(etas, sorted(etas))
            self.assertTrue(all(300 <= eta <= 4000 for eta in etas), etas)
            time.sleep(retry_s)  # what the client was told to do
            self.assertEqual(infer.ask(server).error, None)
            for connection in connections:
                connection.close()
            server.wait_idle()

    def test_a_worker_that_is_asked_to_leave_finishes_and_gets_no_more(self):
        with Server(dummy_slots=2, dummy_delay_ms=30, dummy_tokens=60, max_queue_wait_ms=LONG_MS,
                    solo=False) as server, ByHand(server, "worker", "dummy") as worker:
            server.wait_model(workers=2, slots=4)
            connections = [self.start(server) for _ in range(4)]
            self.assertEqual(self.spread(server, 4), [2, 2])
            worker.process.send_signal(signal.SIGTERM)
            server.wait_model(workers=1)
            late = self.start(server, max_tokens=5)
            for connection in (*connections, late):
                answer = infer.read(connection.response("POST"), True)
                self.assertEqual((count_words(answer.text), answer.error), (5 if connection is late else 60, None))
                connection.close()
            self.assertEqual(worker.process.wait(LONG_MS / 1000), 0)
            server.wait_idle()

    def test_a_worker_that_dies_costs_its_own_streams_alone(self):
        """Those that have begun end with worker_lost; the others, and who waits, do not notice."""
        with Server(dummy_slots=2, dummy_delay_ms=30, dummy_tokens=60, max_queue_wait_ms=LONG_MS,
                    solo=False) as server, ByHand(server, "worker", "dummy") as worker:
            server.wait_model(workers=2, slots=4)
            connections = [self.start(server) for _ in range(4)]
            streams = [Stream(connection, "POST") for connection in connections]
            events = [[stream.next_event()] for stream in streams]
            waiting = [self.start(server) for _ in range(2)]
            server.wait_model(slots_busy=4, queued=2)
            worker.process.kill()
            ends = []
            for stream, taken in zip(streams, events):
                answer = infer.read_stream([*taken, *stream.events()])
                self.assertTrue(count_words(answer.text))
                ends.append(answer.error["code"] if answer.error else count_words(answer.text))
            self.assertEqual(sorted(ends, key=str), [60, 60, "worker_lost", "worker_lost"])
            for connection in waiting:
                answer = infer.read(connection.response("POST"), True)
                self.assertEqual((count_words(answer.text), answer.error), (60, None))
            for connection in connections + waiting:
                connection.close()
            server.wait_model(workers=1, slots=2, slots_busy=0, queued=0, parked=0)


if __name__ == "__main__":
    main()
