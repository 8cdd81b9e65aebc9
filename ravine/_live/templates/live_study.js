  // The page of a study
  drawers.set("trials", ["trials"]);
  drawers.set("differences", ["differences"]);
  drawers.set("curves", ["curves"]);
  const placeOf = (label) => data.optimizers.findIndex((one) => one.label === label);
  const named = (id, column) => {
    for (const row of by(id).tBodies[0]?.rows ?? []) {
      const cell = row.cells[column], place = placeOf(cell.textContent);
      if (place >= 0) cell.prepend(key(place));
    }
  };

  painters.set("optimizers", (optimizers) => {
    // all else was made for these: a study that has begun meanwhile, or another task
    if (optimizers.map((one) => one.label).join("\n") !== everyone.map((place) => before[place]).join("\n")) location.reload();
    legends();
  });
  const before = data.optimizers.map((one) => one.label);
  painters.set("best", (best) => { filled("best", best.columns, best.rows, -1, [2]); named("best", 0); });
  painters.set("latest", (latest) => {
    filled("latest", latest.columns, latest.rows, -1, [1, 2, 4]);
    named("latest", 1);
    text("running", latest.running_text);
    const box = by("stoppable");
    if (box && latest.running.join() !== Array.from(box.options, (one) => one.value).join()) {
      const chosen = box.value;
      box.replaceChildren(...latest.running.map((number) => new Option(String(number + 1), String(number))));
      if (latest.running.includes(Number(chosen))) box.value = chosen;
    }
  });
  painters.set("report", (there) => { by("report").hidden = !there; });
  painters.set("warnings", (warnings) => {
    by("warnings-section").hidden = !warnings.length;
    by("warnings").replaceChildren(...warnings.map(([kind, sentence]) => { const item = made("li"); item.append(made("strong", `${kind}: `), sentence); return item; }));
  });
  painters.set("differences", (differences) => {
    const names = Object.keys(differences ?? {});
    by("no-differences").hidden = names.length > 0;
    by("differences").hidden = !names.length;
    const box = by("metric");
    box.hidden = names.length < 2;
    if (names.join() !== Array.from(box.options, (one) => one.value).join()) box.replaceChildren(...names.map((name) => new Option(name, name)));
    state.metric = box.value || names[0];
  });
  painters.set("verdicts", (verdicts) => {
    const chosen = verdicts?.[state.metric] ?? Object.values(verdicts ?? {})[0];
    by("verdicts-section").hidden = !chosen;
    if (!chosen) return;
    filled("verdicts", chosen.columns, chosen.rows, -1, [1]);
    named("verdicts", 0);
  });
  painters.set("curves", (curves) => { by("curves-section").hidden = !(curves ?? []).some(Boolean); });
  painters.set("seconds", (seconds) => { by("by-second").disabled = !finite(seconds ?? []).length; });

  charts.set("trials", () => {
    const drawn = everyone.filter((place) => data.trials?.[place]?.x.length), known = finite(drawn.flatMap((place) => data.trials[place].y));
    const positive = !known.some((loss) => loss <= 0), log = by("log").checked && positive;
    by("log").disabled = !positive;
    // what diverged, and what is far above all that is of use, stands at the top
    const sorted = [...known].sort((a, b) => a - b), low = sorted[0] ?? 1, high = Math.max(sorted[Math.floor(sorted.length * 0.95)] ?? 1, low);
    const up = 0.08 * (Math.log10(high) - Math.log10(low)), top = log ? Math.min(high * 10 ** up, Number.MAX_VALUE) : high + (high - low) * 0.08, height = (loss) => (loss === null || loss > top ? top : loss);
    const traces = [];
    for (const place of drawn) {
      const { x, y, fresh, text: words } = data.trials[place], symbol = data.optimizers[place].symbol;
      let lowest = Infinity;
      const best = y.map((loss) => { lowest = Math.min(lowest, loss ?? Infinity); return Number.isFinite(lowest) ? height(lowest) : null; });
      traces.push({ mode: "lines", x, y: best, line: { ...stroke(place, { width: 1.2 }), shape: "hv" }, hoverinfo: "skip" });
      traces.push({
        mode: "markers", name: nameOf(place), x, y: y.map(height), text: words.map((one, i) => `${escaped(one)}: ${y[i] === null ? "diverged" : Number(y[i].toPrecision(4))}`), hovertemplate: "%{fullData.name}<br>%{text}<extra></extra>",
        marker: mark(place, { size: 6, symbol: y.map((loss, i) => (loss === null ? "x" : fresh[i] ? symbol : `${symbol}-open`)), line: { width: 1, color: colour(data.optimizers[place]) } }),
      });
    }
    const ends = log ? [Math.log10(low) - 0.05, Math.log10(top) + 0.05] : [low - (top - low) * 0.05, top + (top - low) * 0.05];
    plot("trials", traces, { margin: { l: 55, r: 15, t: 12, b: 44 }, xaxis: { title: { text: "trial, in the order in which they ended" }, rangemode: "tozero" }, yaxis: { ...lossAxis(), type: log ? "log" : "linear", range: known.length ? ends : undefined, ...(log && known.length ? logTicks(low, top) : {}) } });
  });
  for (const id of ["differences", "curves"]) {
    const draw = charts.get(id);
    if (draw) charts.set(id, () => { if (data[id] && (id !== "differences" || data.differences[state.metric])) draw(); });
  }
  by("metric").addEventListener("change", () => { state.metric = by("metric").value; painters.get("verdicts")(data.verdicts); refresh(["differences"]); });
  for (const id of ["by-step", "by-second", "band"]) by(id).addEventListener("change", () => refresh(["curves"]));
