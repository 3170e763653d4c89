// The game: levels, moves, what they lead to. `source` says what a level does, from a recording or from the explorer.
const $ = (id) => document.getElementById(id);
const put = (words, ...values) => values.reduce((text, value) => text.replace("{}", () => value), words);
const {words: WORDS, levels: LEVELS, chinese: CHINESE} = JSON.parse($("game").textContent);
const element = (name, attributes, ...content) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...content);
  return made;
};

// What is kept in the browser, where it keeps anything.
const kept = (() => {
  try { return JSON.parse(localStorage.getItem("lastseat-game")) || {}; } catch { return {}; }
})();
const keep = () => {
  try { localStorage.setItem("lastseat-game", JSON.stringify(kept)); } catch { /* played without being kept */ }
};
kept.done ||= {};

const asked = new URLSearchParams(location.search).get("lang");
let lang = WORDS[asked] ? asked : kept.lang || (navigator.language.startsWith("zh") ? "zh" : "en");
let level = LEVELS[0], tokens = [], state = null, hints = 0, played = false, claimed = false, busy = false, ended = false;
const words = () => WORDS[lang];
// A gate is named by the words that its button has.
const inLanguage = (sentence) => ((lang === "zh" && CHINESE[sentence]) || sentence).replace(/\b([A-D])\b([^“”;；]*)“(\w+)”/g, (all, buyer, between, gate) => {
  const said = words().gates[gate];
  return said ? `${buyer}${between}“${put(said.replace(/[:：] ?\{\}/, ""), buyer)}”` : all;
});
const stepsOf = (state) => state.moves.flatMap((each) => each.steps);
// A text with links to levels: {name|words}.
const linked = (text) => text.split(/(\{.+?\})/).map((part) => {
  const [, name, label] = part.match(/^\{(.+)\|(.+)\}$/) || [], place = LEVELS.findIndex((each) => each.name === name);
  return !name ? part : place < 0 ? label : element("a", {href: `#${name}`}, `${label} (${put(words().level, place + 1)})`);
});

const parse = (schedule) => schedule.match(/[-~!]?./gs) || [];
const goesOn = (token) => /^[A-Z]$/.test(token);
const isFailure = (token) => !goesOn(token) && token !== "t";
const switches = (moves) => {
  let turn = null, count = 0;
  for (const {token, could} of moves) {
    if (turn !== null && token !== turn && could.includes(turn)) count += 1;
    if (goesOn(token)) turn = token;
  }
  return count;
};

const keyOf = (token) => (goesOn(token) ? token : /[A-Za-z]$/.test(token) && token.toUpperCase().slice(-1) <= "H" ? `⇧${token.toUpperCase().slice(-1)}` : token.toUpperCase());
// What a buyer does next.
const comes = (buyer, now, said) => {
  const [gate, operation = "", event = ""] = now.stands[buyer] || [];
  if (gate === "invoke") return put(said.gates.invoke, buyer, said.operations[operation.split(" ")[0]] || operation);
  if (gate === "acquire" && event) return put(said.lock_of, buyer, event);
  return put(said.gates[gate] || said.goes, buyer);
};
const FAILURES = {"-": "pause", "~": "lose", "!": "disk", t: "time"};
const labelOf = (token) => {
  const w = words();
  if (!goesOn(token)) return put(w[FAILURES[token[0]] || "kill"], token.slice(-1).toUpperCase());
  if (state.waits.includes(token)) return put(w.waiting, token);
  if (state.could.includes(token)) return comes(token, state, w);
  if (isStopped(token, state)) return put(w.resumes, token);
  return put(state.result && state.result.stuck ? w.goes : w.is_done, token);
};

const end = () => {
  ended = true;
  $("note").textContent = words().ended;
  for (const button of document.querySelectorAll("#play button")) button.setAttribute("aria-disabled", true);
};
// A level that is entered while a move is under way comes first: that move's answer is not shown any more.
let latest = 0;
const go = async (to, moved = false, note = "") => {
  if (ended) return;
  const mine = ++latest;
  busy = true;
  $("note").textContent = source.live && !state ? words().starting : "";
  try {
    const found = await source.play(level, to);
    if (mine !== latest) return;
    Object.assign(CHINESE, found.chinese);
    state = {could: [], stands: {}, waits: [], ...found};
    tokens = state.moves.map((move) => move.token);
    show(moved);
    $("note").textContent = note || (tokens.length < to.length ? put(words().no_such_steps, tokens.join("") || "–") : "");
  } catch (error) {
    if (error.ended) end();
    else if (mine === latest) $("note").textContent = String(error.message || error);
  }
  if (mine === latest) busy = false;
};
const enter = (to, schedule = "", note = "") => {
  level = to; hints = 0; played = claimed = false; state = null;
  buildMoves();
  showLevel();
  return go(parse(schedule), false, note);
};
const move = (token) => { if (!ended && !busy && state && state.could.includes(token)) { claimed = false; go([...tokens, token], true); } };

