// Recent failures, limits by key, and what is wrong with the gateway itself.

import { byId, keyed, make, setText } from "./dom.js";
import { clockTime, count, seconds, words } from "./format.js";

const OUTCOMES = { engine_error: "bad", gateway_error: "bad", client_error: "warn", client_gone: "calm" };
const OURS = ["engine_error", "gateway_error"];
const LITTLE = 0.1;

export function showFailures(view) {
  const lines = byId("ours-only").checked
    ? view.failures.filter((line) => OURS.includes(line.outcome))
    : view.failures;
  const box = byId("failures");
  keyed(box, lines.length ? lines : [null], keyOfFailure, newFailure, () => {});
  setText(byId("failures-note"), view.workers > 1 ? `Of one of ${view.workers} workers; figures count all.` : "");
}

const keyOfFailure = (line) => (line ? `${line.request_id} ${line.time}` : "none");

function newFailure(line) {
  if (!line) return make("p", { class: "empty muted" }, "None since this process started.");
  const where = [line.variant ?? line.model, line.replica].filter(Boolean).join(" on ");
  const facts = [
    where,
    line.caller && `by ${line.caller}`,
    line.attempts > 1 && `${line.attempts} attempts`,
    `after ${seconds(line.duration_ms / 1000)}`,
  ].filter(Boolean).join(" · ");
  return make(
    "article",
    { class: "failure" },
    make("p", {},
      make("time", { datetime: new Date(line.time * 1000).toISOString(), class: "muted" }, clockTime(line.time)),
      make("span", { class: `health ${OUTCOMES[line.outcome] ?? "warn"}` }, words(line.outcome)),
      make("strong", {}, `${line.status} ${line.error_code ?? ""}`.trim())),
    make("p", {}, line.error_cause ?? ""),
    make("p", { class: "muted small" }, `${facts} · request `, make("code", {}, line.request_id)),
  );
}

export function showLimits(view) {
  const { keys, omitted, store_state: state } = view.limits;
  const box = byId("limits");
  keyed(box, keys.length ? keys : [null], (key) => (key ? `key ${key.key}` : `none ${state}`), newKey, showKey);
  const notes = [];
  if (!["ok", "unknown"].includes(state)) notes.push(`Redis is away (${state}): this process's own view.`);
  if (omitted) notes.push(`${omitted} more have limits.`);
  setText(byId("limits-note"), notes.join(" "));
}

function newKey(key) {
  if (!key) return make("p", { class: "empty muted" }, "No key has limits, or they cannot be read now.");
  return make("article", { class: "key" },
    make("p", {}, make("strong", {}, key.key), make("span", { class: "muted" }, ` plan ${key.plan}`)),
    make("div", { class: "levels" }));
}

function showKey(node, key) {
  if (!key) return;
  keyed(node.lastChild, key.limits, (one) => one.rule, newLevel, (line, one) => {
    const part = one.left / one.burst;
    setText(line.children[2], `${count(one.left)} of ${count(one.burst)} left`);
    const box = line.children[1];
    box.firstChild.style.setProperty("--part", String(part));
    box.classList.toggle("full", part <= LITTLE);
  });
}

const newLevel = (one) => make("p", { class: "level" },
  make("span", {}, words(one.rule)),
  make("span", { class: "bar-box", "aria-hidden": "true" }, make("span", { class: "bar-fill" })),
  make("span", { class: "number muted" }));

export function showNotices(view) {
  const found = [];
  if (view.draining) found.push("This gateway is shutting down: new calls go elsewhere.");
  for (const problem of view.config_problems) found.push(`The configuration file is refused, the old one serves: ${problem}`);
  keyed(byId("notices"), found, (text) => text, (text) => make("p", { class: "notice bad", role: "alert" }, text), () => {});
}
