"""The vendors' APIs, strictly: what they refuse is refused here, with their status, type and code; what they may do on the wire is done
here, and what breaks on the way as well. Whether it speaks as they do is for their own SDKs to say (test_vendors.py)."""
import contextlib
import gzip
import http.server
import json
import re
import socket
import struct
import threading
import time

KEYS = {"anthropic": "sk-ant-0123456789abcdef-canary", "openai": "sk-0123456789abcdef-canary", "openrouter": "sk-or-0123456789abcdef-canary",
        "gemini": "AIza0123456789abcdef-canary", "local": ""}
PATHS = {"/anthropic/v1/messages": "anthropic", "/openai/v1/chat/completions": "openai", "/openrouter/api/v1/chat/completions": "openrouter",
         "/gemini/v1beta/openai/chat/completions": "gemini", "/local/v1/chat/completions": "local"}
VERSIONS = ("2023-06-01", "2026-10-21")
SAMPLING = ("temperature", "top_p", "top_k")
ANTHROPIC_FIELDS = {"model", "max_tokens", "messages", "system", "stream", "stop_sequences", "metadata", "thinking", "output_config", "service_tier",
                    "temperature", "top_p", "top_k", "tools", "tool_choice", "cache_control"}
CHAT_FIELDS = {"model", "messages", "max_tokens", "max_completion_tokens", "stream", "stream_options", "response_format", "reasoning_effort", "verbosity",
               "seed", "n", "stop", "temperature", "top_p", "tools", "tool_choice"}
OPENAI_FIELDS = CHAT_FIELDS | {"store", "prompt_cache_key", "safety_identifier", "service_tier", "metadata", "user", "logprobs", "top_logprobs"}
OPENROUTER_FIELDS = CHAT_FIELDS | {"models", "provider", "usage", "reasoning", "plugins", "transforms", "user", "session_id"}
FIELDS = {"anthropic": ANTHROPIC_FIELDS, "openai": OPENAI_FIELDS, "openrouter": OPENROUTER_FIELDS, "gemini": CHAT_FIELDS, "local": OPENAI_FIELDS}


class Refusal(Exception):
    def __init__(self, status, kind, message, code=None, headers=None):
        super().__init__(message)
        self.status, self.kind, self.message, self.code, self.headers = status, kind, message, code, headers or {}


class Behaviour:
    """How one request is answered; without anything said, well."""

    def __init__(self, refusal=None, text=None, piece=0, ending="\n", pings=False, comments=False, cut=None, terminator=True, error=None, error_status=None,
                 stall=0.0, pause=0.0, stop=None, refused=False, usage=True, encoding=None, extra_length=0, raw=None, reset=False, whole=False, model=None):
        self.__dict__.update({name: value for name, value in locals().items() if name != "self"})


def strict_schema(schema, where="schema"):
    """The subset that all vendors take as strict: each field required, no others, no limits."""
    if not isinstance(schema, dict):
        raise Refusal(400, "invalid_request_error", f"{where} is no schema")
    for limit in ("minimum", "maximum", "minLength", "maxLength", "multipleOf", "minItems", "maxItems", "pattern", "format"):
        if limit in schema:
            raise Refusal(400, "invalid_request_error", f"{where}: {limit} is not supported")
    if schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            raise Refusal(400, "invalid_request_error", f"{where}: additionalProperties must be false")
        if sorted(schema.get("required", [])) != sorted(schema.get("properties", {})):
            raise Refusal(400, "invalid_request_error", f"{where}: every property must be required")
        for name, inner in schema.get("properties", {}).items():
            strict_schema(inner, f"{where}.{name}")
    if "items" in schema:
        strict_schema(schema["items"], f"{where}[]")


def positive(body, name):
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise Refusal(400, "invalid_request_error", f"{name}: must be a whole number of at least 1")
    return value


