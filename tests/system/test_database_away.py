"""Three instances whose PostgreSQL freezes, dies, restarts, has no connection left, fails over, takes no writes any more: callers are told at
once, health stays 200, readiness says why, all of it works again a moment later, and what was acknowledged is there."""
import contextlib
import json
import os
import re
import secrets
import signal
import threading
import time
import unittest
import urllib.parse

from support import Cluster, Daemon, Sandbox, main, postgres_database, service
from test_debates import until
from test_outage import signal_all

POOL = 5
TOLD = 2.0 + 0.5  # seconds until a request is answered and readiness knows, and a busy machine
BACK = 3.0 + 0.5
PASSWORD = "n0t-the-sample-pw"
CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'aragora' AND backend_type = 'client backend' AND application_name = 'aragora'"


class Traffic:
    """Creates debates at all instances for as long as it runs, and minds what was acknowledged and how long refusals took."""

    def __init__(self, daemons, each=2):
        self.daemons, self.acknowledged, self.refused, self.other, self.ending = daemons, [], [], [], threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(daemon,)) for daemon in daemons for _ in range(each)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        for thread in self.threads:
            thread.join()

    def run(self, daemon):
        while not self.ending.is_set():
            began = time.monotonic()
            try:
                status, headers, body = daemon.request("POST", "/api/debates", {"task": "x", "rounds": 0, "agents": ["demo-a", "demo-b"]}, timeout=60)
            except OSError as error:
                status, headers, body = 0, {}, repr(error)
            took = time.monotonic() - began
            if status == 200:
                self.acknowledged.append(body)
            elif status == 503 and "retry-after" in headers:
                self.refused.append(took)
            else:
                self.other.append((status, took, body))
            time.sleep(0.02)


@contextlib.contextmanager
def three(url, **environment):
    with Sandbox(DATABASE_URL=url, ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32), ARAGORA_DB_POOL_SIZE=str(POOL), **environment) as sandbox, contextlib.ExitStack() as stack:
        sandbox.run("migrate", check=0)
        yield [stack.enter_context(Daemon(sandbox)) for _ in range(3)]


class Case(unittest.TestCase):
    def assert_few(self, cluster, most=3 * POOL):
        """A server that was frozen takes a moment to hear that connections were given up."""
        deadline = time.monotonic() + 3
        while (there := int(cluster.sql(CONNECTIONS, user="postgres"))) > most and time.monotonic() < deadline:
            time.sleep(0.1)
        self.assertLessEqual(there, most, "more connections than the pools may have")

    def wait_told(self, daemons, reason):
        """Until readiness of all of them says so; health stays 200."""
        began = time.monotonic()
        while True:
            answers = [daemon.get("/api/ready") for daemon in daemons]
            if all(status == 503 and re.search(reason, answer.get("reason", "")) for status, answer in answers):
                break
            self.assertLess(time.monotonic() - began, TOLD, answers)
            time.sleep(0.02)
        for _, answer in answers:
            self.assertIn(answer["database"], ("unreachable", "read_only"))
            self.assertNotRegex(answer["reason"], r"127\.0\.0\.1|aragora")
        self.assertEqual([daemon.get("/api/health")[0] for daemon in daemons], [200] * 3)

    def wait_ready(self, daemons):
        began = time.monotonic()
        while not all(daemon.get("/api/ready")[0] == 200 for daemon in daemons):
            self.assertLess(time.monotonic() - began, BACK, "\n".join(daemon.text()[-1500:] for daemon in daemons))
            time.sleep(0.02)

    def assert_works(self, daemons):
        for here, there in zip(daemons, daemons[1:] + daemons[:1]):
            status, made = here.post("/api/debates", {"task": "after", "rounds": 0})
            self.assertEqual(status, 200, made)
            self.assertEqual(there.wait_finished(made["debate_id"])["status"], "completed")

    def assert_kept(self, traffic, cluster):
        """Nothing but success and 503 came, and in time; whatever was acknowledged is there."""
        self.assertEqual(traffic.other, [])
        self.assertLess(max(traffic.refused, default=0), TOLD)
        ids = {json.loads(body)["debate_id"] for body in traffic.acknowledged}
        self.assertEqual(len(ids), len(traffic.acknowledged))
        self.assertEqual(ids - set(cluster.sql("SELECT id FROM debates").split()), set(), "acknowledged, and gone")

    def assert_lines(self, daemons, changes):
        for daemon in daemons:
            lines = [line for line in daemon.text().splitlines() if re.search(r"database: (connected|unreachable|read_only)", line)]
            self.assertEqual(len(lines), changes, lines)

    def lives_through(self, cluster, daemons, reason, trouble, mend, afterwards=None, changes=2):
        with Traffic(daemons) as traffic:
            until(lambda: len(traffic.acknowledged) > 20, 20)
            self.assert_few(cluster)
            trouble()
            self.wait_told(daemons, reason)
            refused = len(traffic.refused)
            until(lambda: len(traffic.refused) >= refused + 12, 2 * TOLD)
            mend()
            self.wait_ready(daemons)
            acknowledged = len(traffic.acknowledged)
            until(lambda: len(traffic.acknowledged) >= acknowledged + 20, 10)
            self.assert_few(afterwards or cluster)
        self.assert_kept(traffic, afterwards or cluster)
        self.assert_works(daemons)
        self.assert_lines(daemons, changes)
        print(f"\n{len(traffic.acknowledged)} acknowledged, {len(traffic.refused)} refused, the last after {max(traffic.refused):.2f} s")


