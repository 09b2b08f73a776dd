"""How often clients may come: over one and several instances, for addresses, accounts, logins and what is dear; told honestly, and held while Redis is not there."""
import concurrent.futures
import contextlib
import json
import secrets
import time
import unittest

from support import Daemon, RedisServer, Sandbox, SlowWire, main, postgres_database, service
from test_debates import until
from test_sisters import AWAY, BACK

UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}


@contextlib.contextmanager
def instances(number, redis_url, **environment):
    with postgres_database() as url, contextlib.ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(DATABASE_URL=url, REDIS_URL=redis_url, ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32), JWT_SECRET=secrets.token_hex(32)))
        sandbox.run("migrate", check=0)
        yield sandbox, [stack.enter_context(Daemon(sandbox, **environment)) for _ in range(number)]


def ask(daemon, address="203.0.113.1", path="/api/agents", method="GET", body=None, **headers):
    return daemon.request(method, path, body, {"X-Forwarded-For": address, **headers})


def passing(daemons, number, **how):
    """How many of so many requests, to one instance after the other, are not refused; and how long they took."""
    started = time.monotonic()
    codes = [ask(daemons[turn % len(daemons)], **how)[0] for turn in range(number)]
    return sum(code != 429 for code in codes), time.monotonic() - started


class Shared(unittest.TestCase):
    def assert_limit(self, passed, limit, window=60):
        count, took = passed
        self.assertGreaterEqual(count, limit - 1)
        self.assertLessEqual(count, limit + 1 + took * limit / window)

    def test_in_no_window_do_two_instances_admit_more_than_the_limit_and_one(self):
        """Crowds, pauses and trickles for more than a window: a bucket that fills again meanwhile would admit twice as many. At the same time
        somebody else comes evenly, as often as may be."""
        limit, window, random = 20, 60, secrets.SystemRandom()
        with instances(2, service("TEST_REDIS"), ARAGORA_IP_RATE_LIMIT=str(limit)) as (_, daemons):
            admitted, even, began = [], [], time.monotonic()
            due = began
            while time.monotonic() < began + 75:
                for _ in range(random.choice((1, 1, 3, 30))):
                    asked = time.monotonic()
                    if ask(random.choice(daemons))[0] != 429:
                        admitted.append((asked, time.monotonic()))
                pause = time.monotonic() + random.choice((0.1, 1, 3))
                while time.monotonic() < pause:
                    if time.monotonic() >= due:
                        even.append(ask(daemons[len(even) % 2], address="203.0.113.2")[0])
                        due = time.monotonic() + window / limit
                    time.sleep(0.01)
            for start, _ in admitted:  # those that were decided within the minute for sure
                self.assertLessEqual(sum(asked >= start and answered < start + window for asked, answered in admitted), limit + 1)
            self.assertGreaterEqual(len(admitted), limit + limit // 2, "what is a window old is free again")
            self.assertGreater(len(even), limit)
            self.assertEqual(set(even), {200})

    def test_two_instances_admit_what_one_may(self):
        with instances(2, service("TEST_REDIS"), ARAGORA_IP_RATE_LIMIT="60") as (_, daemons):
            self.assert_limit(passing(daemons, 100), 60)
            self.assert_limit(passing(daemons, 100, address="203.0.113.2"), 60)
            status, headers, body = next(answer for answer in (ask(daemons[1]) for _ in range(20)) if answer[0] == 429)
            self.assertEqual((status, json.loads(body)["retry_after"]), (429, int(headers["retry-after"])))
            self.assertLessEqual(int(headers["retry-after"]), 60)

    def test_every_counted_answer_tells(self):
        with instances(2, service("TEST_REDIS"), ARAGORA_IP_RATE_LIMIT="60") as (_, daemons):
            for left, (path, expected) in zip((59, 58, 57), (("/api/agents", 200), ("/api/debates/none", 404), ("/api/agents?odd=1", 400))):
                _, headers, _ = answer = ask(daemons[left % 2], path=path)
                self.assertEqual(answer[0], expected)
                self.assertEqual(headers["ratelimit-policy"], '"default";q=60;w=60')
                self.assertRegex(headers["ratelimit"], f'^"default";r={left};t=(60|59|58|57)$')
                self.assertEqual((headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]), ("60", str(left)))
                self.assertAlmostEqual(int(headers["x-ratelimit-reset"]), time.time() + 60, delta=5)
            self.assertNotIn("ratelimit", ask(daemons[0], path="/api/health")[1])

    def test_addresses_are_networks(self):
        with instances(2, service("TEST_REDIS"), ARAGORA_IP_RATE_LIMIT="6") as (_, daemons):
            for same in (("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"), ("::ffff:203.0.113.9", "203.0.113.9")):
                self.assertEqual(sum(passing(daemons, 4, address=address)[0] for address in same), 6)
            self.assertEqual(passing(daemons, 4, address="2001:db8:1:3::1")[0], 4)

    def test_what_is_dear_has_limits_of_its_own(self):
        with instances(2, service("TEST_REDIS"), ARAGORA_IP_RATE_LIMIT="1000", ARAGORA_DEBATE_RATE_LIMIT="3", ARAGORA_HANDSHAKE_RATE_LIMIT="4", ARAGORA_REFRESH_RATE_LIMIT="2") as (_, daemons):
            self.assertEqual(passing(daemons, 8, path="/api/debates", method="POST", body={"task": "x", "rounds": 0})[0], 3)
            self.assertEqual(passing(daemons, 8, path="/ws", **UPGRADE)[0], 4)
            self.assertEqual(passing(daemons, 8, path="/api/auth/refresh", method="POST", body={"refresh_token": "none"})[0], 2)
            status, headers, _ = ask(daemons[0], path="/api/debates", method="POST", body={"task": "x"})
            self.assertEqual((status, headers["x-ratelimit-limit"]), (429, "3"))
            self.assertIn('"debates";q=3;w=60', headers["ratelimit-policy"])
            self.assertEqual(passing(daemons, 8)[0], 8)

    def test_an_account_is_counted_over_its_addresses(self):
        with instances(2, service("TEST_REDIS"), ARAGORA_IP_RATE_LIMIT="1000", ARAGORA_ACCOUNT_RATE_LIMIT="8") as (sandbox, daemons):
            password = sandbox.run("user", "add", "--email", "ada@example.org", "--role", "member", check=0).stdout.strip().splitlines()[-1]
            login = daemons[0].post("/api/auth/login", {"email": "ada@example.org", "password": password})[1]
            token = {"Authorization": f"Bearer {login['access_token']}"}
            codes = [ask(daemons[turn % 2], address=f"203.0.113.{turn}", **token)[0] for turn in range(20)]
            self.assertEqual((codes.count(200), codes.count(429)), (8, 12))
            self.assertEqual(ask(daemons[0], address="203.0.113.1")[0], 200, "the address is not to blame")

    def test_codes_and_tokens_for_a_new_password_are_guessed_slowly_over_instances(self):
        with instances(2, service("TEST_REDIS"), ARAGORA_IP_RATE_LIMIT="1000") as (_, daemons):
            def guesses(path, body, number):
                answers = [ask(daemons[turn % 2], path=path, method="POST", body=body) for turn in range(number)]
                refused = [answer for answer in answers if answer[0] == 429]
                self.assertTrue(all(1 <= int(headers["retry-after"]) <= 60 for _, headers, _ in refused))
                return len(answers) - len(refused), {headers["ratelimit-policy"] for _, headers, _ in refused}

            self.assertEqual(guesses("/api/auth/mfa/verify", {"pending_token": "x.y.z", "code": "123456"}, 25), (20, {'"mfa";q=20;w=60'}))
            for path in ("/api/auth/password/reset", "/api/auth/setup"):  # one bucket
                allowed = guesses(path, {"token": "nothing", "new_password": "a long enough password", "email": "a@example.org", "password": "a long enough password"}, 7)
                self.assertEqual(allowed, (5 if path.endswith("reset") else 0, {'"reset";q=5;w=60'}))
            self.assertEqual(ask(daemons[0], address="203.0.113.9", path="/api/auth/mfa/verify", method="POST", body={"pending_token": "x.y.z", "code": "1"})[0], 401)

    def test_thirty_guesses_at_once_over_three_instances_are_five(self):
        with instances(3, service("TEST_REDIS")) as (sandbox, daemons):
            sandbox.run("user", "add", "--email", "ada@example.org", "--role", "member", check=0)
            with concurrent.futures.ThreadPoolExecutor(30) as pool:
                codes = list(pool.map(lambda turn: daemons[turn % 3].post("/api/auth/login", {"email": "ada@example.org", "password": "wrong"})[0], range(30)))
            self.assertEqual((codes.count(401), codes.count(429)), (5, 25))

    def test_right_passwords_are_not_counted(self):
        with instances(2, service("TEST_REDIS")) as (sandbox, daemons):
            password = sandbox.run("user", "add", "--email", "ada@example.org", "--role", "member", check=0).stdout.strip().splitlines()[-1]
            self.assertEqual({daemons[turn % 2].post("/api/auth/login", {"email": "ada@example.org", "password": password})[0] for turn in range(12)}, {200})


