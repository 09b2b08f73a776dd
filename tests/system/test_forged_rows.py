"""Rows that say otherwise than what is signed: whoever writes to the database changes what a debate seems to have decided, whose
it is, or that it ever was; `verify` names it. Both engines."""
import contextlib
import shutil
import sqlite3
import subprocess
import unittest

from support import Daemon, Sandbox, main, postgres_database


class Forged:
    @classmethod
    def setUpClass(cls):
        cls.sandbox = cls.enterClassContext(cls.database())
        cls.sandbox.run("migrate", check=0)
        with Daemon(cls.sandbox) as daemon:
            cls.ids = [daemon.post("/api/debates", {"task": f"ask {i}", "rounds": 1})[1]["debate_id"] for i in range(3)]
            for debate_id in cls.ids:
                daemon.wait_finished(debate_id)
            doomed = daemon.post("/api/debates", {"task": "to be deleted", "rounds": 0})[1]["debate_id"]
            daemon.wait_finished(doomed)
            assert daemon.request("DELETE", f"/api/debates/{doomed}")[0] == 200

    def verified(self, status):
        return self.sandbox.run("verify", check=status).stdout

    def test_each_column_that_anybody_is_shown(self):
        self.verified(0)
        target = self.ids[1]
        changes = {"final_answer": "'FORGED: pay Mallory'", "task": "'Shall we pay Mallory?'", "confidence": "0.987", "outcome": "'no_consensus'", "consensus_kind": "'any'", "rounds": "7", "seed": "1",
                   "error": "'x'", "agents": "'[\"demo-a\",\"mallory\"]'", "consensus_reached": "1 - consensus_reached", "owner_id": "'user:mallory'", "status": "'cancelled'", "last_seq": "last_seq - 1",
                   "protocol": "1", "options": "'{\"judge\":\"mallory\"}'", "documents": "'[\"what nobody attached\"]'",
                   "consensus": "replace(consensus, '\"final_answer\":\"', '\"final_answer\":\"FORGED ')"}
        for column, value in changes.items():
            with self.subTest(column):
                before = self.sql(f"SELECT {column} FROM debates WHERE id = '{target}'")
                self.sql(f"UPDATE debates SET {column} = {value} WHERE id = '{target}'")
                try:
                    self.assertNotEqual(self.sql(f"SELECT {column} FROM debates WHERE id = '{target}'"), before)
                    self.assertIn(target, self.verified(65))
                finally:
                    self.restore(column, before, target)
        self.verified(0)

    def test_a_debate_that_never_was(self):
        self.assertIn("1 debate of it is neither there nor deleted by an entry", self.within("DELETE FROM debates WHERE id = '%s'; DELETE FROM matches WHERE debate_id = '%s'" % (self.ids[2], self.ids[2])))

    def test_an_entry_before_the_first(self):
        for seq in (0, -5):
            self.assertIn(f"audit entry {seq}", self.within("INSERT INTO audit_log (seq, at, actor, action, object, result, ip_address, request_id, details, key_id, prev_hash, hash) "
                                                            f"SELECT {seq}, at, 'user:FORGED', 'backup.create', object, result, ip_address, request_id, details, key_id, prev_hash, hash FROM audit_log WHERE seq = 1"))


class OnSqlite(Forged, unittest.TestCase):
    @classmethod
    def database(cls):
        return Sandbox()

    def sql(self, text, *values):
        with contextlib.closing(sqlite3.connect(self.sandbox.directory / "state/aragora.db", isolation_level=None)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            return connection.execute(text, values).fetchall()

    def restore(self, column, before, target):
        self.sql(f"UPDATE debates SET {column} = ? WHERE id = ?", before[0][0], target)

    def within(self, statements, status=65):
        """What `verify` says after them; they are undone."""
        database = self.sandbox.directory / "state/aragora.db"
        self.sql("PRAGMA wal_checkpoint(TRUNCATE)")
        kept = shutil.copy(database, self.sandbox.directory / "kept.db")
        try:
            for statement in statements.split(";"):
                self.sql(statement)
            return self.verified(status)
        finally:
            self.sql("PRAGMA wal_checkpoint(TRUNCATE)")
            shutil.copy(kept, database)


class OnPostgres(Forged, unittest.TestCase):
    @classmethod
    def database(cls):
        cls.url = cls.enterClassContext(postgres_database())
        return Sandbox(DATABASE_URL=cls.url)

    def sql(self, text):
        return subprocess.run(["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", self.url, "-c", text], capture_output=True, text=True, check=True).stdout

    def restore(self, column, before, target):
        self.sql(f"UPDATE debates d SET {column} = b.{column} FROM kept.debates b WHERE b.id = d.id AND d.id = '{target}'")

    def setUp(self):
        self.sql("CREATE SCHEMA kept; CREATE TABLE kept.debates AS SELECT * FROM debates; CREATE TABLE kept.events AS SELECT * FROM debate_events; CREATE TABLE kept.matches AS SELECT * FROM matches; CREATE TABLE kept.salts AS SELECT * FROM receipt_salts")
        self.addCleanup(self.sql, "DROP SCHEMA kept CASCADE")

    def within(self, statements, status=65):
        self.sql(statements)
        try:
            return self.verified(status)
        finally:
            self.sql("DELETE FROM audit_log WHERE seq < 1; INSERT INTO debates SELECT * FROM kept.debates ON CONFLICT DO NOTHING; INSERT INTO debate_events SELECT * FROM kept.events ON CONFLICT DO NOTHING; "
                     "INSERT INTO matches SELECT * FROM kept.matches ON CONFLICT DO NOTHING; INSERT INTO receipt_salts SELECT * FROM kept.salts ON CONFLICT DO NOTHING")


if __name__ == "__main__":
    main()
