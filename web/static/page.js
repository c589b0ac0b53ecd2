// Keeps a page up to date. Everything works without it.
"use strict";
(() => {
  const main = document.getElementById("main");
  // refresh loads the page anew and puts its content in place, unless somebody is busy in a field.
  async function refresh() {
    if (document.hidden || main.contains(document.activeElement) && document.activeElement.matches("input")) return;
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.status !== 200) return;
    const next = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
    if (!next || next.innerHTML === main.innerHTML) return;
    const open = [...main.querySelectorAll("details")].map((d) => d.open);
    main.replaceChildren(...next.childNodes);
    main.querySelectorAll("details").forEach((d, i) => { d.open = !!open[i]; });
  }
  if (main.dataset.poll) setInterval(() => refresh().catch(() => {}), Number(main.dataset.poll));
  if (main.dataset.events && window.EventSource) {
    const query = new URLSearchParams(location.search).get("backend");
    const events = new EventSource(main.dataset.events + (query ? "?" + new URLSearchParams({ backend: query }) : ""));
    const changed = () => refresh().catch(() => {});
    events.addEventListener("state", changed);
    events.addEventListener("progress", changed);
    events.addEventListener("end", () => { events.close(); changed(); });
  }
})();
