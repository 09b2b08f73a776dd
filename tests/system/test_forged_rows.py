"""Rows that say otherwise than what is signed: whoever writes to the database changes what a debate seems to have decided, whose
it is, or that it ever was; `verify` names it. Both engines."""
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
        self.assertIn("debate:" + self.ids[2], self.within("DELETE FROM debates WHERE id = '%s'; DELETE FROM matches WHERE debate_id = '%s'" % (self.ids[2], self.ids[2])))

    def test_an_entry_before_the_first(self):
        for seq in (0, -5):
            self.assertIn(f"audit entry {seq}", self.within("INSERT INTO audit_log (seq, at, actor, action, object, result, ip_address, request_id, details, key_id, prev_hash, hash) "
                                                            f"SELECT {seq}, at, 'user:FORGED', 'backup.create', object, result, ip_address, request_id, details, key_id, prev_hash, hash FROM audit_log WHERE seq = 1"))


class OnSqlite(Forged, unittest.TestCase):
    @staticmethod
    def database():
        return Sandbox()

    def sql(self, text):
        import sqlite3
        with sqlite3.connect(self.sandbox.database) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            return connection.execute(text).fetchall()

    def restore(self, column, before, target):
        import sqlite3
        with sqlite3.connect(self.sandbox.database) as connection:
            connection.execute(f"UPDATE debates SET {column} = ? WHERE id = ?", (before[0][0], target))

    def within(self, statements):
        """What `verify` says after them; they are undone."""
        import shutil
        import sqlite3
        with sqlite3.connect(self.sandbox.database) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        kept = self.sandbox.directory / "kept.db"
        shutil.copy(self.sandbox.database, kept)
        try:
            for statement in statements.split(";"):
                self.sql(statement)
            return self.verified(65)
        finally:
            for suffix in ("-wal", "-shm"):
                self.sandbox.database.with_name(self.sandbox.database.name + suffix).unlink(missing_ok=True)
            shutil.copy(kept, self.sandbox.database)


if __name__ == "__main__":
    main()
