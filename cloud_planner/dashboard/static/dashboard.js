// What every page does: live parts, keys, the look. No page needs it to be read.
"use strict";
(function () {
  const root = document.documentElement;

  // ---- dark and light
  const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const themeButton = document.getElementById("theme");
  if (themeButton) themeButton.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("circinus-theme", root.dataset.theme); } catch { /* not kept, then */ }
    document.dispatchEvent(new CustomEvent("circinus:theme"));
  });

  // ---- live parts: one stream a page, none while nobody looks
  const touch = document.getElementById("touch");
  let stream = null, following = "";
  const say = (text, kind) => { if (touch) { touch.textContent = text; touch.className = "touch " + kind; } };
  function wanted() {
    const found = new Set();
    for (const element of document.querySelectorAll("[data-live]")) found.add(element.dataset.live);
    return [...found].sort().map((part) => "part=" + encodeURIComponent(part)).join("&");
  }
  // Where the focus is within what is about to be replaced, and back to it: keys go on from there.
  function placeIn(element) {
    const focused = element.contains(document.activeElement) && document.activeElement !== element ? document.activeElement : null;
    return focused && (focused.id || focused.getAttribute("href"));
  }
  function focusAgain(element, place) {
    if (!place) return;
    const again = [...element.querySelectorAll("[id],a[href]")].find((one) => one.id === place || one.getAttribute("href") === place);
    if (again) again.focus({ preventScroll: true });
  }
  const places = new Map();
  document.addEventListener("htmx:beforeSwap", (event) => places.set(event.detail.target.id, placeIn(event.detail.target)));
  document.addEventListener("htmx:afterSettle", (event) => {
    const id = event.detail.target.id, element = document.getElementById(id);
    if (element) focusAgain(element, places.get(id));
    places.delete(id);
  });
  function put(id, html) {
    const element = document.getElementById(id);
    if (!element || element.dataset.html === html) return;
    // Whoever types, or has something open, is not disturbed; the next change finds them done.
    if (element.querySelector("details[open], input:focus, select:focus, textarea:focus")) return;
    const place = placeIn(element);
    element.innerHTML = html;
    element.dataset.html = html.length < 400 ? html : "";
    focusAgain(element, place);
    if (window.htmx) window.htmx.process(element);
    element.dispatchEvent(new CustomEvent("circinus:live", { bubbles: true }));
  }
  function follow() {
    const parts = document.hidden ? "" : wanted();
    if (parts === following && stream && stream.readyState !== EventSource.CLOSED) return;
    following = parts;
    if (stream) stream.close();
    stream = null;
    if (!parts) { say("", ""); return; }
    const mine = stream = new EventSource("/live?" + parts);
    mine.addEventListener("open", () => { if (mine === stream) say("live", "good"); });
    mine.addEventListener("parts", (event) => {
      for (const [id, html] of Object.entries(JSON.parse(event.data))) put(id, html);
      root.dataset.updates = String(Number(root.dataset.updates || 0) + 1);
    });
    mine.addEventListener("over", () => { mine.close(); say("signed out", "bad"); location.reload(); });
    mine.addEventListener("error", () => {
      if (mine !== stream) return;
      say("out of touch", "warn");
      if (mine.readyState === EventSource.CLOSED) setTimeout(() => { if (mine === stream) { following = ""; follow(); } }, 5000);
    });
  }
  document.addEventListener("visibilitychange", follow);
  document.addEventListener("htmx:afterSettle", follow);
  window.addEventListener("pagehide", () => { if (stream) { stream.close(); stream = null; following = ""; } });
  window.addEventListener("pageshow", follow);

  // ---- keys: / to the filter, j and k through the rows, t for dark or light
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest("input, select, textarea");
    if (typing) { if (event.key === "Escape") typing.blur(); return; }
    if (event.key === "/") {
      const filter = document.querySelector("[data-filter]");
      if (filter) { event.preventDefault(); filter.focus(); filter.select(); }
    } else if (event.key === "j" || event.key === "k") {
      const links = [...document.querySelectorAll("tbody tr a.row")];
      const next = links.indexOf(document.activeElement) + (event.key === "j" ? 1 : -1);
      if (links.length) links[Math.max(0, Math.min(links.length - 1, next))].focus();
    } else if (event.key === "t" && themeButton) themeButton.click();
  });
  // One question at a time, and Escape closes it.
  document.addEventListener("toggle", (event) => {
    if (event.target.matches && event.target.matches("details.act[open]"))
      for (const other of document.querySelectorAll("details.act[open]")) if (other !== event.target) other.open = false;
  }, true);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") for (const one of document.querySelectorAll("details.act[open]")) { one.open = false; one.querySelector("summary").focus(); }
  });

  // ---- faults of requests by htmx
  document.addEventListener("htmx:responseError", (event) => {
    if (event.detail.xhr.status === 401) location.reload();
    else say(event.detail.xhr.responseText.slice(0, 200) || "refused", "bad");
  });
  document.addEventListener("htmx:sendError", () => say("out of touch", "warn"));
})();
