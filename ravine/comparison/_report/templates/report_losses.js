  // Charts with a loss upwards: the curves, the sensitivity, and the score against the budget
  const band = (x, low, high, place, strength = "2b") => [
    { mode: "lines", x, y: low, line: { width: 0 }, hoverinfo: "skip" },
    { mode: "lines", x, y: high, line: { width: 0 }, fill: "tonexty", fillcolor: colour(data.optimizers[place]) + strength, hoverinfo: "skip" },
  ];
  function lossAxis(more) {
    const kind = by("log").checked ? { type: "log", exponentformat: "power" } : { type: "linear", exponentformat: "power" };
    return { ...kind, automargin: true, title: { text: "validation loss" }, ...more };
  }

  // Plain numbers at a logarithmic axis, about six of them: plotly's own digits between powers of ten are too small, and too many
  function logTicks(low, high) {
    const decades = Math.log10(high) - Math.log10(low), from = Math.floor(Math.log10(low)), powers = Array.from({ length: Math.ceil(decades) + 2 }, (_, i) => from + i);
    const fine = decades < 0.5 ? [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9] : decades < 2 ? [1, 2, 5] : [1];
    const every = Math.ceil(decades / 6) || 1;
    const round = powers.filter((power) => decades < 2 || power % every === 0).flatMap((power) => fine.map((v) => Number(`${v}e${power}`)));
    const tickvals = decades > 0 && decades < 0.2 ? evenTicks(low, high) : round;
    return { tickvals, ticktext: tickvals.map((v) => (v < 1e-3 || v >= 1e5 ? v.toExponential().replace("e+", "e") : String(v))) };
  }

  // Of a narrow range: equal steps of 1, 2 or 5 at some place
  function evenTicks(low, high) {
    const least = (high - low) / 4, place = 10 ** Math.floor(Math.log10(least)), step = [1, 2, 5, 10].find((k) => k * place >= least * 0.999) * place;
    const first = Math.ceil(low / step);
    return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
  }

  function prepareLosses() {
    const losses = [
      ...data.curves.filter(Boolean).flatMap((c) => finite([...c.low, ...c.median])),
      ...data.budget.filter(Boolean).flatMap((c) => finite([...c.low, ...c.expected])),
      ...Object.values(data.sensitivity).flatMap((s) => s.marks.filter(Boolean).flatMap((marks) => finite(marks.map((m) => m[1])))),
    ];
    if (losses.some((loss) => loss <= 0)) {
      Object.assign(by("log"), { checked: false, disabled: true });
      by("log").parentElement.append(" (not possible: some losses are not above 0)");
    }
    if (!finite(data.seconds).length) {
      by("by-second").disabled = true;
      by("unmeasured").textContent = "Time per step was not measured.";
    }
  }

  charts.set("curves", () => {
    const timed = by("by-second").checked;
    const drawn = shown().filter((place) => data.curves[place] && (!timed || data.seconds[place] !== null));
    const left = shown().filter((place) => data.curves[place] && !drawn.includes(place));
    if (finite(data.seconds).length) by("unmeasured").textContent = left.length ? `No time per step for ${left.map((place) => data.optimizers[place].label).join(", ")}.` : "";
    const ceiling = greatest(drawn.flatMap((place) => finite([...data.curves[place].median, ...data.curves[place].high])));
    const times = (place) => data.curves[place].steps.map((step) => (timed ? step * data.seconds[place] : step));
    const traces = [];
    if (by("band").checked) {
      for (const place of drawn) {
        // where a run diverged the band has no upper end: it goes to the top of what is drawn, faintly
        const { low, high } = data.curves[place], open = high.includes(null);
        traces.push(...band(times(place), low, high.map((v) => v ?? ceiling), place, open ? "12" : "2b"));
      }
    }
    for (const place of drawn) {
      traces.push({
        mode: "lines+markers", name: nameOf(place), x: times(place), y: data.curves[place].median, line: stroke(place), marker: mark(place, { maxdisplayed: 7 }),
        hovertemplate: `%{fullData.name}<br>${timed ? "%{x:.3g} seconds" : "step %{x}"}: %{y:.4g}<extra></extra>`,
      });
    }
    const end = greatest(drawn.flatMap(times));
    if (data.target !== null && drawn.length) {
      traces.push({
        mode: "lines+text", x: [0, end], y: [data.target, data.target], line: { color: theme().ink, width: 1.5, dash: "dot" }, hoverinfo: "skip",
        text: ["", `target ${Number(data.target.toPrecision(3))} `], textposition: "top left", textfont: { color: theme().ink },
      });
    }
    const across = { title: { text: timed ? "seconds of training on one thread" : "step" }, rangemode: "tozero" };
    if (drawn.length) across.range = [0, end * 1.01];
    const ends = finite(drawn.flatMap((place) => [...data.curves[place].low, ...data.curves[place].median, ...data.curves[place].high]));
    const plain = by("log").checked && ends.length ? logTicks(least(ends), greatest(ends)) : {};
    plot("curves", traces, { margin: { l: 55, r: 15, t: 32, b: 44 }, xaxis: across, yaxis: lossAxis(plain) }, true);
  });

  if (!by("curves")) charts.delete("curves");

  charts.set("budget", () => {
    const drawn = shown().filter((place) => data.budget[place]);
    const ticks = [...new Set(drawn.flatMap((place) => data.budget[place].points))];
    const traces = !by("budget-band").checked ? [] : drawn.flatMap((place) => band(data.budget[place].points, data.budget[place].low, data.budget[place].high, place));
    for (const place of drawn) {
      traces.push({
        mode: "lines+markers", name: nameOf(place), x: data.budget[place].points, y: data.budget[place].expected, line: stroke(place), marker: mark(place),
        hovertemplate: "%{fullData.name}<br>best of %{x} points: %{y:.4g}<extra></extra>",
      });
    }
    plot("budget", traces, {
      margin: { l: 55, r: 15, t: 32, b: 44 }, xaxis: { type: "log", tickvals: ticks, ticktext: ticks.map(String), title: { text: "points tried per tuning" } },
      yaxis: lossAxis({ title: { text: "validation loss of fresh runs" } }),
    }, true);
  });
  if (!by("budget")) charts.delete("budget");

  const inSensitivity = (place) => state.shown.has(place) && Boolean(data.sensitivity[state.hyperparameter].marks[place]);
  function sensitivityAxes(tried) {
    const marks = tried.marks.filter(Boolean).flat(), inverted = tried.scale === "complement";
    const values = marks.map((m) => (inverted ? 1 - m[0] : m[0]));
    const low = tried.bottom, log = by("log").checked;
    const place = log ? Math.log10 : (v) => v, back = log ? (v) => 10 ** v : (v) => v;
    const high = Math.max(place(tried.top), place(low) + 1e-9), gap = (high - place(low)) * 0.09 || 0.1;
    const straight = tried.scale === "linear", ends = [least(values), greatest(values)].map(straight ? (v) => v : Math.log10);
    const margin = (ends[1] - ends[0]) * 0.06 || 0.3, range = [ends[0] - margin, ends[1] + margin];
    const decades = ends[1] - ends[0];
    const span = straight ? {} : { type: "log", exponentformat: "power", tickangle: 0, ...(decades > 1.5 ? { dtick: decades > 4.5 ? 2 : 1 } : {}) };
    const name = escaped(shortened(state.hyperparameter));
    return {
      value: (m) => (inverted ? 1 - m[0] : m[0]),
      above: back(high + gap),
      xaxis: { ...span, range: inverted ? range.reverse() : range, title: { text: inverted ? `1 − ${name}` : name, font: { size: 12 }, standoff: 4 } },
      yaxis: lossAxis({ range: [place(low) - gap, high + 2 * gap], title: { text: "" } }),
    };
  }
  function drawSensitivity(place) {
    const tried = data.sensitivity[state.hyperparameter];
    const axes = sensitivityAxes(tried), id = `sensitivity-${place}`, marks = tried.marks[place];
    by(id).parentElement.querySelector(".note").textContent = tried.notes[place];
    const over = (m) => m[1] === null || m[1] > tried.top;
    const under = (m) => !over(m) && m[1] < tried.bottom;
    const height = (m) => (over(m) ? axes.above : Math.max(m[1], tried.bottom));
    const says = (m) => `${m[1] === null ? "diverged" : Number(m[1].toPrecision(4))}, seed ${m[2]}${m[3] ? ", chosen" : ""}`;
    const shapeOf = (m) => (over(m) ? "triangle-up" : under(m) ? "triangle-down" : data.optimizers[place].symbol);
    const symbol = (m) => (m[1] === null ? "x" : m[3] ? shapeOf(m) : `${shapeOf(m)}-open`);
    const traces = [{
      mode: "markers", x: marks.map(axes.value), y: marks.map(height), customdata: marks.map((m) => [m[0], says(m)]),
      marker: mark(place, { symbol: marks.map(symbol), size: marks.map((m) => (over(m) ? 9 : full(place) - 1)), line: { width: marks.map((m) => (m[3] && !over(m) ? 0.7 : 1)), color: marks.map((m) => (m[3] && !over(m) ? theme().paper : colour(data.optimizers[place]))) } }),
      hovertemplate: "%{customdata[0]:.4g}: %{customdata[1]}<extra></extra>",
    }];
    plot(id, traces, { margin: { l: 45, r: 8, t: 6, b: 38 }, xaxis: axes.xaxis, yaxis: axes.yaxis });
  }
  if (state.hyperparameter !== undefined) {
    for (const place of everyone) charts.set(`sensitivity-${place}`, () => { if (inSensitivity(place)) drawSensitivity(place); });
  }
