// What the page of the lab shows beside the counters: the curve of the sale, and the lock as it is switched.
"use strict";
(() => {
  const count = document.querySelector("[data-event]");
  if (!count) return;
  const event = encodeURIComponent(count.dataset.event);
  const capacity = Number(count.dataset.capacity);
  const at = (id) => document.getElementById(id);
  const put = (id, text) => {
    if (at(id).textContent !== String(text)) at(id).textContent = text;
  };

  const words = {
    on: "Who reads the count is alone with it until the sale is written.",
    off: "Two buyers may read the same count and both be sold the last seat.",
  };

  // What was seen outlasts the page: each purchase and each switch of the lock loads it anew.
  const LOOKS = 240;
  const OLD_S = 600;
  const kept = `seen:${event}:${capacity}`;
  const recall = () => {
    try {
      const since = Date.now() / 1000 - OLD_S;
      return JSON.parse(sessionStorage.getItem(kept) ?? "[]").filter((look) => look.at > since && look.at <= since + OLD_S);
    } catch {
      return []; // no storage, or not ours
    }
  };
  const keep = () => {
    try {
      sessionStorage.setItem(kept, JSON.stringify(seen));
    } catch {
      // Then it begins anew with each page.
    }
  };
  const seen = recall();
  const box = { left: 40, right: 392, top: 8, bottom: 136 };
  const SVG = "http://www.w3.org/2000/svg";
  const node = (name, attributes, text = "") => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return made;
  };
  const draw = () => {
    const first = seen[0].at;
    const lasts = Math.max(10, seen[seen.length - 1].at - first);
    const most = Math.max(capacity, ...seen.map((look) => look.sold + look.held)) * 1.05;
    const x = (time) => box.left + ((time - first) / lasts) * (box.right - box.left);
    const y = (tickets) => box.bottom - (tickets / most) * (box.bottom - box.top);
    // A count stays until it changes: steps, and no slopes.
    const steps = (value) =>
      seen.map((look, i) => `${i ? `H${x(look.at).toFixed(1)}V` : `M${x(look.at).toFixed(1)},`}${y(value(look)).toFixed(1)}`).join("");
    at("curve-sold").setAttribute("d", steps((look) => look.sold));
    at("curve-held").setAttribute("d", seen.some((look) => look.held) ? steps((look) => look.sold + look.held) : "");
    for (const end of ["y1", "y2"]) at("curve-capacity").setAttribute(end, y(capacity));
    at("curve-grid").replaceChildren(
      node("line", { x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }),
      node("text", { x: box.left - 6, y: y(capacity) + 4, "text-anchor": "end" }, capacity),
      node("text", { x: box.left - 6, y: box.bottom + 4, "text-anchor": "end" }, "0"),
      node("text", { x: box.left, y: 154 }, "0 s"),
      node("text", { x: box.right, y: 154, "text-anchor": "end" }, `${Math.round(lasts)} s`),
    );
    const now = seen[seen.length - 1];
    put("curve-words", `${now.sold} sold${now.held ? `, ${now.held} set aside (dotted)` : ""}, of ${capacity} (dashed), as the store has it; ${now.sold - seen[0].sold} in the last ${Math.round(now.at - first)} s.`);
    at("curve").hidden = false;
  };

  let shown = "";
  document.addEventListener("seen", ({ detail: { found } }) => {
    put("version", found.version);
    put("guard", found.guard);
    put("epoch", found.epoch);
    const state = found.guard === "none" ? "off" : "on";
    if (shown && shown !== state) location.replace(`/?event=${event}`);
    shown = state;
    put("lock-state", state);
    put("lock-words", words[state]);
    at("lock").className = `lock ${state}`;
    // From the beginning again: another event of that name. (A version that only falls is a lost sale: that is shown.)
    if (found.version === 0 && seen.some((look) => look.version)) seen.length = 0;
    seen.push({ at: Date.now() / 1000, sold: found.sold, held: found.held, version: found.version });
    if (seen.length > LOOKS) seen.shift();
    keep();
    draw();
  });
})();
