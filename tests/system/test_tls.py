"""TLS in the listener, from outside: what is spoken and what is not, certificates that change, clients that are slow, rude or lost."""
import asyncio
import contextlib
import http.client
import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import unittest

import websockets

from support import Authority, Daemon, Sandbox, free_port, main

WEAK = "@SECLEVEL=0"
INTERMEDIATE = {"ECDSA": ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"),
                "RSA": ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305")}
# One of each kind that the guideline leaves out: CBC, without forward secrecy, finite-field Diffie-Hellman, CCM, ARIA.
REFUSED = ("ECDHE-ECDSA-AES128-SHA256", "ECDHE-RSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA", "ECDHE-RSA-AES256-SHA", "AES128-GCM-SHA256", "AES256-SHA",
           "DHE-RSA-AES128-GCM-SHA256", "DHE-RSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-CCM", "ECDHE-ECDSA-AES128-CCM8", "ECDHE-ARIA128-GCM-SHA256", "ADH-AES128-GCM-SHA256", "NULL-SHA256")


class TlsDaemon(Daemon):
    """A daemon with a certificate of `authority`, in files of the sandbox's, and a client that trusts it."""

    def __init__(self, sandbox, authority, **environment):
        self.authority = authority
        self.certificate, self.key = sandbox.directory / "tls.pem", sandbox.directory / "tls.key"
        self.install(authority)
        super().__init__(sandbox, ARAGORA_TLS_CERT_PATH=str(self.certificate), ARAGORA_TLS_KEY_PATH=str(self.key), **environment)

    def install(self, authority):
        self.authority = authority
        shutil.copy(authority.certificate, self.certificate)
        self.certificate.chmod(0o644)
        self.key.unlink(missing_ok=True)
        self.key.touch(mode=0o600)
        self.key.write_bytes(authority.key.read_bytes())

    def context(self):
        return ssl.create_default_context(cafile=self.authority.file)

    def connection(self, timeout=20):
        return http.client.HTTPSConnection("localhost", self.port, timeout=timeout, context=self.context())

    def connect(self, context=None, timeout=10):
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        try:
            return (context or self.context()).wrap_socket(raw, server_hostname="localhost")
        except BaseException:
            raw.close()
            raise

    def serial(self):
        with self.connect() as connection:
            return connection.getpeercert()["serialNumber"]

    def s_client(self, *arguments, send=b""):
        result = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{self.port}", "-CAfile", self.authority.file, *arguments], input=send, capture_output=True, timeout=20)
        return result.returncode, (result.stdout + result.stderr).decode(errors="replace")

    def reload(self, until):
        self.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 10
        while not until():
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.02)


def get(connection, path="/api/health"):
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return read_answer(connection)


def read_answer(connection):
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, dict(response.getheaders()), response.read()


