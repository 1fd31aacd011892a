// The row of figures at the top: what all of the gateway does now, and how that went.

import { draw, newLine } from "./chart.js";
import { byId, keyed, make, setText } from "./dom.js";
import { count, rate, seconds } from "./format.js";

export const TTFT_HIGHEST_S = 10;
export const INTER_TOKEN_HIGHEST_S = 2.5;
const ROOM = 120; // two minutes
const LEAST_ROOM = 30;

const quantiles = (all, highest) =>
  all ? `p95 ${seconds(all.p95_s, highest)} · p99 ${seconds(all.p99_s, highest)}` : "no streams";

// `value` is drawn; `text` and `more` are read.
const FIGURES = [
  {
    name: "Requests per second",
    value: (view) => view.total?.requests_per_s ?? null,
    text: (view) => rate(view.total?.requests_per_s),
    more: (view) => `${count(view.in_flight)} in flight`,
  },
  {
    name: "Tokens per second",
    value: (view) => view.total?.output_tokens_per_s ?? null,
    text: (view) => rate(view.total?.output_tokens_per_s),
    more: (view) => `written · ${rate(view.total?.input_tokens_per_s)} read`,
  },
  {
    name: "First token, p50",
    value: (view) => view.total?.ttft?.p50_s ?? null,
    text: (view) => seconds(view.total?.ttft?.p50_s, TTFT_HIGHEST_S),
    more: (view) => quantiles(view.total?.ttft, TTFT_HIGHEST_S),
  },
  {
    name: "Between tokens, p50",
    value: (view) => view.total?.inter_token?.p50_s ?? null,
    text: (view) => seconds(view.total?.inter_token?.p50_s, INTER_TOKEN_HIGHEST_S),
    more: (view) => quantiles(view.total?.inter_token, INTER_TOKEN_HIGHEST_S),
  },
  {
    name: "Waiting in engines",
    value: (view) => waiting(view),
    text: (view) => count(waiting(view)),
    more: (view) => `${count(reported(view, "running"))} running`,
  },
  {
    name: "Failures per second",
    value: (view) => view.total?.failures_per_s ?? null,
    text: (view) => rate(view.total?.failures_per_s),
    more: (view) =>
      `${rate(view.total?.refused_per_s)} refused · ${rate(view.total?.client_gone_per_s)} left`,
    isBad: (view) => (view.total?.failures_per_s ?? 0) > 0,
  },
];

const past = new Map(FIGURES.map((figure) => [figure.name, []]));

export function showFigures(view) {
  keyed(byId("figures"), FIGURES, (figure) => figure.name, newFigure, (node, figure) => {
    const values = past.get(figure.name);
    values.push(figure.value(view));
    if (values.length > ROOM) values.shift();
    const [text, more] = node.querySelectorAll("dd");
    setText(text, figure.text(view));
    setText(more, figure.more(view));
    node.classList.toggle("bad", figure.isBad?.(view) ?? false);
    draw(node.querySelector("svg"), values, Math.max(values.length, LEAST_ROOM));
  });
}

function newFigure(figure) {
  return make(
    "div",
    { class: "card figure" },
    make("dt", {}, figure.name),
    make("dd", { class: "number" }),
    make("dd", { class: "muted small" }),
    newLine(),
  );
}

const waiting = (view) => reported(view, "waiting");

function reported(view, name) {
  const known = view.models
    .flatMap((model) => model.variants.flatMap((variant) => variant.replicas))
    .map((replica) => replica[name])
    .filter((value) => value !== null);
  return known.length ? known.reduce((sum, value) => sum + value, 0) : null;
}
