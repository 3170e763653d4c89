// Lets the counters and the lock's state follow the sale. The page works without this file.
"use strict";
(() => {
  const count = document.querySelector("[data-event]");
  if (!count) return;
  const address = `/events/${encodeURIComponent(count.dataset.event)}`;
  const put = (id, text) => {
    const element = document.getElementById(id);
    if (element && element.textContent !== String(text)) element.textContent = text;
  };
  const words = {
    on: "Who reads the count is alone with it until the sale is written.",
    off: "Two buyers may read the same count and both be sold the last seat.",
  };
  let shown = "";
  const follow = async () => {
    try {
      const answer = await fetch(address, { cache: "no-store" });
      if (answer.ok) {
        const event = await answer.json();
        put("remaining", event.remaining);
        put("version", event.version);
        put("guard", event.guard);
        put("epoch", event.epoch);
        document.getElementById("sold").value = event.sold + event.held;
        const state = event.guard === "none" ? "off" : "on";
        if (shown && shown !== state) location.replace(`/?event=${encodeURIComponent(count.dataset.event)}`);
        shown = state;
        put("lock-state", state);
        put("lock-words", words[state]);
        document.getElementById("lock").className = `lock ${state}`;
      }
    } catch {
      // The service is away for a moment; the next look tries again.
    }
    setTimeout(follow, document.hidden ? 5000 : 1000);
  };
  follow();
})();