class Tls(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.sandbox, cls.authority = Sandbox(), Authority()
        cls.daemon = TlsDaemon(cls.sandbox, cls.authority, ARAGORA_SOCKETS_PER_ADDRESS="600")

    @classmethod
    def tearDownClass(cls):
        cls.daemon.stop()
        cls.authority.__exit__()
        cls.sandbox.__exit__()

    def test_http_is_answered_and_told_to_stay_with_tls(self):
        status, headers, body = self.daemon.request("GET", "/api/health")
        self.assertEqual((status, json.loads(body)["status"]), (200, "healthy"))
        self.assertIn("max-age=63072000", headers["strict-transport-security"])
        result = subprocess.run(["curl", "-sS", "--cacert", self.authority.file, f"https://localhost:{self.daemon.port}/api/health"], capture_output=True, text=True, timeout=20)
        self.assertEqual((result.returncode, json.loads(result.stdout)["status"]), (0, "healthy"), result.stderr)
        self.assertIn(f"https://127.0.0.1:{self.daemon.port}", self.daemon.text())

    def test_only_1_2_and_1_3_are_spoken(self):
        for version, wanted in (("-tls1", None), ("-tls1_1", None), ("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
            _, said = self.daemon.s_client(version, "-cipher", "DEFAULT" + WEAK)
            negotiated = re.search(r"New, (\S+), Cipher is (\S+)", said)
            self.assertEqual(negotiated and negotiated[1] if wanted else negotiated and negotiated[2], wanted or "(NONE)", said)

    def test_the_suites_are_those_of_the_guideline_and_no_others(self):
        with Authority(key=("rsa:2048",)) as rsa, Sandbox() as sandbox, TlsDaemon(sandbox, rsa) as with_rsa:
            for daemon, kind in ((self.daemon, "ECDSA"), (with_rsa, "RSA")):
                for suite in INTERMEDIATE[kind]:
                    self.assertIn(f"Cipher is {suite}", daemon.s_client("-tls1_2", "-cipher", suite)[1])
                for suite in REFUSED:
                    _, said = daemon.s_client("-tls1_2", "-cipher", suite + WEAK)
                    self.assertNotRegex(said, r"Cipher is (?!\(NONE\))", suite)
                for suite in ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"):
                    self.assertIn(f"Cipher is {suite}", daemon.s_client("-tls1_3", "-ciphersuites", suite)[1])
                self.assertNotRegex(daemon.s_client("-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256")[1], r"Cipher is (?!\(NONE\))")
            for group, taken in (("X25519", True), ("P-256", True), ("P-384", True), ("P-521", False), ("X448", False), ("ffdhe2048", False)):
                said = self.daemon.s_client("-tls1_3", "-groups", group)[1]
                (self.assertRegex if taken else self.assertNotRegex)(said, r"Cipher is (?!\(NONE\))", group)

    def test_no_renegotiation_no_compression_and_a_protocol_that_is_spoken(self):
        _, said = self.daemon.s_client("-tls1_2", "-comp", send=b"R\n")
        self.assertRegex(said, "Compression: NONE")
        self.assertRegex(said, "(?i)no.renegotiation|no_renegotiation")
        self.assertIn("ALPN protocol: http/1.1", self.daemon.s_client("-alpn", "h2,http/1.1")[1])
        self.assertIn("no application protocol", self.daemon.s_client("-alpn", "h2")[1])

    def test_a_session_is_resumed_and_both_versions_answer_then(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.daemon.context()
            context.minimum_version = context.maximum_version = version
            with self.daemon.connect(context) as first:
                self.assertEqual(get(first)[0], 200)
                session = first.session
            raw = socket.create_connection(("127.0.0.1", self.daemon.port), timeout=10)
            with context.wrap_socket(raw, server_hostname="localhost", session=session) as second:
                self.assertTrue(second.session_reused, version)
                self.assertEqual(get(second)[0], 200)

    def test_plain_http_is_told_to_use_https(self):
        for method in ("GET", "HEAD", "POST", "OPTIONS", "DELETE", "BREW"):
            answer = self.daemon.raw(f"{method} /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            self.assertTrue(answer.startswith(b"HTTP/1.1 400 Bad Request\r\n"), answer)
            self.assertIn(b"Connection: close", answer)
            self.assertNotIn(b"Strict-Transport-Security", answer)
            self.assertIn(b"https://", answer)
        large = self.daemon.raw(b"POST /api/debates HTTP/1.1\r\nHost: x\r\nContent-Length: 40000\r\n\r\n" + b"x" * 40000)
        self.assertTrue(large.startswith(b"HTTP/1.1 400 "), "a reset overtook the answer")

    def test_what_is_neither_tls_nor_http_ends_and_nobody_else_notices(self):
        for nonsense in (b"\x16", b"\x16\x03\x01\x00\x05hello", b"\x16\x03\x01\xff\xff" + b"\0" * 70000, b"\x80\x2e\x01\x00\x02" + b"\0" * 60, b"\xff" * 100, b"\x15\x03\x01\x00\x02\x02\x28", b"\x16\x03\x03\x00\x00"):
            with socket.create_connection(("127.0.0.1", self.daemon.port), timeout=5) as connection:
                with contextlib.suppress(OSError):
                    connection.sendall(nonsense)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass
        self.assertEqual(self.daemon.request("GET", "/api/health")[0], 200)

    def test_a_body_of_many_records_comes_whole_however_it_is_cut(self):
        body = json.dumps({"task": "x" * 3000, "rounds": 0}).encode()
        head = f"POST /api/debates HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        for size in (1, 700, 20000):
            with self.daemon.connect() as connection:
                whole = head + body
                for at in range(0, len(whole), size):
                    connection.sendall(whole[at:at + size])
                self.assertEqual(read_answer(connection)[0], 200, size)
        large = json.dumps({"task": "x" * 900_000}).encode()
        with self.daemon.connect() as connection:
            connection.sendall(head.replace(str(len(body)).encode(), str(len(large)).encode()) + large)
            self.assertEqual(read_answer(connection)[0], 400, "the task is longer than is allowed, which is found out when it was read")

    def test_a_slow_reader_gets_every_byte(self):
        size, count = len(self.daemon.request("GET", "/api/openapi.json")[2]), 40
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.settimeout(20)
        raw.connect(("127.0.0.1", self.daemon.port))
        with self.daemon.context().wrap_socket(raw, server_hostname="localhost") as connection:
            request = "GET /api/openapi.json HTTP/1.1\r\nHost: localhost\r\n"
            connection.sendall((f"{request}\r\n" * (count - 1) + f"{request}Connection: close\r\n\r\n").encode())
            received = bytearray()
            while chunk := connection.recv(3000):
                received += chunk
                if len(received) < 300_000:
                    time.sleep(0.002)
        answers = received.split(b"HTTP/1.1 200 OK\r\n")[1:]
        self.assertEqual([len(answer.split(b"\r\n\r\n", 1)[1]) for answer in answers], [size] * count)

    def test_pipelined_requests_in_one_record_are_all_answered(self):
        with self.daemon.connect() as connection:
            connection.sendall(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20 + b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            received = b""
            while chunk := connection.recv(65536):
                received += chunk
        self.assertEqual(received.count(b"HTTP/1.1 200 OK"), 21)

    def test_the_end_is_said_and_not_only_there(self):
        with self.daemon.connect() as connection:
            connection.suppress_ragged_eofs = False
            connection.sendall(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            while connection.recv(65536):  # raises where close_notify is missing: cut off, for all the client knows
                pass

    def test_half_a_handshake_holds_nobody_up_and_ends(self):
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            halves = [stack.enter_context(socket.create_connection(("127.0.0.1", self.daemon.port), timeout=20)) for _ in range(50)]
            for number, half in enumerate(halves):
                half.sendall((b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")[number % 2])
            for _ in range(10):
                self.assertEqual(self.daemon.request("GET", "/api/health")[0], 200)
            self.assertLess(time.monotonic() - began, 5)
            for half in halves:
                with contextlib.suppress(ConnectionResetError):
                    while half.recv(1000):
                        pass
        self.assertLess(time.monotonic() - began, 15, "as long as a head may take: 10 s")

    def test_a_head_that_drips_over_tls_is_told_so(self):
        with self.daemon.connect(timeout=20) as connection:
            connection.sendall(b"GET /api/health HTTP/1.1\r\nHost:")
            self.assertTrue(connection.recv(1000).startswith(b"HTTP/1.1 408 "))

    async def test_a_websocket_follows_a_debate(self):
        _, created = self.daemon.post("/api/debates", {"task": "watched", "rounds": 1})
        url = f"wss://localhost:{self.daemon.port}/ws"
        async with websockets.connect(f"{url}?debate_id={created['debate_id']}", ssl=self.daemon.context()) as watching:
            types = []
            async with asyncio.timeout(20):
                while not types or types[-1] != "debate_end":
                    types.append(json.loads(await watching.recv())["type"])
            self.assertLess({"connection_info", "debate_created", "vote", "consensus"}, set(types))
            for size in (10, 5000, 60000):
                await watching.send(json.dumps({"type": "ping", "ts": "x" * size}))
                pong = json.loads(await watching.recv())
                self.assertEqual(len(pong["data"]["client_ts"]), size)

    async def test_a_crowd_of_websockets_is_served_side_by_side(self):
        context = self.daemon.context()
        url = f"wss://localhost:{self.daemon.port}/ws"
        sockets = [await websockets.connect(url, ssl=context) for _ in range(60)]
        for one in sockets:
            await one.recv()
            await one.send('{"type": "ping"}')
        self.assertEqual({json.loads(await one.recv())["type"] for one in sockets}, {"pong"})
        for number, one in enumerate(sockets):
            if number % 2:
                one.transport.abort()
            else:
                await one.close()
                self.assertEqual(one.close_code, 1000)
        self.assertEqual(self.daemon.request("GET", "/api/health")[0], 200)


class Certificates(unittest.TestCase):
    def test_a_new_one_is_taken_and_open_connections_go_on(self):
        with Authority() as first, Authority() as second, Sandbox() as sandbox, TlsDaemon(sandbox, first) as daemon:
            with daemon.connect() as old:
                self.assertEqual(get(old)[0], 200)
                before = daemon.serial()
                daemon.install(second)
                daemon.reload(lambda: "configuration reloaded" in daemon.text())
                self.assertNotEqual(daemon.serial(), before)
                self.assertEqual(get(old)[0], 200)

    def test_one_that_cannot_be_used_changes_nothing_and_is_named(self):
        with Authority() as authority, Authority() as other, Sandbox() as sandbox, TlsDaemon(sandbox, authority) as daemon:
            before = daemon.serial()
            right = authority.certificate.read_bytes(), authority.key.read_bytes()
            for certificate, key, said in ((other.certificate.read_bytes(), right[1], "does not belong to the certificate"), (right[0], other.key.read_bytes(), "does not belong to the certificate"),
                                           (b"nonsense\n", right[1], "holds no PEM certificate"), (right[0], b"", "holds no PEM private key"), (b"", b"", "holds no PEM certificate")):
                daemon.certificate.write_bytes(certificate)
                daemon.key.write_bytes(key)
                told = daemon.text().count(said)
                daemon.reload(lambda: daemon.text().count(said) > told)
                self.assertIn("the configuration was not reloaded", daemon.text())
                self.assertEqual(daemon.serial(), before)
            daemon.certificate.write_bytes(right[0])
            daemon.key.unlink()
            daemon.reload(lambda: f"{daemon.key}" in daemon.text().rsplit("was not reloaded", 1)[-1])
            self.assertEqual(daemon.serial(), before)

    def test_serve_does_not_start_with_one_that_cannot_be_used(self):
        with Authority() as authority, Authority() as other, Sandbox() as sandbox:
            for key, said in ((other.key, "does not belong"), (authority.directory.name + "/none", "none")):
                result = sandbox.run("serve", ARAGORA_TLS_CERT_PATH=str(authority.certificate), ARAGORA_TLS_KEY_PATH=str(key), ARAGORA_PORT=str(free_port()))
                self.assertEqual(result.returncode, 78, result.stderr)
                self.assertIn(said, result.stderr)

    def test_both_names_of_the_settings_are_understood(self):
        for names in (("tls.certificate", "tls.key"), ("tls_certificate", "tls_key")):
            with Authority() as authority, Sandbox() as sandbox:
                sandbox.write("empty.toml", f'[server]\n{names[0]} = "{authority.certificate}"\n{names[1]} = "{authority.key}"\n')
                self.assertIn(str(authority.key), sandbox.run("config", "show", "server.tls.key", check=0).stdout)
                self.assertIn("TLS is spoken here", sandbox.run("validate-env", "--only", "https", "--verbose", check=0).stdout)

    def test_browsers_are_sent_to_https_for_our_hosts_only(self):
        with Authority(name="www.example.org") as authority, Sandbox() as sandbox:
            redirect = free_port()
            with Daemon(sandbox, wait=False, ARAGORA_TLS_CERT_PATH=str(authority.certificate), ARAGORA_TLS_KEY_PATH=str(authority.key), ARAGORA_REDIRECT_LISTEN=f"127.0.0.1:{redirect}",
                        ARAGORA_ALLOWED_ORIGINS="https://app.example.org") as daemon:
                deadline = time.monotonic() + 20
                while "listens on" not in daemon.text() and time.monotonic() < deadline:
                    time.sleep(0.02)
                for host, location in (("www.example.org", f"https://www.example.org:{daemon.port}"), ("APP.example.org:80", f"https://app.example.org:{daemon.port}"), ("evil.example", None),
                                       ("www.example.org.evil.example", None), ("", None)):
                    connection = http.client.HTTPConnection("127.0.0.1", redirect, timeout=10)
                    connection.request("POST", "/api/v1/debates?a=%41&b", b"{}", {"Host": host})
                    response = connection.getresponse()
                    response.read()
                    self.assertEqual((response.status, response.getheader("Location")), (308, location + "/api/v1/debates?a=%41&b") if location else (400, None), host)
                    self.assertIsNone(response.getheader("Strict-Transport-Security"))
                    connection.close()

    def test_a_reload_changes_who_is_sent_to_https(self):
        with Authority() as authority, Authority(name="www.new.example") as another, Sandbox() as sandbox:
            redirect = free_port()
            settings = '[server]\nredirect_listen = "127.0.0.1:%d"\nallowed_origins = ["https://%s"]\n'
            sandbox.write("empty.toml", settings % (redirect, "one.example"))
            with TlsDaemon(sandbox, authority) as daemon:
                def sent_on(*hosts):
                    found = []
                    for host in hosts:
                        connection = http.client.HTTPConnection("127.0.0.1", redirect, timeout=10)
                        connection.request("GET", "/", headers={"Host": host})
                        found.append(connection.getresponse().status == 308)
                        connection.close()
                    return found
                names = ("one.example", "two.example", "localhost", "www.new.example")
                self.assertEqual(sent_on(*names), [True, False, True, False])
                sandbox.write("empty.toml", settings % (redirect, "two.example"))
                daemon.reload(lambda: sent_on("two.example") == [True])
                self.assertEqual(sent_on(*names), [False, True, True, False])
                daemon.key.write_text("no key")
                daemon.certificate.write_bytes(another.certificate.read_bytes())
                daemon.reload(lambda: "the configuration was not reloaded" in daemon.text())
                self.assertEqual(sent_on(*names), [False, True, True, False], "the names of the one that is spoken with")
                daemon.install(another)
                daemon.reload(lambda: sent_on("www.new.example") == [True])
                self.assertEqual(sent_on(*names), [False, True, False, True])

    def test_a_stop_finishes_what_is_under_way(self):
        with Authority() as authority, Sandbox() as sandbox:
            daemon = TlsDaemon(sandbox, authority)
            idle, half = daemon.connect(), socket.create_connection(("127.0.0.1", daemon.port))
            began = time.monotonic()
            self.assertEqual(daemon.stop(), 0)
            self.assertLess(time.monotonic() - began, 5)
            idle.close()
            half.close()


EC = ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


class Chain:
    """An authority, one below it, and a server's certificate that the second signed: each as the test wants it."""

    def __init__(self, directory, names=("www.example.org",), days="60", middle_days="60", key=EC, digest="sha256", usage="serverAuth"):
        self.directory = directory
        authority = "basicConstraints=critical,CA:TRUE"
        self.root = self.sign("root", None, authority, "600")
        self.middle = self.sign("middle", "root", authority, middle_days)
        self.leaf = self.sign("leaf", "middle", f"extendedKeyUsage={usage}\nsubjectAltName=" + ",".join(f"DNS:{name}" for name in names), days, key, digest)

    def sign(self, name, issuer, extensions, days, key=EC, digest="sha256"):
        at = lambda suffix, who=name: str(self.directory / f"{who}.{suffix}")
        (self.directory / f"{name}.ext").write_text(extensions + "\n")
        openssl = lambda *arguments: subprocess.run(["openssl", *arguments], check=True, capture_output=True)
        openssl("req", "-newkey", *key, "-nodes", "-subj", f"/CN={name} of a test", "-keyout", at("key"), "-out", at("csr"))
        how = ["-CA", at("pem", issuer), "-CAkey", at("key", issuer), "-CAcreateserial"] if issuer else ["-signkey", at("key")]
        openssl("x509", "-req", "-in", at("csr"), *how, "-days", days, f"-{digest}", "-extfile", at("ext"), "-out", at("pem"))
        (self.directory / f"{name}.key").chmod(0o600)
        return (self.directory / f"{name}.pem").read_text()


class Checks(unittest.TestCase):
    """What validate-env says of a certificate."""

    def look(self, sandbox, pem, key="leaf.key", check=None, **environment):
        certificate = sandbox.write("chain.pem", pem, 0o644)
        result = sandbox.run("validate-env", "--offline", "--only", "certificate", "--verbose", ARAGORA_TLS_CERT_PATH=str(certificate), ARAGORA_TLS_KEY_PATH=str(sandbox.directory / key),
                             **{"SSL_CERT_FILE": str(sandbox.directory / "root.pem"), **environment})
        if check is not None:
            self.assertEqual(result.returncode, check, result.stdout + result.stderr)
        return result.stdout + result.stderr

    def test_a_whole_chain_in_order_is_good_with_its_root_and_without(self):
        with Sandbox() as sandbox:
            chain = Chain(sandbox.directory)
            for pem in (chain.leaf + chain.middle, chain.leaf + chain.middle + chain.root):
                said = self.look(sandbox, pem, check=0, ARAGORA_ALLOWED_ORIGINS="https://www.example.org:8443")
                self.assertRegex(said, r"Certificate: www.example.org, valid for (59|60) days")

    def test_a_chain_that_is_cut_mixed_up_or_of_somebody_else_is_said_so(self):
        with Sandbox() as sandbox, Sandbox() as elsewhere:
            chain, other = Chain(sandbox.directory), Chain(elsewhere.directory)
            cases = ((chain.leaf, "the chain ends at leaf of a test; middle of a test, who signed it, is neither in the file nor known", 0), (chain.leaf + chain.root + chain.middle, "out of order", 78),
                     (chain.leaf + other.middle, "did not sign leaf of a test", 78), (chain.middle + chain.leaf, "the key does not belong to the certificate", 78), ("nonsense", "holds no PEM certificate", 78))
            for pem, said, status in cases:
                self.assertIn(said, self.look(sandbox, pem, check=status))
            self.assertIn("nor known to this machine", self.look(sandbox, chain.leaf + chain.middle, SSL_CERT_FILE="/dev/null"))
            self.assertIn("signed by nobody but itself", self.look(sandbox, chain.root, "root.key", SSL_CERT_FILE="/dev/null"))

    def test_what_ends_soon_or_is_over(self):
        for arguments, said, status in (({"days": "23"}, "Certificate: www.example.org", 0), ({"days": "20"}, "expires in 19 days", 0), ({"days": "-1"}, "the certificate expired on", 78),
                                        ({"middle_days": "20"}, "middle of a test, which is sent with it, expires on", 0), ({"middle_days": "-1"}, "middle of a test, which is sent with it, expired on", 78)):
            with Sandbox() as sandbox:
                chain = Chain(sandbox.directory, **arguments)
                self.assertIn(said, self.look(sandbox, chain.leaf + chain.middle, check=status), arguments)

    def test_what_is_weak_or_made_for_something_else(self):
        for arguments, said in (({"key": ("rsa:1024",)}, "the key of leaf of a test is too weak (1024 bits)"), ({"key": ("ec", "-pkeyopt", "ec_paramgen_curve:secp192k1")}, "too weak (192 bits)"),
                                ({"digest": "sha1"}, "is signed with SHA1"), ({"usage": "clientAuth"}, "not made for a server")):
            with Sandbox() as sandbox:
                chain = Chain(sandbox.directory, **arguments)
                self.assertIn(said, self.look(sandbox, chain.leaf + chain.middle, check=78), arguments)
        for key in (("rsa:2048",), ("ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"), ("ed25519",)):
            with Sandbox() as sandbox:
                chain = Chain(sandbox.directory, key=key)
                self.assertIn("valid for", self.look(sandbox, chain.leaf + chain.middle, check=0), key)

    def test_hosts_that_it_does_not_name(self):
        with Sandbox() as sandbox:
            chain = Chain(sandbox.directory, names=("www.example.org", "*.apps.example.org"))
            pem = chain.leaf + chain.middle
            good = "https://www.example.org,https://a.apps.example.org"
            self.assertIn("valid for", self.look(sandbox, pem, check=0, ARAGORA_ALLOWED_ORIGINS=good, ARAGORA_BASE_URL="https://www.example.org:8443/x"))
            for host in ("example.org", "a.b.apps.example.org", "apps.example.org"):
                self.assertIn(f"not one of {host}, which ARAGORA_ALLOWED_ORIGINS names", self.look(sandbox, pem, check=0, ARAGORA_ALLOWED_ORIGINS=f"{good},https://{host}"))
            self.assertIn("the certificate is not one of api.example.org", self.look(sandbox, pem, check=78, ARAGORA_BASE_URL="https://api.example.org"))
            (sandbox.directory / "leaf.key").chmod(0o644)
            self.assertIn("the private key has mode 0644", self.look(sandbox, pem, check=78))


if __name__ == "__main__":
    main()
