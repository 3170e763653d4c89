"use strict";
// Saves a drawing as the SVG file that it is: it carries its colours within.
for (const button of document.querySelectorAll("[data-saves]")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const drawing = document.querySelector(`#${button.dataset.saves} svg`);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([drawing.outerHTML], { type: "image/svg+xml" }));
    link.download = `${button.dataset.saves}.svg`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}
