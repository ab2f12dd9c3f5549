"""liar - a server that answers what it is told to: for programs that must notice when it is wrong."""

import json
import socket
import threading

from http_client import WAIT_S


def chunk(reason=None, content="x", id="chatcmpl-1"):
    return json.dumps({"id": id, "object": "chat.completion.chunk", "choices": [
        {"index": 0, "delta": {"content": content} if content else {}, "finish_reason": reason}]})


def events(*datas):
    return "".join(f"data: {data}\n\n" for data in datas)


def answer(status, body, *fields):
    head = [f"HTTP/1.1 {status} X", *fields, f"Content-Length: {len(body.encode())}", "Connection: close"]
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode()


def stream(body):
    return answer(200, body, "Content-Type: text/event-stream")


def refusal(*fields, status=429, kind="rate_limit_error"):
    return answer(status, json.dumps({"error": {"message": "m", "type": kind, "param": None, "code": "c"}}), *fields)


def health(busy):
    return answer(200, json.dumps({"models": [{"id": "dummy", "slots_busy": busy, "queued": 0, "parked": 0}]}))


GOOD = stream(events(chunk(), chunk("stop", None), "[DONE]"))


class Liar:
    """Says it is idle at /health, `page` to other GETs, and `said` to everything else. Every connection ends behind its answer, but
    those of a liar who `stays` (not of /health); one who `leaks` forgets to close the descriptor."""

    def __init__(self, said, busy=0, stays=False, leaks=False, page=None):
        self.said, self.page, self.busy, self.stays, self.leaks = said, page or said, busy, stays, leaks
        self.open = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)  # accept() returns
        self.thread.join()
        for connection in self.open:
            connection.close()
        self.listener.close()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.settimeout(WAIT_S)
            is_health = self.answer(connection)
            if self.leaks:
                connection.shutdown(socket.SHUT_WR)
            if self.leaks or (self.stays and not is_health):
                self.open.append(connection)
            else:
                connection.close()

    def answer(self, connection):
        request = b""
        while not self.is_whole(request):
            piece = connection.recv(4096)
            if not piece:
                break
            request += piece
        is_health = request.startswith(b"GET /health ")
        try:
            connection.sendall(health(self.busy) if is_health else self.page if request.startswith(b"GET ") else self.said)
        except OSError:
            pass  # it had seen enough
        return is_health

    @staticmethod
    def is_whole(request):
        head, separator, body = request.partition(b"\r\n\r\n")
        if not separator:
            return False
        length = [line[16:] for line in head.split(b"\r\n") if line.startswith(b"Content-Length: ")]
        return len(body) >= int(length[0] if length else 0)
