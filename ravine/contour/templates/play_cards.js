  // A card for each optimizer: its value, a slider for each hyperparameter, its states, its formula.
  const POSITIONS = 400;
  const INNER = {
    log: [Math.log10, (inner) => Number((10 ** inner).toPrecision(3))],
    complement: [(value) => -Math.log10(1 - value), (inner) => Number((1 - Number((10 ** -inner).toPrecision(2))).toPrecision(12))],
    linear: [(value) => value, (inner) => Number(inner.toPrecision(3))],
  };
  function position({ low, high, scale }, value) {
    const [inner] = INNER[scale];
    return Math.round(((inner(value) - inner(low)) / (inner(high) - inner(low))) * POSITIONS);
  }
  function valueAt({ low, high, scale, whole }, place) {
    const [inner, back] = INNER[scale];
    const value = place <= 0 ? low : place >= POSITIONS ? high : back(inner(low) + (place / POSITIONS) * (inner(high) - inner(low)));
    return whole ? Math.round(value) : value;
  }
  const shownValue = (value) => (Number.isFinite(value) ? String(Number(value.toPrecision(6))).replace(/^-|(?<=e)-/g, "−") : brief(value));
  function element(kind, options, ...inside) {
    const made = Object.assign(document.createElement(kind), options);
    made.append(...inside);
    return made;
  }

  function makeCards() {
    by("optimizers").replaceChildren(...state.shown.map(makeCard));
    by("add").replaceChildren(element("option", { value: "", textContent: "Add an optimizer …" }), ...data.players.flatMap((player, i) => (
      state.shown.some((one) => one.player === player) ? [] : [element("option", { value: i, textContent: player.label })])));
    by("add").disabled = freeStyle() < 0;
  }
  function makeCard(one, index) {
    const box = element("input", { type: "checkbox", checked: !one.hidden });
    box.addEventListener("change", () => { one.hidden = !box.checked; card.classList.toggle("hidden", one.hidden); drawAll(); });
    const remove = element("button", { type: "button", className: "remove", textContent: "×" });
    remove.setAttribute("aria-label", `Remove ${one.player.label}`);
    remove.addEventListener("click", () => { state.shown.splice(index, 1); judge(); makeCards(); drawAll(); by("add").focus(); });
    one.output = element("output", { className: "number" });
    const head = element("header", {}, element("h3", {}, element("label", {}, box, legendLine(one), one.player.label)), one.output, remove);
    const body = element("div", { className: "body" }, makeSliders(one, index), makeStates(one), makeFormula(one));
    const card = element("article", { className: `card${one.hidden ? " hidden" : ""}` }, head, body);
    return card;
  }
  function makeSliders(one, index) {
    const rows = element("div", { className: "hypers" });
    // the learning rate first, whatever the formula reads first
    const order = one.player.hypers.map((_, i) => i).sort((a, b) => (b === one.player.rate) - (a === one.player.rate));
    one.sliders = [];
    for (const i of order) {
      const hyper = one.player.hypers[i], id = `hyper-${index}-${i}`;
      const label = element("label", { htmlFor: id }, hyper.name.replace(/\[(\d)\]/, (_, n) => `[${n}]`));
      if (hyper.symbol !== hyper.name) label.append(element("span", { className: "symbol", textContent: hyper.symbol }));
      const output = element("output", { htmlFor: id });
      const slider = element("input", { type: "range", id, min: 0, max: POSITIONS, step: 1, disabled: !hyper.scale });
      if (!hyper.scale) slider.style.visibility = "hidden";
      slider.addEventListener("input", () => { change(one, i, valueAt(hyper, Number(slider.value))); });
      one.sliders.push({ i, hyper, slider, output });
      rows.append(i === one.player.rate ? element("span", { className: "tune" }, label, makeTune(one)) : label, slider, output);
    }
    if (!order.length) rows.append(element("span", { textContent: "no hyperparameters" }));
    return rows;
  }
  function makeTune(one) {
    one.tune = element("button", { type: "button", textContent: "tuned", title: "The best of the rates below; press to set it again" });
    one.tune.setAttribute("aria-label", `${one.player.label}: use the best learning rate`);
    one.tune.addEventListener("click", () => { one.tuned = !one.tuned; retuneSoon.now(); });
    return one.tune;
  }
  function makeStates(one) {
    const box = element("div", { className: "states" });
    one.charts = [];
    const chart = (name, lines) => {
      const canvas = element("canvas", {}), output = element("span", { className: "number" });
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${name} of ${one.player.label} against the step`);
      box.append(element("div", {}, element("span", {}, element("span", { textContent: name }), output), canvas));
      one.charts.push({ canvas, output, lines });
    };
    one.player.states.forEach(({ name }, i) => chart(name, () => one.path.states[i]));
    one.player.kept.forEach(({ name }, i) => chart(name, () => [one.path.kept[i]]));
    if (!one.charts.length) return element("p", { textContent: "It keeps no state." });
    return box;
  }
  function makeFormula(one) {
    const formula = element("div", { className: "formula", tabIndex: 0, innerHTML: one.player.mathml });
    formula.setAttribute("role", "group");
    formula.setAttribute("aria-label", `Formula of ${one.player.label}`);
    const details = element("details", { open: Boolean(one.opened) }, element("summary", { textContent: "Formula" }), formula);
    details.addEventListener("toggle", () => { one.opened = details.open; });
    if (one.player.note) details.append(element("p", { textContent: one.player.note }));
    if (one.player.source) details.append(element("p", { textContent: one.player.source }));
    return details;
  }
  // What moves with the step and the settings
  function drawCards() {
    for (const one of state.shown) {
      one.output.textContent = one.hidden ? "" : over(one) ? `diverged at ${one.path.ended}` : brief(excessNow(one));
      for (const { i, hyper, slider, output } of one.sliders) {
        if (hyper.scale) slider.value = position(hyper, one.values[i]);
        slider.setAttribute("aria-valuetext", shownValue(one.values[i]));
        output.textContent = shownValue(one.values[i]);
      }
      if (one.tune) one.tune.setAttribute("aria-pressed", String(one.tuned));
      if (one.hidden) continue;
      for (const { canvas, output, lines } of one.charts) {
        const values = lines();
        output.textContent = values.map((line) => brief(line[at(one)])).join(", ");
        drawState(canvas, values, one);
      }
    }
  }
