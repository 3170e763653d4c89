// Lets the counters and the time that is left follow the sale, shows times as the browser's own, and says when the office
// does not answer. The page works without this file. What was seen is told to lab.js and shop.js as the event "seen".
"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const put = (id, text) => {
    const element = at(id);
    if (element && element.textContent !== String(text)) element.textContent = text;
  };

  const how = { time: { timeStyle: "medium" }, date: { dateStyle: "long", timeStyle: "short" }, second: { dateStyle: "long", timeStyle: "medium" }, minute: { timeStyle: "short" } };
  const local = (instant, shows) => new Intl.DateTimeFormat(undefined, how[shows]).format(new Date(instant));
  const showTimes = () => {
    for (const time of document.querySelectorAll("time[datetime]")) {
      const words = local(time.dateTime, time.dataset.shows);
      if (time.textContent !== words) time.textContent = words;
    }
  };
  showTimes();

  const count = document.querySelector("[data-event]");
  if (!count) return;
  const event = encodeURIComponent(count.dataset.event);

  // What a screen reader is told: what matters, and not each number.
  let told = "";
  const tell = (words) => {
    if (words !== told) put("news", words);
    told = words;
  };

  const take = (found) => {
    put("remaining", found.remaining);
    put("listed", found.remaining);
    put("sold-count", found.sold);
    put("held-count", found.held);
    at("sold").value = found.sold + found.held;
    tell(found.remaining > 0 ? "" : "No seats are left.");
  };

  // One look that fails says little: the page may be left at that moment. After two in a row the buyer is told.
  const MOST_S = 10;
  let failed = 0;
  const isAway = () => {
    failed += 1;
    if (failed === 1) at("away").querySelector("time").textContent = local(Date.now(), "minute");
    at("away").hidden = failed < 2;
  };
  const isBack = () => {
    failed = 0;
    at("away").hidden = true;
  };
  const follow = async () => {
    try {
      // "no-cache": the browser asks with the ETag of what it has, and is told 304 while nothing changes.
      const answer = await fetch(`/events/${event}`, { cache: "no-cache", signal: AbortSignal.timeout(MOST_S * 1000) });
      if (answer.status >= 500) throw new Error(`${answer.status}`);
      isBack();
      if (answer.ok) {
        const found = await answer.json();
        take(found);
        const date = Date.parse(answer.headers.get("Date"));
        document.dispatchEvent(new CustomEvent("seen", { detail: { found, date } }));
        showTimes();
      }
    } catch {
      isAway(); // the next look tries again
    }
    setTimeout(follow, document.hidden ? 5000 : 1000);
  };
  follow();

  const until = at("until");
  if (until) {
    const ends = Date.parse(until.dateTime);
    const countDown = () => {
      const left = Math.max(0, Math.ceil((ends - Date.now()) / 1000));
      put("time-left", left ? `, ${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")} left` : ", which is over");
      if (left === 60) tell("One minute is left to pay.");
      if (left) setTimeout(countDown, 1000);
    };
    countDown();
  }
})();
