// The vendors' own SDKs against a server that says it speaks as they do: node sdks.mjs PLACE ORIGIN KEYS. Prints what each call came to as one
// JSON document: {"anthropic ok": {"text": …}, "openai throttled": {"error": "RateLimitError", "status": 429, …}, …}.
import { createRequire } from "node:module";
import path from "node:path";

const [place, origin, keysText] = process.argv.slice(2);
const keys = JSON.parse(keysText);
const require = createRequire(path.join(path.resolve(place), "package.json"));
const load = async (name) => import(require.resolve(name));

const { default: Anthropic } = await load("@anthropic-ai/sdk");
const { default: OpenAI } = await load("openai");
const { OpenRouter } = await load("@openrouter/sdk");

const anthropic = new Anthropic({ apiKey: keys.anthropic, baseURL: `${origin}/anthropic`, maxRetries: 0, timeout: 15000 });
const openai = new OpenAI({ apiKey: keys.openai, baseURL: `${origin}/openai/v1`, maxRetries: 0, timeout: 15000 });
const openrouter = new OpenRouter({ apiKey: keys.openrouter, serverURL: `${origin}/openrouter/api/v1`, retryConfig: { strategy: "none" }, timeoutMs: 15000 });

const schema = { type: "object", properties: { choice: { type: "string" } }, required: ["choice"], additionalProperties: false };
const messages = (behaviour) => [{ role: "user", content: `say something [[${behaviour}]]` }];
const text = (message) => message.content.filter((block) => block.type === "text").map((block) => block.text).join("");

const calls = {
  anthropic: {
    whole: async (behaviour, more = {}) => {
      const message = await anthropic.messages.create({ model: "claude-opus-5-5", max_tokens: 500, messages: messages(behaviour), ...more });
      return { text: text(message), stop: message.stop_reason, usage: message.usage, request_id: message._request_id };
    },
    stream: async (behaviour) => {
      const message = await anthropic.messages.stream({ model: "claude-opus-5-5", max_tokens: 500, messages: messages(behaviour) }).finalMessage();
      return { text: text(message), stop: message.stop_reason, usage: message.usage };
    },
  },
  openai: {
    whole: async (behaviour, more = {}) => {
      const completion = await openai.chat.completions.create({ model: "gpt-6-sol", messages: messages(behaviour), ...more });
      const choice = completion.choices[0];
      return { text: choice.message.content, refusal: choice.message.refusal, stop: choice.finish_reason, usage: completion.usage, request_id: completion._request_id };
    },
    stream: async (behaviour) => {
      const stream = openai.chat.completions.stream({ model: "gpt-6-sol", messages: messages(behaviour), stream_options: { include_usage: true } });
      const completion = await stream.finalChatCompletion();
      return { text: completion.choices[0].message.content, stop: completion.choices[0].finish_reason, usage: completion.usage };
    },
  },
  openrouter: {
    whole: async (behaviour) => {
      const answer = await openrouter.chat.send({ chatRequest: { model: "anthropic/claude-opus-5.5", messages: messages(behaviour) } });
      return { text: answer.choices[0].message.content, stop: answer.choices[0].finishReason, usage: answer.usage };
    },
    stream: async (behaviour) => {
      let said = "", usage = null, stop = null;
      for await (const chunk of await openrouter.chat.send({ chatRequest: { model: "anthropic/claude-opus-5.5", messages: messages(behaviour), stream: true } })) {
        if (chunk.error) throw Object.assign(new Error(chunk.error.message), { status: chunk.error.code });
        said += chunk.choices[0]?.delta?.content ?? "";
        stop = chunk.choices[0]?.finishReason ?? stop;
        usage = chunk.usage ?? usage;
      }
      return { text: said, stop, usage };
    },
  },
};

const results = {};
const record = async (name, call) => {
  try {
    results[name] = await call();
  } catch (error) {
    results[name] = { error: error.constructor.name, status: error.status ?? error.statusCode ?? null, request_id: error.requestID ?? null, type: error.type ?? error.error?.error?.type ?? null, code: error.code ?? null, message: String(error.message).slice(0, 200) };
  }
};

const behaviours = ["ok", "bytes", "crlf", "cr", "pings", "comments", "gzip", "stalls", "refused", "truncated", "uncounted", "overloaded", "throttled", "spent", "unavailable", "forbidden", "overloaded_within", "cut", "unterminated"];
for (const [vendor, { whole, stream }] of Object.entries(calls)) {
  for (const behaviour of behaviours) {
    await record(`${vendor} ${behaviour}`, () => whole(behaviour));
    await record(`${vendor} ${behaviour} stream`, () => stream(behaviour));
  }
}
await record("anthropic temperature", () => calls.anthropic.whole("ok", { temperature: 1 }));
await record("anthropic schema", () => calls.anthropic.whole("ok", { output_config: { format: { type: "json_schema", schema } } }));
await record("anthropic prefill", () => calls.anthropic.whole("ok", { messages: [...messages("ok"), { role: "assistant", content: "{" }] }));
await record("anthropic model", () => calls.anthropic.whole("ok", { model: "gpt-6-sol" }));
await record("openai max_tokens", () => calls.openai.whole("ok", { max_tokens: 5 }));
await record("openai max_completion_tokens", () => calls.openai.whole("ok", { max_completion_tokens: 5, store: false }));
await record("openai schema", () => calls.openai.whole("ok", { response_format: { type: "json_schema", json_schema: { name: "ballot", strict: true, schema } } }));
await record("openai temperature", () => calls.openai.whole("ok", { temperature: 0.5 }));
await record("anthropic key", () => new Anthropic({ apiKey: "wrong", baseURL: `${origin}/anthropic`, maxRetries: 0 }).messages.create({ model: "claude-opus-5-5", max_tokens: 5, messages: messages("ok") }));
await record("openai key", () => new OpenAI({ apiKey: "wrong", baseURL: `${origin}/openai/v1`, maxRetries: 0 }).chat.completions.create({ model: "gpt-6-sol", messages: messages("ok") }));
console.log(JSON.stringify(results));
