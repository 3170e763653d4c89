"use strict";
// Draws the plots from the JSON block, in the colours that the style sheet has for light or dark.
(() => {
  const plots = JSON.parse(document.getElementById("plots").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function traces(cell, column) {
    const axis = column ? String(column + 1) : "";
    return cell.courses.map((course, round) => ({
      type: "scatter", mode: "lines", x: course.seconds, y: course.tickets,
      xaxis: "x" + axis, yaxis: "y" + axis, name: `${cell.heading}, round ${round + 1}`,
      line: { shape: "hv", width: 2.2, color: colour(cell.safe ? "--right" : "--wrong") }, opacity: 1 - 0.22 * round,
      hovertemplate: `%{y:,} tickets after %{x:.2f} s<extra>round ${round + 1}</extra>`,
    }));
  }

  function layout(plot, most) {
    const grid = { gridcolor: colour("--grid"), zeroline: false, linecolor: colour("--line"), fixedrange: false };
    const count = plot.cells.length, gap = 0.05, width = (1 - gap * (count - 1)) / count;
    const result = {
      height: 320, margin: { l: 60, r: 12, t: 34, b: 46 }, showlegend: false, hovermode: "closest",
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 13, color: colour("--ink") }, shapes: [], annotations: [],
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--soft"), activecolor: colour("--ink") },
    };
    plot.cells.forEach((cell, column) => {
      const axis = column ? String(column + 1) : "", left = column * (width + gap);
      result["xaxis" + axis] = { ...grid, domain: [left, left + width], anchor: "y" + axis, title: { text: "seconds" }, rangemode: "tozero",
        ...(column && { matches: "x" }) };
      result["yaxis" + axis] = { ...grid, anchor: "x" + axis, range: [0, most], tickformat: ",d", showticklabels: column === 0,
        ...(column === 0 && { title: { text: "tickets acknowledged" } }), ...(column && { matches: "y" }) };
      const over = { xref: `x${axis} domain`, yref: "y" + axis, x0: 0, x1: 1 };
      result.shapes.push(
        { ...over, type: "rect", y0: cell.seats, y1: most * 10, fillcolor: colour("--wrong"), opacity: 0.06, line: { width: 0 }, layer: "below" },
        { ...over, type: "line", y0: cell.seats, y1: cell.seats, line: { color: colour("--ink"), width: 1.5, dash: "dash" } });
      result.annotations.push(
        { xref: `x${axis} domain`, yref: "y" + axis, x: 1, y: cell.seats, xanchor: "right", yanchor: "bottom", showarrow: false, text: `${cell.seats.toLocaleString("en")} seats`, font: { size: 12 } },
        { xref: `x${axis} domain`, yref: `y${axis} domain`, x: 0, y: 1.02, xanchor: "left", yanchor: "bottom", showarrow: false, text: `<b>${cell.heading}</b>`, font: { color: colour(cell.safe ? "--right" : "--wrong"), size: 14 } });
    });
    return result;
  }

  function draw() {
    for (const plot of plots) {
      const highest = Math.max(...plot.cells.flatMap((cell) => [cell.seats, ...cell.courses.flatMap((course) => course.tickets)]));
      const config = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
        toImageButtonOptions: { format: "svg", filename: `last-seat ${plot.worker}` } };
      Plotly.react(plot.id, plot.cells.flatMap(traces), layout(plot, highest * 1.08), config);
    }
  }

  for (const button of document.querySelectorAll("[data-plot]")) {
    button.addEventListener("click", () => Plotly.downloadImage(button.dataset.plot, { format: "svg", width: 1000, height: 360, filename: button.dataset.name }));
  }
  dark.addEventListener("change", draw);
  draw();
})();
