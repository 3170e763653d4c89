// What a buyer has more with this file: the doors open by themselves, nothing that is sent is lost, what was paid is
// shown when the office is told of it, tickets are given back after a question, orders are kept by this browser, and
// tickets are printed. The page works without it.
"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const form = document.querySelector("form.buy");

  // -- the doors: when the office's clock says so, and not the buyer's

  const doors = at("doors");
  let ahead = 0;
  const attend = () => {
    const now = Date.now() + ahead;
    const { opens, closes, remaining } = doors.dataset;
    const state = closes && Date.parse(closes) <= now ? "ended" : opens && Date.parse(opens) > now ? "early" : remaining > 0 ? "open" : "sold-out";
    for (const line of doors.children) line.hidden = line.dataset.when !== state;
    doors.hidden = state === "open";
    form.hidden = state !== "open";
  };
  if (doors) {
    document.addEventListener("seen", ({ detail: { found, date } }) => {
      if (date) ahead = date - Date.now();
      doors.dataset.opens = found.opens_at ?? "";
      doors.dataset.closes = found.closes_at ?? "";
      doors.dataset.remaining = found.remaining;
      if (found.opens_at) at("opens").dateTime = found.opens_at;
      attend();
    });
    setInterval(attend, 1000);
    attend();
  }

  // -- what is sent: this page stays until the office has answered, so that the form is there to be sent again

  const LONGEST_MS = 60000; // the office itself gives up earlier
  let sending = false;
  const unsent = (words) => {
    at("unsent").firstElementChild.textContent = words;
    at("unsent").hidden = false;
  };
  const send = async (sent, content) => {
    if (sending) return;
    sending = true;
    at("unsent").hidden = true;
    sent.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch("/", { method: "POST", body: new URLSearchParams(content), signal: AbortSignal.timeout(LONGEST_MS) });
      if (answer.ok && answer.redirected) return location.assign(answer.url);
      const problem = await answer.json().catch(() => ({}));
      unsent(problem.title ? `${problem.title}.` : "The office could not say what became of it.");
    } catch {
      unsent("The office did not answer.");
    }
    sending = false;
    sent.removeAttribute("aria-busy");
  };
  document.addEventListener("submit", (happens) => {
    const { target, submitter } = happens;
    if (target.method !== "post" || submitter?.formMethod === "dialog") return;
    happens.preventDefault();
    if (submitter?.value === "ask") at("question").showModal();
    else send(target, new FormData(target, submitter));
  });

  window.addEventListener("pageshow", () => (sending = false)); // who comes back to this page may send again

  at("print")?.addEventListener("click", () => window.print());
  if (at("print")) at("print").hidden = false;

  // -- the orders and holds of this browser

  const KEPT = "orders";
  const MOST = 30;
  const recall = () => {
    try {
      const found = JSON.parse(localStorage.getItem(KEPT));
      return Array.isArray(found) ? found : [];
    } catch {
      return []; // no storage, or not ours
    }
  };
  const keep = (orders) => {
    try {
      localStorage.setItem(KEPT, JSON.stringify(orders.slice(0, MOST)));
    } catch {
      // Then they are gone with the page; the form below finds an order by its id.
    }
  };
  const same = (one) => (other) => one.id === other.id && one.event === other.event;
  const addressOf = ({ event, named, id }) => `/?${new URLSearchParams({ event, [named]: id })}`;
  const event = document.querySelector("[data-event]")?.dataset.event;
  for (const { dataset } of document.querySelectorAll("[data-named]")) {
    const here = { event, named: dataset.named, id: dataset.id, name: document.querySelector("h1").textContent };
    if (dataset.hold) keep(recall().filter(({ id }) => id !== dataset.hold)); // what was set aside has become this order
    if (!recall().some(same(here))) keep([here, ...recall()]);
  }

  const pageOf = async (order) => {
    const answer = await fetch(addressOf(order), { cache: "no-store" });
    if (!answer.ok) throw new Error(`${answer.status}`);
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  };
  const stateOf = async (order) => {
    const page = await pageOf(order);
    const found = page.querySelector(`[data-named="${order.named}"], [data-hold="${order.id}"]`);
    if (!found) return "not known to the office any more";
    const places = [...found.querySelectorAll(".number")].map((each) => each.textContent).join(", ");
    const { state, until } = found.dataset;
    const ends = until && new Date(until);
    const words = !ends ? state : ends < Date.now() ? "over" : `${state} until ${ends.toLocaleTimeString([], { timeStyle: "short" })}`;
    return [words, places].filter(Boolean).join(": ");
  };
  const list = async () => {
    const mine = at("mine");
    const orders = recall();
    mine.hidden = !orders.length;
    mine.querySelector("ul").replaceChildren();
    for (const order of orders) {
      const line = mine.querySelector("template").content.cloneNode(true).firstElementChild;
      const [link, state, forget] = line.children;
      link.textContent = order.name;
      link.href = addressOf(order);
      forget.setAttribute("aria-label", `Forget ${order.named} ${order.id}`);
      forget.addEventListener("click", () => {
        keep(recall().filter((each) => !same(order)(each)));
        line.remove();
        mine.hidden = !recall().length;
      });
      mine.querySelector("ul").append(line);
      const away = () => {
        state.textContent = "The office does not answer";
        document.addEventListener("seen", list, { once: true });
      };
      stateOf(order).then((words) => (state.textContent = words), away);
    }
  };
  if (at("mine")) list();

  // -- what is to be paid: this page is loaded again when the office knows more of it

  const waiting = document.querySelector("[data-waits]");
  document.addEventListener("seen", async ({ detail: { found } }) => {
    if (!waiting || waiting.dataset.version === String(found.version)) return;
    const page = await pageOf({ event, named: "hold", id: waiting.dataset.id }).catch(() => null);
    if (!page) return; // the next look tries again
    waiting.dataset.version = found.version;
    if (page.querySelector("[data-waits]")?.dataset.waits !== waiting.dataset.waits) location.reload();
  });
})();
