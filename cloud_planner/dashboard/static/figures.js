// Charts of accounts and of configurations. Each stands beside a table that has the same.
"use strict";
(function () {
  const style = () => {
    const found = getComputedStyle(document.documentElement);
    return (name) => found.getPropertyValue("--" + name).trim();
  };
  const short = (value) => value == null ? "" : Math.abs(value) >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
  const percent = (value) => String(Math.round(value * 1000) / 10) + "\u202f%";
  const made = new Map();

  // ---- what is drawn beside uPlot's own points
  const points = (colour, size, hollow, ground) => ({
    show: true, size, width: 1.5, stroke: colour, fill: hollow ? ground : colour,
  });
  const none = () => null;
  const within = (u, draw) => {
    u.ctx.save();
    u.ctx.beginPath();
    u.ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
    u.ctx.clip();
    draw(u.ctx);
    u.ctx.restore();
  };
  const at = (u, x, y) => [u.valToPos(x, "x", true), u.valToPos(y, "y", true)];
  function line(u, from, to, colour, dash) {
    within(u, (c) => {
      c.strokeStyle = colour; c.lineWidth = devicePixelRatio; c.setLineDash((dash || []).map((one) => one * devicePixelRatio));
      c.beginPath(); c.moveTo(...at(u, ...from)); c.lineTo(...at(u, ...to)); c.stroke();
    });
  }
  function bars(u, xs, lows, highs, colour, across) {
    within(u, (c) => {
      c.strokeStyle = colour; c.lineWidth = devicePixelRatio;
      xs.forEach((x, n) => {
        if (lows[n] == null || highs[n] == null || x == null) return;
        c.beginPath();
        if (across) { c.moveTo(...at(u, lows[n], across[n])); c.lineTo(...at(u, highs[n], across[n])); }
        else { c.moveTo(...at(u, x, lows[n])); c.lineTo(...at(u, x, highs[n])); }
        c.stroke();
      });
    });
  }
  function ring(u, x, y, colour) {
    within(u, (c) => {
      const [left, top] = at(u, x, y);
      c.strokeStyle = colour; c.lineWidth = 2 * devicePixelRatio;
      c.beginPath(); c.arc(left, top, 9 * devicePixelRatio, 0, 2 * Math.PI); c.stroke();
    });
  }

  // ---- the point that is meant: what is nearest, in both directions
  function nearest(u, ys, most) {
    const { left, top } = u.cursor;
    if (left == null || left < 0) return null;
    let best = null, least = most * most;
    u.data[0].forEach((x, n) => {
      for (const values of ys) {
        if (values[n] == null) continue;
        const far = (u.valToPos(x, "x") - left) ** 2 + (u.valToPos(values[n], "y") - top) ** 2;
        if (far < least) { least = far; best = n; }
      }
    });
    return best;
  }
  function tip(figure, u, n, text) {
    let element = figure.querySelector(".tip");
    if (!element) { element = document.createElement("div"); element.className = "tip"; element.setAttribute("aria-hidden", "true"); figure.append(element); }
    if (n == null) { element.hidden = true; return; }
    element.hidden = false;
    element.textContent = text;
    const width = figure.clientWidth, left = u.bbox.left / devicePixelRatio + u.cursor.left;
    element.style.left = Math.max(0, Math.min(left + 12, width - element.offsetWidth - 4)) + "px";
    element.style.top = Math.max(0, u.bbox.top / devicePixelRatio + u.cursor.top - element.offsetHeight - 10) + "px";
  }

  // Of a logarithmic scale: 1, 2 and 5 of each power of ten.
  const decades = (u, at, low, high) => {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
      for (const factor of high / low > 300 ? [1] : [1, 2, 5]) {
        const value = factor * 10 ** power;
        if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
      }
    return found;
  };
  const axis = (colour, grid, label, values, log) => ({
    stroke: colour, ...(log ? { splits: decades, filter: (u, splits) => splits } : {}), grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 }, label, labelSize: 18, labelGap: 2, size: label ? 44 : 34, values,
    font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif",
  });
  const about = (values, log, least) => {
    const known = values.filter((one) => one != null && (!log || one > 0));
    if (!known.length) return log ? [1, 10] : [0, 1];
    const low = Math.min(...known), high = Math.max(...known);
    if (log) { const room = Math.max(1.15, (high / low) ** 0.06); return [low / room, high * room]; }
    const room = Math.max((high - low) * 0.08, least || Math.abs(high) * 0.05 || 0.05);
    return [low - room, high + room];
  };

  const KINDS = {
    reliability(data, colour) {
      const say = (n) => `promised ${percent(data.x[n])}, met ${percent(data.y[n])} of ${data.accounts[n]}`;
      const most = Math.max(...data.accounts, 1);
      return {
        data: [data.x, data.y], say, meant: [data.y],
        scales: { x: { time: false, range: [-0.04, 1.05] }, y: { range: [-0.05, 1.06] } },
        axes: [axis(colour("soft"), colour("line"), "promised", (u, v) => v.map(percent)), axis(colour("soft"), colour("line"), "met", (u, v) => v.map(percent))],
        series: [{}, { paths: none, points: { show: false } }],
        drawn(u) {
          line(u, [0, 0], [1, 1], colour("line-strong"), [5, 4]);
          bars(u, data.x, data.low, data.high, colour("soft"));
          within(u, (c) => data.x.forEach((x, n) => {
            const [left, top] = at(u, x, data.y[n]), off = x < data.low[n] || x > data.high[n];
            c.fillStyle = off ? colour("bad") : colour("series-1");
            c.beginPath(); c.arc(left, top, (3 + 5 * Math.sqrt(data.accounts[n] / most)) * devicePixelRatio, 0, 2 * Math.PI); c.fill();
          }));
        },
      };
    },
    scatter(data, colour) {
      const seen = data.x.map((_, n) => data.held[n] ?? data.out[n]);
      const range = about([...data.x, ...seen], data.log);
      return {
        data: [data.x, data.held, data.out], meant: [data.held, data.out],
        say: (n) => `${data.names[n]}: promised ${short(data.x[n])} (${short(data.low[n])} to ${short(data.high[n])}), seen ${short(seen[n])} ms`,
        scales: { x: { time: false, distr: data.log ? 3 : 1, range: () => range }, y: { distr: data.log ? 3 : 1, range: () => range } },
        axes: [axis(colour("soft"), colour("line"), "promised, ms", (u, v) => v.map(short), data.log), axis(colour("soft"), colour("line"), "seen, ms", (u, v) => v.map(short), data.log)],
        series: [{}, { paths: none, points: points(colour("series-1"), 6) }, { paths: none, points: points(colour("bad"), 7) }],
        drawn(u) { line(u, [range[0], range[0]], [range[1], range[1]], colour("line-strong"), [5, 4]); },
      };
    },
    front(data, colour) {
      const value = data.x.map((_, n) => data.measured[n] ?? data.predicted[n] ?? data.over[n]);
      const cost = data.axis === "cost", unit = cost ? "an hour" : "ms";
      const positive = data.x.every((one) => one > 0), spread = positive && Math.max(...data.x) > 20 * Math.min(...data.x);
      return {
        data: [data.x, data.measured, data.predicted, data.over, data.front], meant: [value],
        say: (n) => `${data.labels[n]}: accuracy ${short(value[n])} (${short(data.low[n])} to ${short(data.high[n])}), ${short(data.x[n])} ${unit}`,
        scales: {
          x: { time: false, distr: spread ? 3 : 1, range: () => about(data.bounds.x == null ? data.x : [...data.x, data.bounds.x], spread) },
          y: { range: () => { const [low, high] = about([...data.low, ...data.high, data.bounds.y], false); return [Math.max(0, low), Math.min(1.02, high)]; } },
        },
        axes: [axis(colour("soft"), colour("line"), cost ? "cost an hour, of the cheapest plan" : "latency of that plan, ms", (u, v) => v.map(short), spread), axis(colour("soft"), colour("line"), "accuracy", (u, v) => v.map(short))],
        series: [
          {},
          { paths: none, points: points(colour("series-1"), 7) },
          { paths: none, points: points(colour("series-1"), 7, true, colour("card")) },
          { paths: none, points: points(colour("faint"), 5, true, colour("card")) },
          { stroke: colour("series-3"), width: 1.75, spanGaps: true, points: { show: false } },
        ],
        drawn(u) {
          const bar = (n) => data.front[n] == null ? null : data.low[n];
          bars(u, data.x, data.x.map((_, n) => bar(n)), data.high, colour("series-3"));
          bars(u, data.x, data.xlow.map((one, n) => data.front[n] == null ? null : one), data.xhigh, colour("series-3"), value);
          const [low, high] = [u.scales.x, u.scales.y].map((one) => [one.min, one.max]);
          if (data.bounds.x != null) line(u, [data.bounds.x, high[0]], [data.bounds.x, high[1]], colour("warn"), [4, 4]);
          if (data.bounds.y != null) line(u, [low[0], data.bounds.y], [low[1], data.bounds.y], colour("warn"), [4, 4]);
          if (data.used != null) ring(u, data.x[data.used], value[data.used], colour("good"));
          const picked = data.names.indexOf(document.getElementById("picked")?.dataset.picked);
          if (picked >= 0) ring(u, data.x[picked], value[picked], colour("accent"));
        },
        chosen(n) {
          const link = document.querySelector(`[data-pick="${data.names[n]}"]`);
          if (link) { link.click(); return; }
          // On another page of the table.
          const target = new URL(location.href);
          target.searchParams.set("pick", data.names[n]);
          location.href = target.pathname + target.search + "#picked";
        },
      };
    },
  };

  function draw(figure) {
    const source = document.getElementById(figure.dataset.figure);
    if (!source || !window.uPlot) return;
    const data = JSON.parse(source.textContent), colour = style();
    made.get(figure)?.destroy();
    figure.textContent = "";
    if (!data.x.length) { figure.hidden = true; return; }
    const kind = KINDS[data.kind](data, colour);
    const size = () => ({ width: Math.max(220, figure.clientWidth), height: figure.classList.contains("square") ? Math.min(360, Math.max(240, figure.clientWidth * 0.62)) : 380 });
    const u = new uPlot({
      ...size(), padding: [10, 12, 0, 0], legend: { show: false }, scales: kind.scales, axes: kind.axes, series: kind.series,
      cursor: { drag: { x: false, y: false }, points: { show: false }, x: false, y: false },
      hooks: {
        draw: [(plot) => kind.drawn(plot)],
        setCursor: [(plot) => { const n = nearest(plot, kind.meant, 24); tip(figure, plot, n, n == null ? "" : kind.say(n)); plot.over.classList.toggle("can", n != null && !!kind.chosen); }],
      },
    }, kind.data, figure);
    u.root.querySelectorAll("canvas").forEach((canvas) => { canvas.setAttribute("role", "img"); canvas.setAttribute("aria-label", document.getElementById(figure.getAttribute("aria-labelledby"))?.textContent || "chart"); });
    if (kind.chosen) u.over.addEventListener("click", () => { const n = nearest(u, kind.meant, 24); if (n != null) kind.chosen(n); });
    made.set(figure, u);
    figure.chart = u;
    if (!figure.sized) {
      figure.sized = new ResizeObserver(() => made.get(figure)?.setSize(size()));
      figure.sized.observe(figure);
    }
  }
  function mark() {
    const picked = document.getElementById("picked")?.dataset.picked;
    for (const link of document.querySelectorAll("[data-pick]")) {
      const row = link.closest("tr"), mine = link.dataset.pick === picked;
      row.classList.toggle("picked", mine);
      if (mine) row.setAttribute("aria-current", "true"); else row.removeAttribute("aria-current");
    }
  }
  const all = () => { mark(); for (const figure of document.querySelectorAll("[data-figure]")) draw(figure); };
  document.addEventListener("circinus:theme", all);
  document.addEventListener("htmx:afterSettle", all);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", all); else all();
})();