const buildMoves = () => {
  $("moves").replaceChildren(...level.tokens.map((token) => {
    const button = element("button", {"data-token": token, "aria-disabled": true, "aria-keyshortcuts": keyOf(token).replace("⇧", "Shift+")}, element("span", {}), " ", element("kbd", {}, keyOf(token)));
    if (isFailure(token)) button.className = "failure";
    button.onclick = () => move(token);
    return button;
  }));
};

// What is there before any move.
const showLevel = () => {
  const said = level[lang], place = LEVELS.indexOf(level);
  document.documentElement.lang = lang === "zh" ? "zh-Hans" : lang;
  document.title = `${words().title} · Last Seat`;
  for (const each of document.querySelectorAll("[data-word]")) each.textContent = words()[each.dataset.word];
  for (const each of document.querySelectorAll("[data-label]")) each.setAttribute("aria-label", words()[each.dataset.label]);
  $("language").textContent = words().other;
  $("language").lang = lang === "zh" ? "en" : "zh-Hans";
  LEVELS.forEach((each, number) => {
    const link = $("levels").children[number], isDone = kept.done[each.name];
    link.textContent = isDone ? "✓" : number + 1;
    link.className = isDone ? "done" : "";
    link.title = each[lang].title;
    link.setAttribute("aria-label", `${put(words().level, number + 1)}: ${each[lang].title}${isDone ? `, ${words().done}` : ""}`);
    link.setAttribute("aria-current", each === level ? "page" : "false");
  });
  $("level-title").textContent = `${place + 1}. ${said.title}`;
  $("task").replaceChildren(...linked(said.task));
  $("facts").textContent = level.recording ? put(words().facts, level.store, level.guard, level.recording.orders) : put(words().facts_live, level.store, level.guard);
};
const show = (moved) => {
  const said = level[lang], result = resultOf();
  played ||= Boolean(state.result);
  showLevel();
  for (const button of $("moves").children) {
    button.setAttribute("aria-disabled", !state.could.includes(button.dataset.token));
    button.firstChild.textContent = labelOf(button.dataset.token);
  }
  $("count").textContent = put(words().count, tokens.length, switches(state.moves));
  $("note").textContent = "";
  $("undo").setAttribute("aria-disabled", !tokens.length);
  $("again").setAttribute("aria-disabled", !tokens.length);
  $("hint").setAttribute("aria-disabled", hints >= said.hints.length);
  $("hints").replaceChildren(...said.hints.slice(0, hints).map((hint) => element("li", {}, hint)));
  drawScene($("scene"), level, state, words(), moved);
  showSteps();
  $("result").className = result.kind;
  $("result").replaceChildren(...result.content);
  const hash = `#${level.name}/${tokens.join("")}`;
  if (location.hash !== hash) history.replaceState(null, "", hash);
  $("link").value = location.href;
};

const showSteps = () => {
  const steps = stepsOf(state), marks = marked();
  $("steps").replaceChildren(...(steps.length ? steps.map((step, number) => {
    const item = element("li", step.wrong ? {class: "wrong"} : {}, inLanguage(step.text), step.token ? "" : ` ${words().by_itself}`);
    if (marks.includes(number)) item.prepend(element("b", {class: "pair"}, "①②③"[marks.indexOf(number)]), " ");
    return item;
  }) : [element("p", {class: "soft"}, words().nothing)]));
};

