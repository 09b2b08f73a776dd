"""Where the daemon listens: several addresses, local sockets, metrics apart, inherited sockets; and what is wrong with an address."""
import contextlib
import http.client
import socket
import stat
import subprocess
import time
import unittest

from support import BINARY, Authority, Daemon, Sandbox, free_port, main


class LocalConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(self.path)


def ask(connection, path="/api/health", **headers):
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()


def tcp(port, host="127.0.0.1"):
    return http.client.HTTPConnection(host, port, timeout=10)


def wait_for(condition, said, limit=20):
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, said()
        time.sleep(0.01)


class Listening(Daemon):
    """One that listens where it is told to, and may not be reached by its port."""

    def __init__(self, sandbox, *addresses, **environment):
        super().__init__(sandbox, wait=False, ARAGORA_LISTEN=",".join(addresses), **environment)
        wait_for(lambda: " listens on " in self.text() or self.process.poll() is not None, self.text)
        assert self.process.poll() is None, self.text()


class Listen(unittest.TestCase):
    def test_every_address_answers_and_is_named(self):
        with Sandbox() as sandbox:
            path, first, second, third = sandbox.directory / "a.sock", free_port(), free_port(), free_port()
            with Listening(sandbox, f"127.0.0.1:{first}", f"[::1]:{second}", f"127.0.0.2:{third}", f"unix:{path}") as daemon:
                for connection in (tcp(first), tcp(second, "::1"), tcp(third, "127.0.0.2"), LocalConnection(path)):
                    for _ in range(3):
                        self.assertEqual(ask(connection)[0], 200)
                for text in (f"http://127.0.0.1:{first}", f"http://[::1]:{second}", f"http://127.0.0.2:{third}", f"unix:{path}"):
                    self.assertIn(text, daemon.text())
                self.assertEqual(ask(LocalConnection(path), "/api/debates")[0], 200, "development on this machine alone needs no credentials")
                with self.assertRaises(OSError):
                    ask(tcp(daemon.port))
            self.assertFalse(path.exists(), "the socket goes with the daemon")

    def test_a_list_in_the_file_and_the_old_settings(self):
        with Sandbox() as sandbox:
            path, port = sandbox.directory / "a.sock", free_port()
            sandbox.write("empty.toml", f'[server]\nlisten = ["127.0.0.1:{port}", "unix:{path}"]\n')
            with Daemon(sandbox, wait=False) as daemon:  # ARAGORA_PORT is set, and does nothing
                wait_for(lambda: " listens on " in daemon.text(), daemon.text)
                self.assertEqual((ask(tcp(port))[0], ask(LocalConnection(path))[0]), (200, 200))
            sandbox.write("empty.toml", f'[server]\nbind_host = "127.0.0.2"\nport = {port}\n')
            with Daemon(sandbox, wait=False, ARAGORA_PORT="") as daemon:
                wait_for(lambda: " listens on " in daemon.text(), daemon.text)
                self.assertEqual(ask(tcp(port, "127.0.0.2"))[0], 200)

    def test_all_of_ipv4_and_all_of_ipv6_together_and_ipv6_for_both(self):
        with Sandbox() as sandbox:
            port = free_port()
            environment = {"ARAGORA_API_TOKEN": "0c5f3f9b1d7e4a6c8b2d0e1f3a5c7b9d"}
            for addresses in ((f"0.0.0.0:{port}", f"[::]:{port}"), (f"[::]:{port}", f"0.0.0.0:{port}"), (f"[::]:{port}",)):
                with Listening(sandbox, *addresses, **environment):
                    self.assertEqual((ask(tcp(port))[0], ask(tcp(port, "::1"))[0]), (200, 200), addresses)
                    self.assertEqual(ask(tcp(port), "/api/debates")[0], 401, "others than this machine reach it")

    def test_a_local_socket_is_for_its_group_and_what_a_dead_daemon_left_is_replaced(self):
        with Sandbox() as sandbox:
            path = sandbox.directory / "a.sock"
            daemon = Listening(sandbox, f"unix:{path}", ARAGORA_ENV="test", ARAGORA_API_TOKEN="0c5f3f9b1d7e4a6c8b2d0e1f3a5c7b9d")
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o660)
            self.assertEqual(ask(LocalConnection(path), "/metrics")[0], 200, "it comes from this machine")
            self.assertEqual(ask(LocalConnection(path), "/metrics", **{"X-Forwarded-For": "203.0.113.9"})[0], 401, "the proxy in front says for whom")
            daemon.kill()
            daemon.stop()
            self.assertTrue(path.exists())
            with Listening(sandbox, f"unix:{path}"):
                self.assertEqual(ask(LocalConnection(path))[0], 200)

    def test_a_living_socket_and_what_is_no_socket_are_left_alone(self):
        with Sandbox() as sandbox, Sandbox() as another:
            path, port = sandbox.directory / "a.sock", free_port()
            with Listening(sandbox, f"unix:{path}"):
                result = another.run("serve", ARAGORA_LISTEN=f"unix:{path}")
                self.assertEqual((result.returncode, "another process listens there" in result.stderr), (73, True), result.stderr)
                self.assertEqual(ask(LocalConnection(path))[0], 200)
            file = sandbox.write("precious", "data")
            result = another.run("serve", ARAGORA_LISTEN=f"127.0.0.1:{port},unix:{file}")
            self.assertEqual((result.returncode, file.read_text()), (73, "data"), result.stderr)
            result = another.run("serve", ARAGORA_LISTEN=f"unix:{sandbox.directory}/none/a.sock")
            self.assertEqual((result.returncode, "none/a.sock" in result.stderr), (73, True), result.stderr)

    def test_metrics_have_an_address_of_their_own(self):
        with Sandbox() as sandbox:
            metrics, port = free_port(), free_port()
            with Listening(sandbox, f"127.0.0.1:{port}", ARAGORA_METRICS_LISTEN=f"127.0.0.1:{metrics}", ARAGORA_METRICS_TOKEN="1c5f3f9b1d7e4a6c8b2d0e1f3a5c7b9d"):
                token = {"Authorization": "Bearer 1c5f3f9b1d7e4a6c8b2d0e1f3a5c7b9d"}
                status, body = ask(tcp(metrics), "/metrics", **token)
                self.assertEqual((status, b"aragora_build_info" in body), (200, True))
                self.assertEqual(ask(tcp(port), "/metrics", **token)[0], 404)
                self.assertEqual({ask(tcp(metrics), path)[0] for path in ("/api/health", "/api/debates", "/ws", "/")}, {404})

    def test_http_before_an_address_keeps_tls_away(self):
        with Sandbox() as sandbox, Authority() as authority:
            path, plain, secure = sandbox.directory / "a.sock", free_port(), free_port()
            with Listening(sandbox, f"http://127.0.0.1:{plain}", f"127.0.0.1:{secure}", f"unix:{path}", ARAGORA_TLS_CERT_PATH=str(authority.certificate), ARAGORA_TLS_KEY_PATH=str(authority.key)):
                self.assertEqual((ask(tcp(plain))[0], ask(LocalConnection(path))[0], ask(tcp(secure))[0]), (200, 200, 400))

    def test_mistakes_are_named_by_validate_env_and_serve(self):
        with Sandbox() as sandbox:
            for text, said in (("8080", "has no port"), ("example.org:80", "is not an address to listen on"), ("::1:80", "IPv6 address without brackets"), ("127.0.0.1:70000", "no port from 0 to 65535"),
                               ("unix:a.sock", "no absolute path"), ("127.0.0.1:1,*:80", "'*:80'"), ("unix:/" + "a" * 120, "longer than 107")):
                for name in ("ARAGORA_LISTEN", "ARAGORA_METRICS_LISTEN", "ARAGORA_REDIRECT_LISTEN"):
                    result = sandbox.run("validate-env", "--offline", "--only", "configuration", check=78, **{name: text})
                    self.assertIn(said, result.stdout + result.stderr)
                    self.assertIn(name, result.stdout + result.stderr)
                self.assertIn(said, sandbox.run("serve", check=78, ARAGORA_LISTEN=text).stderr)

    def test_validate_env_tries_them_all(self):
        with Sandbox() as sandbox, Sandbox() as other:
            path, port, free = sandbox.directory / "a.sock", free_port(), free_port()
            look = lambda **environment: other.run("validate-env", "--only", "listening", "--verbose", **environment).stdout
            with Listening(sandbox, f"127.0.0.1:{port}", f"unix:{path}"), socket.create_server(("127.0.0.1", 0)) as somebody:
                taken = somebody.getsockname()[1]
                said = look(ARAGORA_LISTEN=f"127.0.0.1:{port},unix:{path},127.0.0.1:{free}", ARAGORA_METRICS_LISTEN=f"127.0.0.1:{taken}", ARAGORA_REDIRECT_LISTEN="192.0.2.1:80")
                self.assertIn(f"an aragora answers on 127.0.0.1:{port}, unix:{path}", said)
                self.assertIn(f"127.0.0.1:{free} is free", said)
                self.assertIn(f"ARAGORA_METRICS_LISTEN: cannot listen on 127.0.0.1:{taken}", said)
                self.assertIn("ARAGORA_REDIRECT_LISTEN: this machine has no address 192.0.2.1", said)
            self.assertIn("its directory must be there", look(ARAGORA_LISTEN=f"unix:{sandbox.directory}/none/a.sock"))
            self.assertIn("cannot listen", look(ARAGORA_LISTEN=f"unix:{sandbox.write('file', '')}"))
            self.assertIn("ARAGORA_PORT: does nothing beside ARAGORA_LISTEN", look(ARAGORA_LISTEN=f"127.0.0.1:{free}", ARAGORA_PORT="9"))

    def test_each_of_several_inherited_sockets_is_served(self):
        with Sandbox() as sandbox:
            path = sandbox.directory / "a.sock"
            with contextlib.ExitStack() as stack:
                sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
                local = stack.enter_context(socket.socket(socket.AF_UNIX))
                local.bind(str(path))
                local.listen()
                descriptors = [one.fileno() for one in (*sockets, local)]
                move = " ".join(f"{number}<&{descriptor}" for number, descriptor in enumerate(descriptors, 100))
                script = f"exec {move}; exec " + " ".join(f"{3 + number}<&{100 + number}" for number in range(4)) + f"; export LISTEN_PID=$$ LISTEN_FDS=4; exec {BINARY} serve"
                process = subprocess.Popen(["bash", "-c", script], env=sandbox.environment, pass_fds=descriptors, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                try:
                    for _ in range(4):
                        for one in sockets:
                            self.assertEqual(ask(tcp(one.getsockname()[1]))[0], 200)
                        self.assertEqual(ask(LocalConnection(path))[0], 200)
                finally:
                    process.terminate()
                    self.assertEqual(process.wait(40), 0)

    def test_inherited_sockets_are_told_apart_by_their_names(self):
        with Sandbox() as sandbox, contextlib.ExitStack() as stack:
            first, second, third = sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
            move = " ".join(f"{100 + number}<&{one.fileno()}" for number, one in enumerate(sockets))
            script = (f"exec {move}; exec 3<&100 4<&101 5<&102; export LISTEN_PID=$$ LISTEN_FDS=3 LISTEN_FDNAMES=aragora.socket:metrics:redirect; exec {BINARY} serve")
            environment = {**sandbox.environment, "ARAGORA_BASE_URL": "https://localhost"}
            process = subprocess.Popen(["bash", "-c", script], env=environment, pass_fds=[one.fileno() for one in sockets], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                port = lambda one: one.getsockname()[1]
                self.assertEqual([ask(tcp(port(first)), path)[0] for path in ("/api/health", "/metrics")], [200, 404])
                self.assertEqual([ask(tcp(port(second)), path)[0] for path in ("/api/health", "/metrics")], [404, 200])
                self.assertIn(ask(tcp(port(third)), Host="localhost")[0], (301, 308))
            finally:
                process.terminate()
                self.assertEqual(process.wait(40), 0)


if __name__ == "__main__":
    main()
