"use strict";
(() => {
  {% include "page.js" %}

  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  const view = (kind, text) => new kind(bytes(text));
  const [low, high] = data.scale;
  const log = (code) => (code === 65535 ? null : low + (code / 65534) * (high - low));
  const brief = (value) => (value === null ? "diverged" : value !== 0 && (value < 1e-3 || value >= 1e4) ? value.toExponential(2) : Number(value.toPrecision(3)).toString());

  // Viridis: even steps look even, also without colour
  const RAMP = [[0, "#440154"], [0.25, "#3b528b"], [0.5, "#21918c"], [0.75, "#5ec962"], [1, "#fde725"]];
  const SYMBOLS = { "<": "triangle-left", ">": "triangle-right", "^": "triangle-up", v: "triangle-down" };
  const state = { same: false, rate: 0, value: 0, start: 0, step: data.steps, playing: null, hidden: new Set() };

  const heights = view(Uint16Array, data.heights);
  const surface = data.ys.map((_, row) => data.xs.map((_, column) => log(heights[row * data.xs.length + column])));

  const decoded = new Map();
  function trajectory(entry, rate, start) {
    const packed = entry.trajectories[rate][start];
    let unpacked = decoded.get(packed);
    if (!unpacked) {
      const steps = view(Uint16Array, packed.s), points = view(Float32Array, packed.p), codes = view(Uint16Array, packed.l);
      const times = packed.t ? view(Uint16Array, packed.t) : null;
      unpacked = {
        n: packed.n, steps, diverged: packed.d, outside: packed.o || 0, exits: packed.e || [],
        x: Array.from(steps, (_, i) => points[2 * i]), y: Array.from(steps, (_, i) => points[2 * i + 1]),
        times: Array.from(codes, (_, i) => (times ? times[i] : i)), losses: Array.from(codes, (c) => 10 ** log(c)),
      };
      decoded.set(packed, unpacked);
    }
    return unpacked;
  }
  // how many of the ascending numbers are at most `limit`
  function upto(numbers, limit) {
    let from = 0, to = numbers.length;
    while (from < to) {
      const middle = (from + to) >> 1;
      if (numbers[middle] <= limit) from = middle + 1; else to = middle;
    }
    return from;
  }

  const entries = () => data.entries.filter((m) => m.value === null || m.value === data.values[state.value]);
  const rateOf = (entry) => (state.same ? state.rate : entry.best);
  const startsShown = () => (state.start === "all" ? data.starts.map((_, i) => i) : [state.start]);
  const trajectories = (entry) => startsShown().map((start) => trajectory(entry, rateOf(entry), start));

  function mapTraces() {
    const tint = theme();
    const [left, right, bottom, top] = data.window;
    const traces = [
      {
        type: "contour", x: data.xs, y: data.ys, z: surface, showscale: false, hoverinfo: "skip",
        colorscale: [[0, tone("surface-low")], [1, tone("surface-high")]], line: { color: tone("contour"), width: 0.6 },
        autocontour: false, contours: levels(),
      },
      {
        mode: "lines", x: [left, right, right, left, left], y: [bottom, bottom, top, top, bottom],
        line: { color: tone("contour"), width: 1 }, hoverinfo: "skip",
      },
      {
        mode: "markers", x: startsShown().map((i) => data.starts[i][0]), y: startsShown().map((i) => data.starts[i][1]),
        marker: { symbol: "square", size: 9, color: tint.ink, line: { color: tint.paper, width: 1 } }, hovertemplate: "start<extra></extra>",
      },
    ];
    if (data.minimum) {
      traces.push({
        mode: "markers", x: [data.minimum[0]], y: [data.minimum[1]], hovertemplate: "minimum<extra></extra>",
        marker: { symbol: "star", size: 16, color: "gold", line: { color: "black", width: 1 } },
      });
    }
    for (const entry of entries()) traces.push(...pathTraces(entry));
    return traces;
  }
  // Powers of ten and halves between, of the five highest decades of the window
  function levels() {
    let least = Infinity, most = -Infinity;
    for (const row of surface) for (const z of row) if (z !== null) { least = Math.min(least, z); most = Math.max(most, z); }
    const end = Math.ceil(most * 2) / 2;
    return { coloring: "fill", start: Math.max(Math.floor(least * 2) / 2, end - 5), end, size: 0.5 };
  }
  function pathTraces(entry) {
    const shown = !state.hidden.has(entry.label), tint = colour(entry), name = escaped(entry.label);
    const drawn = shown ? trajectories(entry) : [];
    const cuts = drawn.map((r) => upto(r.steps, state.step));
    const exits = drawn.flatMap((r) => r.exits.filter((e) => e[0] <= state.step));
    const over = drawn.map((r) => Boolean(r.diverged) && state.step >= r.diverged - 1);
    return [
      {
        mode: "lines", x: joined(drawn.map((r, i) => r.x.slice(0, cuts[i]))), y: joined(drawn.map((r, i) => r.y.slice(0, cuts[i]))),
        line: { color: tint, width: 2, dash: entry.dash }, name, hovertemplate: `${name}<br>%{x:.4g}, %{y:.4g}<extra></extra>`,
      },
      {
        mode: "markers", x: exits.map((e) => e[1]), y: exits.map((e) => e[2]), cliponaxis: false, hovertemplate: `${name} leaves the window<extra></extra>`,
        marker: { symbol: exits.map((e) => SYMBOLS[e[3]]), size: 12, color: tint, line: { color: theme().paper, width: 1 } },
      },
      {
        mode: "markers", x: drawn.map((r, i) => r.x[cuts[i] - 1]), y: drawn.map((r, i) => r.y[cuts[i] - 1]),
        marker: { symbol: over.map((d) => (d ? "x" : "circle")), size: 9, color: tint, line: { color: theme().paper, width: 1 } },
        hovertemplate: `${name}<br>%{x:.4g}, %{y:.4g}<extra></extra>`,
      },
    ];
  }
  function curveTraces() {
    return entries().flatMap((entry) => {
      const drawn = state.hidden.has(entry.label) ? [] : trajectories(entry);
      const line = { color: colour(entry), width: 2, dash: entry.dash };
      const cuts = drawn.map((r) => upto(r.times, state.step)), name = escaped(entry.label);
      return [
        // the whole curve faintly, so that the scale stays and the end is known
        { mode: "lines", x: joined(drawn.map((r) => r.times)), y: joined(drawn.map((r) => r.losses)), line, opacity: 0.25, hoverinfo: "skip" },
        {
          mode: "lines", x: joined(drawn.map((r, i) => r.times.slice(0, cuts[i]))), y: joined(drawn.map((r, i) => r.losses.slice(0, cuts[i]))),
          line, hovertemplate: `${name}<br>step %{x}: %{y:.3g}<extra></extra>`,
        },
        {
          mode: "markers", x: drawn.map((r, i) => r.times[cuts[i] - 1]), y: drawn.map((r, i) => r.losses[cuts[i] - 1]), hoverinfo: "skip",
          marker: { symbol: drawn.map((r) => (r.diverged && state.step >= r.diverged - 1 ? "x" : "circle")), size: 8, color: line.color },
        },
      ];
    });
  }

  function ranges() {
    let [left, right, bottom, top] = data.window;
    if (by("whole").checked) {
      for (const entry of entries()) {
        if (state.hidden.has(entry.label)) continue;
        for (const r of trajectories(entry)) {
          for (const x of r.x) { left = Math.min(left, x); right = Math.max(right, x); }
          for (const y of r.y) { bottom = Math.min(bottom, y); top = Math.max(top, y); }
        }
      }
      const across = (right - left) * 0.03, along = (top - bottom) * 0.03;
      return [[left - across, right + across], [bottom - along, top + along]];
    }
    return [[left, right], [bottom, top]];
  }
  // Labels at powers of ten, at most about eight of them
  function decades() {
    const values = entries().filter((m) => !state.hidden.has(m.label)).flatMap((m) => trajectories(m).flatMap((r) => r.losses));
    if (!values.length) return {};
    const span = Math.log10(values.reduce((a, b) => Math.max(a, b))) - Math.log10(values.reduce((a, b) => Math.min(a, b)));
    return span > 2 ? { dtick: Math.ceil(span / 8) } : { dtick: null };
  }
  function drawPlots() {
    const [xs, ys] = ranges();
    Plotly.react("map", mapTraces(), layout({ xaxis: { range: xs, title: { text: "x" } }, yaxis: { range: ys, title: { text: "y" } } }), CONFIG);
    const steps = { range: [0, data.steps], title: { text: "step" } };
    const losses = { type: "log", title: { text: escaped(data.quantity) }, exponentformat: "power", ...decades() };
    Plotly.react("curves", curveTraces(), layout({ xaxis: steps, yaxis: losses }), CONFIG);
  }
  // while it plays: only what moves
  function move() {
    const fixed = data.minimum ? 4 : 3;
    const restyle = (id, traces, first) => {
      const change = { x: traces.map((t) => t.x), y: traces.map((t) => t.y), "marker.symbol": traces.map((t) => (t.marker ? t.marker.symbol : undefined)) };
      Plotly.restyle(id, change, traces.map((_, i) => first + i));
    };
    restyle("map", entries().flatMap(pathTraces), fixed);
    restyle("curves", curveTraces(), 0);
  }

  const mean = (values) => Math.exp(values.reduce((sum, v) => sum + Math.log(v), 0) / values.length);
  function drawTable() {
    for (const entry of entries()) {
      const cells = by("now").querySelector(`tr[data-entry="${data.entries.indexOf(entry)}"]`).cells;
      const drawn = trajectories(entry), rate = rateOf(entry);
      const over = drawn.filter((r) => r.diverged && state.step >= r.diverged);
      const ends = startsShown().map((start) => entry.finals[rate][start]);
      const texts = [
        Number(data.rates[rate].toPrecision(6)).toString() + (rate === entry.best ? " (best)" : ""),
        over.length ? "diverged" : brief(mean(drawn.map((r) => r.losses[upto(r.times, state.step) - 1]))),
        ends.includes(null) ? "diverged" : brief(mean(ends)),
        `${drawn.reduce((sum, r) => sum + r.outside, 0)} of ${drawn.reduce((sum, r) => sum + r.n, 0)}`,
        drawn.map((r) => r.diverged).filter(Boolean).map((step) => `step ${step}`).join(", ") || "no",
      ];
      texts.forEach((text, i) => { cells[i + 1].textContent = text; });
    }
  }
  function makeTable() {
    const body = by("now").tBodies[0];
    body.replaceChildren(...entries().map((entry) => {
      const row = document.createElement("tr"), head = document.createElement("th"), label = document.createElement("label");
      row.dataset.entry = data.entries.indexOf(entry);
      head.scope = "row";
      const box = document.createElement("input");
      box.type = "checkbox";
      box.checked = !state.hidden.has(entry.label);
      box.addEventListener("change", () => { state.hidden[box.checked ? "delete" : "add"](entry.label); draw(); });
      label.append(box, sample(entry), entry.label);
      head.append(label);
      row.append(head, ...Array.from({ length: 5 }, () => document.createElement("td")));
      return row;
    }));
  }
  {% include "contour_heat.js" %}

  {% include "contour_controls.js" %}
})();
