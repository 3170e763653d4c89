"use strict";
// The moves of a level, made now by the explorer that serves this page.
const ask = async (path, body) => {
  const said = body ? {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)} : {};
  const answer = await fetch(path, said).catch(() => { throw Object.assign(new Error(), {ended: true}); });
  if (!answer.ok) throw new Error(await answer.text());
  return answer;
};
const source = {
  live: true,
  play: async (level, tokens) => (await ask("/play", {level: level.name, moves: tokens})).json(),
};
// Nobody answers any more: Ctrl-C was pressed where the explorer ran.
setInterval(() => ask("/alive").catch((error) => { if (error.ended) end(); }), 2000);
