"use strict";
// Says below a hall who holds the seat that was tapped or clicked: a screen that is touched shows no titles.
for (const hall of document.querySelectorAll(".hall")) {
  const told = hall.querySelector("[role=status]");
  if (told) {
    told.hidden = false;
    hall.addEventListener("click", (event) => {
      const title = event.target.closest(".seat")?.querySelector("title");
      if (title) told.textContent = title.textContent;
    });
  }
}
