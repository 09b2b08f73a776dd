// OpenAI's own SDK asks a panel: node panel.mjs PLACE ORIGIN KEY. Prints what each call came to as one JSON document.
import { createRequire } from "node:module";
import path from "node:path";

const [place, origin, apiKey] = process.argv.slice(2);
const require = createRequire(path.join(path.resolve(place), "package.json"));
const { default: OpenAI } = await import(require.resolve("openai"));
const client = new OpenAI({ apiKey, baseURL: `${origin}/v1`, maxRetries: 2, timeout: 60000 });
const ask = { model: "aragora/default", messages: [{ role: "user", content: "Ship on Friday?" }] };

const failed = async (call) => {
  try {
    await call();
    return { error: null };
  } catch (error) {
    return { error: error.constructor.name, status: error.status, code: error.code, param: error.param };
  }
};

const models = [];
for await (const model of client.models.list()) models.push(model.id);
const whole = await client.chat.completions.create(ask);
let text = "";
let usage = null;
for await (const chunk of await client.chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } })) {
  text += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}
const helper = await client.chat.completions.stream(ask).finalChatCompletion();
console.log(JSON.stringify({
  models, text, usage,
  whole: { text: whole.choices[0].message.content, usage: whole.usage, debate: whole.aragora.debate_id, request_id: whole._request_id },
  helper: helper.choices[0].message.content,
  unknown: await failed(() => client.chat.completions.create({ ...ask, model: "gpt-6" })),
  tools: await failed(() => client.chat.completions.create({ ...ask, tools: [{ type: "function", function: { name: "f" } }] })),
  stranger: await failed(() => new OpenAI({ apiKey: "wrong", baseURL: `${origin}/v1` }).models.list()),
}));