// The places of the two steps that conflicted, and of the one that did the damage, if it is another.
const marked = () => {
  const pair = state.result ? state.result.pair : [], wrong = stepsOf(state).findIndex((step) => step.wrong);
  return pair.length && wrong >= 0 && !pair.includes(wrong) ? [...pair, wrong] : pair;
};
const finish = () => { kept.done[level.name] = true; keep(); };
const next = () => {
  const after = LEVELS[LEVELS.indexOf(level) + 1];
  if (!after) return element("p", {}, put(words().all_done, Object.keys(kept.done).length, LEVELS.length));
  const button = element("button", {id: "next"}, words().next_level);
  button.onclick = () => { enter(after); $("level-title").focus(); };
  return button;
};
const resultOf = () => {
  const {orders, broken, best} = level.recording || {}, said = level[lang], w = words();
  if (claimed) {
    const safe = level.recording ? !best : !level.winnable;
    if (!safe) return {kind: "broken", content: [element("h3", {}, w.wrong), element("p", {}, orders ? put(w.wrong_text, broken, orders, best.preemptions) : "")]};
    finish();
    return {kind: "safe", content: [element("h3", {}, w.right), element("p", {}, orders ? put(w.right_text, orders) : "", " ", said.ending), next()]};
  }
  if (!state.result) {
    const happened = stepsOf(state).some((step) => step.wrong || (level.breaks && step.text.includes(` is told: ${level.breaks}.`)));
    const unfinished = [..."ABCD"].filter((buyer) => state.could.includes(buyer) || state.waits.includes(buyer));
    return {kind: "", content: happened ? [element("p", {}, put(w.to_the_end, unfinished.join(", ")))] : []};
  }
  const again = element("p", {}, w.replay, " ", element("code", {}, `lastseat explore --replay ${level.replay}${tokens.join("")}`));
  if (!state.result.broken) return {kind: "", content: [element("h3", {}, w.harmless), element("p", {}, w.harmless_text), again]};
  finish();
  const why = state.result.stuck ? ["stuck"] : state.result.anomalies;
  const list = [...new Set(why.map((name) => w.anomalies[name] || w.anomalies.other))].map((text) => element("li", {}, text));
  const more = best && (switches(state.moves) > best.preemptions ? put(w.find_best, best.preemptions) : w.found_best);
  // Nothing is lost where all that happened is a refusal: the checks find no violation.
  const refused = why.every((name) => name === "deadlock");
  const texts = [...state.result.reason, ...marked().slice(2).map((place) => stepsOf(state)[place].text)];
  const reasons = texts.map((text, number) => element("p", {class: "reason"}, element("b", {class: "pair"}, "①②③"[number]), ` ${inLanguage(text)}`));
  return {kind: "broken", content: [element("h3", {}, refused ? w.refused : w.broken), element("ul", {}, ...list), state.result.stuck ? element("p", {}, inLanguage(state.result.stuck)) : "", element("p", {}, said.ending), ...reasons, element("p", {}, more || ""), refused ? element("p", {}, w.refused_text) : "", again, next()]};
};

const ACTS = {
  undo: () => go(tokens.slice(0, -1)),
  again: () => go([]),
  hint: () => { if (hints < level[lang].hints.length) { hints += 1; show(false); } },
  claim: () => { if (played) { claimed = true; show(false); } else $("note").textContent = words().play_first; },
};
for (const [id, act] of Object.entries(ACTS)) $(id).onclick = () => { if (!ended && !busy && state && $(id).getAttribute("aria-disabled") !== "true") { claimed = false; act(); } };
$("language").onclick = () => {
  kept.lang = lang = lang === "zh" ? "en" : "zh";
  keep();
  history.replaceState(null, "", `?lang=${lang}${location.hash}`);
  state ? show(false) : showLevel();
};
$("copy").onclick = async () => {
  $("link").select();
  try { await navigator.clipboard.writeText(location.href); } catch { document.execCommand("copy"); }
  $("copy").textContent = words().copied;
};
const KEYS = {U: "undo", R: "again", H: "hint", N: "claim"};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.target.tagName === "INPUT") return;
  const step = {ArrowLeft: -1, ArrowRight: 1}[event.key], to = LEVELS[LEVELS.indexOf(level) + step];
  if (to) return void enter(to);
  const key = event.key.toUpperCase();
  if (KEYS[key]) return $(KEYS[key]).click();
  const wanted = (each) => level.tokens.find((token) => keyOf(token) === each);
  move((event.shiftKey && wanted(`⇧${key}`)) || wanted(key));
});
const fromLink = () => {
  const [name, schedule = ""] = location.hash.slice(1).split("/"), found = LEVELS.find((each) => each.name === name);
  return found || !name ? enter(found || LEVELS[0], schedule) : enter(LEVELS[0], "", put(words().no_level, name));
};
$("levels").replaceChildren(...LEVELS.map((each) => element("a", {href: `#${each.name}`})));
window.addEventListener("hashchange", fromLink);
fromLink();