def check_anthropic(headers, body):
    if headers.get("x-api-key") != KEYS["anthropic"] and headers.get("authorization") != f"Bearer {KEYS['anthropic']}":
        raise Refusal(401, "authentication_error", f"invalid x-api-key: {headers.get('x-api-key')}")
    version = headers.get("anthropic-version")
    if version not in VERSIONS:
        raise Refusal(400, "invalid_request_error", f"anthropic-version: {version!r} is not a valid version")
    if not re.fullmatch(r"claude-[a-z0-9-]+", str(body.get("model"))):
        raise Refusal(404, "not_found_error", f"model: {body.get('model')}")
    if positive(body, "max_tokens") > 128_000:
        raise Refusal(400, "invalid_request_error", "max_tokens: more than this model makes")
    for name in SAMPLING:
        if name in body and (version == "2026-10-21" or body[name] != 1):
            raise Refusal(400, "invalid_request_error", f"{name}: is not supported")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or any(m.get("role") not in ("user", "assistant") or not m.get("content") for m in messages):
        raise Refusal(400, "invalid_request_error", "messages: at least one of role user or assistant, with content")
    if messages[-1]["role"] == "assistant":
        raise Refusal(400, "invalid_request_error", "messages: this model does not support a prefilled answer")
    wanted = body.get("output_config", {}).get("format")
    if wanted is not None:
        if set(wanted) != {"type", "schema"} or wanted["type"] != "json_schema":
            raise Refusal(400, "invalid_request_error", "output_config.format: json_schema and its schema")
        strict_schema(wanted["schema"], "output_config.format.schema")


