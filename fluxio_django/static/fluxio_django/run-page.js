// Keeps the page of a run up to date: asks for its changing part, and goes to the result at the end.
"use strict";

(() => {
  const place = document.querySelector("[data-fluxio-run]");
  if (!place) return;
  const address = place.dataset.fluxioRun;
  const pause = Number(place.dataset.fluxioSeconds) * 1000 || 2000;
  const longest = 30000;
  let wait = pause;

  async function look() {
    try {
      const answer = await fetch(address, {
        credentials: "same-origin",
        headers: { "X-Fluxio-Fragment": "1" },
      });
      if (!answer.ok) throw new Error(String(answer.status));
      if (answer.headers.has("X-Fluxio-Ended")) {
        location.replace(address);
        return;
      }
      // What the server sent is escaped there, as all of the page is.
      place.innerHTML = await answer.text();
      wait = pause;
    } catch {
      wait = Math.min(wait * 2, longest);
    }
    setTimeout(look, wait);
  }

  setTimeout(look, pause);
})();
