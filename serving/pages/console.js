"use strict";
// Brings figures up to date while the page is looked at. Without it, loading the page anew does the same.
(() => {
  const EVERY_MS = 10000;
  const live = () => document.querySelectorAll("[data-live][id]");
  if (!live().length) return;
  const refresh = async () => {
    if (document.hidden) return;
    let fresh;
    try {
      const answer = await fetch(location.href, { credentials: "same-origin", redirect: "error" });
      if (!answer.ok) return;
      fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    } catch {
      return;
    }
    for (const old of live()) {
      const found = fresh.getElementById(old.id);
      if (found && found.innerHTML !== old.innerHTML && !old.contains(document.activeElement)) old.replaceWith(found);
    }
  };
  setInterval(refresh, EVERY_MS);
})();
