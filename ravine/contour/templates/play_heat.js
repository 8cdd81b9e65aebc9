  // Heat maps: the final value of every rate from every start, on one scale of colours for all.
  // Viridis: even steps look even, also without colour
  const RAMP = ["#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"];
  function ramp(share) {
    const place = Math.min(Math.max(share, 0), 1) * (RAMP.length - 1), i = Math.min(Math.floor(place), RAMP.length - 2);
    const [a, b] = [rgb(RAMP[i]), rgb(RAMP[i + 1])];
    return `rgb(${a.map((part, j) => Math.round(part + (b[j] - part) * (place - i))).join(" ")})`;
  }
  const CELL = { width: 22, height: 17, left: 28, top: 4 };

  function drawHeat() {
    const tuned = visible().filter((one) => one.finals);
    const high = Math.log10(state.highest), usual = tuned.flatMap((one) => one.finals.flat()).filter(Number.isFinite).map((v) => Math.log10(Math.max(excess(v), FLOOR * state.highest)));
    const low = Math.min(high - 1, ...usual);
    by("heat").replaceChildren(...tuned.map((one) => {
      const box = document.createElement("div"), head = document.createElement("h3");
      const end = one.best === 0 ? ", the lowest tried" : one.best === data.rates.length - 1 ? ", the highest tried" : "";
      head.textContent = `${one.player.label}: best rate ${data.rates[one.best]}${end}`;
      box.append(head, heatMap(one, low, high));
      return box;
    }));
    by("low").textContent = `${brief(10 ** low)} or less`;
    by("high").textContent = brief(state.highest);
    by("colours").style.background = `linear-gradient(to right, ${RAMP.join(", ")})`;
    by("heat-text").textContent = tuned.length
      ? `f${above()} after ${state.steps} steps, for ${data.rates.length} learning rates and ${state.starts.length} starts${state.share ? ", with the noise set above" : ""}. ▲ ended above the highest start, × diverged. The solid frame marks the best rate, the dashed frame the one above. Click a cell to see its path.`
      : "No optimizer here has a learning rate.";
    drawFinals(tuned);
  }
  function heatMap(one, low, high) {
    const rows = state.starts.length, columns = data.rates.length;
    const width = CELL.left + columns * CELL.width + 4, height = CELL.top + rows * CELL.height + 26;
    const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Final values of ${one.player.label} over learning rates and starts; the numbers are in the table below` });
    const write = (text, x, y, more) => { const made = shape("text", { x, y, ...more }); made.textContent = text; svg.append(made); };
    one.finals.forEach((row, rate) => row.forEach((value, start) => {
      const x = CELL.left + rate * CELL.width, y = CELL.top + start * CELL.height, log = Math.log10(Math.max(excess(value), 1e-300));
      const wrong = !Number.isFinite(value) ? "×" : log > high + 1e-9 ? "▲" : "";
      const cell = shape("rect", { class: "cell", x: x + 0.5, y: y + 0.5, width: CELL.width - 1, height: CELL.height - 1, fill: wrong ? tone("panel") : ramp((log - low) / (high - low)) });
      const title = shape("title", {});
      title.textContent = `rate ${data.rates[rate]}, start ${start + 1}: ${Number.isFinite(value) ? brief(excess(value)) : "diverged"}`;
      cell.append(title);
      cell.addEventListener("click", () => choose(one, rate, start));
      svg.append(cell);
      if (wrong) write(wrong, x + CELL.width / 2, y + 12, { class: "mark", "text-anchor": "middle", "pointer-events": "none" });
    }));
    state.starts.forEach((_, start) => write(start + 1, CELL.left - 5, CELL.top + start * CELL.height + 12, { "text-anchor": "end" }));
    const middle = CELL.top + (rows * CELL.height) / 2;
    write("start", 9, middle, { "text-anchor": "middle", transform: `rotate(-90 9 ${middle})` });
    for (const rate of [0, 3, 6, 9, 12].filter((i) => i < columns)) write(Number(data.rates[rate].toPrecision(2)), CELL.left + (rate + 0.5) * CELL.width, CELL.top + rows * CELL.height + 11, { "text-anchor": "middle" });
    write("learning rate", CELL.left + (columns * CELL.width) / 2, height - 3, { "text-anchor": "middle" });
    const frame = (rate, dash) => {
      const size = { x: CELL.left + rate * CELL.width, y: CELL.top, width: CELL.width, height: rows * CELL.height, fill: "none", "pointer-events": "none" };
      svg.append(shape("rect", { ...size, stroke: tone("paper"), "stroke-width": 4.5 }), shape("rect", { ...size, stroke: tone("ink"), "stroke-width": 2, "stroke-dasharray": dash }));
    };
    frame(one.best, "none");
    const now = data.rates.indexOf(one.values[one.player.rate]);
    if (now >= 0 && now !== one.best) frame(now, "4 3");
    return svg;
  }
  function drawFinals(tuned) {
    const table = by("finals"), cell = (kind, text, scope) => { const made = document.createElement(kind); made.textContent = text; if (scope) made.scope = scope; return made; };
    const head = document.createElement("tr");
    head.append(cell("th", "optimizer", "col"), cell("th", "start", "col"), ...data.rates.map((rate) => cell("th", rate, "col")));
    const rows = tuned.flatMap((one) => state.starts.map(([x, y], start) => {
      const row = document.createElement("tr");
      row.append(cell("th", one.player.label, "row"), cell("td", `(${brief(x)}, ${brief(y)})`));
      one.finals.forEach((values, rate) => {
        const made = cell("td", Number.isFinite(values[start]) ? brief(excess(values[start])) : "diverged");
        if (rate === one.best) made.className = "best";
        row.append(made);
      });
      return row;
    }));
    const thead = document.createElement("thead"), tbody = document.createElement("tbody");
    thead.append(head);
    tbody.append(...rows);
    table.replaceChildren(thead, tbody);
  }
