  // Charts with a row for each optimizer or parameter, its name above its marks: long names fit on a phone too
  function rows(id, names, traces, xaxis, more = {}, tall = 46) {
    const labels = names.map((text, row) => ({
      xref: "paper", x: 0, y: row - 0.36, xanchor: "left", yanchor: "middle", showarrow: false, text, bgcolor: theme().paper, borderpad: 0, font: { size: 13, color: theme().ink },
    }));
    by(id).style.height = `${names.length * tall + 80}px`;
    plot(id, traces, {
      margin: { l: 12, r: 12, t: 28, b: 52 }, ...more, annotations: [...labels, ...(more.annotations || [])], xaxis,
      yaxis: { range: [names.length - 0.4, -0.75], showgrid: false, showticklabels: false, fixedrange: true },
    });
  }
  const upright = (x, names, more) => ({ mode: "lines", x: [x, x], y: [-0.75, names.length - 0.4], hoverinfo: "skip", line: { color: theme().ink, width: 1.2, ...more } });
  // Round numbers, about five of them, up to the greatest
  function ticks(end) {
    const rough = end / 5, power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((times) => times * power >= rough);
    return Array.from({ length: Math.floor(end / step + 1e-9) + 1 }, (_, i) => i * step);
  }

  charts.set("times", () => {
    const drawn = data.ranked.filter((place) => state.shown.has(place)), names = drawn.map(nameOf), end = data.times.horizon;
    const traces = [upright(end * 1.03, names, { color: theme().edge })];
    drawn.forEach((place, row) => {
      const runs = data.times.runs[place], middle = data.times.median[place];
      // runs with equal times stand one above the other, so that none hides another
      const equals = (i) => runs.map((_, other) => other).filter((other) => runs[other][1] === runs[i][1]);
      const height = (i) => row + 0.14 + (equals(i).indexOf(i) - (equals(i).length - 1) / 2) * Math.min(0.13, 0.5 / Math.max(equals(i).length - 1, 1));
      traces.push({
        mode: "markers", x: runs.map((r) => r[1] ?? end * 1.08), y: runs.map((_, i) => height(i)), cliponaxis: false,
        marker: mark(place, { symbol: runs.map((r) => (r[1] === null ? "x" : data.optimizers[place].symbol)) }),
        text: runs.map((r) => `seed ${r[0]}: ${r[1] ?? (r[2] ? "diverged" : "missed")}`), hovertemplate: "%{text}<extra></extra>",
      });
      if (middle !== null) traces.push({ mode: "lines", x: [middle, middle], y: [row - 0.2, row + 0.48], line: { color: theme().ink, width: 2 }, hovertemplate: `median ${middle}<extra></extra>` });
    });
    const places = ticks(end);
    const missed = { x: end * 1.08, y: 1, yref: "paper", yanchor: "bottom", text: "missed", showarrow: false, font: { color: theme().ink } };
    rows("times", names, traces, { range: [-0.01 * end, end * 1.13], tickvals: places, title: { text: "steps to the target" } }, { annotations: [missed], margin: { l: 12, r: 12, t: 34, b: 52 } }, 74);
  });
  if (!by("times")) charts.delete("times");

  charts.set("differences", () => {
    const chosen = data.differences[state.metric], drawn = chosen.rows.filter((r) => state.shown.has(r.optimizer));
    // on a phone the verdict is seen whole: the name gives way
    const letters = Math.floor(by("differences").clientWidth / 8.2), tint = theme();
    const names = drawn.map((r) => `${escaped(shortened(data.optimizers[r.optimizer].label, Math.min(44, Math.max(letters - r.verdict.length - 2, 8))))}: ${r.verdict}`);
    const traces = [upright(chosen.ratio ? 1 : 0, names, { dash: "dash" })];
    drawn.forEach((one, row) => {
      const [middle, low, high] = one.ends, open = one.filled ? "" : "-open";
      traces.push({
        mode: "lines+markers", x: [low, middle, high], y: [row, row, row].map((y) => y + 0.08), line: stroke(one.optimizer, { width: 3, dash: "solid" }),
        marker: mark(one.optimizer, { symbol: ["line-ns", data.optimizers[one.optimizer].symbol + open, "line-ns"], size: [10, 11, 10], line: { color: colour(data.optimizers[one.optimizer]), width: 2 } }),
        text: ["lower end", "difference", "upper end"], hovertemplate: "%{text}: %{x:.4g}<extra></extra>",
      });
    });
    const name = escaped(shortened(state.metric));
    const side = chosen.ratio ? "right of 1 is worse" : chosen.higher ? "left of 0 is worse" : "right of 0 is worse";
    const title = { text: `${name} ${chosen.ratio ? "relative to" : "minus"} the best of the others'<br>(${side})`, font: { size: 13, color: tint.ink } };
    const [from, to] = chosen.margin;
    const shapes = from < to ? [{ type: "rect", layer: "below", xref: "x", yref: "paper", x0: from, x1: to, y0: 0, y1: 1, fillcolor: tint.edge, opacity: 0.35, line: { width: 0 } }] : [];
    const ends = [chosen.ratio ? 1 : 0, ...finite([...chosen.margin, ...drawn.flatMap((r) => r.ends)])];
    const across = chosen.ratio ? ratioAxis(least(ends), greatest(ends)) : linearAxis(least(ends), greatest(ends));
    rows("differences", names, traces, { title, ...across }, { margin: { l: 12, r: 12, t: 14, b: 66 }, shapes });
  });
  if (!by("differences")) charts.delete("differences");
  // Both reach past the margin, or the picture would be grey from end to end
  function linearAxis(low, high) {
    const room = 0.06 * (high - low) || 0.1;
    return { type: "linear", range: [low - room, high + room] };
  }
  function ratioAxis(low, high) {
    const { tickvals, ticktext } = logTicks(low / 1.2, high * 1.2), [from, to] = [low, high].map(Math.log10), room = 0.06 * (to - from) || 0.05;
    return { type: "log", tickvals, ticktext: ticktext.map((v) => `${v}×`), range: [from - room, to + room] };
  }

  charts.set("watch", () => {
    const names = data.watch.names.map((name) => escaped(shortened(name))), drawn = shown();
    const { usual } = data.watch, traces = usual.map((ratio) => upright(ratio, names, { dash: "dot" }));
    for (const place of drawn) {
      const height = 0.12 + (drawn.length > 1 ? (drawn.indexOf(place) / (drawn.length - 1) - 0.5) * 0.3 : 0);
      traces.push({
        mode: "markers", name: nameOf(place), x: data.watch.rows.map((row) => row[place] || null), y: data.watch.rows.map((_, row) => row + height), marker: mark(place),
        customdata: names, hovertemplate: "%{fullData.name}<br>%{customdata}: %{x:.3g}<extra></extra>",
      });
    }
    const seen = [...usual, ...finite(data.watch.rows.flatMap((row) => drawn.map((place) => row[place]))).filter((v) => v > 0)];
    const ends = [least(seen), greatest(seen)].map(Math.log10);
    // at least a power of ten, so that what is nearly equal looks so
    const range = [Math.min(ends[0], ends[1] - 1) - 0.15, Math.max(ends[1], ends[0] + 1) + 0.15];
    rows("watch", names, traces, { type: "log", exponentformat: "power", dtick: 1, range, title: { text: `update / parameter (dotted: ${usual.join(" and ")})` } });
  });
  if (!by("watch")) charts.delete("watch");
