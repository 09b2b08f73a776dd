"""DATABASE_URL as libpq takes it: services, files of passwords, several hosts; what is wrong with one is named."""
import contextlib
import os
import socket
import time
import unittest
import urllib.parse

from support import Cluster, Daemon, Sandbox, free_port, main, postgres_database

PASSWORD = "n0t-the-sample-pw"


@contextlib.contextmanager
def silent_port():
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def parts_of(url):
    parts = urllib.parse.urlsplit(url)
    return parts, {"host": parts.hostname, "port": parts.port, "user": parts.username, "dbname": parts.path[1:]}


def saved_and_restored(test, sandbox, **environment):
    """What every command of a deployment's life meets is one server."""
    sandbox.run("migrate", check=0, **environment)
    sandbox.run("backup", check=0, **environment)
    sandbox.run("backup", "verify", check=0, **environment)
    restored = sandbox.run("restore", "--input", "latest", "--yes", check=0, **environment)
    test.assertNotIn(PASSWORD, restored.stdout + restored.stderr)


class WhateverLibpqAllows(unittest.TestCase):
    def lives(self, url_of, **environment):
        with postgres_database() as url, Sandbox(ARAGORA_ENCRYPTION_KEY=os.urandom(32).hex()) as sandbox:
            parts, said = parts_of(url)
            password_file = sandbox.write("passwords", f"{said['host']}:*:*:{said['user']}:{urllib.parse.unquote(parts.password)}\n")
            services = sandbox.write("services", "[ara]\n" + "".join(f"{k}={v}\n" for k, v in said.items()) + f"passfile={password_file}\n")
            sandbox.environment["PGSERVICEFILE"] = str(services)
            saved_and_restored(self, sandbox, DATABASE_URL=url_of(said, password_file), **environment)

    def test_keywords_instead_of_a_url(self):
        self.lives(lambda said, _: f"host={said['host']} port={said['port']} user={said['user']} dbname={said['dbname']} password='{PASSWORD}'")

    def test_a_service(self):
        self.lives(lambda said, _: "postgresql:///?service=ara")

    def test_a_service_does_without_a_file_of_passwords(self):
        """libpq names ~/.pgpass as the file of every service; nobody has to have it."""
        with Cluster() as cluster, Sandbox() as sandbox:
            home = sandbox.directory / "home"
            home.mkdir()
            password = urllib.parse.urlsplit(cluster.url).password
            for line in (f"password={password}\n", ""):  # the server trusts everybody
                services = sandbox.write("services", f"[ara]\nhost=127.0.0.1\nport={cluster.port}\nuser=aragora\ndbname=aragora\n{line}")
                sandbox.run("migrate", check=0, HOME=str(home), DATABASE_URL="postgresql:///?service=ara", PGSERVICEFILE=str(services))
            # One that it names itself has to be there, and ~/.pgpass is used when it is.
            named = sandbox.write("services", services.read_text() + f"passfile={home}/nothing\n")
            self.assertIn(f"passfile {home}/nothing", sandbox.run("migrate", check=78, HOME=str(home), DATABASE_URL="postgresql:///?service=ara", PGSERVICEFILE=str(named)).stderr)

    def test_a_service_that_the_environment_names(self):
        self.lives(lambda said, _: "postgresql:///", PGSERVICE="ara")

    def test_a_file_of_passwords(self):
        self.lives(lambda said, file: f"postgresql://{said['user']}@{said['host']}:{said['port']}/{said['dbname']}?passfile={file}&channel_binding=disable")

    def test_everything_as_parameters_and_options(self):
        self.lives(lambda said, file: f"postgresql:///{said['dbname']}?host={said['host']}&port={said['port']}&user={said['user']}&passfile={file}&options=-c%20work_mem%3D5MB&sslcrl=/nowhere/crl&sslmode=prefer")

    def test_the_environment_has_no_say_over_what_the_url_names(self):
        self.lives(lambda said, file: f"postgresql://{said['user']}@{said['host']}:{said['port']}/{said['dbname']}?passfile={file}",
                   PGHOST="nowhere.invalid", PGPORT="1", PGDATABASE="postgres", PGUSER="nobody", PGSSLMODE="disable", PGOPTIONS="-c search_path=public,pg_catalog -c work_mem=6MB")

    def test_an_abstract_socket(self):
        """unix(7): a socket with a name and no file, written with an @ before it."""
        with Cluster() as cluster, Sandbox(ARAGORA_ENCRYPTION_KEY=os.urandom(32).hex()) as sandbox:
            name = f"@aragora-test-{cluster.port}"
            cluster.configure(unix_socket_directories=f"{cluster.directory}, {name}", listen_addresses="")
            cluster.stop()
            cluster.start()
            for url in (f"host={name} port={cluster.port} user=aragora dbname=aragora", f"postgresql:///aragora?host={name}&port={cluster.port}&user=aragora",
                        f"postgresql://aragora@%40{name[1:]}:{cluster.port}/aragora"):
                sandbox.run("migrate", DATABASE_URL=url, check=0)
                sandbox.run("validate-env", "--only", "postgresql", DATABASE_URL=url, check=0)
            saved_and_restored(self, sandbox, DATABASE_URL=url)
            sandbox.run("backup", "create", "--kind", "base", DATABASE_URL=url, check=0)
            with Daemon(sandbox, DATABASE_URL=url) as daemon:
                self.assertEqual(daemon.post("/api/debates", {"task": "abstract", "rounds": 0})[0], 200)

    def test_a_password_stands_in_no_arguments(self):
        with Cluster() as cluster, Sandbox(DATABASE_URL=cluster.url, ARAGORA_ENCRYPTION_KEY=os.urandom(32).hex()) as sandbox:
            sandbox.run("migrate", check=0)
            tools = sandbox.directory / "bin"
            tools.mkdir()
            seen = sandbox.directory / "arguments"
            (tools / "pg_dump").write_text(f'#!/bin/sh\necho "$@" >>{seen}\nexec {cluster.BIN}/pg_dump "$@"\n')
            (tools / "pg_dump").chmod(0o755)
            sandbox.run("backup", check=0, PATH=f"{tools}:{os.environ['PATH']}")
            self.assertIn("--snapshot", seen.read_text())
            self.assertNotIn(PASSWORD, seen.read_text())


