"""The OpenAI-compatible API: by hand, and by OpenAI's own SDK."""
import json
import socket
import subprocess
import threading
import time
import unittest

from support import Daemon, Sandbox, main
from test_provider import KEY, Endpoint, completion
from test_streaming import paced
from test_vendors import SDKS, node_tools

TOKEN = "0c5f3f9b1d7e4a6c8b2d0e1f3a5c7b9d"
ASK = {"model": "aragora/default", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Ship on Friday?"}]}


def events(body):
    return [line[6:] for line in body.decode().split("\n\n") if line.startswith("data: ")]


class Chat(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sandbox = Sandbox(ARAGORA_CHAT_PROFILES="quick demo+demo+demo rounds=0,deep rounds=2 consensus=unanimous")
        cls.daemon = Daemon(cls.sandbox, ARAGORA_API_TOKEN=TOKEN)
        cls.headers = {"Authorization": f"Bearer {TOKEN}"}

    @classmethod
    def tearDownClass(cls):
        cls.daemon.stop()
        cls.sandbox.__exit__()

    def ask(self, body, **headers):
        return self.daemon.request("POST", "/v1/chat/completions", body, {**self.headers, **headers})

    def test_profiles_are_models(self):
        status, listed = self.daemon.get("/v1/models", **self.headers)
        self.assertEqual((status, [m["id"] for m in listed["data"]]), (200, ["aragora/deep", "aragora/default", "aragora/quick"]))
        for name in ("aragora/quick", "quick"):
            self.assertEqual(self.daemon.get(f"/v1/models/{name}", **self.headers)[1]["aragora"], {"agents": ["demo"] * 3, "rounds": 0})
        self.assertEqual(self.daemon.get("/v1/models/gpt-6", **self.headers)[0], 404)

    def test_a_whole_answer_is_the_debates(self):
        status, headers, body = self.ask(ASK)
        answer = json.loads(body)
        self.assertEqual((status, headers["content-type"]), (200, "application/json"), body)
        debate = self.daemon.get(f"/api/debates/{answer['aragora']['debate_id']}", **self.headers)[1]
        self.assertEqual(answer["choices"][0]["message"]["content"], debate["final_answer"])
        self.assertEqual((debate["task"], debate["context"]), ("Ship on Friday?", "system: Be brief."))
        about = answer["aragora"]
        self.assertEqual((about["cost_usd"], about["receipt_url"]), ("0", f"http://127.0.0.1:{self.daemon.port}/api/debates/{debate['id']}/receipt"))
        usage = answer["usage"]
        self.assertGreater(usage["prompt_tokens"], 0)
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + usage["completion_tokens"])

    def test_a_stream_is_the_same_answer_in_parts(self):
        status, headers, body = self.ask({**ASK, "model": "aragora/quick", "stream": True, "stream_options": {"include_usage": True}})
        self.assertEqual((status, headers["content-type"].split(";")[0], headers.get("content-length")), (200, "text/event-stream", None))
        said = events(body)
        self.assertEqual(said[-1], "[DONE]")
        chunks = [json.loads(one) for one in said[:-1]]
        debate = self.daemon.get(f"/api/debates/{chunks[0]['aragora']['debate_id']}", **self.headers)[1]
        self.assertEqual("".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"]), debate["final_answer"])
        self.assertEqual(chunks[-2]["choices"][0]["finish_reason"], "stop")
        self.assertGreater(chunks[-1]["usage"]["total_tokens"], 0)
        self.assertEqual(len({c["id"] for c in chunks}), 1)

    def test_refusals_have_openais_shape(self):
        for body, status, param in (({**ASK, "model": "gpt-6"}, 404, "model"), ({"model": "aragora"}, 400, "messages"), ({**ASK, "tools": [{}]}, 400, "tools"), ({**ASK, "aragora": {"agents": ["nobody-here", "demo"]}}, 400, "agents"), ("{", 400, None)):
            answered, _, text = self.ask(body)
            error = json.loads(text)["error"]
            self.assertEqual((answered, error["param"], error["type"]), (status, param, "invalid_request_error"), text)
        status, headers, text = self.daemon.request("POST", "/v1/chat/completions", ASK)
        self.assertEqual((status, json.loads(text)["error"]["type"]), (401, "authentication_error"))
        self.assertEqual(headers["www-authenticate"], "Bearer")

    def test_the_same_request_again_is_the_same_debate(self):
        first, again = (self.ask({**ASK, "model": "quick"}, **{"Idempotency-Key": "once"}) for _ in range(2))
        self.assertEqual(json.loads(first[2])["id"], json.loads(again[2])["id"])
        self.assertEqual(again[1]["idempotent-replayed"], "true")
        self.assertEqual(self.ask({**ASK, "model": "deep"}, **{"Idempotency-Key": "once"})[0], 422)


class Context(unittest.TestCase):
    """What the system and earlier messages say is before everybody who takes part, as data."""

    def test_every_question_of_the_debate_has_the_messages_before_the_last_one(self):
        def speak(_, body):
            data = json.loads(body["messages"][1]["content"])
            offered = {one["text"]: one["id"] for one in data[data["boundary"]].get("proposals", [])}
            said = f"this is {body['model']}"
            return completion(json.dumps({
                "position": said, "answer": said, "key_claims": ["so it is"], "confidence": 70, "critiques": [], "decision": "keep", "because": [], "adopt": "",
                "choice": offered[min(offered)] if offered else "", "continue": True, "reason": "r", "from": ["K1", "K7"], "open_risks": [], "dissent": ["another day"]}))

        messages = [{"role": "system", "content": "Answer in German only."}, {"role": "user", "content": "Which day?"}, {"role": "assistant", "content": "Friday, as ever."}, ASK["messages"][1]]
        with Endpoint(speak) as endpoint, Sandbox(OPENAI_BASE_URL=endpoint.url, OPENAI_API_KEY=KEY) as sandbox:
            with Daemon(sandbox) as daemon:
                ask = {"model": "aragora", "messages": messages, "aragora": {"agents": [f"openai:{name}" for name in "abc"], "rounds": 1}}
                status, _, answer = daemon.request("POST", "/v1/chat/completions", ask)
                self.assertEqual(status, 200, answer)
                debate = daemon.get(f"/api/debates/{json.loads(answer)['aragora']['debate_id']}")[1]
            asked = {}
            for _, _, body in endpoint.requests:
                phase, (system, user) = body["response_format"]["json_schema"]["name"], (message["content"] for message in body["messages"])
                asked[phase] = asked.get(phase, 0) + 1
                for said in ("Answer in German only.", "Which day?", "Friday, as ever."):
                    self.assertEqual((said in user, said in system), (True, False), phase)
            self.assertEqual(asked, {"proposal": 3, "ballot": 6, "critiques": 3, "revision": 3, "synthesis": 1})
            self.assertEqual((debate["report"]["protocol"], debate["report"]["synthesis"]), (4, {"from": [{"id": "K1", "claim": "so it is"}], "dissent": ["another day"]}))
            sandbox.run("verify", check=0)
            self.assertTrue(sandbox.run_json("debate", "replay", debate["id"], check=0)["whole"])


class OpenAisOwnSdk(unittest.TestCase):
    def test_it_asks_a_panel(self):
        place = node_tools()
        with Sandbox(ARAGORA_API_TOKEN=TOKEN) as sandbox, Daemon(sandbox) as daemon:
            done = subprocess.run(["node", SDKS / "panel.mjs", place, f"http://127.0.0.1:{daemon.port}", TOKEN], capture_output=True, text=True, timeout=120)
            self.assertEqual(done.returncode, 0, done.stderr)
            came = json.loads(done.stdout)
            answer = daemon.get(f"/api/debates/{came['whole']['debate']}", Authorization=f"Bearer {TOKEN}")[1]["final_answer"]
        self.assertEqual(came["models"], ["aragora/default"])
        self.assertEqual(came["whole"]["text"], answer)
        self.assertTrue(came["text"] and came["helper"])
        self.assertGreater(came["usage"]["total_tokens"], 0)
        self.assertEqual((came["unknown"]["error"], came["unknown"]["param"]), ("NotFoundError", "model"))
        self.assertEqual((came["tools"]["error"], came["tools"]["param"]), ("BadRequestError", "tools"))
        self.assertEqual(came["stranger"]["error"], "AuthenticationError")


class Leaving(unittest.TestCase):
    def leave(self, status, **environment):
        hold = threading.Event()
        with Endpoint(paced(hold=hold)) as endpoint, Sandbox(OPENAI_BASE_URL=endpoint.url, OPENAI_API_KEY=KEY, **environment) as sandbox, Daemon(sandbox) as daemon:
            body = json.dumps({**ASK, "stream": True, "aragora": {"agents": ["openai", "demo"], "rounds": 0}}).encode()
            with socket.create_connection(("127.0.0.1", daemon.port), 10) as client:
                client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                head = client.recv(65536)
                while b"chatcmpl-" not in head:
                    head += client.recv(65536)
            debate = head.split(b"chatcmpl-")[1].split(b'"')[0].decode()
            time.sleep(0.3)
            hold.set()
            self.assertEqual(daemon.wait_finished(debate)["status"], status)

    def test_a_client_that_leaves_cancels_its_debate(self):
        self.leave("cancelled")

    def test_where_it_is_configured_so_the_debate_goes_on(self):
        self.leave("completed", ARAGORA_CHAT_CANCEL_WHEN_GONE="false")

    def test_a_stop_tells_who_waits_and_the_debate_goes_on_afterwards(self):
        hold = threading.Event()
        with Endpoint(paced(hold=hold)) as endpoint, Sandbox(OPENAI_BASE_URL=endpoint.url, OPENAI_API_KEY=KEY) as sandbox:
            daemon = Daemon(sandbox)
            answers = []
            asks = [threading.Thread(target=lambda stream=stream: answers.append(daemon.request("POST", "/v1/chat/completions", {**ASK, "stream": stream, "aragora": {"agents": ["openai", "demo"], "rounds": 0}}, timeout=60))) for stream in (False, True)]
            for ask in asks:
                ask.start()
            deadline = time.monotonic() + 10
            while len(daemon.get("/api/debates")[1]["debates"]) < 2 and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(0.2)
            daemon.stop()
            for ask in asks:
                ask.join()
            self.assertEqual(sorted(status for status, _, _ in answers), [200, 503])
            self.assertTrue(all(b"server_stopping" in body for _, _, body in answers), answers)
            hold.set()
            with Daemon(sandbox) as daemon:
                for debate in daemon.get("/api/debates")[1]["debates"]:
                    self.assertEqual(daemon.wait_finished(debate["id"])["status"], "completed")


if __name__ == "__main__":
    main()
