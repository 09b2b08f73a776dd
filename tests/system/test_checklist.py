"""The checklist as a command: every box has a state that was looked at, people answer for the rest, reports cannot be forged."""
import html.parser
import json
import re
import secrets
import sqlite3
import subprocess
import unittest

from fronts import Front
from receivers import wait_for
from support import SOURCE, Authority, Daemon, free_port, main, sqlite_deployment

PERSON = "network.firewall"


class Page(html.parser.HTMLParser):
    """Tags balance; nothing comes from elsewhere and nothing runs."""
    VOID = {"meta", "br"}

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.tags, self.text, self.comments = [], [], set(), "", []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        names = {name for name, _ in attributes}
        assert not any(name.startswith("on") or name in ("src", "href", "action", "style") for name in names), attributes
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, (tag, self.open)

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        self.comments.append(data)


class World(unittest.TestCase):
    def setUp(self):
        deployment = sqlite_deployment()
        self.sandbox = deployment.__enter__()
        self.addCleanup(deployment.__exit__, None, None, None)

    def boxes(self, *arguments, **how):
        result = self.sandbox.run("checklist", "--json", *arguments, **how)
        report = json.loads(result.stdout)["report"]
        states = report["counts"]
        self.assertEqual(result.returncode, 1 if states["failed"] else 69 if states["could_not_verify"] + states["for_a_person"] else 0)
        return {box["id"]: box for box in report["boxes"]}