def check_chat(vendor, headers, body):
    if KEYS[vendor] and headers.get("authorization") != f"Bearer {KEYS[vendor]}":
        raise Refusal(401, "invalid_request_error", f"Incorrect API key provided: {headers.get('authorization')}", "invalid_api_key")
    model = str(body.get("model"))
    known = {"openai": r"gpt-[a-z0-9.-]+", "openrouter": r"(~?[a-z0-9-]+/[a-z0-9.:-]+)", "gemini": r"gemini-[a-z0-9.-]+", "local": r".+"}[vendor]
    if not re.fullmatch(known, model):
        raise Refusal(404, "invalid_request_error", f"The model `{model}` does not exist", "model_not_found")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or any(m.get("role") not in ("developer", "system", "user", "assistant") for m in messages):
        raise Refusal(400, "invalid_request_error", "messages: at least one, of a known role")
    if "max_tokens" in body and vendor == "openai":
        raise Refusal(400, "invalid_request_error", "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "unsupported_parameter")
    for name in ("max_tokens", "max_completion_tokens"):
        if name in body:
            positive(body, name)
    if vendor == "openai" and body.get("reasoning_effort") != "none" and any(name in body for name in SAMPLING):
        raise Refusal(400, "invalid_request_error", "Unsupported value: 'temperature'", "unsupported_value")
    if "stream_options" in body and not body.get("stream"):
        raise Refusal(400, "invalid_request_error", "stream_options: only with stream")
    if not set(body.get("stream_options", {})) <= ({"include_usage", "include_obfuscation"} if vendor == "openai" else {"include_usage"}):
        raise Refusal(400, "invalid_request_error", "stream_options: unknown field", "unknown_parameter")
    wanted = body.get("response_format")
    if wanted is not None:
        inner = wanted.get("json_schema", {})
        if wanted.get("type") != "json_schema" or not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", str(inner.get("name"))) or inner.get("strict") is not True:
            raise Refusal(400, "invalid_request_error", "response_format: json_schema with name, strict and schema")
        strict_schema(inner.get("schema"), "response_format.json_schema.schema")


def check(vendor, headers, body):
    if not headers.get("content-type", "").lower().startswith("application/json"):
        raise Refusal(400, "invalid_request_error", "content-type must be application/json")
    unknown = sorted(set(body) - FIELDS[vendor])
    if unknown:
        raise Refusal(400, "invalid_request_error", f"{unknown[0]}: Extra inputs are not permitted", "unknown_parameter")
    if vendor == "anthropic":
        check_anthropic(headers, body)
    else:
        check_chat(vendor, headers, body)


TEXT = "The answer of a model: café, 日本語, 🦉."


def instance(schema, data, name=""):
    """Something that a schema takes, with what is known of the debate where its names ask for it."""
    if "enum" in schema:
        return favourite(schema["enum"], data) if name == "choice" else schema["enum"][0]
    for choice in schema.get("anyOf", []):
        if choice.get("type") != "null":
            return instance(choice, data, name)
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {inner: instance(of, data, inner) for inner, of in schema.get("properties", {}).items()}
    if kind == "array":
        return [instance(schema.get("items", {}), data, name)]
    numbers = {"confidence": 90, "severity": 2}
    return {"integer": numbers.get(name, 3), "number": numbers.get(name, 3), "boolean": False, "null": None}.get(kind, TEXT if name == "answer" else "words")


def favourite(labels, data):
    """The same proposal for all, whatever each of them calls it: the first by what it says."""
    ordered = sorted((json.dumps({key: value for key, value in one.items() if key != "id"}, sort_keys=True), one.get("id")) for one in data.get("proposals") or [])
    return next((label for _, label in ordered if label in labels), labels[0])


def speak(system, user, schema):
    """What a cooperative model says: by the schema, or words."""
    data = {}
    with contextlib.suppress(ValueError):
        data = json.loads(user)
    data = data if isinstance(data, dict) else {}
    material = data.get(data.get("boundary"), data)
    return TEXT if schema is None else json.dumps(instance(schema, material if isinstance(material, dict) else {}))


def phase_of(schema):
    """Of a debate, by what is asked for."""
    names = {"critiques": "critique", "decision": "revise", "key_claims": "propose", "continue": "vote", "open_risks": "synthesize"}
    return next((phase for name, phase in names.items() if name in (schema or {}).get("properties", {})), None)


def undecided(said, words):
    """The same as somebody of whom nobody else says the same, never sure and always of another mind, so that a debate goes its whole way."""
    said = json.loads(said.replace('"words"', json.dumps(words)).replace(json.dumps(TEXT), json.dumps(f"{TEXT} {words}")))
    differently = {"confidence": 50, "decision": "amend", "continue": True}
    return json.dumps({**said, **{name: value for name, value in differently.items() if name in said}})


class Asked:
    def __init__(self, vendor, headers, body, raw):
        self.vendor, self.headers, self.body, self.raw, self.at = vendor, headers, body, raw, time.monotonic()
        messages = body.get("messages") or []
        self.system = body.get("system") or next((m["content"] for m in messages if m.get("role") in ("system", "developer")), "")
        self.user = next((m["content"] for m in messages if m.get("role") == "user"), "")
        formatted = body.get("output_config", {}).get("format") or body.get("response_format", {}).get("json_schema") or {}
        self.schema = formatted.get("schema")
        self.model = str(body.get("model"))
        self.tokens_in, self.tokens_out = max(1, len(raw) // 4), 0


# By name, so that a test of another language can ask for one: [[name]] in what it says to the model.
def named_behaviours():
    return {
        "ok": Behaviour(), "bytes": Behaviour(piece=1), "crlf": Behaviour(ending="\r\n", piece=7), "cr": Behaviour(ending="\r", piece=7), "pings": Behaviour(pings=True),
        "comments": Behaviour(comments=True), "cut": Behaviour(cut=0.5), "unterminated": Behaviour(terminator=False), "reset": Behaviour(cut=0.5, reset=True),
        "refused": Behaviour(refused=True), "truncated": Behaviour(stop="length"), "uncounted": Behaviour(usage=False), "empty": Behaviour(text=""),
        "gzip": Behaviour(encoding="gzip"), "longer": Behaviour(extra_length=50), "html": Behaviour(raw=b"<html>not an API</html>"), "whole": Behaviour(whole=True),
        "stalls": Behaviour(stall=0.1, pause=0.05, piece=500),
        "overloaded_within": Behaviour(error="overloaded"), "overloaded": Behaviour(refusal="overloaded"), "throttled": Behaviour(refusal="throttled"),
        "spent": Behaviour(refusal="spent"), "unavailable": Behaviour(refusal="unavailable"), "forbidden": Behaviour(refusal="forbidden"),
    }


def refusal_of(vendor, name, headers=None):
    anthropic = vendor == "anthropic"
    if name == "overloaded":
        return Refusal(529, "overloaded_error", "Overloaded", None, headers) if anthropic else Refusal(503, "server_error", "The server is overloaded", "server_is_overloaded", headers)
    if name == "throttled":
        return Refusal(429, "rate_limit_error", "slow", "ramp_limit_exceeded", headers) if anthropic else Refusal(429, "requests", "slow", "rate_limit_exceeded", headers)
    if name == "spent":
        if vendor == "openrouter":
            return Refusal(402, "payment_required", "no credits", None, headers)
        return Refusal(429, "rate_limit_error", "spent", "enforced_spend_limit_reached", headers) if anthropic else Refusal(429, "insufficient_quota", "spent", "credit_balance_exhausted", headers)
    if name == "forbidden":
        return Refusal(403, "permission_error" if anthropic else "permission_denied", "not you", None, headers)
    return Refusal(500, "api_error" if anthropic else "server_error", "it broke", None, headers)


class Vendors:
    """`plan(asked, number)` answers a Behaviour, or None for what the words ask for; number counts from 1 for each vendor."""

    def __init__(self, plan=None):
        self.plan = plan
        self.requests = []
        self.refused = []  # what was not as the vendor takes it
        self.lock = threading.Lock()
        vendors = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                with contextlib.suppress(OSError):
                    vendors.answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.origin = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def environment(self, *names):
        """What a daemon is given to ask these vendors here. Base URLs with and without a slash behind them."""
        every = {
            "anthropic": {"ANTHROPIC_BASE_URL": self.origin + "/anthropic", "ANTHROPIC_API_KEY": KEYS["anthropic"]},
            "openai": {"OPENAI_BASE_URL": self.origin + "/openai/v1/", "OPENAI_API_KEY": KEYS["openai"]},
            "openrouter": {"OPENROUTER_BASE_URL": self.origin + "/openrouter/api/v1", "OPENROUTER_API_KEY": KEYS["openrouter"]},
            "gemini": {"GEMINI_BASE_URL": self.origin + "/gemini/v1beta/openai/", "GEMINI_API_KEY": KEYS["gemini"]},
            "local": {"ARAGORA_LOCAL_BASE_URL": self.origin + "/local/v1", "ARAGORA_LOCAL_MODEL": "llama3:8b"},
        }
        return {name: value for vendor in names for name, value in every[vendor].items()}

    def of(self, vendor):
        return [asked for asked in self.requests if asked.vendor == vendor]

    def answer(self, handler):
        raw = handler.rfile.read(int(handler.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        vendor = PATHS.get(handler.path)
        if vendor is None:
            return self.send(handler, 404, {}, b'{"error": {"message": "Invalid URL", "type": "invalid_request_error", "code": null}}')
        try:
            try:
                body = json.loads(raw)
            except ValueError:
                raise Refusal(400, "invalid_request_error", "not JSON") from None
            asked = Asked(vendor, headers, body, raw)
            with self.lock:
                self.requests.append(asked)
                number = len(self.of(vendor))
            check(vendor, headers, body)
        except Refusal as refusal:
            self.refused.append((vendor, refusal.message))
            return self.refuse(handler, vendor, refusal)
        behaviour = self.plan(asked, number) if self.plan else None
        if behaviour is None:
            marked = re.search(r"\[\[(\w+)\]\]", asked.user if isinstance(asked.user, str) else json.dumps(asked.user))
            behaviour = named_behaviours()[marked.group(1) if marked else "ok"]
        time.sleep(behaviour.stall)
        refusal = behaviour.refusal
        if refusal is not None:
            return self.refuse(handler, vendor, refusal if isinstance(refusal, Refusal) else refusal_of(vendor, refusal))
        text = behaviour.text if behaviour.text is not None else speak(str(asked.system), str(asked.user), asked.schema)
        asked.tokens_out = max(1, len(text.encode()) // 4)
        if behaviour.raw is not None:
            return self.send(handler, 200, {}, behaviour.raw, "text/html")
        if asked.body.get("stream") and not behaviour.whole:
            return self.stream(handler, asked, behaviour, text)
        whole = anthropic_message(asked, behaviour, text) if vendor == "anthropic" else chat_completion(asked, behaviour, text)
        self.send(handler, 200, {}, json.dumps(whole).encode(), behaviour=behaviour)

    # --- the wire

    def refuse(self, handler, vendor, refusal):
        if vendor == "anthropic":
            error = {"type": refusal.kind, "message": refusal.message}
            if refusal.code:
                error["details"] = {"error_code": refusal.code}
            body = {"type": "error", "error": error, "request_id": "req_011CRefused"}
        elif vendor == "openrouter":
            kinds = {429: "rate_limit_exceeded", 503: "provider_overloaded", 401: "authentication", 402: "payment_required", 403: "permission_denied", 500: "server"}
            body = {"error": {"code": refusal.status, "message": refusal.message, "metadata": {"error_type": kinds.get(refusal.status, "invalid_request")}}, "user_id": "user_1"}
        elif vendor == "gemini":
            body = [{"error": {"code": refusal.status, "message": refusal.message, "status": "RESOURCE_EXHAUSTED"}}]
        else:
            body = {"error": {"message": refusal.message, "type": refusal.kind, "param": None, "code": refusal.code}}
        self.send(handler, refusal.status, refusal.headers, json.dumps(body).encode())

    @staticmethod
    def names(handler):
        """Of the request, as each vendor calls it."""
        return {"request-id": "req_011CAnthropic"} if handler.path.startswith("/anthropic") else {"x-request-id": "req_openai"}

    def send(self, handler, status, headers, body, kind="application/json", behaviour=None):
        coding = {}
        if behaviour is not None and behaviour.encoding == "gzip" and "gzip" in handler.headers.get("Accept-Encoding", "gzip"):
            body, coding = gzip.compress(body), {"Content-Encoding": "gzip"}
        handler.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body) + (behaviour.extra_length if behaviour else 0)), **coding, **self.names(handler), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if behaviour is not None and behaviour.cut is not None:
            body = body[:int(len(body) * behaviour.cut)]
            handler.close_connection = True
        handler.wfile.write(body)
        if behaviour is not None and behaviour.extra_length:
            handler.close_connection = True

    def stream(self, handler, asked, behaviour, text):
        handler.close_connection = True
        handler.send_response(200)
        for name, value in {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache", "Connection": "close", **self.names(handler)}.items():
            handler.send_header(name, value)
        handler.end_headers()
        events = anthropic_events(asked, behaviour, text) if asked.vendor == "anthropic" else chat_events(asked, behaviour, text)
        whole = "".join(events).replace("\n", behaviour.ending).encode()
        if behaviour.cut is not None:
            whole = whole[:int(len(whole) * behaviour.cut)]
        piece = behaviour.piece or len(whole) or 1
        for at in range(0, len(whole), piece):
            handler.wfile.write(whole[at:at + piece])
            handler.wfile.flush()
            if behaviour.pause:
                time.sleep(behaviour.pause)
        if behaviour.reset:
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def anthropic_usage(asked):
    return {"input_tokens": asked.tokens_in, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}, "output_tokens": asked.tokens_out, "service_tier": "standard"}


def anthropic_stop(behaviour):
    return "refusal" if behaviour.refused else "max_tokens" if behaviour.stop == "length" else "end_turn"


def anthropic_message(asked, behaviour, text):
    usage = anthropic_usage(asked) if behaviour.usage else {}
    return {"id": "msg_01Vendors", "type": "message", "role": "assistant", "model": behaviour.model or asked.model,
            "content": [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}, {"type": "text", "text": text}],
            "stop_reason": anthropic_stop(behaviour), "stop_sequence": None, "stop_details": None, "usage": usage}


def pieces_of(text):
    return [text[at:at + 5] for at in range(0, len(text), 5)]


def anthropic_events(asked, behaviour, text):
    def event(kind, **data):
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **data}, ensure_ascii=False)}\n\n"
    usage = {**anthropic_usage(asked), "output_tokens": 1}
    yield event("message_start", message={"id": "msg_01Vendors", "type": "message", "role": "assistant", "model": behaviour.model or asked.model, "content": [],
                                          "stop_reason": None, "stop_sequence": None, "usage": usage})
    yield event("ping")
    yield event("content_block_start", index=0, content_block={"type": "thinking", "thinking": "", "signature": ""})
    yield event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "hm"})
    yield event("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "c2ln"})
    yield event("content_block_stop", index=0)
    yield event("content_block_start", index=1, content_block={"type": "text", "text": ""})
    for number, part in enumerate(pieces_of(text)):
        if behaviour.error and number == 2:
            yield event("error", error={"type": "overloaded_error", "message": "Overloaded"}, request_id="req_011C")
            return
        if behaviour.comments:
            yield ": keep-alive\n\n"
        if behaviour.pings:
            yield event("ping")
            yield event("of_the_future", anything=[1])
        yield event("content_block_delta", index=1, delta={"type": "text_delta", "text": part})
    yield event("content_block_stop", index=1)
    last = {"delta": {"stop_reason": anthropic_stop(behaviour), "stop_sequence": None}}
    if behaviour.usage:
        last["usage"] = {"output_tokens": asked.tokens_out}
    else:
        last["usage"] = {}
    yield event("message_delta", **last)
    if behaviour.terminator:
        yield event("message_stop")


def chat_usage(asked):
    usage = {"prompt_tokens": asked.tokens_in, "completion_tokens": asked.tokens_out, "total_tokens": asked.tokens_in + asked.tokens_out,
             "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0}}
    if asked.vendor == "openrouter":
        usage.update({"cost": 0.00123, "is_byok": False, "cost_details": {"upstream_inference_cost": None, "upstream_inference_prompt_cost": 0, "upstream_inference_completions_cost": 0}})
    return usage


def chat_base(asked, behaviour, kind):
    base = {"id": "gen-1234567890-vendors" if asked.vendor == "openrouter" else "chatcmpl-Vendors", "object": kind, "created": 1795000000,
            "model": behaviour.model or asked.model, "system_fingerprint": "fp_1"}
    return {**base, "provider": "Somebody"} if asked.vendor == "openrouter" else base


def chat_completion(asked, behaviour, text):
    if behaviour.error:  # within an answer of 200
        return {"error": {"code": 502, "message": "Provider returned error", "metadata": {"error_type": "provider_overloaded"}}}
    message = {"role": "assistant", "content": None if behaviour.refused else text, "refusal": "I cannot" if behaviour.refused else None}
    whole = {**chat_base(asked, behaviour, "chat.completion"), "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": behaviour.stop or "stop"}]}
    return {**whole, "usage": chat_usage(asked)} if behaviour.usage else whole