class Strays(unittest.TestCase):
    """What is refused before it reaches a route costs its sender as much as the rest."""

    KINDS = {"nothing there": (404, "GET /api/nothing/there HTTP/1.1"), "another method": (405, "DELETE /api/agents HTTP/1.1"), "another question": (400, "GET /api/agents?odd=1 HTTP/1.1"),
             "a foreign origin": (403, "POST /api/debates HTTP/1.1", "Origin: https://evil.example"), "a preflight": (403, "OPTIONS /api/debates HTTP/1.1", "Origin: https://evil.example"),
             "a good preflight": (204, "OPTIONS /api/debates HTTP/1.1", "Origin: http://localhost:3000"), "no method of ours": (501, "BREW /api/agents HTTP/1.1"),
             "two hosts": (400, "GET /api/agents HTTP/1.1", "Host: y"), "no target": (400, "GET /% HTTP/1.1"), "another version": (505, "GET / HTTP/2.0")}

    @staticmethod
    def status(daemon, address, line, *more):
        answer = daemon.raw("\r\n".join((line, "Host: x", f"X-Forwarded-For: {address}", "Connection: close", *more, "", "")).encode())
        return int(answer.split()[1]), answer

    def test_they_are_counted_with_everything_else(self):
        with Sandbox() as sandbox, Daemon(sandbox, ARAGORA_IP_RATE_LIMIT="10") as daemon:
            for number, (kind, (expected, *lines)) in enumerate(self.KINDS.items()):
                if kind == "another version":
                    continue  # its fields are not read: by the address of its connection, below
                address = f"203.0.113.{number}"
                statuses = [self.status(daemon, address, *lines)[0] for _ in range(14)]
                self.assertEqual((statuses[:10], set(statuses[11:])), ([expected] * 10, {429}), kind)
                self.assertEqual(ask(daemon, address)[0], 429, kind)
                self.assertEqual(ask(daemon, address, "/api/health")[0], 200, "never counted")
            _, answer = self.status(daemon, "203.0.113.0", "GET /api/nothing/there HTTP/1.1")
            self.assertIn(b"RATE_LIMITED", answer)
            self.assertNotIn(b"/api/debates", answer, "the list of routes is not even made")
            self.assertEqual({self.status(daemon, "203.0.113.99", *self.KINDS["another version"][1:])[0] for _ in range(30)}, {505}, "a trusted proxy's is of all its clients")
        with Sandbox() as sandbox, Daemon(sandbox, ARAGORA_IP_RATE_LIMIT="10", ARAGORA_TRUSTED_PROXIES="192.0.2.1") as daemon:
            statuses = [self.status(daemon, "203.0.113.99", *self.KINDS["another version"][1:])[0] for _ in range(14)]
            self.assertEqual((statuses[:9], set(statuses[11:])), ([505] * 9, {429}), statuses)  # one was spent on being ready, maybe

    def test_over_all_instances(self):
        with instances(2, service("TEST_REDIS"), ARAGORA_IP_RATE_LIMIT="60") as (_, daemons):
            for number, kind in enumerate(("nothing there", "no method of ours")):
                passed, took = self.passing(daemons, f"203.0.113.{number}", kind)
                self.assertGreaterEqual(passed, 59, kind)
                self.assertLessEqual(passed, 61 + took, kind)

    def test_while_redis_will_not_count(self):
        with RedisServer() as redis, instances(1, redis.url, ARAGORA_IP_RATE_LIMIT="60") as (_, daemons):
            redis.cli("ACL", "SETUSER", "default", "-eval", "-evalsha")
            for number, kind in enumerate(("nothing there", "no method of ours")):
                passed, took = self.passing(daemons, f"203.0.113.{number}", kind)
                self.assertLessEqual(passed, 61 + took, kind)

    def passing(self, daemons, address, kind):
        started = time.monotonic()
        statuses = [self.status(daemons[turn % len(daemons)], address, *self.KINDS[kind][1:])[0] for turn in range(100)]
        return 100 - statuses.count(429), time.monotonic() - started


