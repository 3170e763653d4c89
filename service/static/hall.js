// Draws the hall, lets seats be chosen on it, and follows who takes which. Without this file the office chooses the best.
"use strict";
(() => {
  const place = document.getElementById("hall");
  if (!place) return;
  const event = encodeURIComponent(place.dataset.hallOf);
  const most = Number(place.dataset.most);
  const mine = new Set((place.dataset.mine ?? "").split(" ").filter(Boolean));
  const form = document.querySelector("form.buy");
  const SECTIONS_FIRST = 1500;
  const STATES = ["free", "held", "sold"];
  const SAID = ["free", "set aside for somebody", "sold"];

  const seats = []; // each: {id, index, section, row, line, at, off, words}; "off" is twice its distance from the middle
  const sections = [];
  const buttons = new Map();
  const chosen = new Set();
  let states = new Uint8Array();
  let map = null;
  let shown = null;

  const make = (name, attributes = {}, ...inside) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...inside);
    return made;
  };
  const ask = async (address) => {
    const answer = await fetch(address, { cache: "no-cache" });
    if (!answer.ok) throw new Error(`${answer.status}`);
    return answer.json();
  };

  const readHall = (hall) => {
    let line = 0;
    for (const section of hall.sections) {
      const found = { name: section.name, rows: [], seats: [] };
      for (const row of section.rows) {
        const ofRow = [];
        for (let at = 0; at < row.seats; at++) {
          const id = `${section.name}-${row.name}-${at + 1}`;
          const seat = { id, index: seats.length, section: found, row: ofRow, line, at, off: 2 * at + 1 - row.seats };
          seat.words = `${section.name}, row ${row.name}, seat ${at + 1}`;
          seats.push(seat);
          ofRow.push(seat);
          found.seats.push(seat);
        }
        found.rows.push({ name: row.name, seats: ofRow });
        line += 1;
      }
      sections.push(found);
    }
  };
  const unpack = (text) => {
    const bytes = atob(text);
    return Uint8Array.from(seats, (_, index) => (bytes.charCodeAt(index >> 2) >> (6 - 2 * (index & 3))) & 3);
  };
  const free = (section) => section.seats.reduce((count, seat) => count + (states[seat.index] === 0), 0);

  // -- what is shown

  const paint = (seat) => {
    const button = buttons.get(seat.index);
    if (!button) return;
    const isMine = mine.has(seat.id) && states[seat.index] !== 0;
    const isChosen = chosen.has(seat.index);
    button.className = `seat ${isMine ? "mine" : isChosen ? "chosen" : STATES[states[seat.index]]}`;
    button.setAttribute("aria-pressed", isChosen);
    button.setAttribute("aria-disabled", states[seat.index] !== 0);
    button.setAttribute("aria-label", `${seat.words}, ${isMine ? "yours" : SAID[states[seat.index]]}`);
  };
  const drawSection = (section) => {
    const lines = section.rows.map((row) =>
      make("div", { class: "row" }, make("span", { class: "row-name", "aria-hidden": "true" }, row.name),
        ...row.seats.map((seat) => {
          const button = make("button", { type: "button", "data-index": seat.index, title: seat.words, tabindex: -1 });
          buttons.set(seat.index, button);
          paint(seat);
          return button;
        })));
    lines[0].children[1].tabIndex = 0; // one stop for the Tab key; from there the arrows lead on
    const title = make("h3", {}, section.name, " ", make("span", { class: "small", "data-free": sections.indexOf(section) }));
    return make("div", { class: "block", role: "group", "aria-label": section.name }, title, make("div", { class: "rows" }, ...lines));
  };
  const draw = () => {
    buttons.clear();
    const bySection = seats.length > SECTIONS_FIRST;
    const drawn = bySection ? (shown ? [shown] : []) : sections;
    const choice = sections.map((section, number) =>
      make("button", { type: "button", class: "quiet", "data-section": number, "aria-pressed": section === shown },
        section.name, " ", make("span", { "data-free": number })));
    place.querySelector(".sections").replaceChildren(...(bySection ? choice : []));
    place.querySelector(".map").replaceChildren(...drawn.map(drawSection));
    count();
  };
  const count = () => {
    for (const element of place.querySelectorAll("[data-free]")) {
      const words = `${free(sections[element.dataset.free])} free`;
      if (element.textContent !== words) element.textContent = words;
    }
  };
  const choose = (index, wanted) => {
    if (wanted && (states[index] !== 0 || chosen.size >= most)) {
      if (states[index] === 0) say(`One order has at most ${most} ${most === 1 ? "seat" : "seats"}.`);
      return;
    }
    if (wanted) chosen.add(index);
    else chosen.delete(index);
    paint(seats[index]);
    const names = [...chosen].map((each) => seats[each]);
    document.getElementById("chosen-seats").textContent = names.length ? `You chose ${names.map((seat) => seat.id).join(", ")}.` : "";
    if (!form) return;
    for (const old of form.querySelectorAll("[name=seat]")) old.remove();
    for (const seat of names) form.append(make("input", { type: "hidden", name: "seat", value: seat.id }));
    form.querySelector(".wish").hidden = names.length > 0;
  };

  // -- somebody was faster

  const news = document.getElementById("faster");
  const say = (words, ...more) => {
    news.replaceChildren(words, ...more);
    news.hidden = false;
  };
  const nearest = (seat, not) => {
    const far = (other) => 1000 * (other.section !== seat.section) + 3 * Math.abs(other.line - seat.line) + Math.abs(other.off - seat.off) / 2;
    let best = null;
    for (const other of seats)
      if (states[other.index] === 0 && !chosen.has(other.index) && !not.has(other.index) && (!best || far(other) < far(best))) best = other;
    return best;
  };
  const offer = (lost) => {
    const found = new Set();
    for (const seat of lost) {
      const other = nearest(seat, found);
      if (other) found.add(other.index);
    }
    const words = `Somebody was faster: ${lost.map((seat) => seat.id).join(", ")} ${lost.length === 1 ? "is" : "are"} taken. `;
    if (!found.size || !form) return say(words + (found.size ? "" : "No seats are free any more."));
    const names = [...found].map((index) => seats[index].id).join(", ");
    const button = make("button", { type: "button", id: "nearest" }, `Take ${names}`);
    button.addEventListener("click", () => {
      show(seats[[...found][0]].section);
      for (const index of found) choose(index, true);
      news.hidden = true;
      buttons.get([...found][0])?.focus();
    });
    say(`${words}The nearest free ${found.size === 1 ? "seat is" : "seats are"} ${names}. `, button);
  };
  const show = (section) => {
    if (seats.length <= SECTIONS_FIRST || section === shown) return;
    shown = section;
    draw();
  };

  // -- what the buyer does

  place.addEventListener("click", (click) => {
    const button = click.target.closest("button");
    if (button?.dataset.section) show(sections[button.dataset.section]);
    else if (button?.dataset.index) choose(Number(button.dataset.index), !chosen.has(Number(button.dataset.index)));
  });
  place.addEventListener("focusin", (focus) => {
    if (!focus.target.dataset.index) return;
    for (const old of focus.target.closest(".block").querySelectorAll('[tabindex="0"]')) old.tabIndex = -1;
    focus.target.tabIndex = 0;
  });
  place.addEventListener("keydown", (key) => {
    const seat = seats[key.target.dataset.index];
    if (!seat) return;
    const rows = seat.section.rows.map((row) => row.seats);
    const across = (step) => {
      const row = rows[rows.indexOf(seat.row) + step];
      return row?.reduce((best, other) => (Math.abs(other.off - seat.off) < Math.abs(best.off - seat.off) ? other : best));
    };
    const to = {
      ArrowLeft: () => seat.row[seat.at - 1], ArrowRight: () => seat.row[seat.at + 1],
      ArrowUp: () => across(-1), ArrowDown: () => across(1),
      Home: () => seat.row[0], End: () => seat.row[seat.row.length - 1],
    }[key.key]?.();
    if (!to) return;
    key.preventDefault();
    buttons.get(to.index).focus();
  });

  // -- the others

  const take = (found) => {
    if (found.states) {
      map = found;
      states = unpack(found.states);
      for (const seat of seats) paint(seat);
    } else {
      map = { ...map, version: found.version };
      for (const [index, state] of found.changes) {
        states[index] = state;
        paint(seats[index]);
      }
    }
    count();
    const lost = [...chosen].filter((index) => states[index] !== 0);
    for (const index of lost) choose(index, false);
    if (lost.length) offer(lost.map((index) => seats[index]));
  };
  const follow = async () => {
    try {
      take(await ask(`/events/${event}/seats?since=${map.version}&born=${map.born}`));
    } catch {
      // The office is away for a moment; the next look tries again.
    }
    setTimeout(follow, document.hidden ? 10000 : 1500);
  };
  const begin = async () => {
    readHall(await ask(`/events/${event}/hall`));
    map = await ask(`/events/${event}/seats`);
    states = unpack(map.states);
    if (form) place.append(form);
    place.hidden = false;
    draw();
    const of = (ids) => ids.split(" ").filter(Boolean).map((id) => seats.find((seat) => seat.id === id)).filter(Boolean);
    const lost = of(news.dataset.taken ?? "");
    if (lost.length) {
      show(lost[0].section);
      for (const seat of of(news.dataset.wanted ?? "")) choose(seat.index, true);
      offer(lost);
    }
    setTimeout(follow, 1500);
  };
  begin().catch(() => {}); // Then the office chooses the best seats, as without this file.
})();
