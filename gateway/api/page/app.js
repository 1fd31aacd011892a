// The page: who is in, which part of it is shown, and what to do with each view.
//
// The admin key is kept in this tab's sessionStorage and sent as a header, never in a URL.

import { byId, setText, show } from "./dom.js";
import { showFigures } from "./figures.js";
import { showFleet } from "./fleet.js";
import { showFailures, showLimits, showNotices } from "./notes.js";
import { showModels, startPlayground } from "./playground.js";
import { Watch } from "./stream.js";

const KEY = "admin-key";
const PAGES = { "#fleet": "fleet-page", "#playground": "playground-page" };

let watch = null;
let here = "#fleet";

function signIn(key) {
  watch = new Watch(key, {
    view(view) {
      if (!sessionStorage.getItem(KEY)) {
        sessionStorage.setItem(KEY, key);
        byId("admin-key").value = "";
      }
      enter();
      link("live", "Live");
      setText(byId("version"), view.version);
      showNotices(view);
      showFigures(view);
      showFleet(view);
      showFailures(view);
      showLimits(view);
      showModels(view);
    },
    lost(why) {
      link("lost", `Reconnecting: ${why}`);
      if (!byId("door").hidden) setText(byId("door-problem"), `${sentence(why)} Trying again…`);
    },
    refused(why) {
      signOut();
      setText(byId("door-problem"), sentence(why));
    },
  });
  watch.run();
}

function signOut() {
  watch?.stop();
  watch = null;
  sessionStorage.removeItem(KEY);
  for (const id of ["fleet-page", "playground-page", "pages", "sign-out", "link"]) show(byId(id), false);
  setText(byId("door-problem"), "");
  show(byId("door"), true);
  byId("admin-key").focus();
}

function enter() {
  if (!byId("pages").hidden) return;
  for (const id of ["pages", "sign-out", "link"]) show(byId(id), true);
  show(byId("door"), false);
  turn();
}

function turn() {
  if (byId("pages").hidden) return;
  if (location.hash in PAGES) here = location.hash; // not the skip link's
  for (const [hash, id] of Object.entries(PAGES)) {
    show(byId(id), hash === here);
    const to = byId(`to-${hash.slice(1)}`);
    if (hash === here) to.setAttribute("aria-current", "page");
    else to.removeAttribute("aria-current");
  }
  document.title = `${byId(`to-${here.slice(1)}`).textContent} · Sluicegate`;
}

function link(state, text) {
  byId("link").className = `link ${state}`;
  setText(byId("link"), text);
  document.body.classList.toggle("stale", state === "lost");
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;

startPlayground();
addEventListener("hashchange", turn);
byId("sign-out").addEventListener("click", signOut);
byId("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  setText(byId("door-problem"), "");
  watch?.stop();
  signIn(byId("admin-key").value.trim());
});

const kept = sessionStorage.getItem(KEY);
if (kept) signIn(kept);
else signOut();
