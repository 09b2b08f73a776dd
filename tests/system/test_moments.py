"""Moments are read exactly or refused, what was understood is said first, and clocks that were wrong make nothing late."""
import contextlib
import datetime
import secrets
import sqlite3
import subprocess
import unittest

from recovery import deployment
from support import Sandbox, main, sqlite_deployment

UTC = datetime.timezone.utc


class Moments(unittest.TestCase):
    def test_what_date_prints_is_read(self):
        with Sandbox(ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32)) as sandbox:
            for zone in ("UTC", "Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns", "Europe/Berlin", "Asia/Dubai"):
                for form, words in (((), "22:46:59.000000Z"), (("-R",), "22:46:59.000000Z"), (("-Iminutes",), "22:46:00.000000Z"), (("-Iseconds",), "22:46:59.000000Z"), (("-Ins",), "22:46:59.250000Z"),
                                    (("--rfc-3339=seconds",), "22:46:59.000000Z"), (("--rfc-3339=ns",), "22:46:59.250000Z"), (("-u",), "22:46:59.000000Z")):
                    printed = subprocess.run(["date", "-d", "@1795646819.25", *form], env={"TZ": zone, "LC_ALL": "C"}, capture_output=True, text=True, check=True).stdout.strip()
                    with self.subTest(printed=printed, zone=zone):
                        result = sandbox.run("restore", "--target-time", printed, "--to", sandbox.directory / "no.db", TZ=zone)
                        self.assertEqual(result.returncode, 66, result.stderr)
                        self.assertIn(f"target time: 2026-11-25T{words} (here 2026-11-2", result.stderr)
            local = sandbox.run("restore", "--target-time", "2026-11-25T22:46:59Z", "--to", sandbox.directory / "no.db", TZ="Asia/Kolkata", check=66).stderr
            self.assertLess(local.index("(here 2026-11-26 04:16:59 IST, +0530)"), local.index("there is no good backup"), "before anything else")

    def test_anything_else_is_refused_before_work_and_by_both_databases(self):
        wrong = ("2026-11-26T04:16:59", "2026-11-26 04:16:59", "2026-11-26", "2026-02-30T00:00:00Z", "2026-02-29T12:00:00+05:30", "2026-11-26T24:00:00Z", "2026-11-26T04:16:59+05", "2026-11-26T04:16:59 IST",
                 "2026-11-26T04:16:60Z", "1795646819", "@1795646819", "yesterday", "", "2026-11-26T04:16:59Z and more", "Wed, 26 Nov 2026 04:16:59 +0530")
        for database in ({}, {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}):
            with Sandbox(ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32), **database) as sandbox:
                for text in wrong:
                    with self.subTest(text=text, database=database):
                        refused = sandbox.run("restore", "--target-time=" + text, "--to", sandbox.directory / "no", "--yes", check=64)
                        self.assertNotIn("target time:", refused.stderr)
                        if text:
                            self.assertIn("not one moment", refused.stderr)
                            self.assertIn("RFC 3339", refused.stderr)

    def test_half_an_hour_matters(self):
        with sqlite_deployment() as sandbox:
            def write(name):
                with contextlib.closing(sqlite3.connect(sandbox.directory / "state/aragora.db")) as database, database:
                    database.execute("INSERT INTO settings (name, value, updated_at) VALUES (?, '', 0)", (name,))
            write("early")
            sandbox.run("backup", clock="-40m", check=0)
            write("late")
            sandbox.run("backup", clock="-20m", check=0)
            wanted = datetime.datetime.now(UTC) - datetime.timedelta(minutes=30)
            for number, (hours, minutes, colon) in enumerate(((5, 30, ""), (5, 45, ":"), (-3, 30, ""), (0, 0, ":"))):
                zone = datetime.timezone(datetime.timedelta(hours=hours, minutes=minutes if hours >= 0 else -minutes))
                text = wanted.astimezone(zone).strftime("%Y-%m-%dT%H:%M:%S%z")
                text = text[:-2] + colon + text[-2:]
                to = sandbox.directory / f"back{number}.db"
                report = sandbox.run_json("restore", "--target-time", text, "--to", to, check=0)
                self.assertTrue(report["as_of"])
                with contextlib.closing(sqlite3.connect(to)) as database:
                    self.assertEqual({row[0] for row in database.execute("SELECT name FROM settings WHERE name IN ('early', 'late')")}, {"early"}, text)


class Clocks(unittest.TestCase):
    def due(self, sandbox, **options):
        return sorted(entry["kind"] for entry in sandbox.run_json("backup", "create", "--due", check=0, **options)["backups"])

    def test_backups_from_the_future_keep_none_from_being_made_now(self):
        for kind in ("sqlite", "postgres"):
            with self.subTest(kind), contextlib.ExitStack() as stack:
                sandbox = stack.enter_context(deployment())[1] if kind == "postgres" else stack.enter_context(sqlite_deployment())
                if kind == "postgres":
                    sandbox.run("backup", "create", "--kind", "base", check=0, clock="+1200d")
                first = self.due(sandbox, clock="+1200d")
                self.assertIn("full", first)
                now = self.due(sandbox)
                self.assertEqual(now, sorted({*first, *(["base"] if kind == "postgres" else [])}), "every kind, now")
                self.assertEqual(self.due(sandbox), [], "and then nothing is due")


if __name__ == "__main__":
    main()
