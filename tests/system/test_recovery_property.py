"""Random lives of a small cluster: after each step what `backup status` claims is held against what a restore really
returns. PROPERTY_SEQUENCES sets how many (8; nightly 500), PROPERTY_SEED repeats one."""
import concurrent.futures
import datetime
import json
import os
import random
import re
import shutil
import time
import traceback
import unittest

from recovery import lsn
from recovery_world import SameNumber, Template, World
from support import main

SEQUENCES = int(os.environ.get("PROPERTY_SEQUENCES", "8"))
SEED = os.environ.get("PROPERTY_SEED")
STEPS = ("commit",) * 6 + ("base", "receiver", "receiver", "end", "switch", "crash", "promote", "swap", "swap", "clock", "prune", "damage", "verify", "drill")
REFUSALS = (64, 65, 66, 69)


class Wrong(AssertionError):
    pass


def iso(micros):
    return datetime.datetime.fromtimestamp(micros // 1000000, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S") + f".{micros % 1000000:06d}Z"


def position(at):
    return f"{at >> 32:X}/{at & 0xFFFFFFFF:X}"


def micros(text):
    moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return int(moment.replace(microsecond=0).timestamp()) * 1000000 + moment.microsecond


class Sequence:
    def __init__(self, template, seed):
        self.random = random.Random(seed)
        self.world = World(template, self.random)
        self.story = []
        self.directory = self.world.sandbox.directory / "recovered"

    def run(self):
        world = self.world
        try:
            self.do("start")
            for _ in range(self.random.randint(4, 8)):
                step = self.random.choice(STEPS)
                if step == "damage" and len(self.story) < 4:
                    step = "commit"
                self.do(step)
                self.look(always=step in ("damage", "promote", "prune"))
            self.do("commit")
            if self.random.random() < 0.5:
                self.do("damage")
            self.look(always=True)
            self.do(self.random.choice(("verify", "drill")))
        except SameNumber:
            self.story[-1] += ": a number for the second time; the end"
        finally:
            world.close()

    def do(self, step):
        world = self.world
        actions = {"start": self.begin, "commit": world.commit, "base": world.base, "receiver": world.start_receiver, "end": world.end_receiver, "switch": world.switch, "crash": world.crash,
                   "promote": world.promote, "swap": self.swap, "clock": world.step_clock, "prune": world.prune, "damage": world.damage, "verify": self.verify, "drill": self.drill}
        self.story.append(step)
        self.story[-1] = f"{step}: {actions[step]()}"
        world.note_confirmed()

    def begin(self):
        return "; ".join((self.world.base(), self.world.start_receiver(), self.world.commit()))

    def swap(self):
        target, check = self.target(self.claim())
        said = self.restore(target, check, keep=True)
        if not self.directory.exists():
            return f"{' '.join(target)} refused"
        return f"{' '.join(target)}; {self.world.swap(self.directory)}; {said}"

    # What status says is possible: nullopt when it says that something is not.
    def claim(self):
        status = json.loads(self.world.run("backup", "status", "--json").stdout)
        window = status["recovery_window"]
        self.said = {key: window[key] for key in ("base", "from", "through", "end", "gap", "timeline", "missing") if key in window} if window else None
        if not window or window["gap"] or window.get("missing"):
            return None
        return window

    def look(self, always):
        claim = self.claim()
        self.require_honest(claim)
        if not always and self.random.random() < 0.55:
            return
        target, check = self.target(claim)
        said = self.restore(target, check)
        shutil.rmtree(self.directory, ignore_errors=True)
        self.story.append(f"  look: {' '.join(target)}: {said}")

    def require_honest(self, claim):
        """A whole timeline or segment that is gone is seen without opening anything."""
        if claim and self.world.damaged and self.world.newest_confirmed() > claim["timeline"] and not self.world.receiver:
            raise Wrong(f"(3) status claims {self.said}, timeline {self.world.newest_confirmed()} was confirmed")
        if claim and not self.world.damaged:
            promised = self.world.confirmed.get(claim["timeline"], 0)
            if lsn(claim["end"]) < promised:
                raise Wrong(f"(3) status claims {self.said}, {promised:X} was confirmed")

    # A target inside of what is claimed, and how its outcome is judged.
    def target(self, claim):
        world, live = self.world, self.world.timeline
        kind = self.random.choice(("latest", "latest", "time", "lsn", "xid", "timeline"))
        if not claim or kind == "latest":
            return ("--latest",), lambda *result: self.judge_latest(claim, *result)
        heads = [line for line in world.parents if line != live]
        if kind == "timeline" and heads:
            line = self.random.choice(heads)
            return ("--latest", "--target-timeline", str(line)), lambda *result: self.judge_latest(None, *result, asked=line)
        inside = [row for row in world.on_branch(claim["timeline"]) if lsn(claim["end"]) >= row.after and row.time > micros(claim["from"])]
        inside = [row for row in inside if claim["through"] and row.time <= micros(claim["through"])]
        if not inside or kind == "timeline":
            return ("--latest",), lambda *result: self.judge_latest(claim, *result)
        row = self.random.choice(inside)
        more = ("--exclusive",) if self.random.random() < 0.3 else ()
        pinned = ("--target-timeline", str(claim["timeline"])) if self.random.random() < 0.4 else ()
        if kind == "time":
            wanted = lambda other: other.time < row.time or (other.time == row.time and not more)
            return ("--target-time", iso(row.time), *more, *pinned), lambda *result: self.judge_target(claim, wanted, bool(pinned), *result)
        if kind == "lsn":
            wanted = lambda other: other.after <= row.after
            return ("--target-lsn", position(row.after), *more, *pinned), lambda *result: self.judge_target(claim, wanted, bool(pinned), *result)
        order = {other: number for number, other in enumerate(world.on_branch(claim["timeline"]))}
        wanted = lambda other: other in order and (order[other] < order[row] or (other == row and not more))
        return ("--target-xid", str(row.xid), *more, *pinned), lambda *result: self.judge_target(claim, wanted, bool(pinned), *result)

    # Of what starts a PostgreSQL server. Not with the other clock: that would run with it too.
    def try_out(self, *arguments, allowed=REFUSALS, **environment):
        world = self.world
        world.note_confirmed()
        away = {} if self.random.random() < 0.6 else {"DATABASE_URL": world.cluster.url.replace(f":{world.cluster.port}/", ":1/")}
        result = world.sandbox.run(*arguments, "--json", timeout=200, **away, **environment)
        self.last = f"{' '.join(map(str, arguments))}{' (server away)' if away else ''} → exit {result.returncode} {result.stderr.strip()[-600:]}"
        self.require_tidy(result, allowed)
        return result

    def restore(self, target, check, keep=False):
        world = self.world
        result = self.try_out("restore", *target, "--to", self.directory)
        if result.returncode != 0:
            check(None, None, result)
            return f"exit {result.returncode}: {result.stderr.strip().splitlines()[0][:200] if result.stderr.strip() else ''}"
        report = json.loads(result.stdout)
        found = world.read(self.directory, keep)
        check(report, found, result)
        return f"timeline {report['timeline']}, {len(found)} rows"

    def require_tidy(self, result, allowed):
        world = self.world
        unfinished, unproven = (self.directory.with_name(self.directory.name + end) for end in (".unfinished", ".unproven"))
        left = [path for path in (unfinished, *([self.directory] if result.returncode else [])) if path.exists()]
        if unproven.exists():
            if str(unproven) not in result.stderr:
                left.append(unproven)
            shutil.rmtree(unproven)
        if left:
            raise Wrong(f"(5) a refusal left {left}: {self.last}")
        # The receiver uses it too.
        scratch = [path.name for path in world.scratch.iterdir()]
        if scratch and not world.receiver:
            raise Wrong(f"(6) left in scratch: {scratch}: {self.last}")
        running = world.servers_in_scratch()
        if running:
            raise Wrong(f"(6) still running: {running}: {self.last}")
        if result.returncode not in (0, *allowed):
            raise Wrong(f"exit {result.returncode}: {self.last}")

    def verify(self):
        """Whatever is said to hold was replayed as far as was confirmed along its timeline."""
        claim = self.claim()
        which = self.random.choice((("--input", "latest-base"), ("--every-kind",)))
        result = self.try_out("backup", "verify", *which)
        if result.returncode != 0:
            self.refused(claim, result)
            return f"{which[-1]}, exit {result.returncode}: {result.stderr.strip()[:200]}"
        document = json.loads(result.stdout)
        found = [one for one in document.get("backups", [document]) if one["verified"] and not one["log_problem"]]
        self.last += f" {[(one['id'], one['replayed']) for one in found]}"
        bases = self.world.bases()
        for one in found:
            if one["id"] in bases:
                self.judge_replayed(bases[one["id"]], one["replayed"])
        if not any(one["replayed"] and one["replayed"]["to_the_end"] for one in found):
            raise Wrong(f"(1) the newest base backup was not replayed to the end: {self.last}")
        return f"{which[-1]}, {[one['replayed'] for one in found if one['replayed']]}"

    def judge_replayed(self, base, replayed):
        world = self.world
        if not replayed:
            raise Wrong(f"(1) a base backup holds whose log was not replayed: {self.last}")
        newest = max(line for line in world.parents if world.lies_on(base, line) and (line == base["timeline"] or line in world.confirmed))
        if replayed["timeline"] < newest:
            raise Wrong(f"(1) timeline {newest} was confirmed, replayed along {replayed['timeline']}: {self.last}")
        if replayed["to_the_end"]:
            self.require_reached(replayed["timeline"], replayed["through"])

    def require_reached(self, timeline, through):
        missing = [row.name for row in self.world.confirmed_rows(timeline) if row.after > lsn(through)]
        if missing:
            raise Wrong(f"(1) missing {missing} of timeline {timeline}, through {through}: {self.last}")

    def drill(self):
        """Passed: it was along the newest timeline, what was confirmed is there, and the live database knows nothing of it."""
        world = self.world
        claim = self.claim()
        before = world.live_state()
        result = self.try_out("drill", "--kind", "physical", allowed=(*REFUSALS, 1), ARAGORA_RPO_MINUTES="10080")
        if world.live_state() != before:
            raise Wrong(f"the live database was {before}, is {world.live_state()}: {self.last}")
        if result.returncode != 0:
            if result.stdout.strip():
                self.last += f" {[step for step in json.loads(result.stdout)['steps'] if step['outcome'] == 'failed']}"
            self.refused(claim, result)
            return f"exit {result.returncode}: {self.last[-200:]}"
        evidence = json.loads(result.stdout)
        steps = {step["name"]: step["detail"] for step in evidence["steps"]}
        self.last += f" {evidence['backup']} timeline {evidence['timeline']} through {evidence['reached']}"
        rows = int(re.search(r"(\d+) settings", steps["sessions and preferences"])[1])
        self.judge_replayed(world.bases()[evidence["backup"]], {"timeline": evidence["timeline"], "through": evidence["reached"], "to_the_end": True})
        if evidence["timeline"] < world.newest_confirmed():
            raise Wrong(f"(1) timeline {world.newest_confirmed()} was confirmed: {self.last}")
        if rows < len(world.confirmed_rows(evidence["timeline"])):
            raise Wrong(f"(1) {rows} rows of {len(world.confirmed_rows(evidence['timeline']))}: {self.last}")
        return f"timeline {evidence['timeline']}, {rows} rows"

    def refused(self, claim, result):
        if claim and not self.world.damaged:
            raise Wrong(f"(3) status claims {self.said}, but {self.last}")

    def compare(self, found, wanted, least, what):
        names = {row.name for row in wanted}
        missing = [row.name for row in least if row.name not in found]
        more = sorted(found - names)
        if missing:
            raise Wrong(f"(1) missing {missing} of {what}: {self.last}; status: {self.said}")
        if more:
            raise Wrong(f"(2) {more} lie behind {what}: {self.last}; status: {self.said}")

    def judge_latest(self, claim, report, found, result, asked=None):
        world = self.world
        if report is None:
            return self.refused(claim, result)
        line = report["timeline"]
        if asked and line != asked:
            raise Wrong(f"timeline {asked} was asked for: {self.last}")
        if not asked and line < world.newest_confirmed():
            raise Wrong(f"(1) timeline {world.newest_confirmed()} was confirmed, recovered along {line}: {self.last}; status: {self.said}")
        self.compare(found, world.on_branch(line), world.confirmed_rows(line), f"the end of timeline {line}")
        rows = world.on_branch(line)
        there = [row.name in found for row in rows]
        if there != sorted(there, reverse=True):
            raise Wrong(f"(1) a hole: {[row.name for row in rows if row.name not in found]} of timeline {line}: {self.last}")

    def judge_target(self, claim, wanted, pinned, report, found, result):
        world = self.world
        if report is None:
            if result.returncode == 64 and not pinned and len(world.parents) > 1:
                return
            return self.refused(claim, result)
        rows = [row for row in world.on_branch(claim["timeline"]) if wanted(row)]
        self.compare(found, rows, rows, "the target")


def run_one(template, seed):
    started = time.monotonic()
    sequence = None
    try:
        sequence = Sequence(template, seed)
        sequence.run()
        return seed, None, time.monotonic() - started, sequence.story
    except Exception:
        return seed, traceback.format_exc(limit=6), time.monotonic() - started, sequence.story if sequence else []


class Found(unittest.TestCase):
    """What random lives have found, each in as few steps as show it."""

    @classmethod
    def setUpClass(cls):
        cls.template = Template()
        cls.addClassCleanup(cls.template.remove)

    def setUp(self):
        self.world = World(self.template, random.Random(1))
        self.addCleanup(self.world.close)
        self.to = self.world.sandbox.directory / "recovered"
        self.world.base()
        self.world.start_receiver()

    def commit(self, number=1):
        self.world.commit_rows(number, 10)
        self.assertTrue(self.world.catch_up())
        return self.world.rows[-1]

    def restored(self, *target):
        report = self.world.sandbox.run_json("restore", *target, "--to", self.to, check=0)
        return report["timeline"], self.world.read(self.to)

    def swap(self, *target):
        self.world.sandbox.run("restore", *target, "--to", self.to, check=0)
        self.world.swap(self.to)

    def names(self, timeline):
        return {row.name for row in self.world.on_branch(timeline)}

    def test_a_drill_begins_with_a_base_that_leads_to_the_end_of_the_log(self):
        world = self.world
        row = self.commit()
        self.commit()
        world.base()  # of a timeline that is left before it
        self.swap("--target-xid", str(row.xid))
        self.commit()
        self.assertTrue(world.catch_up())
        drilled = world.sandbox.run("drill", "--kind", "physical", "--json", timeout=300, ARAGORA_RPO_MINUTES="10080")
        self.assertEqual(drilled.returncode, 0, drilled.stdout + drilled.stderr)
        self.assertEqual(json.loads(drilled.stdout)["timeline"], 2)

    def test_a_verification_goes_on_along_the_way_that_the_copy_of_a_base_allows(self):
        """A base holds the segments of its own range; that the log has lost one of them decides nothing."""
        world = self.world
        self.commit()
        self.swap("--latest")
        self.commit()
        base = next(iter(world.bases().values()))
        segment = base["stop"] >> 20
        for lost in (world.backups / "wal/00000001").glob(f"00000001{segment >> 12:08X}{segment & 0xFFF:08X}*"):
            lost.unlink()
        verified = json.loads(world.run("backup", "verify", "--input", "latest-base", "--json").stdout)
        self.assertTrue(verified["verified"], verified)
        self.assertEqual(verified["replayed"]["timeline"], 2, verified)
        world.end_receiver()
        world.cluster.stop("immediate")
        shutil.rmtree(world.backups / "wal/00000002")
        refused = world.run("backup", "verify", "--input", "latest-base")
        self.assertEqual(refused.returncode, 65, refused.stdout)

    def test_a_base_of_a_timeline_that_has_no_log_yet_is_good(self):
        """Verified along the timeline that was left before it, to whose end it does not lead."""
        world = self.world
        self.commit()
        world.end_receiver()
        self.swap("--latest")
        world.commit_rows(1, 10)
        world.base()
        verified = world.run("backup", "verify", "--input", "latest-base", "--json")
        self.assertEqual(verified.returncode, 0, verified.stdout + verified.stderr)
        self.assertEqual(json.loads(verified.stdout)["replayed"]["timeline"], 2)

    def test_a_timeline_whose_whole_folder_is_gone_is_missed(self):
        world = self.world
        self.commit()
        world.promote()
        self.commit()
        world.end_receiver()
        shutil.rmtree(world.backups / "wal/00000002")
        world.cluster.stop("immediate")
        refused = world.run("restore", "--latest", "--to", self.to)
        self.assertEqual(refused.returncode, 65, refused.stdout)
        self.assertIn("timeline 2 was confirmed and is gone", refused.stderr)
        self.assertFalse(self.to.exists())
        status = world.run("backup", "status", "--json")
        self.assertEqual(status.returncode, 1)
        self.assertIn("timeline 2 was confirmed and is gone", json.loads(status.stdout)["recovery_window"]["missing"])
        self.assertEqual(world.run("backup", "verify", "--input", "latest-base").returncode, 65)
        self.assertEqual(self.restored("--latest", "--target-timeline", "1"), (1, self.names(1)))

    def test_a_timeline_that_begins_with_a_segment_is_followed(self):
        """The one before has nothing left to stream then, and PostgreSQL answers in another way."""
        world = self.world
        self.commit()
        world.switch()
        self.assertTrue(world.catch_up())
        self.swap("--latest")
        self.assertEqual(world.parents[2][1] % (1 << 20), 0)
        self.assertTrue(world.catch_up(30), world.receiver.text())
        self.commit()
        self.assertEqual(self.restored("--latest"), (2, self.names(2)))

    def test_the_window_begins_by_the_clock_of_the_server(self):
        """Targets are times of its clock; ours was two hours away, either way, when the base backups were made."""
        world = self.world
        for offset in (-7200, 7200):
            with self.subTest(offset=offset):
                shutil.rmtree(world.backups / "base")
                before = self.commit()
                world.offset = offset
                world.base()
                world.offset = 0
                after = self.commit()
                window = json.loads(world.run("backup", "status", "--json").stdout)["recovery_window"]
                self.assertGreater(micros(window["from"]), before.time)
                self.assertLess(micros(window["from"]), after.time)
                _, found = self.restored("--target-time", iso(after.time))
                self.assertEqual(found, self.names(1))

    def test_a_recovery_to_before_its_timeline_began_leaves_the_ones_before_too(self):
        """PostgreSQL's history then says that timeline 2 was left below where it had left timeline 1."""
        world = self.world
        kept = self.commit()
        self.commit()
        world.base()
        self.commit()
        self.swap("--latest")
        self.commit()
        self.swap("--target-lsn", position(kept.after), "--target-timeline", "2")
        self.commit()
        self.assertEqual(world.timeline, 3)
        self.assertEqual(self.restored("--latest"), (3, self.names(3)))


class Recovery(unittest.TestCase):
    def test_what_status_claims_is_what_a_restore_returns(self):
        first = random.SystemRandom().randrange(1 << 30)
        seeds = [int(SEED)] if SEED else [first + number for number in range(SEQUENCES)]
        template = Template()
        self.addCleanup(template.remove)
        with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("PROPERTY_PARALLEL", "2"))) as pool:
            for seed, wrong, seconds, story in pool.map(lambda seed: run_one(template, seed), seeds):
                told = f"PROPERTY_SEED={seed} ({seconds:.0f} s)\n  " + "\n  ".join(story)
                if os.environ.get("PROPERTY_STORY"):  # at once: a campaign of hours is looked at while it runs
                    print(told, *([wrong] if wrong else []), sep="\n", flush=True)
                with self.subTest(seed=seed):
                    if wrong:
                        self.fail(f"{told}\n{wrong}")


if __name__ == "__main__":
    main()