class Troubled(unittest.TestCase):
    def test_without_redis_each_has_its_share_and_nothing_is_forgotten(self):
        with RedisServer() as redis, instances(2, redis.url, ARAGORA_IP_RATE_LIMIT="60", ARAGORA_INSTANCE_COUNT="2") as (_, daemons):
            passing(daemons, 70, address="203.0.113.1")
            redis.cli("FLUSHALL")
            self.assertLessEqual(passing(daemons, 40, address="203.0.113.1")[0], 6, "an emptied Redis fills no bucket")
            redis.kill()
            until(lambda: all(AWAY in daemon.text() for daemon in daemons), 10)
            self.assertLessEqual(passing(daemons, 40, address="203.0.113.1")[0], 6, "who was refused is refused")
            passed, took = passing(daemons, 100, address="203.0.113.2")
            self.assertGreaterEqual(passed, 58)
            self.assertLessEqual(passed, 62 + took, "two shares of one limit")
            redis.start()
            until(lambda: all(BACK in daemon.text() for daemon in daemons), 10)
            passed, took = passing(daemons, 100, address="203.0.113.3")
            self.assertGreaterEqual(passed, 59)
            self.assertLessEqual(passed, 62 + took)

    def test_a_redis_that_answers_and_will_not_count(self):
        with RedisServer() as redis, instances(1, redis.url, ARAGORA_IP_RATE_LIMIT="60") as (sandbox, (daemon,)):
            self.assertEqual(passing([daemon], 5)[0], 5)
            redis.cli("ACL", "SETUSER", "default", "-eval", "-evalsha")
            passed, took = passing([daemon], 80)
            self.assertLessEqual(passed, 56 + took)
            self.assertGreaterEqual(passed, 54)
            self.assertEqual(daemon.text().count("Redis does not count limits (NOPERM"), 1, daemon.text())
            self.assertIn("this user may not run EVAL", sandbox.run("validate-env", "--only", "redis").stdout)
            redis.cli("ACL", "SETUSER", "default", "+eval", "+evalsha")
            ask(daemon, address="203.0.113.77")
            self.assertIn("Redis counts limits again", daemon.text())

    def test_a_killed_redis_fails_no_request(self):
        with RedisServer() as redis, instances(1, redis.url, ARAGORA_IP_RATE_LIMIT="100000") as (_, (daemon,)):
            codes = []
            for turn in range(300):
                if turn == 100:
                    redis.kill()
                if turn == 200:
                    redis.start()
                codes.append(ask(daemon)[0])
            self.assertEqual(set(codes), {200})

    def test_a_slow_redis_costs_a_request_nothing(self):
        def p95(daemon):
            taken = []
            for _ in range(200):
                started = time.monotonic()
                self.assertEqual(ask(daemon)[0], 200)
                taken.append(time.monotonic() - started)
            return sorted(taken)[190]

        with RedisServer() as redis, SlowWire(redis.port) as wire:
            with instances(1, redis.url.replace(str(redis.port), str(wire.port)), ARAGORA_IP_RATE_LIMIT="100000") as (_, (daemon,)):
                quick = p95(daemon)
                wire.delay = 0.1
                slow = p95(daemon)
            print(f"\np95 of a counted request: {quick * 1000:.1f} ms, with Redis slow by 200 ms {slow * 1000:.1f} ms")
            self.assertLess(slow, quick + 0.02 + 0.02, "20 ms, and a busy machine")

    def test_no_revoked_token_is_taken_whatever_redis_does(self):
        with RedisServer() as redis, instances(2, redis.url) as (sandbox, daemons):
            password = sandbox.run("user", "add", "--email", "ada@example.org", "--role", "member", check=0).stdout.strip().splitlines()[-1]
            for trouble in (lambda: None, lambda: redis.cli("FLUSHALL"), redis.freeze, redis.kill):
                login = daemons[0].post("/api/auth/login", {"email": "ada@example.org", "password": password})[1]
                token = {"Authorization": f"Bearer {login['access_token']}"}
                self.assertEqual(daemons[1].request("GET", "/api/auth/me", headers=token)[0], 200)
                trouble()
                self.assertEqual(daemons[0].request("POST", "/api/auth/logout", headers=token)[0], 200)
                self.assertEqual([daemon.request("GET", "/api/auth/me", headers=token)[0] for daemon in daemons], [401, 401])


if __name__ == "__main__":
    main()
