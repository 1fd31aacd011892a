// The playground: a conversation with a model, as any client of the gateway would have it.

import { curlOf } from "./curl.js";
import { byId, keyed, make, setText, show } from "./dom.js";
import { count, rate, seconds } from "./format.js";
import { events, problemOf } from "./stream.js";

const PATH = "v1/chat/completions";
const KEY = "caller-key";

let messages = [];
let running = null;

export function startPlayground() {
  byId("caller-key").value = sessionStorage.getItem(KEY) ?? "";
  byId("setting").addEventListener("input", showCurl);
  byId("setting").addEventListener("submit", (event) => event.preventDefault());
  byId("text").addEventListener("input", showCurl);
  byId("caller-key").addEventListener("change", () => sessionStorage.setItem(KEY, byId("caller-key").value));
  byId("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      byId("say").requestSubmit();
    }
  });
  byId("say").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!running) send();
  });
  byId("stop").addEventListener("click", () => running?.abort());
  byId("clear").addEventListener("click", clear);
  byId("copy").addEventListener("click", copy);
  clear();
}

// A model, then its variants, as they can be asked for.
export function showModels(view) {
  const groups = view.models.map((model) => ({
    model: model.model,
    names: [model.model, ...model.variants.map((one) => one.variant).filter((name) => name !== model.model)],
  }));
  const select = byId("model");
  const isFirst = !select.options.length;
  keyed(select, groups, (group) => group.model, (group) => make("optgroup", { label: group.model }),
    (node, group) => keyed(node, group.names, (name) => name, (name) => make("option", { value: name }, name), () => {}));
  if (isFirst) showCurl();
}

function bodyWith(text) {
  const system = byId("system").value.trim();
  const body = {
    model: byId("model").value,
    messages: [
      ...(system ? [{ role: "system", content: system }] : []),
      ...messages.map(({ role, content }) => ({ role, content })),
      ...(text ? [{ role: "user", content: text }] : []),
    ],
    stream: true,
    stream_options: { include_usage: true },
  };
  const maxTokens = byId("max-tokens").valueAsNumber;
  if (maxTokens > 0) body.max_tokens = maxTokens;
  const temperature = byId("temperature").valueAsNumber;
  if (temperature >= 0) body.temperature = temperature;
  return body;
}

function showCurl() {
  if (running) return;
  const text = byId("text").value.trim() || (messages.length ? "" : "Hello");
  setCurl(bodyWith(text));
}

const setCurl = (body) =>
  setText(byId("curl"), curlOf(new URL(PATH, document.baseURI).href, body, Boolean(byId("caller-key").value)));

async function send() {
  const text = byId("text").value.trim();
  if (!text) return;
  const body = bodyWith(text);
  const conversation = messages; // a new one may begin before this answer ends
  conversation.push({ role: "user", content: text });
  add("user", text);
  byId("text").value = "";
  setCurl(body);
  const answer = add("assistant", "");
  const stop = new AbortController();
  busy(stop);
  const measured = { sentMs: performance.now() };
  try {
    await ask(body, answer, measured, stop.signal);
  } catch (error) {
    if (stop.signal.aborted) note(answer, "Stopped.", "calm");
    else note(answer, error instanceof Problem ? error.message : "The connection to the gateway broke.", "bad");
  } finally {
    const said = answer.querySelector(".said").textContent;
    if (said) conversation.push({ role: "assistant", content: said });
    else conversation.pop(); // what was not answered is not part of the conversation
    busy(null);
    showMeasured(measured);
    setText(byId("talk-news"), said ? "The answer is complete." : "There was no answer.");
  }
}

async function ask(body, answer, measured, signal) {
  const key = byId("caller-key").value.trim();
  const response = await fetch(PATH, {
    method: "POST",
    headers: { "content-type": "application/json", ...(key && { authorization: `Bearer ${key}` }) },
    body: JSON.stringify(body),
    signal,
  });
  measured.request = response.headers.get("x-request-id");
  if (!response.ok) throw new Problem(await problemOf(response));
  const said = answer.querySelector(".said");
  const thought = answer.querySelector(".thought");
  for await (const data of events(response)) {
    if (data === "[DONE]") continue;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Problem(chunk.error.message);
    if (chunk.usage) measured.usage = chunk.usage;
    const [choice] = chunk.choices ?? [];
    const delta = choice?.delta ?? {};
    const thinking = delta.reasoning_content ?? delta.reasoning;
    if (delta.content || thinking) {
      measured.lastMs = performance.now();
      measured.firstMs ??= measured.lastMs;
      measured.pieces = (measured.pieces ?? 0) + 1;
      if (thinking) { show(thought, true); thought.append(thinking); }
      if (delta.content) said.append(delta.content);
      follow();
      showMeasured(measured);
    }
    if (choice?.finish_reason) measured.finish = choice.finish_reason;
  }
}

class Problem extends Error {}

function showMeasured({ sentMs, firstMs, lastMs, pieces, usage, finish, request }) {
  const tokens = usage?.completion_tokens ?? pieces;
  const spanS = (lastMs - firstMs) / 1000;
  const all = [
    ["Time to first token", firstMs ? seconds((firstMs - sentMs) / 1000) : null],
    ["Tokens per second", spanS > 0 && tokens > 1 ? rate((tokens - 1) / spanS) : null],
    ["Tokens", usage ? `${count(usage.prompt_tokens)} in, ${count(tokens)} out` : pieces ? `${count(pieces)} out` : null],
    ["Whole answer", lastMs ? seconds((lastMs - sentMs) / 1000) : null],
    ["Ended by", finish ?? null],
    ["Request", request ?? null],
  ].filter(([, value]) => value !== null);
  keyed(byId("measured"), all, ([name]) => name,
    ([name]) => make("div", {}, make("dt", { class: "muted small" }, name), make("dd")),
    (node, [, value]) => setText(node.lastChild, value));
}

function add(role, text) {
  byId("messages").querySelector(".empty")?.remove();
  const thought = make("p", { class: "thought muted" });
  thought.hidden = true;
  const node = make("article", { class: `message ${role}` },
    make("h3", { class: "muted small" }, role === "user" ? "You" : byId("model").value),
    thought, make("p", { class: "said" }, text));
  byId("messages").append(node);
  follow();
  return node;
}

const note = (answer, text, level) =>
  answer.append(make("p", { class: `notice ${level}`, role: level === "bad" ? "alert" : null }, text));

function follow() {
  const box = byId("messages");
  if (box.scrollHeight - box.scrollTop - box.clientHeight < 160) box.scrollTop = box.scrollHeight;
}

function busy(stop) {
  running = stop;
  show(byId("stop"), Boolean(stop));
  show(byId("send"), !stop);
  byId("messages").setAttribute("aria-busy", String(Boolean(stop)));
  if (!stop) byId("text").focus({ preventScroll: true });
}

function clear() {
  running?.abort();
  messages = [];
  byId("messages").replaceChildren(make("p", { class: "empty muted" }, "Ask a model something: the answer streams in here, and is measured."));
  byId("measured").replaceChildren();
  showCurl();
}

async function copy() {
  try {
    await navigator.clipboard.writeText(byId("curl").textContent);
    setText(byId("talk-news"), "Copied.");
    setText(byId("copy"), "Copied");
  } catch {
    getSelection().selectAllChildren(byId("curl")); // no clipboard without https: ready for Ctrl+C
    setText(byId("copy"), "Selected");
  }
  setTimeout(() => setText(byId("copy"), "Copy"), 1500);
}
