  // The value against the step, and in each card how its states went.
  function drawLosses() {
    const { pen, width, height } = prepared(by("losses")), box = { left: 52, right: 10, top: 8, bottom: 20 };
    const shown = visible(), end = Math.max(DRAWN * state.highest, 2 ** -52 * Math.abs(state.lowest));
    // what is lower leaves the chart at the bottom: one path that lands exactly would press all others together
    const logs = (one) => one.path.values.map((value) => Math.log10(Math.max(excess(value), 1e-6 * end)));
    const lines = shown.map(logs), all = lines.flat().filter(Number.isFinite);
    if (!all.length) return;
    const lowest = all.reduce((a, b) => Math.min(a, b)), cut = lowest < Math.log10(end);
    let low = Math.max(lowest, Math.log10(end)), high = all.reduce((a, b) => Math.max(a, b));
    high = Math.min(high, Math.log10(state.highest) + 3); // what diverges would press all others together
    if (high - low < 0.5) { low -= 0.25; high += 0.25; }
    const x = (step) => box.left + (step / state.steps) * (width - box.left - box.right);
    const y = (log) => box.top + ((high - log) / (high - low)) * (height - box.top - box.bottom);
    Object.assign(pen, { strokeStyle: tone("edge"), fillStyle: tone("soft"), lineWidth: 1, textAlign: "right", textBaseline: "middle" });
    const every = Math.max(1, Math.ceil((high - low) / 4));
    for (let power = Math.ceil(low); power <= high; power++) {
      if (power % every) continue;
      pen.globalAlpha = 0.6;
      polyline(pen, [box.left, width - box.right], [y(power), y(power)], 2);
      pen.globalAlpha = 1;
      pen.fillText(power >= -3 && power <= 3 ? String(Number(`1e${power}`)) : `1e${power}`.replace("-", "−"), box.left - 6, y(power));
    }
    Object.assign(pen, { textAlign: "center", textBaseline: "top" });
    for (const step of ticks(0, state.steps, 6)) pen.fillText(String(step), Math.min(x(step), width - box.right - 10), height - box.bottom + 5);
    pen.save();
    pen.beginPath();
    pen.rect(box.left, 0, width - box.left - box.right + 8, height - box.bottom + 4);
    pen.clip();
    shown.map((one, i) => [one, lines[i]]).reverse().forEach(([one, values]) => {
      const xs = values.map((_, step) => x(step)), ys = values.map(y);
      Object.assign(pen, { strokeStyle: tint(one), lineWidth: 2, globalAlpha: 0.28 });
      pen.setLineDash(DASHES[styleOf(one).dash]);
      polyline(pen, xs, ys, values.length); // the whole faintly, so that the scale stays and the end is known
      pen.globalAlpha = 1;
      polyline(pen, xs, ys, at(one) + 1);
    });
    shown.map((one, i) => [one, lines[i]]).reverse().forEach(([one, values]) => {
      mark(pen, MARKS[one.style], x(at(one)), Math.min(y(values[at(one)]), y(low)), 4.5, tint(one), theme().paper);
    });
    pen.restore();
    by("losses-text").textContent = `f${above() ? `, ${above().trim()},` : ""} against step, on a logarithmic scale${cut ? `; values below ${brief(end)} are not drawn` : ""}`;
  }

  // Small charts: a state has a line for x and a thinner one for y; on a logarithmic scale where it spans decades above 0
  function drawState(canvas, lines, one) {
    const { pen, width, height } = prepared(canvas);
    if (!width) return;
    const numbers = lines.flat().filter(Number.isFinite);
    const positive = numbers.filter((value) => value > 0), least = Math.min(...positive), most = Math.max(...positive);
    const log = positive.length > 0 && numbers.every((value) => value >= 0) && most / least > 100;
    const scaled = (value) => (log ? Math.log10(Math.max(value, least)) : value);
    let low = Math.min(...numbers.map(scaled)), high = Math.max(...numbers.map(scaled));
    if (!log) { low = Math.min(low, 0); high = Math.max(high, 0); }
    if (!(high > low)) { low -= 1; high += 1; }
    const x = (step) => 1 + (step / state.steps) * (width - 6), y = (value) => 3 + ((high - scaled(value)) / (high - low)) * (height - 6);
    pen.strokeStyle = tone("edge");
    pen.lineWidth = 1;
    if (!log) polyline(pen, [0, width], [y(0), y(0)], 2);
    lines.forEach((values, i) => {
      Object.assign(pen, { strokeStyle: tint(one), lineWidth: i ? 1.1 : 2 });
      const xs = values.map((_, step) => x(step)), ys = values.map(y);
      pen.globalAlpha = 0.25;
      polyline(pen, xs, ys, values.length);
      pen.globalAlpha = 1;
      polyline(pen, xs, ys, at(one) + 1);
      mark(pen, "circle", x(at(one)), y(values[at(one)]), i ? 2 : 3, tint(one), theme().paper);
    });
  }