class Away(Case):
    def test_frozen_killed_restarted_read_only_and_without_a_connection_left(self):
        with Cluster() as cluster, three(cluster.url) as daemons:
            def setting(value):
                cluster.configure(default_transaction_read_only=value)
                cluster.program("pg_ctl", "-D", cluster.data, "reload")

            def connections(limit):
                cluster.sql(f"ALTER ROLE aragora CONNECTION LIMIT {limit}", user="postgres")
                cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'aragora'", user="postgres")

            def restart():
                cluster.wait_until_gone()
                cluster.start()

            troubles = (("does not answer", lambda: signal_all(cluster, signal.SIGSTOP), lambda: signal_all(cluster, signal.SIGCONT)),
                        ("no connection can be made|stopped", lambda: cluster.kill(children=True), restart),
                        ("no connection can be made|stopped|starting", cluster.stop, cluster.start),
                        ("default_transaction_read_only is on", lambda: setting("on"), lambda: setting("off")),
                        ("it takes no more connections", lambda: connections(0), lambda: connections(-1)))
            for number, (reason, trouble, mend) in enumerate(troubles, 1):
                with self.subTest(reason):
                    self.lives_through(cluster, daemons, reason, trouble, mend, changes=2 * number)

    def test_a_backend_that_is_killed_and_its_server_restarts(self):
        with Cluster() as cluster, three(cluster.url) as daemons, Traffic(daemons) as traffic:
            until(lambda: len(traffic.acknowledged) > 20, 20)
            os.kill(int(cluster.sql("SELECT min(pid) FROM pg_stat_activity WHERE usename = 'aragora'", user="postgres")), signal.SIGKILL)
            until(lambda: traffic.refused, 10)
            acknowledged = len(traffic.acknowledged)
            until(lambda: len(traffic.acknowledged) > acknowledged + 20, 10)
        self.assertEqual(traffic.other, [])
        self.assertLess(max(traffic.refused), TOLD)

    def test_fewer_connections_than_the_pool_would_have_are_shared(self):
        """Two of five: whoever gets no further one waits for one of its own to be returned."""
        with Cluster() as cluster, three(cluster.url) as daemons:
            for daemon in daemons[1:]:
                daemon.stop()
            cluster.sql("ALTER ROLE aragora CONNECTION LIMIT 2", user="postgres")
            cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'aragora'", user="postgres")
            self.wait_ready(daemons[:1])
            with Traffic(daemons[:1], each=8) as traffic:
                until(lambda: len(traffic.acknowledged) > 200, 30)
                self.assert_few(cluster, 2)
                self.assertEqual(daemons[0].get("/api/ready")[0], 200)
            self.assertEqual(traffic.other, [])
            self.assertGreater(len(traffic.acknowledged), 10 * len(traffic.refused), daemons[0].text()[-3000:])


