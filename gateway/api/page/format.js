// Numbers as people read them. What is unknown is a dash.

export const UNKNOWN = "–";

export function count(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (value >= 999_500) return `${trimmed(value / 1e6)}M`;
  if (value >= 9_995) return `${trimmed(value / 1e3)}k`;
  return String(Math.round(value));
}

export function rate(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (value === 0) return "0";
  if (value < 0.1) return "<0.1";
  return value < 9.95 ? value.toFixed(1) : count(value);
}

// `highest`: where the gateway's histogram ends; what is above it shows as that.
export function seconds(value, highest = Infinity) {
  if (value === null || value === undefined) return UNKNOWN;
  const least = value >= highest ? "≥ " : "";
  if (value >= 1) return `${least}${trimmed(value)} s`;
  const ms = value * 1000;
  return `${least}${ms < 9.95 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

export function percent(ratio) {
  return ratio === null || ratio === undefined ? UNKNOWN : `${Math.round(ratio * 100)} %`;
}

export function clockTime(unixS) {
  return new Date(unixS * 1000).toLocaleTimeString([], { hour12: false });
}

export const words = (name) => (name ?? "").replaceAll("_", " ");

export const plural = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

function trimmed(value) {
  return value < 9.95 ? value.toFixed(1) : String(Math.round(value));
}
