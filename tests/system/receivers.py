"""Who is told: a receiver of webhooks and pings that checks signatures with Python's own hmac, and a mail server with STARTTLS and
logins. Each does as it is told: refuse a while, hang, be away."""
import base64
import email
import email.policy
import hashlib
import hmac
import http.server
import json
import socket
import socketserver
import ssl
import threading
import time


def wait_for(condition, what, limit=60):
    deadline = time.monotonic() + limit
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what() if callable(what) else what}: not within {limit} s")
        time.sleep(0.02)
    return found


class Receiver:
    """HTTP: what came, and whether its signature holds. `answers` are the statuses of the next requests, 200 when there are none left;
    None hangs until the receiver is closed. Answers after `slow` seconds; `wordless` says how long its body is, and never sends it."""

    def __init__(self, key="", authority=None):
        self.key, self.requests, self.answers, self.closed = key, [], [], threading.Event()
        self.slow, self.wordless = 0, False
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status = receiver.answers.pop(0) if receiver.answers else 200
                receiver.requests.append({"path": self.path, "headers": dict(self.headers), "body": body, "status": status, "signed": receiver.verify(self.headers, body)})
                if status is None:
                    receiver.closed.wait(120)
                    return
                receiver.closed.wait(receiver.slow)
                said = b"thank you" if status == 200 else b"not now"
                self.send_response(status)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                if receiver.wordless:
                    receiver.closed.wait(120)
                    return
                self.wfile.write(said)

            do_GET = do_POST

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if authority:
            self.server.socket = authority.context().wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = f"{'https://localhost' if authority else 'http://127.0.0.1'}:{self.port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed.set()
        self.server.shutdown()
        self.server.server_close()

    def verify(self, headers, body):
        """As a receiver does it that knows nothing of us but the man page."""
        if not self.key:
            return None
        key = base64.b64decode(self.key.removeprefix("whsec_")) if self.key.startswith("whsec_") else self.key.encode()
        signed = f"{headers.get('webhook-id')}.{headers.get('webhook-timestamp')}.".encode() + body
        expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        fresh = abs(time.time() - int(headers.get("webhook-timestamp", 0))) < 300
        return fresh and hmac.compare_digest(expected, headers.get("webhook-signature", ""))

    def events(self):
        """Those that were taken."""
        return [json.loads(request["body"]) for request in self.requests if request["status"] == 200]

    def paths(self):
        return [request["path"] for request in self.requests]


class MailReceiver:
    """SMTP: `mails` are messages that were taken. Offers STARTTLS with an authority; with a password only who logs in may send.
    Once it has a mail it thinks for `slow` seconds, or hangs up without a word."""

    def __init__(self, authority=None, user="", password="", implicit=False, refuse=""):
        self.mails, self.recipients, self.logins, self.secured, self.refuse = [], [], [], [], refuse
        self.slow, self.hangs_up = 0, False
        receiver = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                self.secure = implicit
                self.buffer = b""
                if implicit:
                    self.request = authority.context().wrap_socket(self.request, server_side=True)
                try:
                    self.say("220 test.example ESMTP")
                    allowed = not user
                    to = []
                    while (line := self.line()) is not None:
                        word = line.split(" ")[0].upper()
                        if word == "EHLO":
                            offers = ["test.example"] + (["STARTTLS"] if authority and not self.secure else []) + (["AUTH PLAIN LOGIN"] if user and (self.secure or not authority) else [])
                            for i, offer in enumerate(offers):
                                self.say(f"250{'-' if i + 1 < len(offers) else ' '}{offer}")
                        elif word == "STARTTLS":
                            self.say("220 go ahead")
                            self.request = authority.context().wrap_socket(self.request, server_side=True)
                            self.secure, self.buffer = True, b""
                        elif word == "AUTH":
                            given = base64.b64decode(line.split(" ")[2]).split(b"\0")[1:]
                            receiver.logins.append((self.secure, given))
                            allowed = given == [user.encode(), password.encode()]
                            self.say("235 welcome" if allowed else "535 5.7.8 who are you")
                        elif word == "MAIL":
                            self.say("250 ok" if allowed else "530 log in first")
                        elif word == "RCPT":
                            wanted = receiver.refuse and receiver.refuse in line
                            to += [] if wanted else [line[line.index("<") + 1:line.index(">")]]
                            self.say("550 5.1.1 no such user" if wanted else "250 ok")
                        elif word == "DATA":
                            self.say("354 go on")
                            lines = []
                            while (text := self.line()) != ".":
                                lines.append(text[1:] if text.startswith(".") else text)
                            receiver.secured.append(self.secure)
                            receiver.recipients.append(to)
                            receiver.mails.append(email.message_from_string("\r\n".join(lines), policy=email.policy.default))
                            time.sleep(receiver.slow)
                            if receiver.hangs_up:
                                return
                            self.say("250 2.0.0 queued as 4711")
                        elif word == "QUIT":
                            self.say("221 bye")
                            return
                        else:
                            self.say("500 what?")
                except (OSError, ssl.SSLError, AttributeError):
                    return
                finally:
                    self.request.close()

            def say(self, text):
                self.request.sendall(text.encode() + b"\r\n")

            def line(self):
                while b"\r\n" not in self.buffer:
                    got = self.request.recv(4096)
                    if not got:
                        return None
                    self.buffer += got
                line, self.buffer = self.buffer.split(b"\r\n", 1)
                return line.decode()

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads, allow_reuse_address = True, True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Silent:
    """Takes connections and says nothing."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()


class Scripted:
    """Says something to whoever comes, whatever he says, and hangs up; counts who came."""

    def __init__(self, *chunks, wait=True):
        self.chunks, self.wait, self.came = chunks, wait, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.came += 1
            with connection:
                connection.settimeout(5)
                try:
                    for chunk in self.chunks:
                        connection.sendall(chunk)
                        if chunk is not self.chunks[-1] or self.wait:
                            connection.recv(4096)
                except OSError:
                    pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