def chat_events(asked, behaviour, text):
    counted = bool(asked.body.get("stream_options", {}).get("include_usage")) or asked.vendor == "openrouter"

    def chunk(delta, finish=None, **more):
        data = {**chat_base(asked, behaviour, "chat.completion.chunk"), "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}], **more}
        if counted and "usage" not in data and asked.vendor != "openrouter":
            data["usage"] = None
        if asked.vendor == "openai" and asked.body.get("stream_options", {}).get("include_obfuscation") is not False:
            data["obfuscation"] = "x" * 17
        return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"
    if asked.vendor == "openrouter" or behaviour.comments:
        yield ": OPENROUTER PROCESSING\n\n"
    yield chunk({"role": "assistant", "content": "", "refusal": None})
    if behaviour.refused:
        yield chunk({"refusal": "I cannot"})
    for number, part in enumerate([] if behaviour.refused else pieces_of(text)):
        if behaviour.error and number == 2:
            broken = {**chat_base(asked, behaviour, "chat.completion.chunk"), "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]} if asked.vendor == "openrouter" else {}
            yield f"data: {json.dumps({**broken, 'error': {'code': 502, 'message': 'Provider disconnected', 'metadata': {'error_type': 'provider_unavailable'}}})}\n\n"
            return
        if behaviour.comments:
            yield ": OPENROUTER PROCESSING\n\n"
        yield chunk({"content": part})
    yield chunk({}, behaviour.stop or "stop")
    if counted and behaviour.usage:
        yield f"data: {json.dumps({**chat_base(asked, behaviour, 'chat.completion.chunk'), 'choices': [], 'usage': chat_usage(asked)})}\n\n"
    if behaviour.terminator:
        yield "data: [DONE]\n\n"
