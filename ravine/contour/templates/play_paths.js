  // Paths of optimizers, the rates that are tried, and the rule that chooses among them: as `ravine contour` has them.
  // Here are only functions of numbers: tests run this file by itself.
  const FARTHEST = 1e6; // a path that is so many windows away has diverged
  const FLOOR = 1e-10; // of the highest start: what ends below this share of it counts as this share
  const DRAWN = 1e-16; // of the highest start: curves are drawn down to this share of it
  const NEAR = 0.01; // of the highest start: a function that comes so near to 0 from above is taken to end there

  // Standard normal numbers from a seed, the same everywhere (mulberry32; Box and Muller)
  function normals(seed, count) {
    let state = seed >>> 0;
    const uniform = () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    };
    const made = new Float64Array(count + (count % 2));
    for (let i = 0; i < made.length; i += 2) {
      const radius = Math.sqrt(-2 * Math.log(1 - uniform())), angle = 2 * Math.PI * uniform();
      made[i] = radius * Math.cos(angle);
      made[i + 1] = radius * Math.sin(angle);
    }
    return made;
  }

  // An optimizer with its printed function; numbers that JSON does not have come as text
  function ready(player, step) {
    player.step = step;
    for (const hyper of player.hypers) hyper.value = Number(hyper.value);
    for (const one of [...player.states, ...player.kept]) if (one.initial !== null) one.initial = Number(one.initial);
  }

  // One path: its points and values, and if they are asked for the states and kept numbers at each point. `ended` is the
  // number of the step at which it diverged, or 0. Noise is added to each gradient: `share` of the length of the start's.
  function follow(optimizer, values, surface, start, steps, noise, keep) {
    const point = new Float64Array(start), grad = new Float64Array(2);
    const states = optimizer.states.map(({ initial }) => (initial === null ? new Float64Array(start) : new Float64Array(2).fill(initial)));
    const kept = new Float64Array(optimizer.kept.map(({ initial }) => initial));
    const [left, right, bottom, top] = surface.window, limit = FARTHEST * Math.max(right - left, top - bottom);
    const path = { x: [], y: [], values: [], states: states.map(() => [[], []]), kept: Array.from(kept, () => []), ended: 0 };
    let made = 0, deviation = 0;
    for (let step = 0; step <= steps; step++) {
      const value = surface.function.gradient(point[0], point[1], grad);
      if (!Number.isFinite(value) || !(Math.abs(point[0]) < limit && Math.abs(point[1]) < limit)) {
        path.ended = step || 1;
        if (step) break;
      }
      path.x.push(point[0]);
      path.y.push(point[1]);
      path.values.push(value);
      if (keep) {
        states.forEach((state, i) => { path.states[i][0].push(state[0]); path.states[i][1].push(state[1]); });
        kept.forEach((number, i) => path.kept[i].push(number));
      }
      if (step === steps || path.ended) break;
      if (!Number.isFinite(grad[0]) || !Number.isFinite(grad[1])) { path.ended = step + 1; break; }
      if (noise.share) {
        if (!step) deviation = (noise.share * Math.hypot(grad[0], grad[1])) / Math.SQRT2;
        grad[0] += deviation * noise.normals[2 * step];
        grad[1] += deviation * noise.normals[2 * step + 1];
      }
      if (optimizer.step(point, grad, states, values, kept, made + 1)) made++;
    }
    return path;
  }
  const final = (path) => (path.ended ? Infinity : path.values[path.values.length - 1]);

  // The function's own start, and others spread over its window: places from 0 to 1 both ways, in few digits
  function startsOf(surface, places, count) {
    const [left, right, bottom, top] = surface.window, slope = new Float64Array(2);
    const rounded = (number, size) => {
      const digits = 3 - Math.floor(Math.log10(size));
      return digits >= 0 ? Number(number.toFixed(Math.min(digits, 100))) : Math.round(number * 10 ** digits) / 10 ** digits;
    };
    const found = [];
    for (const [x, y] of [surface.start, ...places.map(([a, b]) => [left + (right - left) * a, bottom + (top - bottom) * b])]) {
      const value = surface.function.gradient(x, y, slope);
      if (![value, slope[0], slope[1]].every(Number.isFinite)) continue;
      found.push(found.length ? [rounded(x, right - left), rounded(y, top - bottom)] : [x, y]);
      if (found.length === count) break;
    }
    return found;
  }

  // Final values by rate and start
  function finalsOf(optimizer, values, surface, rates, starts, steps, noise) {
    return rates.map((rate) => {
      const tried = values.map((value, i) => (i === optimizer.rate ? rate : value));
      return starts.map((start) => final(follow(optimizer, tried, surface, start, steps, noise, false)));
    });
  }
  // What is taken off all values before logarithms: the value at the minimum, if that is known
  function lowestOf(surface, highest, seen) {
    if (surface.minimum) return surface.function.value(...surface.minimum);
    return seen >= 0 && seen <= NEAR * highest ? 0 : seen;
  }
  // The number of the best rate: fewest diverged, then the least geometric mean, then that of the values below the floor
  function bestOf(finals, lowest, floor) {
    const scores = finals.map((row) => {
      const ends = row.filter(Number.isFinite).map((value) => Math.max(value - lowest, 0));
      const mean = (least) => (ends.length ? ends.reduce((sum, end) => sum + Math.log10(Math.max(end, least)), 0) / ends.length : Infinity);
      return [row.length - ends.length, mean(floor), mean(1e-300)];
    });
    const less = (a, b) => { const i = a.findIndex((part, j) => part !== b[j]); return i >= 0 && a[i] < b[i]; };
    return scores.reduce((best, score, i) => (less(score, scores[best]) ? i : best), 0);
  }