class SeveralHosts(unittest.TestCase):
    def url(self, cluster, hosts, ports, more=""):
        return f"postgresql://aragora:{PASSWORD}@/aragora?host={hosts}&port={ports}&{more}"

    def test_the_second_is_tried_when_the_first_never_answers(self):
        with Cluster() as cluster, silent_port() as silent, Sandbox(ARAGORA_ENCRYPTION_KEY=os.urandom(32).hex()) as sandbox:
            for more in ("connect_timeout=2", "", "target_session_attrs=read-write", "connect_timeout=60&target_session_attrs=prefer-standby"):
                started = time.monotonic()
                sandbox.run("migrate", "status", DATABASE_URL=self.url(cluster, "127.0.0.1,127.0.0.1", f"{silent},{cluster.port}", more or "sslmode=prefer"), check=0)
                self.assertLess(time.monotonic() - started, 12, more)
            saved_and_restored(self, sandbox, DATABASE_URL=f"postgresql://aragora:{PASSWORD}@127.0.0.1:{silent},127.0.0.1:{cluster.port}/aragora?connect_timeout=2")

    def test_one_that_refuses_is_passed_by(self):
        with Cluster() as cluster, Sandbox() as sandbox:
            dead = free_port()
            for hosts, ports in (("127.0.0.1,127.0.0.1", f"{dead},{cluster.port}"), (f"/nowhere,{cluster.directory}", f"{cluster.port}"), ("localhost,localhost&hostaddr=127.0.0.1,127.0.0.1", f"{dead},{cluster.port}")):
                sandbox.run("migrate", "status", DATABASE_URL=self.url(cluster, hosts, ports, "sslmode=prefer"), check=0)
            nobody = sandbox.run("migrate", DATABASE_URL=self.url(cluster, "127.0.0.1,127.0.0.1", f"{dead},{free_port()}", "sslmode=prefer"), check=69)
            self.assertIn(str(dead), nobody.stderr)
            sandbox.run("migrate", DATABASE_URL="postgresql:///", PGHOST="127.0.0.1,127.0.0.1", PGPORT=f"{dead},{cluster.port}", PGUSER="aragora", PGDATABASE="aragora", PGPASSWORD=PASSWORD, check=0)

    def test_the_dump_is_of_the_server_that_holds_the_snapshot(self):
        with Cluster() as primary, Cluster(standby_of=primary) as standby, Sandbox(ARAGORA_ENCRYPTION_KEY=os.urandom(32).hex()) as sandbox:
            both = self.url(primary, "127.0.0.1,127.0.0.1", f"{standby.port},{primary.port}", "target_session_attrs=")
            sandbox.run("migrate", DATABASE_URL=both + "read-write", check=0)
            sandbox.run("backup", DATABASE_URL=both + "primary", check=0)
            while standby.sql("SELECT pg_last_wal_replay_lsn() >= '" + primary.sql("SELECT pg_current_wal_lsn()") + "'") != "t":
                time.sleep(0.05)
            sandbox.run("backup", DATABASE_URL=both + "prefer-standby", check=0)
            sandbox.run("backup", "create", "--kind", "base", DATABASE_URL=both + "primary", check=0)
            self.assertEqual(standby.sql("SELECT pg_is_in_recovery()"), "t")
            sandbox.run("backup", "verify", DATABASE_URL=both + "read-write", check=0)


