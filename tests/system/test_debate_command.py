"""`aragora debate`: what a terminal, a script and an operator see of a debate, and that replay notices what was changed."""
import fcntl
import json
import os
import pty
import re
import signal
import sqlite3
import struct
import subprocess
import termios
import threading
import time
import unittest

from support import BINARY, Daemon, Sandbox, main
from test_debates import until
from test_provider import KEY, Endpoint
from test_streaming import paced

TOKEN = "0c5f3f9b1d7e4a6c8b2d0e1f3a5c7b9d"


class Command(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sandbox = Sandbox(ARAGORA_API_TOKEN=TOKEN)
        cls.daemon = Daemon(cls.sandbox)
        cls.sandbox.environment["ARAGORA_PORT"] = str(cls.daemon.port)

    @classmethod
    def tearDownClass(cls):
        cls.daemon.stop()
        cls.sandbox.__exit__()

    def test_a_misspelt_option_is_named_and_not_the_question(self):
        for words, said in ((["What now?", "--ronds", "1"], "aragora debate has no option --ronds"), (["What now?", "--deadline", "6"], "aragora debate has no option --deadline"),
                            (["sho", "01M8"], "did you mean aragora debate show?")):
            self.assertIn(said, self.sandbox.run("debate", *words, check=64).stderr)

    def debate(self, *words, check=None, **environment):
        return self.sandbox.run("debate", *words, check=check, **environment)

    def held(self, *words):
        document = self.sandbox.run_json("debate", "Should we ship on Friday?", "--agents", "demo,demo,demo", "--rounds", "1", *words)
        return document["debate"]

    def test_the_answer_and_whether_there_was_consensus(self):
        result = self.debate("Should we ship on Friday?", "--agents", "demo,demo,demo", "--rounds", "1")
        self.assertIn(result.returncode, (0, 1), result.stderr)
        self.assertIn("consensus", result.stdout)
        document = self.sandbox.run_json("debate", "Should we ship on Friday?", "--agents", "demo,demo,demo")
        debate = document["debate"]
        self.assertEqual((debate["status"], debate["agents"]), ("completed", ["demo"] * 3))
        self.assertEqual(document["exit_status"], 0 if debate["consensus_reached"] else 1)

    def test_watched_without_a_terminal_it_is_a_line_for_each_event(self):
        result = self.debate("Should we ship on Friday?", "--agents", "demo,demo,demo", "--rounds", "1", "--watch")
        for said in ("the debate starts, with 3 seats", "votes for", "the debate is completed"):
            self.assertIn(said, result.stderr)
        self.assertNotIn("\x1b", result.stderr + result.stdout)

    def test_show_list_export_and_cancel(self):
        debate = self.held()
        self.assertIn(debate["id"], self.debate("list").stdout)
        self.assertRegex(self.debate("show", debate["id"]).stdout, r"- (The debate (changed|did not change) the outcome: |Nothing was debated)")
        self.assertEqual(self.sandbox.run_json("debate", "show", debate["id"])["debate"]["final_answer"], debate["final_answer"])
        self.assertIn("Should we ship on Friday?", self.debate("export", debate["id"], check=0).stdout)
        self.assertEqual(json.loads(self.debate("export", debate["id"], "--format", "json", check=0).stdout)["id"], debate["id"])
        text = self.debate("export", debate["id"], "--format", "md", check=0).stdout
        self.assertTrue(text.startswith(f"# Debate {debate['id']}\n"), text[:100])
        for said in ("> Should we ship on Friday?", "- status: completed", "- agents: demo, demo, demo", "- answered by: demo:demo\n", "- cost: 0 USD\n", "## What came of debating", "## Answer", debate["final_answer"].splitlines()[0]):
            self.assertIn(said, text)
        self.assertIn("has ended", self.debate("cancel", debate["id"]).stderr)
        self.assertIn("404", self.debate("show", "no-such").stderr)

    def test_one_that_runs_is_cancelled(self):
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        status, created = self.daemon.post("/api/debates", {"task": "slowly", "agents": ["sim:p=0,latency=20000", "sim:p=1,latency=20000"], "rounds": 1}, **bearer)
        self.assertEqual(status, 200, created)
        debate_id = created["debate_id"]
        until(lambda: self.daemon.get(f"/api/debates/{debate_id}", **bearer)[1]["status"] == "running", 10)
        told = self.sandbox.run_json("debate", "cancel", debate_id, check=0)
        self.assertEqual((told["id"], told["status"] in ("cancelled", "cancelling")), (debate_id, True), told)
        until(lambda: self.sandbox.run_json("debate", "show", debate_id)["debate"]["status"] == "cancelled", 5)  # nobody waits for its agents
        events = self.daemon.get(f"/api/debates/{debate_id}/events?limit=500", **bearer)[1]["events"]
        self.assertEqual([event["type"] for event in events].count("debate_end"), 1, events)

    def test_one_is_created_and_watched_at_a_url_with_a_key(self):
        with Sandbox(ARAGORA_PORT="9") as stranger:  # what is here is not asked
            where = ("--url", f"http://127.0.0.1:{self.daemon.port}", "--key-file", stranger.write("key", TOKEN))
            watched = stranger.run("debate", "Should we ship from afar?", "--agents", "demo,demo,demo", "--rounds", "1", "--watch", *where)
            self.assertIn(watched.returncode, (0, 1), watched.stderr)
            for said in ("the debate starts, with 3 seats", "votes for", "the debate is completed"):
                self.assertIn(said, watched.stderr)
            created = stranger.run_json("debate", "Should we ship from afar?", "--agents", "demo,demo", "--rounds", "0", *where)["debate"]
            again = stranger.run_json("debate", "show", created["id"], *where)["debate"]
            self.assertEqual((again["status"], again["final_answer"]), ("completed", created["final_answer"]))
            self.assertIn("--key-file", stranger.run("debate", "Should we ship from afar?", *where[:2]).stderr)
            self.assertNotIn(TOKEN, watched.stdout + watched.stderr)

    def test_mistakes_are_named(self):
        self.assertIn("did you mean aragora debate cancel?", self.debate("cance", check=64).stderr)
        self.assertIn("question is missing", self.debate(check=64).stderr)
        self.assertIn("agents", self.debate("Should we ship it?", "--agents", "nobody-here,demo").stderr)
        with Sandbox(ARAGORA_PORT=str(self.daemon.port)) as stranger:  # no token
            self.assertIn("--key-file", stranger.run("debate", "Should we ship it?").stderr)
            key = stranger.write("key", TOKEN)
            stranger.run("debate", "list", "--url", f"http://127.0.0.1:{self.daemon.port}", "--key-file", key, check=0)
            self.assertEqual(stranger.run("debate", "list", ARAGORA_KEY=TOKEN).returncode, 0)
        for words, named in ((("Is anybody there?", "--url", "http://127.0.0.1:9"), "--url"), (("list",), "this machine's, by ARAGORA_PORT"), (("show", "x"), "by ARAGORA_PORT"), (("--test",), "by ARAGORA_PORT")):
            result = self.debate(*words, check=69, ARAGORA_PORT="9")
            said = result.stderr + result.stdout
            self.assertIn("nothing listens at http://127.0.0.1:9", said)
            self.assertIn(named, said)
            self.assertIn("systemctl start aragora, or aragora serve; --url", said)

    def test_one_test_debate_says_what_it_proved(self):
        document = self.sandbox.run_json("debate", "--test", check=0)
        found = {one["id"]: one["message"] for one in document["findings"]}
        self.assertEqual({one["status"] for one in document["findings"]}, {"ok"}, document)
        for box, said in (("debate.completed", r"^completed: .+; cost 0(\.0+)? USD$"), ("websocket.delivery", r"^\d+ events in order, to the last"), ("debate.events", r"^\d+ events without a gap, to debate_end; [23] seats answered: .+; their chain holds$"),
                          ("debate.receipt", r"^its signature holds by the keys in the database of this machine, its place \d+ in the log"), ("debate.deleted", "^it is gone$")):
            self.assertRegex(found[box], said)
        self.assertNotIn("Does this deployment work?", json.dumps(self.daemon.get("/api/debates?limit=100", Authorization=f"Bearer {TOKEN}")[1]))
        # Who asks from elsewhere has the keys that are published.
        there = self.sandbox.run_json("debate", "--test", "--url", f"http://127.0.0.1:{self.daemon.port}", "--agents", "demo,demo-b", "--rounds", "0", check=0, ARAGORA_KEY=TOKEN)
        found = {one["id"]: one["message"] for one in there["findings"]}
        self.assertIn("by the keys that it publishes", found["debate.receipt"])
        self.assertRegex(found["debate.events"], "2 seats answered: demo, demo-b$")

    def test_a_test_debate_that_is_interrupted_while_it_runs_is_removed(self):
        open_ones = lambda: [one for one in self.daemon.get("/api/debates?limit=100", Authorization=f"Bearer {TOKEN}")[1]["debates"] if one["task"].startswith("Does this deployment work?")]
        process = subprocess.Popen([BINARY, "debate", "--test", "--agents", "sim:p=0;latency=20000,sim:p=1;latency=20000"], env=self.sandbox.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        until(open_ones, 10)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=20)
        self.assertEqual((process.returncode, open_ones()), (130, []), said)
        self.assertIn("removed the test debate", said)

    def test_why_a_debate_rests_is_told(self):
        process = subprocess.Popen([BINARY, "debate", "Does anybody answer?", "--agents", "sim:fail=1,sim:fail=1", "--cancel-on-interrupt"], env=self.sandbox.environment, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        debate, rests = process.stderr.readline().split()[1], process.stderr.readline()
        self.assertRegex(rests, r"^the debate rests: 0 of 2 agents answered, \d are needed: the simulated provider failed, as it was asked to; who did not answer is asked again")
        until(lambda: "the debate rests: 0 of 2 agents answered" in self.debate("show", debate).stdout, 10)  # not while it asks
        process.send_signal(signal.SIGINT)
        self.assertNotIn("rests", process.communicate(timeout=20)[1], "told once")

    def test_what_seats_say_while_they_speak_is_heard(self):
        with Endpoint(paced(0.02)) as endpoint, Sandbox(OPENAI_BASE_URL=endpoint.url, OPENAI_API_KEY=KEY) as sandbox, Daemon(sandbox) as daemon:
            sandbox.environment["ARAGORA_PORT"] = str(daemon.port)
            proved = sandbox.run("debate", "--test", "--agents", "openai:a,openai:b,demo", "--rounds", "0", check=0)
        self.assertRegex(proved.stdout, "WebSocket delivery: .+; [23] seats heard as they spoke; ")

    def test_replay_makes_the_same_of_what_was_recorded_and_notices_what_was_not(self):
        for more in ([], ["--consensus", "unanimous"]):
            debate = self.held(*more)
            replayed = self.sandbox.run_json("debate", "replay", debate["id"], check=0)
            self.assertTrue(replayed["same"] and replayed["whole"], replayed)
            self.assertGreaterEqual(replayed["questions"], 6, replayed)
        database = next((self.sandbox.directory / "state").glob("*.db"))
        with sqlite3.connect(database) as connection:
            connection.execute("UPDATE agent_calls SET request_hash = 'x' WHERE debate_id = ? AND phase = 'propose' AND agent = 'demo'", (debate["id"],))
            if connection.total_changes == 0:
                connection.execute("UPDATE agent_calls SET request_hash = 'x' WHERE id = (SELECT id FROM agent_calls WHERE debate_id = ? LIMIT 1)", (debate["id"],))
        changed = self.sandbox.run_json("debate", "replay", debate["id"], check=65)
        self.assertIn("another one than was asked", changed["differences"][0])
        other = self.held()
        with sqlite3.connect(database) as connection:
            connection.execute("UPDATE agent_calls SET response = '{}' WHERE debate_id = ? AND phase = 'vote'", (other["id"],))
        self.assertFalse(self.sandbox.run_json("debate", "replay", other["id"], check=65)["same"])


class Terminal(unittest.TestCase):
    def start(self, sandbox, *words, columns=100, **environment):
        primary, secondary = pty.openpty()
        fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        process = subprocess.Popen([BINARY, "debate", *words], env={**sandbox.environment, "TERM": "xterm", **environment}, stdin=subprocess.DEVNULL, stdout=secondary, stderr=secondary, close_fds=True)
        os.close(secondary)
        return process, primary

    def read(self, primary):
        text = b""
        while True:
            try:
                part = os.read(primary, 65536)
            except OSError:
                return text.decode(errors="replace")
            if not part:
                return text.decode(errors="replace")
            text += part

    def test_columns_of_what_is_being_said_and_an_interrupt_that_leaves_the_debate(self):
        with Endpoint(paced(0.02)) as endpoint, Sandbox(OPENAI_BASE_URL=endpoint.url, OPENAI_API_KEY=KEY) as sandbox, Daemon(sandbox) as daemon:
            sandbox.environment["ARAGORA_PORT"] = str(daemon.port)
            process, primary = self.start(sandbox, "Should we ship on Friday?", "--agents", "openai:a,openai:b,demo", "--rounds", "0", "--watch")
            shown = self.read(primary)
            self.assertIn(process.wait(60), (0, 1), shown)
            self.assertRegex(shown, r"openai:a: propose +openai:b: ")
            self.assertIn("wörd", shown)
            self.assertIn("\x1b[J", shown, "columns are taken away")
            self.assertNotIn(KEY, shown)
        hold = threading.Event()
        with Endpoint(paced(hold=hold)) as endpoint, Sandbox(OPENAI_BASE_URL=endpoint.url, OPENAI_API_KEY=KEY) as sandbox, Daemon(sandbox) as daemon:
            sandbox.environment["ARAGORA_PORT"] = str(daemon.port)
            for flag, status in (([], "completed"), (["--cancel-on-interrupt"], "cancelled")):
                hold.clear()
                process, primary = self.start(sandbox, "Should we ship on Friday?", "--agents", "openai,demo,demo", "--rounds", "0", *flag, columns=60)
                deadline = time.monotonic() + 10
                while not (debates := daemon.get("/api/debates?limit=1")[1]["debates"]) or debates[0]["status"] in ("completed", "cancelled"):
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.05)
                time.sleep(0.5)
                process.send_signal(signal.SIGINT)
                shown = self.read(primary)
                self.assertNotEqual(process.wait(20), 0)
                if not flag:
                    self.assertRegex(shown, r"aragora debate show \S+ --watch")
                hold.set()
                self.assertEqual(daemon.wait_finished(debates[0]["id"])["status"], status, shown)

    def test_no_color_and_a_dumb_terminal(self):
        with Sandbox() as sandbox, Daemon(sandbox) as daemon:
            sandbox.environment["ARAGORA_PORT"] = str(daemon.port)
            process, primary = self.start(sandbox, "Should we ship on Friday?", "--agents", "demo,demo", "--watch", TERM="dumb", NO_COLOR="1")
            shown = self.read(primary)
            process.wait(60)
            self.assertIsNone(re.search(r"\x1b\[", shown), shown)


if __name__ == "__main__":
    main()
