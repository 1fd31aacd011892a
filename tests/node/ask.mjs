// Ask a gateway through the official Node SDK, and print what came of it as JSON:
//   node ask.mjs URL CALLS MAX_TOKENS RETRIES
import OpenAI from "openai";

const [url, calls, maxTokens, maxRetries] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "sk-test", maxRetries: Number(maxRetries) });
const results = [];
for (let call = 0; call < Number(calls); call++) {
  try {
    const answer = await client.chat.completions.create({
      model: "m",
      max_tokens: Number(maxTokens),
      messages: [{ role: "user", content: "Hello" }],
    });
    results.push({ content: answer.choices[0].message.content });
  } catch (error) {
    const { status, code, type, message, requestID } = error;
    results.push({ failure: error.constructor.name, status, code, type, message, requestID });
  }
}
console.log(JSON.stringify(results));
