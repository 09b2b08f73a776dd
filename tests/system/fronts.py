"""Something between a client and a daemon that meddles: strips and adds headers, answers in its place, cuts, delays."""
import base64
import contextlib
import hashlib
import json
import socket
import ssl
import threading
import time

from support import free_port


class Front:
    """Relays to `upstream` (a port), with TLS when `context` is given. `rule(method, path)` answers None, or a dict of: status and body (an
    answer of its own), speak (a function that is given the connection as a Socket: a WebSocket of a test's own), drop and add (headers of the answer), replace ((old, new) in the body, of one length), delay (s), cut (a
    WebSocket ends with the daemon's first words)."""

    def __init__(self, upstream, context=None, rule=None, host="127.0.0.1"):
        self.upstream, self.context, self.rule = upstream, context, rule or (lambda method, path: None)
        self.heads = []
        self.port = free_port()
        self.listener = socket.create_server((host, self.port), backlog=64)
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with contextlib.suppress(OSError, ssl.SSLError, ValueError), contextlib.ExitStack() as closing:
            closing.enter_context(connection)
            connection.settimeout(60)
            if self.context:
                connection = closing.enter_context(self.context.wrap_socket(connection, server_side=True))
            while self.answer(connection):
                pass

    def answer(self, connection):
        head, body = self.message(connection)
        if not head:
            return False
        self.heads.append(head)
        method, path, _ = head.split(" ", 2)
        rule = self.rule(method, path.partition("?")[0]) or {}
        time.sleep(rule.get("delay", 0))
        if "speak" in rule:
            rule["speak"](Socket(connection, head))
            return False
        if "status" in rule:
            answer = rule.get("body", "{}").encode()
            lines = [f"HTTP/1.1 {rule['status']} Said", f"Content-Length: {len(answer)}", *(f"{k}: {v}" for k, v in rule.get("add", {}).items())]
            connection.sendall("\r\n".join([*lines, "", ""]).encode() + answer)
        else:
            self.relay(connection, head, body, rule)
        return True

    def relay(self, connection, head, body, rule):
        lines = head.split("\r\n")[:-2]
        if self.context:
            lines += ["X-Forwarded-Proto: https", "X-Forwarded-For: 192.0.2.7"]
        with socket.create_connection(("127.0.0.1", self.upstream), timeout=60) as upstream:
            upstream.sendall("\r\n".join([*lines, "", ""]).encode() + body)
            answer, rest = self.message(upstream)
            first, *fields = answer.split("\r\n")[:-2]
            dropped = [name.lower() for name in rule.get("drop", ())]
            fields = [field for field in fields if field.partition(":")[0].lower() not in dropped]
            fields += [f"{name}: {value}" for name, value in rule.get("add", {}).items()]
            if "replace" in rule:
                rest = rest.replace(*map(str.encode, rule["replace"]))
            connection.sendall("\r\n".join([first, *fields, "", ""]).encode() + rest)
            if first.split(" ")[1] != "101":
                return
            if rule.get("cut"):
                if not rest:
                    connection.sendall(upstream.recv(65536))
                connection.shutdown(socket.SHUT_RDWR)
            else:
                self.tunnel(connection, upstream)

    @staticmethod
    def tunnel(connection, upstream):
        def pump(source, sink):
            with contextlib.suppress(OSError, ssl.SSLError):
                while chunk := source.recv(65536):
                    sink.sendall(chunk)
            for one in (source, sink):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
        threads = [threading.Thread(target=pump, args=pair, daemon=True) for pair in ((connection, upstream), (upstream, connection))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    @staticmethod
    def message(source):
        """A head with its empty line, and a body as long as Content-Length says."""
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = source.recv(65536)
            if not chunk:
                return "", b""
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        text = head.decode("latin-1") + "\r\n\r\n"
        length = next((int(line.partition(":")[2]) for line in text.split("\r\n") if line.lower().startswith("content-length:")), 0)
        if " 101 " in text.split("\r\n")[0]:
            return text, body
        while len(body) < length:
            body += source.recv(65536)
        return text, body


class Socket:
    """The server's side of a WebSocket (RFC 6455), with messages in JSON of less than 64 KB."""

    def __init__(self, connection, head):
        self.connection = connection
        key = next(line.partition(":")[2].strip() for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key:"))
        accept = base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()
        connection.sendall(f"HTTP/1.1 101 Said\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode())

    def say(self, **message):
        text = json.dumps(message).encode()
        length = bytes([len(text)]) if len(text) < 126 else b"\x7e" + len(text).to_bytes(2, "big")
        self.connection.sendall(b"\x81" + length + text)

    def bytes(self, count):
        data = b""
        while len(data) < count:
            chunk = self.connection.recv(count - len(data))
            if not chunk:
                raise OSError("it hung up")
            data += chunk
        return data

    def heard(self):
        length = self.bytes(2)[1] & 0x7F
        length = int.from_bytes(self.bytes(2), "big") if length == 126 else length
        mask, text = self.bytes(4), self.bytes(length)
        return json.loads(bytes(byte ^ mask[i % 4] for i, byte in enumerate(text)))