class Mistakes(unittest.TestCase):
    def test_what_is_wrong_is_named_and_is_configuration(self):
        with Cluster() as cluster, Sandbox(ARAGORA_ENV="development") as sandbox:
            closed = sandbox.directory / "not-there"
            base = cluster.url
            plain = f"postgresql://aragora:{PASSWORD}@/aragora?"
            for url, named in ((base + "?schema=public", "schema"), (base + "?sslmode=verify-ful", "verify-ful"), (base.replace(str(cluster.port), "99999"), "99999"),
                               (base + "?connect_timeout=soon", "connect_timeout"), (base + f"?sslmode=verify-full&sslrootcert={closed}", str(closed)), ("postgresql:///?service=nosuch", "nosuch"),
                               (plain + "host=a,b&port=1,2,3", "2 hosts, but 3 ports"), (plain + "host=a,b&hostaddr=127.0.0.1", "hostaddr"), (base.replace(f":{PASSWORD}", "") + f"?passfile={closed}", str(closed)),
                               (base + "?target_session_attrs=master", "master"), (base + "?keepalives_idle=x&gssencmode=maybe", "maybe"), (base + "?options=-c%20no_such_thing%3D1", "no_such_thing"),
                               (base + "?channel_binding=maybe", "maybe")):
                for command in (["migrate"], ["serve"], ["validate-env", "--only", "postgresql"]):
                    result = sandbox.run(*command, DATABASE_URL=url, ARAGORA_PORT=str(free_port()))
                    self.assertEqual(result.returncode, 78, f"{command} {url}\n{result.stdout}{result.stderr}")
                    self.assertIn(named, result.stdout + result.stderr, f"{command} {url}")
                    self.assertNotIn(PASSWORD, result.stdout + result.stderr)

    def test_a_named_pipe_holds_nobody(self):
        """libpq would open it, and wait for somebody who writes to it."""
        with Cluster() as cluster, Sandbox(ARAGORA_ENV="development") as sandbox:
            pipe = sandbox.directory / "pipe"
            os.mkfifo(pipe, 0o600)
            for name in ("passfile", "sslrootcert", "sslcert", "sslkey", "sslcrl"):
                result = sandbox.run("migrate", DATABASE_URL=cluster.url + f"?sslmode=prefer&{name}={pipe}", check=78, timeout=10)
                self.assertIn(f"{name} {pipe}", result.stderr)
            result = sandbox.run("migrate", DATABASE_URL="postgresql:///?service=ara", PGSERVICEFILE=str(pipe), check=78, timeout=10)
            self.assertIn(f"PGSERVICEFILE {pipe}", result.stderr)

    def test_a_password_that_is_not_encoded_is_not_shown(self):
        with Sandbox() as sandbox:
            for url in ("postgresql://aragora:sswordx/a?b@127.0.0.1/aragora", "postgresql://aragora:a/b?sswordx=y@127.0.0.1/aragora", "postgresql://aragora:%zzsswordx@h/d"):
                result = sandbox.run("migrate", DATABASE_URL=url, check=78)
                self.assertNotIn("sswordx", result.stdout + result.stderr)


if __name__ == "__main__":
    main()
