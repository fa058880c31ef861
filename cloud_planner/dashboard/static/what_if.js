// Sliders say where they stand, in their units, while they are moved; the form itself asks by htmx.
"use strict";
(function () {
  const form = document.getElementById("what-if");
  if (!form) return;
  const short = (value) => String(Number(value.toPrecision(4))).replace("-", "\u2212");
  function say(range) {
    const output = form.querySelector(`output[for="${range.id}"]`), box = form.elements[range.name + "_on"];
    const present = Number(range.dataset.present), step = Number(range.dataset.step);
    let value = Number(range.value);
    // Near to where things are is where things are; else on a step.
    value = Math.abs(value - present) < step / 2 ? present : Math.min(Number(range.max), Math.max(Number(range.min), Math.round(value / step) * step));
    const on = !box || box.checked, changed = on !== Boolean(range.dataset.presentOn) || (on && value !== present);
    range.disabled = !on;
    range.closest(".slider").classList.toggle("changed", changed);
    const unit = output.dataset.unit, sign = range.name === "devices" && value > 0 ? "+" : "";
    const text = on ? `${sign}${short(value)}${unit ? " " + unit : ""}` : "no bound";
    output.textContent = text;
    range.setAttribute("aria-valuetext", text);
    return value;
  }
  const ranges = [...form.querySelectorAll("input[type=range]")];
  for (const range of ranges) {
    // With script the arrow keys go by steps as people read them, from wherever it stands.
    range.step = range.name === "devices" ? "1" : range.dataset.step;
    say(range);
    range.addEventListener("input", () => say(range));
    range.addEventListener("change", () => say(range));
  }
  for (const box of form.querySelectorAll("input[type=checkbox]"))
    box.addEventListener("change", () => say(form.elements[box.name.slice(0, -3)]));
  // Another query, tier or class has other sliders.
  for (const select of form.querySelectorAll("[data-reload]"))
    select.addEventListener("change", (event) => {
      event.stopPropagation();
      if (select.name === "query") { location.href = "/what-if?query=" + encodeURIComponent(select.value); return; }
      const address = new URLSearchParams(new FormData(form));
      if (select.name === "like") address.delete("devices");
      location.href = "/what-if?" + address;
    });
})();
