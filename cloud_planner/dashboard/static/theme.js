// Before anything is shown: the choice that was made here once, else what the system prefers.
"use strict";
(function () {
  try {
    const chosen = localStorage.getItem("circinus-theme");
    if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
  } catch { /* no storage: the system's preference holds */ }
})();
