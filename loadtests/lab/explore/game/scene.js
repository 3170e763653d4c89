// The picture: the buyers, the document between them, and what the last move carried from one to the other.
const draw = (name, attributes, text) => {
  const made = document.createElementNS($("scene").namespaceURI, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
};
const PAPER = {y: 158, height: 102};
const SHOWN_RECORDS = 3;

const placeOf = (buyer, count) => 400 * ("ABCD".indexOf(buyer) + 0.5) / count;

// Whether a buyer was stopped and has not gone on since.
const isStopped = (buyer, state) => {
  const at = state.moves.findIndex((move) => move.token === `-${buyer}`);
  return at >= 0 && !state.moves.slice(at + 1).some((move) => move.steps.some((step) => step.buyer === buyer));
};

// What a buyer has read, and where they are: two lines.
const linesOf = (buyer, state, words) => {
  const steps = state.moves.flatMap((move) => move.steps).filter((step) => step.buyer === buyer);
  const read = steps.filter((step) => step.gate === "view" && step.left !== undefined).pop();
  const knows = read ? put(words.knows, read.left) : words.knows_nothing;
  const failed = state.moves.map((move) => move.token).find(isFailure);
  const [outcome, places] = (state.result && state.result.told[buyer]) || [];
  if (outcome) return [knows, outcome === "ok" ? put(words.has, places) : words.outcomes[outcome] || outcome, outcome === "ok" ? "good" : "soft"];
  if (failed === buyer.toLowerCase()) return [knows, words.killed, "bad"];
  if (isStopped(buyer, state)) return [knows, words.stopped, "bad"];
  if (state.could.includes(buyer)) return [knows, comes(buyer, state, words), ""];
  return [knows, state.waits.includes(buyer) ? words.waits : words.answered, "soft"];
};

// The locks that a buyer has asked for and got, in words. A lease has ended when somebody else has a later one.
const locksOf = (buyer, state, level, words) => {
  const [gate] = state.stands[buyer] || [], waits = (name) => state.waits.includes(name);
  if (gate === "invoke" || gate === "answer" || !(isStopped(buyer, state) || state.could.includes(buyer) || waits(buyer))) return [];
  // Whoever is refused by the fence takes another lease.
  const takes = (step) => step.token === step.buyer && (step.gate === "acquire" || (level.fence && step.gate === "append" && !step.wrote));
  const all = state.moves.flatMap((move) => move.steps), steps = all.filter((step) => step.token === buyer);
  const asked = steps.slice(steps.findLastIndex((step) => step.gate === "invoke") + 1).filter(takes);
  const got = waits(buyer) ? asked.slice(0, -1) : asked;
  if (!level.lent) return got.map((step) => `${words.lock} ${step.event || ""}`);
  const taken = all.filter(takes), number = taken.lastIndexOf(got.at(-1)) + 1;
  if (!number) return [];
  return [put(words.lease, number), ...(taken.slice(number).some((step) => !waits(step.buyer)) ? [words.lease_ended] : [])];
};

const drawScene = (scene, level, state, words, moved) => {
  const count = level.buyers, papers = state.documents.length;
  const wide = Math.min(236, 400 / papers - 16), middles = state.documents.map((_, number) => 400 * (number + 0.5) / papers);
  const last = state.moves.flatMap((move) => move.steps).pop();
  const all = [];
  const line = (x, y, text, kind = "") => all.push(draw("text", {x, y, class: kind}, text));
  for (const buyer of "ABCD".slice(0, count)) {
    const x = placeOf(buyer, count), room = Math.min(180, 400 / count - 8);
    const [knows, is, kind] = linesOf(buyer, state, words);
    for (const middle of middles) all.push(draw("line", {x1: x, y1: 120, x2: middle, y2: PAPER.y, class: "path"}));
    all.push(draw("circle", {cx: x, cy: 32, r: 20, class: state.could.includes(buyer) ? "who" : "who off"}));
    line(x, 38, buyer, "letter");
    locksOf(buyer, state, level, words).forEach((text, row) => line(x + 50, 28 + 16 * row, text, "lock"));
    all.push(draw("rect", {x: x - room / 2, y: 62, width: room, height: 56, rx: 9, class: "bubble"}));
    line(x, 83, knows, "soft");
    line(x, 105, is, kind);
  }
  state.documents.forEach((each, number) => {
    const x = middles[number], top = `${words.document}${papers > 1 ? ` ${"ab"[number]}` : ""} · ${put(words.left, each.left)}`;
    all.push(draw("rect", {x: x - wide / 2, width: wide, ...PAPER, rx: 4, class: last && last.wrong && (!last.event || last.event === "ab"[number]) ? "paper wrong" : "paper"}));
    line(x, PAPER.y + 20, top);
    const records = each.records.slice(-SHOWN_RECORDS);
    records.forEach(([version, kind, key, places], row) => line(x, PAPER.y + 46 + 20 * row, `${version} · ${put(words.kinds[kind] || kind, key)}${places ? ` · ${places}` : ""}`));
    if (!records.length) line(x, PAPER.y + 46, words.empty, "soft");
  });
  if (level.tokens.includes("t")) line(middles[0], PAPER.y - 10, state.moves.some((move) => move.token === "t") ? words.late : words.early, "soft");
  scene.replaceChildren(...all);
  scene.setAttribute("aria-label", [...scene.querySelectorAll("text")].map((text) => text.textContent).join(". "));
  if (moved && last) carry(scene, last, count, middles["ab".indexOf(last.event)] || middles[0]);
};

// A read carries the number that is left to the buyer, a write the ticket to the document.
const carry = (scene, step, count, middle) => {
  const reads = step.gate === "view" && step.left !== undefined, writes = Boolean(step.wrote);
  if (!reads && !writes) return;
  const chip = draw("g", {});
  chip.append(draw("circle", {r: 13, class: reads ? "seen" : "written"}), draw("text", {y: 5, class: "chip"}, reads ? step.left : "✎"));
  scene.append(chip);
  const ends = [[middle, PAPER.y + 14], [placeOf(step.buyer, count), 108]];
  if (writes) ends.reverse();
  const frames = ends.map(([x, y]) => ({transform: `translate(${x}px, ${y}px)`}));
  const slow = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 700;
  chip.animate(frames, {duration: slow, easing: "ease-in-out", fill: "forwards"}).finished.then(() => chip.remove(), () => {});
};