class Boxes(World):
    def test_every_box_has_a_state_and_what_stands_behind_it(self):
        boxes = self.boxes()
        listed = self.sandbox.run_json("checklist", "--list", check=0)["boxes"]
        self.assertEqual(list(boxes), [box["id"] for box in listed])
        self.assertGreater(len(boxes), 80)
        for name, box in boxes.items():
            self.assertRegex(box["at"], r"^\d{4}-\d\d-\d\dT")
            if box["state"] == "proved":
                self.assertTrue(box["evidence"], name)
            if box["state"] == "failed":
                self.assertTrue(box["evidence"] and box["fix"], box)
            if box["state"] == "for_a_person":
                self.assertTrue(box["document"], name)
        # Nothing of a deployment that was not asked, and no metric of a daemon that does not run, is proved.
        for name in ("speed.health", "app.csp", "access.admin", "after.debate", "deploy.certificates", "metrics.requests", "drill.restore"):
            self.assertEqual(boxes[name]["state"], "could_not_verify", boxes[name])
        self.assertTrue(boxes["after.debate"]["fix"].endswith("run: aragora debate --test"), boxes["after.debate"])
        self.assertEqual(boxes["env.database.url"]["state"], "failed")
        self.assertEqual(boxes["env.database.migrations"]["state"], "proved", boxes["env.database.migrations"])
        # What is enough for a development machine is not called production.
        for name in ("env.shared.declared", "env.security.origins", "app.cors"):
            self.assertEqual(boxes[name]["state"], "failed", boxes[name])

    def test_a_running_deployment_a_drill_and_accounts_prove_theirs(self):
        self.sandbox.run("user", "add", "root@example.org", "--role", "admin", check=0)
        self.sandbox.run("backup", check=0)
        self.sandbox.run("drill", check=0)
        key = self.sandbox.run_json("user", "key", "create", "root@example.org")["api_key"]
        key = self.sandbox.write("key", key["key"])
        token = secrets.token_hex(32)
        with Daemon(self.sandbox, ARAGORA_API_TOKEN=token, ARAGORA_METRICS_TOKEN="m" + token, ARAGORA_IP_RATE_LIMIT="1000") as daemon:
            boxes = self.boxes("--url", f"http://127.0.0.1:{daemon.port}", "--key-file", key, ARAGORA_PORT=str(daemon.port), ARAGORA_METRICS_TOKEN="m" + token, ARAGORA_API_TOKEN=token)
            total = daemon.get("/api/debates", Authorization=f"Bearer {token}")[1]["total"]
        self.assertEqual(total, 0, "the test debate is gone")
        for name in ("app.csp", "app.limits", "deploy.health", "after.debate", "access.keys", "access.audit", "app.tokens", "metrics.requests", "metrics.latency", "metrics.active", "metrics.cpu",
                     "drill.restore", "drill.debates", "drill.smoke", "drill.time"):
            self.assertEqual(boxes[name]["state"], "proved", boxes[name])
        self.assertIn("1 key, none in clear", boxes["access.keys"]["evidence"])
        for said in ("aragora debate --test: ", "completed:", "seats answered: ", "its signature holds", "it is gone"):
            self.assertIn(said, boxes["after.debate"]["evidence"])
        self.assertEqual((boxes["access.mfa"]["state"], boxes["access.mfa"]["evidence"]), ("failed", "0 of 1 administrator have one"))
        later = self.boxes(clock="+100d")
        self.assertEqual(later["drill.debates"]["state"], "failed", "a drill is good for a quarter")
        with sqlite3.connect(self.sandbox.directory / "state/aragora.db") as database:
            database.execute("UPDATE audit_log SET actor = 'somebody' WHERE seq = 1")
        self.assertEqual(self.boxes()["access.audit"]["state"], "failed")

    def test_one_answer_that_hangs_does_not_give_up_the_others(self):
        with Daemon(self.sandbox, ARAGORA_IP_RATE_LIMIT="100000") as daemon:
            hung = []

            def rule(method, path):
                if path == "/api/health" and not hung:
                    hung.append(path)
                    return {"delay": 40}

            with Front(daemon.port, rule=rule) as front:
                boxes = self.boxes("--url", f"http://127.0.0.1:{front.port}", "--no-debate", ARAGORA_PORT=str(daemon.port))
        self.assertEqual(hung, ["/api/health"])
        self.assertEqual(boxes["deploy.health"]["state"], "could_not_verify")
        self.assertIn("no answer in time", boxes["deploy.health"]["evidence"])
        for name in ("app.csp", "app.limits"):
            self.assertEqual(boxes[name]["state"], "proved", boxes[name])

    def test_metrics_of_a_daemon_that_speaks_tls_are_read(self):
        with Authority("aragora.example") as authority:
            tls = {"ARAGORA_TLS_CERT_PATH": str(authority.certificate), "ARAGORA_TLS_KEY_PATH": str(authority.key), "ARAGORA_METRICS_TOKEN": secrets.token_hex(32)}
            self.sandbox.environment.update(tls)
            with Daemon(self.sandbox, wait=False) as daemon:
                wait_for(lambda: "listens on" in daemon.text(), daemon.text)
                self.assertEqual(self.boxes(ARAGORA_PORT=str(daemon.port))["metrics.requests"]["state"], "proved")

    ALERTS = ("alerts.errors.warning", "alerts.errors.critical", "alerts.latency", "alerts.database", "alerts.agents")

    def test_alerting_rules_are_asked_of_the_prometheus_that_is_named(self):
        self.assertEqual({self.boxes()[name]["state"] for name in self.ALERTS[:1]}, {"for_a_person"})
        self.sandbox.run("checklist", "--prometheus", "127.0.0.1:9090", check=64)
        self.sandbox.run("checklist", "--prometheus", "http://me:secret@127.0.0.1:9090", check=64)
        nobody = self.boxes("--prometheus", f"http://127.0.0.1:{free_port()}")
        self.assertEqual({nobody[name]["state"] for name in self.ALERTS}, {"could_not_verify"})
        self.assertIn("Connection refused", nobody["alerts.latency"]["evidence"])
        port = free_port()
        with Daemon(self.sandbox) as daemon:
            here = self.sandbox.directory
            rules = (SOURCE / "deploy/prometheus/aragora.rules.yml").read_text()
            whole = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": ["aragora.rules.yml"], "alerting": {"alertmanagers": [{"static_configs": [{"targets": ["127.0.0.1:9093"]}]}]},
                     "scrape_configs": [{"job_name": "aragora", "static_configs": [{"targets": [f"127.0.0.1:{daemon.port}"]}]}]}

            def boxes(what, said, rules=rules, state="failed"):  # the first looks come before the first scrape
                (here / "aragora.rules.yml").write_text(rules)
                (here / "prometheus.yml").write_text(json.dumps(what))
                with subprocess.Popen(["prometheus", f"--config.file={here}/prometheus.yml", f"--storage.tsdb.path={here}/data-{secrets.token_hex(4)}", f"--web.listen-address=127.0.0.1:{port}"],
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
                    try:
                        found = {}

                        def settled():
                            found.update(self.boxes("--prometheus", f"http://127.0.0.1:{port}/", ARAGORA_PORT=str(daemon.port)))
                            return found["alerts.latency"]["state"] == state and said in found["alerts.latency"]["evidence"]
                        wait_for(settled, lambda: str(found.get("alerts.latency")))
                        return found
                    finally:
                        server.kill()

            proved = boxes(whole, "was evaluated at", state="proved")
            for name in self.ALERTS:
                self.assertEqual(proved[name]["state"], "proved", proved[name])
            self.assertRegex(proved["alerts.latency"]["evidence"], r"AragoraLatency is loaded in http://127.0.0.1:\d+ and was evaluated at 20")
            # Nobody told, nothing scraped, a rule that is missing: none of them warns anybody.
            boxes({**whole, "alerting": {}}, "tells nobody")
            boxes({**whole, "scrape_configs": []}, "has no metrics of a daemon")
            without = boxes(whole, "has no rule AragoraLatency", rules.replace("alert: AragoraLatency\n", "alert: Other\n"))
            self.assertIn("aragora.rules.yml", without["alerts.latency"]["fix"])

    def test_agents_are_judged_by_their_calls_and_not_by_the_name_of_a_metric(self):
        def buckets(agent, **counts):
            return "".join(f'aragora_agent_latency_seconds_bucket{{agent="{agent}",le="{limit.strip("s")}"}} {count}\n' for limit, count in counts.items())

        for text, state, said in ((buckets("demo", s30=9, **{"+Inf": 9}) + buckets("anthropic", s30=0, **{"+Inf": 0}), "could_not_verify", "no provider was asked"),
                                  (buckets("anthropic", s10=50, s30=96, s60=100, **{"+Inf": 100}), "proved", "anthropic: 96 of 100 calls within 30 s"),
                                  (buckets("anthropic", s10=50, s30=94, s60=100, **{"+Inf": 100}), "failed", "94 of 100"),
                                  (buckets("openrouter", s30=10, s45=100, s60=100, **{"+Inf": 100}), "proved", "within 45 s"),
                                  (buckets("openai", s30=10, s45=100, **{"+Inf": 100}), "failed", "10 of 100")):
            with self.subTest(text), Front(None, rule=lambda m, path: {"status": 200, "body": text}) as daemon:
                box = self.boxes(ARAGORA_PORT=str(daemon.port))["speed.agents"]
                self.assertEqual(box["state"], state, box)
                self.assertIn(said, box["evidence"])

    def test_what_a_person_is_sent_to_is_there(self):
        for box in self.boxes().values():
            if box["document"]:
                page = re.fullmatch(r"(aragora[\w.-]*)\((\d)\)", box["document"])
                path = f"man/{page[1]}.{page[2]}" if page else box["document"].replace("/usr/share/doc/aragora/", "docs/").replace("/usr/share/aragora/deploy/", "deploy/")
                self.assertFalse(path.startswith("/"), box)  # test_package looks whether it is installed there
                self.assertTrue((SOURCE / path).exists(), (box["id"], path))

    def test_boxes_of_an_organisation_stand_at_the_end(self):
        self.sandbox.environment["ARAGORA_CONFIG"] = str(self.sandbox.write("etc/aragora.toml", ""))
        self.sandbox.write("etc/checks.d/own.toml", '[[check]]\nid = "mine"\ntitle = "<b>Mine</b> & *yours*"\nkind = "file"\npath = "/no/such"\nfix = "make it"\n', 0o644)
        box = list(self.boxes().values())[-1]
        self.assertEqual((box["id"], box["state"], box["fix"]), ("mine", "failed", "make it"))
        page = Page(self.sandbox.run("checklist", "--report", "html").stdout)
        self.assertIn("<b>Mine</b> & *yours*", page.text)
        self.assertIn(r"&lt;b&gt;Mine&lt;/b&gt; &amp; \*yours\*", self.sandbox.run("checklist", "--report", "md").stdout)


class Confirmations(World):
    def confirm(self, box=PERSON, check=0, **how):
        return self.sandbox.run("checklist", "--confirm", box, "--by", "Ada Lovelace", "--note", "nftables, ticket 12", check=check, **how)

    def test_a_person_answers_for_90_days_and_it_is_known_who_typed_it(self):
        self.assertEqual(self.boxes()[PERSON]["state"], "for_a_person")
        self.assertIn("confirmed by Ada Lovelace until", self.confirm().stdout)
        box = self.boxes()[PERSON]
        self.assertEqual(box["state"], "confirmed")
        self.assertIn("Ada Lovelace", box["evidence"])
        self.assertIn("nftables, ticket 12", box["evidence"])
        self.assertIn("uid", box["confirmation"]["typed_by"])
        late = self.boxes(clock="+91d")[PERSON]
        self.assertEqual(late["state"], "for_a_person")
        self.assertIn("does not hold any more", late["evidence"])

    def test_what_is_seen_to_be_wrong_is_not_confirmed_away(self):
        self.confirm("env.database.url")
        box = self.boxes()["env.database.url"]
        self.assertEqual((box["state"], box["confirmation"]["by"]), ("failed", "Ada Lovelace"))

    def test_of_a_log_that_was_altered_none_is_believed(self):
        self.confirm()
        with sqlite3.connect(self.sandbox.directory / "state/aragora.db") as database:
            database.execute("UPDATE audit_log SET details = replace(details, 'Ada', 'Eve') WHERE action = 'checklist.confirm'")
        box = self.boxes()[PERSON]
        self.assertEqual(box["state"], "for_a_person")
        self.assertIn("no confirmation is believed", box["evidence"])

    def test_without_a_name_a_note_a_box_or_a_database_there_is_none(self):
        for words in (["--confirm", PERSON], ["--confirm", PERSON, "--by", "Ada"], ["--confirm", PERSON, "--by", " ", "--note", "x"], ["--by", "Ada"], ["--confirm", PERSON, "--by", "A\x1b[31m", "--note", "x"], ["--sign"], ["--public-key", "00"],
                      ["--confirm", PERSON, "--by", "a", "--note", "b", "--report", "md"], ["--report", "pdf"], ["--key-file", "x"]):
            self.sandbox.run("checklist", *words, check=64)
        self.assertIn("did you mean network.firewall?", self.sandbox.run("checklist", "--confirm", "network.firewal", "--by", "a", "--note", "b", check=64).stderr)
        (self.sandbox.directory / "state/aragora.db").unlink()
        self.confirm(check=78)


class Reports(World):
    def signed(self, kind):
        text = self.sandbox.run("checklist", "--report", kind, "--sign").stdout
        return text

    def verdict(self, text, *more, **how):
        path = self.sandbox.directory / "report"
        path.write_text(text)
        return self.sandbox.run("checklist", "--check", path, *more, **how).returncode

    def test_each_form_shows_every_box(self):
        names = [box["id"] for box in self.sandbox.run_json("checklist", "--list")["boxes"]]
        markdown = self.sandbox.run("checklist", "--report", "md").stdout
        self.assertEqual(re.findall(r"(?m)^- \[[x ]\] .+ \(`([\w.]+)`\): \*\*", markdown), names)
        text = self.sandbox.run("checklist", "--report", "html").stdout
        page = Page(text)
        self.assertEqual((page.ids, page.open), (names, []))
        self.assertFalse(page.tags & {"script", "link", "img", "iframe", "object", "form", "base"})
        self.assertNotRegex(text, r"url\(|@import")
        self.assertIn("default-src 'none'", text)
        plain = self.sandbox.run("checklist").stdout
        self.assertRegex(plain.splitlines()[-1], r"^✗ \d+ boxes: \d+ proved, ")
        self.assertNotIn("\x1b", plain)
        document = json.loads(self.sandbox.run("checklist", "--report", "json").stdout)
        self.assertEqual((document["schema_version"], [box["id"] for box in document["report"]["boxes"]]), (1, names))
        self.assertIn("# Production checklist", self.sandbox.run_json("checklist", "--report", "md")["text"])

    def test_the_example_has_the_boxes_of_this_build(self):
        """Written by test_operator_day with KEEP_CHECKLIST=yes."""
        boxes = [(box["title"], box["id"]) for box in self.sandbox.run_json("checklist", "--list")["boxes"]]
        example = (SOURCE / "docs/examples/checklist.md").read_text()
        own = [("The certificate that clients of aragora.example.org are shown", "certificate.shown")]  # as init sets it up
        self.assertEqual(re.findall(r"(?m)^- \[[x ]\] (.+) \(`([\w.]+)`\): \*\*", example), boxes + own)
        newest = max(int(path.name.split("_")[0]) for path in (SOURCE / "migrations/postgres").iterdir())
        self.assertEqual(set(re.findall(r"Migrations: version (\d+), nothing pending", example)), {str(newest)}, "KEEP_CHECKLIST=1 and test_operator_day.py write it anew")
        for said in ("seats answered: ", "its signature holds", "it is gone"):
            self.assertIn(said, example)
        self.assertLessEqual(set(re.findall(r"(?m)^  - see (.+)$", example)), {box["document"] for box in self.boxes().values()})

    def test_a_signed_report_is_verified_anywhere_and_a_forged_one_refused(self):
        for kind in ("md", "html", "json"):
            with self.subTest(kind):
                text = self.signed(kind)
                self.assertEqual(self.verdict(text), 0)
                key = re.search(r'signature ed25519 (\w{64}) ' if kind != "json" else r'"key": "(\w{64})"', text)[1]
                # The auditor's machine has no key of ours and no configuration.
                elsewhere = {"ARAGORA_ENCRYPTION_KEY": "", "ARAGORA_STATE_DIR": "/no/such"}
                self.assertEqual(self.verdict(text, **elsewhere), 69)
                self.assertEqual(self.verdict(text, "--public-key", key, **elsewhere), 0)
                self.assertEqual(self.verdict(text, "--public-key", "0" * 64, **elsewhere), 65)
                self.assertEqual(self.verdict(text, ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32)), 65)
                self.assertEqual(self.verdict(self.sandbox.run("checklist", "--report", kind).stdout), 65, "unsigned")
                forged = {"a word": text.replace("failed", "proved", 1), "cut": text[:len(text) // 2], "the last byte": text[:-1] if kind != "json" else text[:-3], "the beginning": text[1:], "more behind": text + "more\n",
                          "more before": "more\n" + text, "twice": text + text, "nothing": "", "a bit": "".join(chr(ord(c) ^ 1) if n == len(text) // 3 else c for n, c in enumerate(text)), "another key": text.replace(key, "ab" * 32)}
                for how, changed in forged.items():
                    self.assertEqual(self.verdict(changed), 65, how)
        text = self.signed("json")
        twice = text.replace('{\n', '{\n  "report": {"boxes": []},\n', 1)
        self.assertEqual(self.verdict(twice), 65, "a member that stands there twice")
        self.assertEqual(self.verdict(text.replace('"schema_version": 1,', '"schema_version": 1,\n  "note": "all is well",')), 65)
        self.assertEqual(self.verdict(json.dumps(json.loads(text))), 65, "written in another way")
        # The manifest of a backup has a signature of the same key and is no report.
        self.sandbox.run("backup", check=0)
        manifest = next((self.sandbox.directory / "backups").rglob("manifest.json"), None)
        if manifest:
            self.assertEqual(self.verdict(manifest.read_text()), 65)

    def test_a_rotated_key_still_vouches_for_what_it_signed(self):
        text, old = self.signed("md"), self.sandbox.environment["ARAGORA_ENCRYPTION_KEY"]
        self.assertEqual(self.verdict(text, ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32), ARAGORA_ENCRYPTION_PREVIOUS_KEYS=old), 0)


if __name__ == "__main__":
    main()
