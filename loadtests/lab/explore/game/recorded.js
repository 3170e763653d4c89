"use strict";
// The moves of a level, from its recording.
const source = {
  live: false,
  play(level, tokens) {
    const {nodes, steps, documents, results} = level.recording;
    let at = nodes[nodes.length - 1];
    const moves = [];
    for (const token of tokens) {
      const could = at.length > 1 ? at[2] : [];
      const move = could.find((each) => each[0] === token);
      if (!move) break;
      moves.push({token, could: could.map((each) => each[0]), steps: move[2].map((step) => steps[step])});
      at = nodes[move[1]];
    }
    if (at.length === 1) return {moves, result: results[at[0]], documents: results[at[0]].documents};
    const stands = Object.fromEntries(at[2].map(([token, , made]) => [token, [steps[made[0]].gate, steps[made[0]].operation || "", steps[made[0]].event || ""]]));
    return {moves, result: null, could: at[2].map((each) => each[0]), stands, waits: at[1], documents: documents[at[0]]};
  },
};
