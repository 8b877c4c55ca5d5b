// Before the first paint, so that nobody sees the other theme flash. "auto" leaves it to the system.
"use strict";
try {
  const chosen = localStorage.getItem("prismq-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage is switched off in this browser; the system's preference counts.
}
document.documentElement.classList.add("js");
