  // What is shown, and how it is computed anew: everything follows from the settings, so any step can be gone to.
  const STARTS = 5;
  data.surfaces.forEach((one) => { one.function = compiled(one.text); });
  data.players.forEach((player, i) => ready(player, PRINTED[i]));
  const state = { surface: data.surfaces[0], view: null, start: null, steps: 300, step: 300, playing: null, share: 0, seed: 0, shown: [] };

  const brief = (value) => {
    if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : "−∞";
    const text = value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e4) ? Number(value.toPrecision(3)).toExponential() : String(Number(value.toPrecision(3)));
    return text.replaceAll("-", "−").replace("e+", "e");
  };
  const noiseNow = () => ({ share: state.share, normals: normals(state.seed, 2 * state.steps) });
  const visible = () => state.shown.filter((one) => !one.hidden);

  function show(player, style) {
    const one = { player, style, values: player.hypers.map(({ value }) => value), tuned: player.rate >= 0, hidden: false, path: null, finals: null, best: 0 };
    state.shown.push(one);
    return one;
  }
  // The first style that nobody has
  function freeStyle() {
    const used = state.shown.map((one) => one.style);
    return data.palette.findIndex((_, i) => !used.includes(i));
  }
  const styleOf = (one) => data.palette[one.style];
  const tint = (one) => colour(styleOf(one));

  function tune(one, noise = noiseNow()) {
    if (one.player.rate < 0) return;
    one.finals = finalsOf(one.player, one.values, state.surface, data.rates, state.starts, state.steps, noise);
  }
  // What the values are shown above, and the rates that are best by it
  function judge() {
    const tuned = state.shown.filter((one) => one.finals);
    const seen = [...tuned.flatMap((one) => one.finals.flat()), state.seenOnMap].filter(Number.isFinite);
    const first = state.starts.map(([x, y]) => state.surface.function.value(x, y));
    state.lowest = lowestOf(state.surface, Math.max(...first), Math.min(...seen, ...first));
    state.highest = Math.max(Math.max(...first) - state.lowest, 0) || 1;
    for (const one of tuned) {
      one.best = bestOf(one.finals, state.lowest, FLOOR * state.highest);
      if (one.tuned) one.values[one.player.rate] = data.rates[one.best];
    }
  }
  function walk(one, noise = noiseNow()) {
    one.path = follow(one.player, one.values, state.surface, state.start, state.steps, noise, true);
  }
  function walkAll() {
    const noise = noiseNow();
    for (const one of state.shown) walk(one, noise);
  }
  function tuneAll() {
    const noise = noiseNow();
    for (const one of state.shown) tune(one, noise);
    judge();
  }

  // Another function: its own start and part, rates tuned anew. One without a start that can be used is refused.
  function setSurface(surface) {
    const starts = startsOf(surface, data.places, STARTS);
    if (!starts.length) throw new SyntaxError("It has no finite value and gradient in this part of the plane.");
    Object.assign(state, { surface, starts, start: [...starts[0]], view: [...surface.window], seenOnMap: lowestOn(surface) });
  }
  function lowestOn({ function: f, window: [left, right, bottom, top] }) {
    let least = Infinity;
    for (let row = 0; row <= 100; row++) {
      for (let column = 0; column <= 100; column++) {
        const value = f.value(left + ((right - left) * column) / 100, bottom + ((top - bottom) * row) / 100);
        if (value < least) least = value;
      }
    }
    return least;
  }

  const at = (one) => Math.min(state.step, one.path.values.length - 1);
  const over = (one) => Boolean(one.path.ended) && state.step >= one.path.ended;
  const excess = (value) => Math.max(value - state.lowest, 0);
  const excessNow = (one) => (over(one) ? Infinity : excess(one.path.values[at(one)]));

  // The one sentence that the page begins with
  function message() {
    const ranked = visible().filter((one) => !over(one)).sort((a, b) => excessNow(a) - excessNow(b));
    const after = state.step === 0 ? "Before the first step" : `After ${state.step} step${state.step === 1 ? "" : "s"}`;
    if (!visible().length) return "Add an optimizer to see its path";
    if (!ranked.length) return `${after} every path has diverged`;
    if (state.step === 0) return `All begin at ${brief(excessNow(ranked[0]))}${above()}`;
    const [first, second] = ranked, [best, next] = [first, second].map((one) => (one ? excessNow(one) : NaN));
    if (second && best === next) return `${after} ${first.player.label} and ${second.player.label} are equally low: ${brief(best)}${above()}`;
    if (!second) return `${after} ${first.player.label} is at ${brief(best)}${above()}`;
    return `${after} ${first.player.label} is lowest: ${brief(best)}${above()}`;
  }
  const above = () => (state.surface.minimum ? " above the minimum" : state.lowest ? " above the lowest value" : "");
  function protocol() {
    const lost = visible().filter(over).map((one) => `${one.player.label} diverged at step ${one.path.ended}`);
    const outside = visible().filter((one) => !over(one)).length;
    const tuned = visible().filter((one) => one.tuned), rest = visible().filter((one) => !one.tuned);
    const rates = `best of ${data.rates.length} learning rates from ${state.starts.length} starts, ${state.steps} steps`;
    const who = tuned.length === 0 ? "Learning rates are set by hand" : rest.length === 0 ? `Each has the ${rates}` : `${tuned.map((one) => one.player.label).join(", ")}: the ${rates}`;
    return [...lost, outside || lost.length ? who : ""].filter(Boolean).join(". ") + ". Drag the start, or click where to begin.";
  }
