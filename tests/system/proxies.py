"""The proxies of deploy/, in front of daemons of a test's own: their files as they are, but for ports, certificate and places."""
import http.client
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import time

from support import SOURCE, Authority, Daemon, free_port

DEPLOY = SOURCE / "deploy"
HOST = "aragora.example.org"
THE_HOST = "# --- the host;"


def replaced(text, places):
    """Each is there: whoever changes a file of deploy/ is told that its test is to change, too."""
    for old, new in places.items():
        assert old in text, f"{old!r} is not in the file any more"
        text = text.replace(old, new)
    return text


def fetch(connection, method, path, body=None, headers=None):
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


class Proxy(Daemon):
    """What a client sees, over TLS. Speaks to it as to a daemon."""

    BASE = ""

    def __init__(self, ports):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="aragora-proxy-"))
        self.authority = Authority(HOST)
        self.port, self.plain_port = free_port(), free_port()
        self.output = open(self.directory / "output", "w+")
        command = self.configure(list(ports))
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT, env={"PATH": os.environ["PATH"], "HOME": str(self.directory)})
        self.started = time.monotonic()
        self.wait_ready()

    def write(self, name, text):
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def wait_ready(self, limit=20):
        while self.process.poll() is None and time.monotonic() - self.started < limit:
            try:
                return socket.create_connection(("127.0.0.1", self.port), timeout=limit).close()  # of those behind it nothing is asked
            except OSError:
                time.sleep(0.02)
        raise AssertionError(f"the proxy does not listen:\n{self.text()}")

    def text(self):
        self.output.flush()
        return (self.directory / "output").read_text()

    def context(self):
        return ssl.create_default_context(cafile=self.authority.file)

    def connection(self, timeout=20, source="127.0.0.1"):
        """As a client with that address; it knows the proxy by its name."""
        connection = http.client.HTTPSConnection(HOST, self.port, timeout=timeout)
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=timeout, source_address=(source, 0))
        try:
            connection.sock = self.context().wrap_socket(raw, server_hostname=HOST)
        except BaseException:
            raw.close()
            raise
        return connection

    def ask(self, path, source="127.0.0.1", **headers):
        return fetch(self.connection(source=source), "GET", path, headers=headers)

    def socket(self, query, **how):
        """A WebSocket's address and how to get there, for websockets.connect."""
        return {"uri": f"wss://{HOST}:{self.port}{self.BASE}/ws?{query}", "host": "127.0.0.1", "port": self.port, "ssl": self.context(), "server_hostname": HOST, **how}

    def everything_written(self):
        """Whatever stands in its files, but those that configured it."""
        return "\n".join(path.read_text(errors="replace") for path in self.directory.rglob("*") if path.is_file() and path.suffix in (".log", "") and path.parent.name != "snippets")

    def stop(self, limit=20):
        self.process.terminate()
        try:
            self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.output.close()
        self.authority.__exit__()
        shutil.rmtree(self.directory, ignore_errors=True)


class Nginx(Proxy):
    # What Debian's nginx.conf says, as far as it matters here.
    FRAME = """{user} worker_processes 1; daemon off; pid {directory}/pid; error_log stderr crit;
events {{ worker_connections 1000; }}
http {{
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  include conf.d/*.conf;
}}
"""

    def places(self, ports):
        servers = [f"    server 127.0.0.1:{port} max_fails=1 fail_timeout=2s;" for port in (8080, 8081, 8082)]
        return {"\n".join(servers): "\n".join(f"    server 127.0.0.1:{port} max_fails=1 fail_timeout=2s;" for port in ports)}

    def here(self):
        live = f"/etc/letsencrypt/live/{HOST}"
        return {"listen 443 ssl": f"listen 127.0.0.1:{self.port} ssl", "listen [::]:443 ssl http2;": "", "listen 80;": f"listen 127.0.0.1:{self.plain_port};", "listen [::]:80;": "",
                f"{live}/fullchain.pem": str(self.authority.certificate), f"{live}/privkey.pem": str(self.authority.key), "/var/www/html": f"{self.directory}/html"}

    def configure(self, ports):
        logs = {"/var/log/nginx": str(self.directory)}
        self.write("conf.d/aragora.conf", replaced((DEPLOY / "nginx/aragora.conf").read_text(), {**self.places(ports), **self.here(), **logs}))
        return self.command()

    def command(self):
        self.write("snippets/aragora-proxy.conf", (DEPLOY / "nginx/aragora-proxy.conf").read_text())
        user = "user root;" if os.geteuid() == 0 else ""
        self.write("nginx.conf", self.FRAME.format(user=user, directory=self.directory))
        return ["/usr/sbin/nginx", "-c", f"{self.directory}/nginx.conf", "-p", str(self.directory)]

    def reload(self):
        subprocess.run([*self.command(), "-s", "reload"], check=True, capture_output=True, timeout=20)


class NginxBelowAPath(Nginx):
    """A host that serves something else, too."""

    BASE = "/aragora"

    def configure(self, ports):
        logs = {"/var/log/nginx": str(self.directory)}
        upper, rest = (DEPLOY / "nginx/aragora.conf").read_text().split(THE_HOST)
        assert "server {" not in upper and "server {" in rest
        self.write("conf.d/aragora.conf", replaced(upper, self.places(ports)))
        self.write("snippets/aragora-subpath.conf", replaced((DEPLOY / "nginx/aragora-subpath.conf").read_text(), logs))
        self.write("conf.d/host.conf", f"server {{ listen 127.0.0.1:{self.port} ssl; ssl_certificate {self.authority.certificate}; ssl_certificate_key {self.authority.key};\n"
                                       'access_log off; include snippets/aragora-subpath.conf; location / { return 200 "another service"; } }\n')
        return self.command()
