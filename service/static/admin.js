// The admin's page: every button is a call of the interface with the token that was typed.
"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const kept = "admin-token";
  let token = sessionStorage.getItem(kept) ?? "";
  let events = [];
  let next = null;

  const say = (words, bad = false) => {
    at("said").textContent = words;
    at("said").className = bad ? "notice bad" : "notice";
    at("said").hidden = false;
  };
  const call = async (method, path, body) => {
    const headers = { Authorization: `Bearer ${token}` };
    if (body) headers["Content-Type"] = "application/json";
    const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body), cache: "no-store" });
    if (answer.ok) return answer;
    const problem = await answer.json().catch(() => ({ title: `The office answered ${answer.status}` }));
    throw new Error([problem.title, problem.detail].filter(Boolean).join(". "));
  };
  const run = (work) => async (happened) => {
    happened?.preventDefault();
    try {
      await work(happened);
    } catch (error) {
      say(`${error.message}.`.replace("..", "."), true);
    }
  };
  const event = () => events.find((each) => each.event === at("which").value);
  const path = (rest = "") => `/events/${encodeURIComponent(at("which").value)}${rest}`;
  // What a field for a date and a time shows and gives is local; the office takes and tells an instant.
  const local = (instant) => (instant ? new Date(Date.parse(instant) - new Date().getTimezoneOffset() * 60000).toISOString().slice(0, 16) : "");
  const instant = (value) => (value ? new Date(value).toISOString() : null);
  const words = (moment) => new Date(moment).toLocaleString();

  const look = async (chosen = at("which").value) => {
    events = [];
    for (let page = "/events"; page; ) {
      const found = await (await call("GET", page)).json();
      events.push(...found.events);
      page = found.next;
    }
    at("which").replaceChildren(...events.map((each) => new Option(`${each.name} (${each.event})`, each.event)));
    if (events.some((each) => each.event === chosen)) at("which").value = chosen;
    show();
    await list();
  };
  const show = () => {
    const of = event();
    if (!of) return;
    const now = Date.now();
    const closed = of.closes_at && Date.parse(of.closes_at) <= now;
    const early = of.opens_at && Date.parse(of.opens_at) > now;
    const doors = closed ? `closed since ${words(of.closes_at)}` : early ? `opens ${words(of.opens_at)}` : of.closes_at ? `open until ${words(of.closes_at)}` : "open";
    const facts = { Sale: doors, Sold: of.sold, "Set aside": of.held, Left: of.remaining, Capacity: of.capacity };
    at("counters").replaceChildren(...Object.entries(facts).flatMap(([name, value]) => {
      const [term, told] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = name;
      told.textContent = value;
      return [term, told];
    }));
    at("opens-at").value = local(of.opens_at);
    at("closes-at").value = local(of.closes_at);
    at("capacity").value = of.capacity;
    at("size").hidden = Boolean(of.hall);
    at("close").hidden = Boolean(closed);
    at("reopen").hidden = !closed && !early;
  };

  const rowOf = (order) => {
    const row = document.createElement("tr");
    const places = (order.seats.length ? order.seats : order.tickets).join(", ");
    const status = order.status === "sold" ? "sold" : `cancelled${order.reason ? `: ${order.reason}` : ""}`;
    for (const value of [order.buyer ?? "", places, order.order, status]) row.insertCell().textContent = value;
    const cell = row.insertCell();
    if (order.status === "sold") {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "quiet";
      button.textContent = "Cancel";
      button.setAttribute("aria-label", `Cancel ${order.order}`);
      button.addEventListener("click", () => ask(order));
      cell.append(button);
    }
    return row;
  };
  const list = async (after = 0) => {
    const find = at("words").value.trim();
    const query = `?limit=50&after=${after}${find ? `&find=${encodeURIComponent(find)}` : ""}`;
    const body = at("orders").tBodies[0];
    if (!event()) return body.replaceChildren();
    const found = await (await call("GET", path(`/orders${query}`))).json();
    if (!after) body.replaceChildren();
    body.append(...found.orders.map(rowOf));
    next = found.next;
    at("more").hidden = next === null;
  };
  const ask = (order) => {
    at("ask-title").textContent = `Cancel ${order.order}${order.buyer ? ` of ${order.buyer}` : ""}?`;
    at("reason").value = "";
    at("ask").returnValue = "";
    at("ask").onclose = run(async () => {
      if (at("ask").returnValue !== "yes") return;
      await call("DELETE", path(`/orders/${encodeURIComponent(order.order)}?reason=${encodeURIComponent(at("reason").value)}`));
      await look();
      say(`Order ${order.order} is cancelled: its places are for sale again. Give the money back.`);
    });
    at("ask").showModal();
  };

  const enter = async () => {
    await call("GET", "/admin/check");
    sessionStorage.setItem(kept, token);
    at("enter").hidden = true;
    at("managed").hidden = false;
    await look();
  };
  at("enter").addEventListener("submit", run(async () => {
    token = at("token").value.trim();
    await enter();
    at("said").hidden = true;
  }));
  const change = async (body, told) => {
    await call("PATCH", path(), body);
    await look();
    say(told);
  };
  at("close").addEventListener("click", run(() => change({ closes_at: new Date().toISOString() }, "The sale is closed. What is set aside can still be paid.")));
  at("reopen").addEventListener("click", run(() => change({ opens_at: null, closes_at: null }, "The sale is open.")));
  at("doors").addEventListener("submit", run(() => change({ opens_at: instant(at("opens-at").value), closes_at: instant(at("closes-at").value) }, "The times are set.")));
  at("size").addEventListener("submit", run(() => change({ capacity: Number(at("capacity").value) }, "The capacity is changed.")));
  at("find").addEventListener("submit", run(() => list()));
  at("more").addEventListener("click", run(() => list(next)));
  at("which").addEventListener("change", run(async () => { show(); await list(); }));

  const hallIn = (text) => { const read = JSON.parse(text); return read.hall ?? read; };
  at("new-what").addEventListener("change", () => {
    at("new-tickets").hidden = at("new-what").value !== "";
    at("new-hall").hidden = at("new-what").value !== "file";
  });
  at("new").addEventListener("submit", run(async () => {
    const made = { event: at("new-id").value, name: at("new-name").value || at("new-id").value };
    const what = at("new-what").value;
    if (!what) made.capacity = Number(at("new-capacity").value);
    else if (what !== "file") made.hall = hallIn(what);
    else {
      const [file] = at("new-file").files;
      if (!file) throw new Error("Choose the file with the hall");
      try {
        made.hall = hallIn(await file.text());
      } catch {
        throw new Error(`${file.name} is no JSON. Nothing was made`);
      }
    }
    await call("POST", "/events", made);
    await look(made.event);
    say(`Event ${made.event} is made. Buyers find it at /?event=${made.event}`);
  }));

  const save = async (status) => {
    const answer = await call("GET", path(`/orders.csv${status}`));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await answer.blob());
    link.download = `${at("which").value}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  at("csv").addEventListener("click", run(() => save("")));
  at("door").addEventListener("click", run(() => save("?status=sold")));
  if (token) run(enter)();
})();