class Pooled(Case):
    def test_looks_and_work_go_through_a_pooler_as_well(self):
        """In transaction mode: each statement may meet another session of the server."""
        with postgres_database() as url, Sandbox(DATABASE_URL=url, ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32)) as sandbox:
            sandbox.run("migrate", check=0)
            pooled = urllib.parse.urlsplit(url)._replace(netloc=urllib.parse.urlsplit(service("TEST_PGBOUNCER")).netloc).geturl()
            with Daemon(sandbox, DATABASE_URL=pooled) as first, Daemon(sandbox, DATABASE_URL=pooled) as second:
                with Traffic([first, second]) as traffic:
                    until(lambda: len(traffic.acknowledged) > 100, 30)
                self.assertEqual((traffic.refused, traffic.other), ([], []))
                self.assert_works([first, second])
                self.assert_lines([first, second], 0)


class Failover(Case):
    @contextlib.contextmanager
    def pair(self):
        """A primary that acknowledges what its standby has, too, and instances that know both."""
        with Cluster() as primary, Cluster(standby_of=primary) as standby:
            primary.configure(synchronous_standby_names="*")
            primary.program("pg_ctl", "-D", primary.data, "reload")
            until(lambda: primary.sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'", user="postgres") == "1", 20)
            with three(f"postgresql://aragora:{PASSWORD}@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/aragora?target_session_attrs=read-write") as daemons:
                yield primary, standby, daemons

    def promote(self, standby):
        standby.program("pg_ctl", "-D", standby.data, "-w", "promote")

    def rows(self, cluster):
        return cluster.sql("SELECT count(*), (SELECT count(*) FROM debate_events), (SELECT count(*) FROM audit_log) FROM debates", user="postgres")

    def test_to_the_standby_of_a_killed_primary_and_never_back_to_the_old_one(self):
        with self.pair() as (primary, standby, daemons):
            self.lives_through(primary, daemons, ".", lambda: primary.kill(children=True), lambda: self.promote(standby), standby)
            # The old one comes back as what it was, and would take everything.
            primary.wait_until_gone()
            primary.configure(synchronous_standby_names="")
            primary.start()
            before = self.rows(primary)
            standby.stop()
            self.wait_told(daemons, "left behind")
            self.assertEqual([daemon.post("/api/debates", {"task": "lost", "rounds": 0})[0] for daemon in daemons], [503] * 3)
            standby.start()
            self.wait_ready(daemons)
            self.assert_works(daemons)
            self.assertEqual(self.rows(primary), before)
            self.assertEqual(primary.sql("SELECT count(*) FROM debates WHERE task = 'lost'", user="postgres"), "0")

    def test_to_the_standby_of_a_frozen_primary_that_thaws(self):
        with self.pair() as (primary, standby, daemons):
            self.lives_through(primary, daemons, ".", lambda: signal_all(primary, signal.SIGSTOP), lambda: self.promote(standby), standby)
            primary.configure(synchronous_standby_names="")
            signal_all(primary, signal.SIGCONT)
            primary.program("pg_ctl", "-D", primary.data, "reload")
            until(lambda: primary.sql(CONNECTIONS, user="postgres") == "0", 10)
            before = self.rows(primary)
            standby.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'aragora'", user="postgres")
            self.assert_works(daemons)
            self.assertEqual(self.rows(primary), before)
            self.assertEqual(primary.sql(CONNECTIONS, user="postgres"), "0")


if __name__ == "__main__":
    main()
