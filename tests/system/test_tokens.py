"""Tokens from outside: forged in every way we know, used by many at once, and what a login costs whoever is not there."""
import base64
import concurrent.futures
import contextlib
import hashlib
import hmac
import http.client
import json
import secrets
import socket
import time
import unittest

from support import Daemon, Sandbox, main, postgres_database, service
from test_accounts import bearer
from test_overload import metric


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def signed(header, claims, key, digest="sha256"):
    part = b64(json.dumps(header).encode()) + "." + b64(json.dumps(claims).encode())
    return part + "." + b64(hmac.digest(key.encode() if isinstance(key, str) else key, part.encode(), digest))


def parts_of(token):
    header, claims, _ = token.split(".")
    return json.loads(unb64(header)), json.loads(unb64(claims))


def without(mapping, name):
    return {key: value for key, value in mapping.items() if key != name}


def add_user(sandbox, email, role="member"):
    return sandbox.run("user", "add", "--email", email, "--role", role, check=0).stdout.strip().splitlines()[-1]


def log_in(daemon, email, password):
    status, answer = daemon.post("/api/auth/login", {"email": email, "password": password})
    assert status == 200, answer
    return answer


class Forged(unittest.TestCase):
    def by_algorithm(self, header, claims, secret):
        """Who can choose the algorithm can choose that none is used, or one whose key everybody knows (RFC 8725 section 2.1)."""
        for name in ("none", "None", "NONE", "nOnE"):
            part = b64(json.dumps({**header, "alg": name}).encode()) + "." + b64(json.dumps(claims).encode())
            yield f"alg {name}, no signature", part + "."
            yield f"alg {name}, no third part", part
            yield f"alg {name}, signed", signed({**header, "alg": name}, claims, secret)
        for name in ("HS384", "HS512", "RS256", "PS256", "ES256", "EdDSA", "hs256", "HS256 ", "", None, 256, ["HS256"], {"HS256": 1}):
            yield f"alg {name}", signed({**header, "alg": name}, claims, secret)
        yield "no alg", signed(without(header, "alg"), claims, secret)
        for name in ("sha384", "sha512", "sha1", "md5"):
            yield f"signed with {name}", signed(header, claims, secret, name)
            yield f"signed with {name}, which is said", signed({**header, "alg": {"sha384": "HS384", "sha512": "HS512"}.get(name, name)}, claims, secret, name)

    def by_key(self, header, claims, secret):
        for key in ("", "secret", "changeme", "aragora", secret.upper(), secret + "\n", secret[:-1], bytes.fromhex(secret), base64.b64encode(secret.encode()), header["kid"], hashlib.sha256(secret.encode()).digest(), b"\0" * 32):
            yield f"key {key!r}", signed(header, claims, key)
        own = b"the forger's own key of 32 bytes"
        for name, value in (("jwk", {"kty": "oct", "k": b64(own)}), ("jku", "https://evil.example/keys"), ("x5u", "https://evil.example/c.pem"), ("kid", "../../../../dev/null"), ("kid", "' OR 1=1 --"), ("kid", "00000000"), ("kid", None)):
            yield f"{name} {value}", signed({**header, name: value}, claims, own)
        yield "the null device as a key", signed({**header, "kid": "/dev/null"}, claims, b"")
        for name, value in (("kid", "00000000"), ("typ", "JWT"), ("typ", "mfa+jwt"), ("typ", ""), ("typ", None), ("crit", ["exp"]), ("crit", [])):
            yield f"header {name} {value}, rightly signed", signed({**header, name: value}, claims, secret)
        for name in ("kid", "typ"):
            yield f"no {name}", signed(without(header, name), claims, secret)

    def by_claims(self, header, claims, secret, other):
        """Signed with the right key, as nobody but us can: each claim is looked at all the same."""
        now = int(time.time())
        for name in ("iss", "aud", "sub", "sid", "ver", "iat", "exp"):
            yield f"no {name}", signed(header, without(claims, name), secret)
            for value in (None, True, [], {}, [claims[name]], "", "x", -1, 1.5):
                if (name, value) != ("iat", -1):  # long ago
                    yield f"{name} {value}", signed(header, {**claims, name: value}, secret)
        for name, value in (("iss", "Aragora"), ("aud", "aragora-mfa"), ("aud", ["aragora-api", "x"]), ("exp", now - 31), ("exp", str(now + 999)), ("iat", now + 120), ("ver", claims["ver"] + 1), ("ver", str(claims["ver"])),
                            ("sub", other["sub"]), ("sid", other["sid"]), ("sid", claims["sid"].lower()), ("sub", claims["sub"] + "\0"), ("sid", "%"), ("sub", "' OR '1'='1")):
            yield f"{name} {value}", signed(header, {**claims, name: value}, secret)
        for name, value in (("nbf", now + 999), ("nbf", now - 1), ("jti", ""), ("jti", 1), ("exp", now + 30 * 365 * 86400)):
            yield f"{name} {value}, rightly signed", signed(header, {**claims, name: value}, secret)
        yield "no jti", signed(header, without(claims, "jti"), secret)
        part = b64(json.dumps(header).encode()) + "." + b64(json.dumps(claims)[:-1].encode() + b', "sub": "' + other["sub"].encode() + b'"}')
        yield "a claim twice", part + "." + b64(hmac.digest(secret.encode(), part.encode(), "sha256"))
        for claim in ([], "claims", 1, None):
            yield f"claims {claim}", signed(header, claim, secret)
            yield f"header {claim}", signed(claim, claims, secret)

    def by_shape(self, token, other):
        header, claims, signature = token.split(".")
        theirs = other.split(".")
        yield from ((f"shape {number}", shape) for number, shape in enumerate((
            f"{header}.{claims}", f"{header}.{claims}.", f"{header}..{signature}", f".{claims}.{signature}", "..", ".", "...", f"{token}.", f".{token}", f"{token}.{signature}", f"{token}=", f"{token}==", f"{header}=.{claims}.{signature}",
            f"{header}.{claims}.{signature[:-1]}", f"{header}.{claims}.{signature[:-4]}", f"{header}.{claims}.{signature}A", f"{header}.{claims}.{theirs[2]}", f"{header}.{theirs[1]}.{signature}", f"{theirs[0]}.{theirs[1]}.{signature}",
            f"{header}.{claims}.{'A' * len(signature)}", f"{header} .{claims}.{signature}", f"{header}.{claims}.{signature[::-1]}", f"{claims}.{header}.{signature}", f"{header}.{claims}.{signature.swapcase()}", f"{header}.{claims}.{signature},{token}",
            f"{header}.{claims}.{claims}.{claims}.{signature}", json.dumps({"payload": claims, "protected": header, "signature": signature}), "Bearer " + token, token + "A" * 9000, "a" * 9000)))

    def test_no_forgery_is_accepted_and_there_are_more_than_sixty(self):
        secret = secrets.token_hex(32)
        with Sandbox(JWT_SECRET=secret, ARAGORA_API_TOKEN=secrets.token_hex(32), ARAGORA_LOGIN_RATE_LIMIT="0") as sandbox:
            sandbox.run("migrate", check=0)
            passwords = {email: add_user(sandbox, email, role) for email, role in (("ada@example.org", "member"), ("boss@example.org", "admin"))}
            with Daemon(sandbox) as daemon:
                ada, boss = (log_in(daemon, email, password) for email, password in passwords.items())
                token = ada["access_token"]
                header, claims = parts_of(token)
                me = lambda text: daemon.request("GET", "/api/auth/me", headers={"Authorization": f"Bearer {text}"})
                self.assertEqual(me(signed(header, claims, secret))[0], 200, "what is forged here is good but for what is wrong with it")
                theirs = boss["access_token"]
                forgeries = [*self.by_algorithm(header, claims, secret), *self.by_key(header, claims, secret), *self.by_claims(header, claims, secret, parts_of(theirs)[1]), *self.by_shape(token, theirs), ("a refresh token", ada["refresh_token"])]
                gone = log_in(daemon, "ada@example.org", passwords["ada@example.org"])
                self.assertEqual(daemon.request("POST", "/api/auth/logout", headers=bearer(gone))[0], 200)
                forgeries.append(("of a session that ended", gone["access_token"]))
                self.assertGreater(len({text for _, text in forgeries}), 180)
                for what, text in forgeries:
                    for method, path in (("GET", "/api/auth/me"), ("GET", "/api/debates"), ("GET", "/api/admin/users")):
                        status, _, body = daemon.request(method, path, headers={"Authorization": f"Bearer {text}"})
                        self.assertIn(status, (400, 401, 431), f"{what}: {path} {body}")
                self.assertEqual(me(token)[0], 200)


