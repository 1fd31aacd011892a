// Light or dark: the system's choice, until somebody makes another. Runs before the page shows.
(() => {
  const NAMES = { system: "System", light: "Light", dark: "Dark" };
  const root = document.documentElement;

  function kept() {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // storage is turned off
    }
  }

  function apply(theme) {
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
  }

  let theme = kept() in NAMES ? kept() : "system";
  apply(theme);

  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const show = () => {
      button.textContent = NAMES[theme];
      button.setAttribute("aria-label", `Theme: ${NAMES[theme]}`);
    };
    show();
    button.addEventListener("click", () => {
      const all = Object.keys(NAMES);
      theme = all[(all.indexOf(theme) + 1) % all.length];
      try {
        localStorage.setItem("theme", theme);
      } catch {
        // it holds for this page then
      }
      apply(theme);
      show();
    });
  });
})();
