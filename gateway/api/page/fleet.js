// The fleet map: each model with its variants and replicas, and news of those that changed.

import { byId, keyed, make, setAttribute, setText } from "./dom.js";
import { INTER_TOKEN_HIGHEST_S, TTFT_HIGHEST_S } from "./figures.js";
import { count, percent, plural, rate, seconds, words } from "./format.js";

const COLUMNS = ["Variant", "Replica", "Health", "Running", "Waiting", "KV cache", "Requests/s", "TTFT p95", "Between tokens p95"];
const NUMBERS = 3; // from this column on
const FULL = 0.9;

const ttft = (traffic, which) => seconds(traffic?.ttft?.[which], TTFT_HIGHEST_S);
const between = (traffic, which) => seconds(traffic?.inter_token?.[which], INTER_TOKEN_HIGHEST_S);

export function showFleet(view) {
  keyed(byId("models"), view.models, (model) => model.model, newModel, (node, model) => {
    const { traffic } = model;
    const rows = model.variants.flatMap((variant) =>
      variant.replicas.map((replica) => ({ variant: variant.variant, replica })));
    setText(node.querySelector(".facts"), traffic === null ? "measuring…" : [
      `${rate(traffic.requests_per_s)} req/s`,
      `${rate(traffic.output_tokens_per_s)} tok/s`,
      `TTFT ${ttft(traffic, "p50_s")}, p95 ${ttft(traffic, "p95_s")}`,
      `between tokens ${between(traffic, "p50_s")}`,
    ].join("  ·  "));
    const usable = rows.filter((row) => row.replica.usable).length;
    const isIdle = usable === 0 && rows.every((row) => IDLE.has(row.replica.condition));
    const state = node.querySelector(".share");
    setText(state, usable === rows.length ? `${plural(rows.length, "replica")}` : `${usable} of ${plural(rows.length, "replica")} serving`);
    state.classList.toggle("bad", usable === 0 && !isIdle);
    state.classList.toggle("warn", usable > 0 && usable < rows.length);
    keyed(node.querySelector("tbody"), rows, (row) => `${row.variant} ${row.replica.replica}`, newRow,
      (line, row) => showRow(line, row, view.workers));
  });
  const note = view.workers > 1
    ? `Traffic is of all ${view.workers} workers; health and engine load are as one of them sees them.`
    : "";
  setText(byId("fleet-note"), note);
  tell(view);
}

function newModel(model) {
  const table = make(
    "table",
    {},
    make("caption", { class: "unseen" }, `Replicas of ${model.model}`),
    make("thead", {}, make("tr", {}, ...COLUMNS.map((name, index) =>
      make("th", { scope: "col", class: index >= NUMBERS ? "number" : null }, name)))),
    make("tbody"),
  );
  return make(
    "article",
    { class: "card flush model" },
    make("header", {}, make("h3", {}, model.model), make("span", { class: "share" }), make("p", { class: "facts muted" })),
    make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Replicas of ${model.model}` }, table),
  );
}

function newRow(row) {
  const cells = COLUMNS.map((name, index) =>
    make(index === 1 ? "th" : "td", { scope: index === 1 ? "row" : null, class: index >= NUMBERS ? "number" : null, "data-label": name }));
  cells[0].append(make("span", { class: "tag" }, row.variant));
  cells[1].append(make("span", { class: "name" }), make("span", { class: "engine muted" }));
  cells[2].append(make("span", { class: "health" }), make("span", { class: "why muted small" }));
  cells[5].append(make("span", { class: "bar-box", "aria-hidden": "true" }, make("span", { class: "bar-fill" })), make("span"));
  return make("tr", {}, ...cells);
}

function showRow(line, { replica }, workers) {
  const cells = line.children;
  setText(cells[1].firstChild, replica.replica);
  setText(cells[1].lastChild, replica.engine);
  const health = cells[2].firstChild;
  setText(health, words(replica.condition));
  setAttribute(health, "class", `health ${level(replica, workers)}`);
  setText(cells[2].lastChild, why(replica, workers));
  setText(cells[3], count(replica.running ?? replica.in_flight));
  setText(cells[4], count(replica.waiting));
  const kv = replica.kv_cache_used_ratio;
  setText(cells[5].lastChild, percent(kv));
  const [box] = cells[5].children;
  box.hidden = kv === null;
  box.firstChild.style.setProperty("--part", String(kv ?? 0));
  box.classList.toggle("full", kv >= FULL);
  setText(cells[6], rate(replica.traffic?.requests_per_s));
  setText(cells[7], ttft(replica.traffic, "p95_s"));
  setText(cells[8], between(replica.traffic, "p95_s"));
}

function level(replica, workers) {
  if (!replica.usable) return IDLE.has(replica.condition) ? "calm" : "bad";
  return replica.usable_by < workers || replica.condition !== "ready" ? "warn" : "good";
}

// Only what a healthy replica would not have.
function why(replica, workers) {
  const parts = [];
  if (replica.condition !== "ready" && replica.reason) parts.push(words(replica.reason));
  if (workers > 1 && replica.usable_by > 0 && replica.usable_by < workers) {
    parts.push(`serves for ${replica.usable_by} of ${workers} workers`);
  }
  return parts.join(", ");
}

// Out on purpose: a call brings it back.
const IDLE = new Set(["asleep", "away"]);

let conditions = new Map();

// For screen readers: changes only, and never the first sight of a replica.
function tell(view) {
  const now = new Map();
  const news = [];
  for (const model of view.models) {
    for (const variant of model.variants) {
      for (const replica of variant.replicas) {
        const key = `${variant.variant} ${replica.replica}`;
        now.set(key, replica.condition);
        const before = conditions.get(key);
        if (before !== undefined && before !== replica.condition) {
          news.push(`${replica.replica} of ${variant.variant} is ${words(replica.condition)}: ${words(replica.reason)}.`);
        }
      }
    }
  }
  conditions = now;
  if (news.length) setText(byId("news"), news.join(" "));
}
