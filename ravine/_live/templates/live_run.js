  // The page of a training
  drawers.set("loss", ["loss"]);
  drawers.set("hypers", ["rate"]);
  drawers.set("norms", ["norms"]);
  drawers.set("watch", ["watch"]);
  const VALID = { colour: "#b35900", dash: "solid" };

  painters.set("diagnosis", (diagnosis) => {
    by("diagnosis").hidden = !diagnosis;
    by("finding").hidden = !diagnosis;
    if (!diagnosis) return;
    const [first] = diagnosis.symptoms;
    by("finding").classList.toggle("wrong", Boolean(first));
    text("finding-sign", first ? "⚠" : "✓");
    by("finding-sign").className = `sign ${first ? "bad" : "good"}`;
    text("finding-title", first ? `${first[0]}.` : `${diagnosis.headline}.`);
    by("finding-title").className = first ? "bad" : "";
    text("finding-text", first ? first[1] : "");
    text("headline", `${diagnosis.headline}.`);
    by("symptoms").replaceChildren(...diagnosis.symptoms.map(([title, evidence, advice]) => {
      const item = made("li"), tried = made("span");
      tried.append(made("strong", "Try: "), advice);
      item.append(made("b", title), made("br"), evidence, made("br"), tried);
      return item;
    }));
    text("examined", diagnosis.examined);
    const news = first ? first[0] : "";
    if (by("finding").dataset.said !== news) {
      by("finding").dataset.said = news;
      if (news) text("spoken", `${news}. ${first[1]}`);
    }
  });
  painters.set("epochs", (table) => {
    const box = by("epochs").parentElement, atEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - 30;
    by("no-epochs").hidden = table.rows.length > 0;
    box.hidden = !table.rows.length;
    filled("epochs", table.columns, table.rows, table.best);
    if (atEnd) box.scrollTop = box.scrollHeight;
    by("epochs-left-out").hidden = !table.left_out;
    text("epochs-left-out", `${table.left_out} earlier epochs are in the folder's metrics.jsonl.`);
  });
  painters.set("notes", (notes) => {
    by("notes-section").hidden = !notes.length;
    by("notes").replaceChildren(...notes.slice().reverse().map(([step, sentence]) => {
      const item = made("li");
      item.append(made("span", `step ${step.toLocaleString("en")}`, "when"), sentence);
      return item;
    }));
  });
  painters.set("norms", (norms) => {
    by("no-norms").hidden = Boolean(norms);
    for (const id of ["norms", "figure"]) by(id).hidden = !norms;
    by("watch-section").hidden = !norms;
  });
  painters.set("hypers", (hypers) => {
    const names = Object.keys(hypers), box = by("hyper"), before = box.value;
    box.hidden = names.length < 2;
    if (names.join() !== Array.from(box.options, (one) => one.value).join()) {
      box.replaceChildren(...names.map((name) => new Option(name, name)));
      if (names.includes(before)) box.value = before;
    }
    text("rate-head", (box.value || "lr") === "lr" ? "Learning rate" : box.value);
  });

  let decided = false;
  const stepAxis = (more) => ({ title: { text: "step" }, rangemode: "tozero", tickformat: ",d", ...more });
  charts.set("loss", () => {
    const { x, low, high, mean, valid } = data.loss, known = finite([...mean, ...low]);
    if (!decided && known.length > 20) {  // a loss that falls by powers of ten is seen on a logarithmic axis
      decided = true;
      by("log").checked = least(known) > 0 && greatest(known) / least(known) > 30;
    }
    const positive = !known.some((loss) => loss <= 0);
    by("log").disabled = !positive;
    if (!positive) by("log").checked = false;
    const line = stroke(0, { width: 2 });
    const traces = [
      ...band(x, low, high, 0, "33"),
      { mode: x.length > 1 ? "lines" : "markers", name: "training", x, y: mean, line, marker: { color: line.color }, hovertemplate: "step %{x:,}: %{y:.4g}<extra>training</extra>" },
      { mode: "lines+markers", name: "validation", x: valid.map((v) => v[0]), y: valid.map((v) => v[1]), line: { color: colour(VALID), width: 1.5 }, marker: { color: colour(VALID), size: 7, maxdisplayed: 60 }, hovertemplate: "step %{x:,}: %{y:.4g}<extra>validation</extra>" },
    ];
    const shapes = data.loss.lost === null ? [] : [{ type: "line", x0: data.loss.lost, x1: data.loss.lost, yref: "paper", y0: 0, y1: 1, line: { color: tone("bad"), width: 1.5, dash: "dot" } }];
    const annotations = data.loss.lost === null ? [] : [{ x: data.loss.lost, y: 1, yref: "paper", yanchor: "top", xanchor: data.loss.lost > x[x.length - 1] / 2 ? "right" : "left", showarrow: false, text: " not finite from here ", font: { color: tone("bad") } }];
    plot("loss", traces, { margin: { l: 55, r: 15, t: 12, b: 44 }, xaxis: stepAxis(), yaxis: lossAxis({ title: { text: "loss" }, ...lossRange(low, high, mean, valid) }), shapes, annotations });
    by("loss-legend").replaceChildren(...[["training (mean of a fiftieth of the run; pale: least to greatest)", data.optimizers[0]], ...(valid.length ? [["validation", VALID]] : [])].map(([name, style]) => {
      const item = made("li"), svg = sample(style);
      svg.setAttribute("class", "key");
      item.append(svg, name);
      return item;
    }));
  });
  // Outliers do not stretch the picture: what is far above the first mean leaves it at the top
  function lossRange(low, high, mean, valid) {
    const kept = finite([...mean, ...valid.map((v) => v[1])]), tops = finite(high);
    if (!kept.length) return {};
    const top = Math.min(greatest(tops), greatest(kept) * (greatest(kept) > 0 ? 1.5 : 0.5)), bottom = Math.min(least(finite(low)), least(kept));
    if (by("log").checked) {
      const ends = [Math.max(bottom, top * 1e-8), top];
      return { range: [Math.log10(ends[0]) - 0.05, Math.log10(ends[1]) + 0.05], ...logTicks(...ends) };
    }
    const room = (top - bottom) * 0.04 || 0.1;
    return { range: [bottom >= 0 ? Math.max(0, bottom - room) : bottom - room, top + room] };
  }

  charts.set("rate", () => {
    const name = by("hyper").value || "lr", shownNames = name.startsWith("lr") ? Object.keys(data.hypers).filter((one) => one.split("/")[0] === "lr") : [name];
    const drawn = shownNames.filter((one) => data.hypers[one]);
    const traces = drawn.map((one, place) => ({
      mode: "lines", name: one, x: data.hypers[one].x, y: data.hypers[one].y, line: { ...stroke(0), shape: "hv", dash: ["solid", "dash", "dot", "dashdot"][place % 4] },
      hovertemplate: `step %{x:,}: %{y:.4g}<extra>${escaped(one)}</extra>`,
    }));
    const values = finite(drawn.flatMap((one) => data.hypers[one].y)).filter((v) => v > 0);
    const wide = values.length && greatest(values) / least(values) > 100;
    plot("rate", traces, { margin: { l: 62, r: 15, t: 12, b: 44 }, xaxis: stepAxis(), yaxis: wide ? { type: "log", automargin: true, ...logTicks(least(values), greatest(values)) } : { rangemode: "tozero", exponentformat: "power", automargin: true } });
  });

  charts.set("norms", () => {
    if (!data.norms) return;
    const { names, edges, maps, bad } = data.norms, chosen = by("figure").value, { z, limits } = maps[chosen];
    const short = names.map((name) => shortened(name)), narrow = by("norms").clientWidth < 420;
    by("norms").style.height = `${Math.max(12, names.length * 1.05 + 6)}rem`;
    const powers = Array.from({ length: Math.floor(limits[1]) - Math.ceil(limits[0]) + 1 }, (_, i) => Math.ceil(limits[0]) + i);
    const every = Math.ceil(powers.length / 6), ticks = powers.length > 1 ? powers.filter((_, i) => i % every === 0) : [limits[0], limits[1]];
    const said = (v) => (Number.isInteger(v) && Math.abs(v) > 2 ? `10<sup>${v}</sup>` : `${Number((10 ** v).toPrecision(2))}`);
    const traces = [{
      type: "heatmap", x: edges, y: names.map((_, i) => i), z, zmin: limits[0], zmax: limits[1], colorscale: "Viridis", hoverongaps: false,
      customdata: z.map((row) => row.map((v) => (v === null ? "" : Number((10 ** v).toPrecision(3))))),
      hovertemplate: "%{text}<br>step %{x:,d}: %{customdata}<extra></extra>", text: z.map((row, i) => row.map(() => escaped(names[i]))),
      colorbar: { thickness: 10, outlinewidth: 0, tickvals: ticks, ticktext: ticks.map(said), tickfont: { color: theme().ink }, len: 1, ypad: 0 },
    }];
    if (bad.length) {
      const red = names.map(() => edges.slice(1).map(() => null));
      for (const [row, column] of bad) red[row][column] = 1;
      traces.push({ type: "heatmap", x: edges, y: names.map((_, i) => i), z: red, showscale: false, hoverongaps: false, colorscale: [[0, tone("bad")], [1, tone("bad")]], hovertemplate: "gradient not finite<extra></extra>" });
    }
    plot("norms", traces, {
      margin: { l: 10, r: 10, t: 12, b: 44 }, xaxis: stepAxis({ rangemode: "normal", showgrid: false, range: [edges[0], edges[edges.length - 1]] }),
      yaxis: { range: [names.length - 0.5, -0.5], tickvals: names.map((_, i) => i), ticktext: short.map((name) => escaped(narrow && name.length > 16 ? `${name.slice(0, 7)}…${name.slice(-8)}` : name)), automargin: true, showgrid: false, fixedrange: true, tickfont: { size: 11 } },
    });
  });
  by("figure").addEventListener("change", () => refresh(["norms"]));
  by("hyper").addEventListener("change", () => { painters.get("hypers")(data.hypers); refresh(["rate"]); });
  const drawWatch = charts.get("watch");
  charts.set("watch", () => { if (data.watch) drawWatch(); });
