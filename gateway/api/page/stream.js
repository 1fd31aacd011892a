// Server-sent events over fetch, which can send a key in a header, as EventSource cannot.

const SILENCE_MS = 10_000;
const PAUSES_MS = [1000, 2000, 4000, 8000];

// The data of each event of a response, until it ends.
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split(/\r?\n\r?\n/);
      rest = parts.pop();
      for (const part of parts) {
        const data = part
          .split(/\r?\n/)
          .filter((line) => line.startsWith("data:"))
          .map((line) => line.slice(line[5] === " " ? 6 : 5));
        if (data.length) yield data.join("\n");
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// What the gateway says of a failure, in its own words.
export async function problemOf(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `the gateway answered ${response.status}`;
  }
}

// Watches /admin/live until stopped, and comes back by itself after a break.
export class Watch {
  #key;
  #told;
  #stopped = new AbortController();

  // `told` has: view(view), lost(why), refused(why). After `refused` it has ended.
  constructor(key, told) {
    this.#key = key;
    this.#told = told;
  }

  stop() {
    this.#stopped.abort();
  }

  async run() {
    for (let failed = 0; !this.#stopped.signal.aborted; failed += 1) {
      try {
        const why = await this.#once(() => { failed = 0; });
        if (why) return this.#told.refused(why);
      } catch (error) {
        if (this.#stopped.signal.aborted) return;
        this.#told.lost(error instanceof Refusal ? error.message : "no connection to the gateway");
      }
      await pause(PAUSES_MS[Math.min(failed, PAUSES_MS.length - 1)], this.#stopped.signal);
    }
  }

  // Why it was refused for good; otherwise it ends when the stream does.
  async #once(came) {
    const silent = new AbortController();
    const stop = () => silent.abort();
    this.#stopped.signal.addEventListener("abort", stop);
    let timer = setTimeout(stop, SILENCE_MS);
    try {
      const response = await fetch("admin/live", {
        headers: { authorization: `Bearer ${this.#key}` },
        signal: silent.signal,
        cache: "no-store",
      });
      if (response.status === 401) return await problemOf(response);
      if (!response.ok) throw new Refusal(await problemOf(response));
      for await (const data of events(response)) {
        clearTimeout(timer);
        timer = setTimeout(stop, SILENCE_MS);
        if (this.#stopped.signal.aborted) return null;
        came();
        this.#told.view(JSON.parse(data));
      }
      this.#told.lost("the gateway ended the stream");
      return null;
    } finally {
      clearTimeout(timer);
      this.#stopped.signal.removeEventListener("abort", stop);
    }
  }
}

class Refusal extends Error {}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}
