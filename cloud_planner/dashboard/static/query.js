// The chart of a query's page: latency seen beside the promise's interval. The words below it say the same.
"use strict";
(function () {
  let plot = null;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const text = (ms) => ms == null ? "–" : ms === 0 ? "0" : ms >= 10000 ? (ms / 1000).toFixed(1) + " s" : ms >= 100 ? ms.toFixed(0) + " ms" : ms.toPrecision(3) + " ms";

  function data() {
    const element = document.getElementById("latency-data");
    try { return element ? JSON.parse(element.textContent) : null; } catch { return null; }
  }
  function words(found) {
    const seen = found.seen.filter((one) => one != null);
    const place = document.getElementById("latency-words");
    if (!place) return;
    if (!seen.length) { place.textContent = "No item was answered within this span."; return; }
    const last = (list) => list.findLast((one) => one != null);
    const promised = last(found.promised);
    const held = found.seen.filter((one, at) => one != null && found.high[at] != null && one <= found.high[at]).length;
    const judged = found.seen.filter((one, at) => one != null && found.high[at] != null).length;
    place.textContent = found.percentile + " was " + text(Math.min(...seen)) + " to " + text(Math.max(...seen)) + ", lately " + text(last(found.seen))
      + (promised == null ? "; nothing was promised." : "; promised now " + text(promised) + " (" + text(last(found.low)) + " to " + text(last(found.high)) + "). "
        + held + " of " + judged + " moments lay within the interval or below.");
  }
  function columns(found) {
    const bound = found.at.map(() => found.bound);
    return [found.at, found.low, found.high, found.promised, found.seen, bound];
  }
  function draw() {
    const place = document.getElementById("latency-chart"), found = data();
    if (!place || !found || !window.uPlot) return;
    words(found);
    if (plot) plot.destroy();
    place.replaceChildren();
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
    const value = (_, one) => text(one);
    // The times of all pages are of UTC.
    const moment = (at) => new Date(at * 1000).toISOString().slice(11, 16);
    const moments = { ...axis, values: (_, ticks) => ticks.map(moment) };
    const none = { show: false };
    plot = new uPlot({
      width: Math.max(place.clientWidth, 240), height: 260,
      cursor: { points: { size: 6 } },
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
      scales: { x: { time: true }, y: { range: (_, low, high) => [0, (high || 1) * 1.08] } },
      axes: [moments, { ...axis, size: 62, values: (_, ticks) => ticks.map((one) => text(one)) }],
      bands: [{ series: [2, 1], fill: colour("--accent-soft") }],
      series: [
        { label: "UTC", value: (_, at) => at == null ? "–" : moment(at) },
        { label: "promised from", stroke: "transparent", points: none, value },
        { label: "to", stroke: "transparent", points: none, value },
        { label: "promised", stroke: colour("--series-1"), width: 1.5, dash: [6, 4], points: none, value },
        { label: "seen, " + found.percentile, stroke: colour("--series-2"), width: 2, spanGaps: false, points: { size: 3 }, value },
        { label: "bound", stroke: colour("--bad"), width: 1, show: found.bound != null, points: none, value },
      ],
    }, columns(found), place);
  }
  function renew() {
    const found = data();
    if (!plot || !found) { draw(); return; }
    words(found);
    plot.setData(columns(found));
  }
  document.addEventListener("circinus:theme", draw);
  document.addEventListener("circinus:live", (event) => { if (event.target.id === "latency-data") renew(); });
  document.addEventListener("htmx:afterSettle", (event) => { if (event.target.id === "latency" || event.detail.target?.id === "latency") draw(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  let waiting = 0;
  window.addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(draw, 150); });
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", draw); else draw();
})();