class UsedAtOnce(unittest.TestCase):
    def all_at_once(self, daemons, number, body):
        """Requests that lack their last byte, which all get it at the same moment."""
        data = json.dumps(body).encode()
        request = f"POST /api/auth/refresh HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(socket.create_connection(("127.0.0.1", daemons[turn % len(daemons)].port), timeout=60)) for turn in range(number)]
            for client in clients:
                client.sendall(request[:-1])
            for client in clients:
                client.sendall(request[-1:])

            def answer(client):
                response = http.client.HTTPResponse(client)
                response.begin()
                return response.status, json.loads(response.read())

            with concurrent.futures.ThreadPoolExecutor(20) as pool:
                return list(pool.map(answer, clients))

    def test_of_two_hundred_uses_of_one_refresh_token_on_two_instances_one_wins(self):
        with postgres_database() as url, Sandbox(DATABASE_URL=url, REDIS_URL=service("TEST_REDIS"), JWT_SECRET=secrets.token_hex(32), ARAGORA_ENCRYPTION_KEY=secrets.token_hex(32), ARAGORA_QUEUE_MS="60000") as sandbox:
            sandbox.run("migrate", check=0)
            password = add_user(sandbox, "ada@example.org")
            with Daemon(sandbox) as first, Daemon(sandbox) as second:
                other = log_in(first, "ada@example.org", password)
                for _ in range(3):
                    login = log_in(first, "ada@example.org", password)
                    answers = self.all_at_once((first, second), 200, {"refresh_token": login["refresh_token"]})
                    codes = [status for status, _ in answers]
                    self.assertEqual((codes.count(200), codes.count(401)), (1, 199), codes)
                    winner = next(answer for status, answer in answers if status == 200)
                    # Whoever used it twice may be a thief: the session ends, for the winner as well.
                    for daemon in (first, second):
                        for tokens in (login, winner):
                            self.assertEqual(daemon.get("/api/auth/me", **bearer(tokens))[0], 401)
                        self.assertEqual(daemon.post("/api/auth/refresh", {"refresh_token": winner["refresh_token"]})[0], 401)
                        self.assertEqual(daemon.get("/api/auth/me", **bearer(other))[0], 200, "another session is not to blame")
                sandbox.run("verify", check=0)


class Unknown(unittest.TestCase):
    def test_who_is_not_there_costs_the_same_hash(self):
        with Sandbox(ARAGORA_LOGIN_RATE_LIMIT="0") as sandbox:
            sandbox.run("migrate", check=0)
            add_user(sandbox, "ada@example.org")
            add_user(sandbox, "gone@example.org")
            sandbox.run("user", "disable", "gone@example.org", check=0)
            with Daemon(sandbox) as daemon:
                def hashes(email, password):
                    before = metric(daemon, "aragora_password_hashes_total")
                    status, answer = daemon.post("/api/auth/login", {"email": email, "password": password})
                    self.assertEqual((status, answer["error"]), (401, "the address or the password is wrong"))
                    return metric(daemon, "aragora_password_hashes_total") - before

                hashes("nobody@example.org", "what nobody has is made first")
                for email in ("ada@example.org", "nobody@example.org", "gone@example.org", "no address", "ada@example.org\0"):
                    self.assertEqual(hashes(email, "a wrong password"), 1, email)
                    self.assertEqual(hashes(email, "x" * 5000), 0, f"{email}: longer than any password")


if __name__ == "__main__":
    main()
