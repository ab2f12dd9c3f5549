"""reuseport - how connections are spread over listening sockets on one port: by the kernel, and in ours."""

import socket
import threading
import time

from benchlib.proctree import role_of, sockets_per_loop
from benchlib.servers import Ours, idle_at

ACCEPTED_S = 30  # all connections, at the latest


def kernel_shares(listeners, connections):
    """How the kernel spreads connections over so many listening sockets on one port: all of them."""
    opened, sockets = [], []
    try:
        for _ in range(listeners):
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(("127.0.0.1", sockets[0].getsockname()[1] if sockets else 0))
            listener.listen(1024)
            sockets.append(listener)
        counts = [0] * listeners
        threads = [threading.Thread(target=count_accepts, args=(listener, counts, at, opened))
                   for at, listener in enumerate(sockets)]
        for thread in threads:
            thread.start()
        for _ in range(connections):
            opened.append(socket.create_connection(sockets[0].getsockname()))
        until = time.monotonic() + ACCEPTED_S
        while sum(counts) < connections and time.monotonic() < until:
            time.sleep(0.01)
        for listener in sockets:
            listener.shutdown(socket.SHUT_RDWR)  # accept() returns
        for thread in threads:
            thread.join()
        return counts
    finally:
        for one in opened + sockets:
            one.close()


def count_accepts(listener, counts, at, opened):
    while True:
        try:
            opened.append(listener.accept()[0])
        except OSError:
            return
        counts[at] += 1


def gateway_shares(program, threads, connections):
    """How many connections each loop thread of the gateway has: by how many descriptors more its epoll
    instances watch than before. Each connection was answered once, so it has been accepted."""
    with Ours(program, worker_threads=threads) as server:
        gateway = next(pid for pid in server.pids() if role_of(pid) == "gateway")
        before = sockets_per_loop(gateway)
        held = idle_at(server.port, connections)
        for connection in held:
            connection.recv(4096)
        after = sockets_per_loop(gateway)
        for connection in held:
            connection.close()
        return sorted((after[fd] - before.get(fd, 0) for fd in after), reverse=True)[:threads]
