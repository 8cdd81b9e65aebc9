  // The map: contour lines at half powers of ten of the value, and on them every path up to the step.
  const MARGIN = { left: 38, right: 8, top: 8, bottom: 22 };
  let background = null; // the surface as an image, and what it is of

  const inside = (width, height) => [width - MARGIN.left - MARGIN.right, height - MARGIN.top - MARGIN.bottom];
  function scales(width, height) {
    const [left, right, bottom, top] = state.view, [across, along] = inside(width, height);
    return {
      x: (value) => MARGIN.left + ((value - left) / (right - left)) * across,
      y: (value) => MARGIN.top + ((top - value) / (top - bottom)) * along,
      backX: (pixel) => left + ((pixel - MARGIN.left) / across) * (right - left),
      backY: (pixel) => top - ((pixel - MARGIN.top) / along) * (top - bottom),
    };
  }
  // Powers of ten and halves between, of the five highest decades of the part that is shown
  function levelsOf(logs) {
    let least = Infinity, most = -Infinity;
    for (const z of logs) if (Number.isFinite(z)) { least = Math.min(least, z); most = Math.max(most, z); }
    if (!(most > -Infinity)) return [];
    const end = Math.ceil(most * 2) / 2, levels = [];
    for (let level = Math.max(Math.floor(least * 2) / 2, end - 5); level < end; level += 0.5) levels.push(level);
    return levels;
  }
  const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

  function drawBackground(width, height) {
    const key = [state.surface.text, ...state.view, state.lowest, width, height, dark.matches].join();
    if (background && background.key === key) return background.image;
    const [across, along] = inside(width, height).map((size) => Math.max(Math.round(size), 2)), scale = scales(width, height);
    const columns = across + 1, logs = new Float64Array(columns * (along + 1));
    for (let row = 0; row <= along; row++) {
      const y = scale.backY(MARGIN.top + row);
      for (let column = 0; column <= across; column++) {
        logs[row * columns + column] = Math.log10(state.surface.function.value(scale.backX(MARGIN.left + column), y) - state.lowest);
      }
    }
    const levels = levelsOf(logs), [low, high] = [rgb(tone("surface-low")), rgb(tone("surface-high"))];
    const image = document.createElement("canvas"), ratio = window.devicePixelRatio || 1;
    const shades = document.createElement("canvas");
    [shades.width, shades.height] = [across, along];
    const pixels = new ImageData(across, along);
    for (let row = 0; row < along; row++) {
      for (let column = 0; column < across; column++) {
        const z = logs[row * columns + column];
        const share = levels.length ? Math.min(Math.max((z - levels[0]) / (0.5 + levels[levels.length - 1] - levels[0]), 0), 1) : 0, place = 4 * (row * across + column);
        for (let part = 0; part < 3; part++) pixels.data[place + part] = low[part] + (high[part] - low[part]) * share;
        pixels.data[place + 3] = Number.isNaN(z) || z === Infinity ? 0 : 255; // where it has no value there is no surface
      }
    }
    shades.getContext("2d").putImageData(pixels, 0, 0);
    [image.width, image.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    const pen = image.getContext("2d");
    pen.scale(ratio, ratio);
    pen.drawImage(shades, MARGIN.left, MARGIN.top, ...inside(width, height));
    drawLines(pen, logs, columns, along, levels);
    background = { key, image };
    return image;
  }
  // Marching squares, on every third pixel
  function drawLines(pen, logs, columns, along, levels) {
    pen.strokeStyle = tone("contour");
    pen.lineWidth = 0.7;
    pen.beginPath();
    const size = 3;
    for (let row = 0; row + size <= along; row += size) {
      for (let column = 0; column + size < columns; column += size) {
        const corners = [[0, 0], [size, 0], [size, size], [0, size]];
        const z = corners.map(([dx, dy]) => logs[(row + dy) * columns + column + dx]);
        const least = Math.min(...z), most = Math.max(...z);
        if (!(least < most)) continue;
        for (const level of levels) {
          if (level <= least || level > most) continue;
          const crossings = [];
          for (let i = 0; i < 4; i++) {
            const a = Math.max(z[i], -300), b = Math.max(z[(i + 1) % 4], -300);
            if (a < level === b < level) continue;
            const share = (level - a) / (b - a), [p, q] = [corners[i], corners[(i + 1) % 4]];
            crossings.push([MARGIN.left + column + p[0] + share * (q[0] - p[0]), MARGIN.top + row + p[1] + share * (q[1] - p[1])]);
          }
          for (let i = 0; i + 1 < crossings.length; i += 2) { pen.moveTo(...crossings[i]); pen.lineTo(...crossings[i + 1]); }
        }
      }
    }
    pen.stroke();
  }

  function drawMap() {
    const { pen, width, height } = prepared(by("map")), scale = scales(width, height), [across, along] = inside(width, height);
    pen.drawImage(drawBackground(width, height), 0, 0, width, height);
    drawAxes(pen, width, height, scale);
    pen.save();
    pen.beginPath();
    pen.rect(MARGIN.left, MARGIN.top, across, along);
    pen.clip();
    if (state.surface.minimum) star(pen, scale.x(state.surface.minimum[0]), scale.y(state.surface.minimum[1]), 9);
    for (const one of [...visible()].reverse()) {
      const xs = one.path.x.map(scale.x), ys = one.path.y.map(scale.y), count = at(one) + 1;
      for (const [ink, wide] of [[theme().paper, 4], [tint(one), 2.2]]) {
        Object.assign(pen, { strokeStyle: ink, lineWidth: wide, globalAlpha: wide > 3 ? 0.55 : 1 });
        pen.setLineDash(wide > 3 ? [] : DASHES[styleOf(one).dash]);
        polyline(pen, xs, ys, count);
      }
    }
    for (const one of [...visible()].reverse()) {
      const last = at(one);
      mark(pen, MARKS[one.style], scale.x(one.path.x[last]), scale.y(one.path.y[last]), over(one) ? 4 : 6, tint(one), theme().paper);
    }
    pen.restore();
    drawExits(pen, width, height, scale);
    const handle = by("handle"), [x, y] = state.start;
    const px = scale.x(x), py = scale.y(y);
    handle.hidden = !(px >= MARGIN.left && px <= width - MARGIN.right && py >= MARGIN.top && py <= height - MARGIN.bottom);
    handle.style.left = `${px}px`;
    handle.style.top = `${py}px`;
    handle.setAttribute("aria-label", `Start at x ${brief(x)}, y ${brief(y)}. Move it with the arrow keys; with Shift in small steps`);
  }
  function drawAxes(pen, width, height, scale) {
    const [left, right, bottom, top] = state.view;
    pen.setLineDash([]);
    Object.assign(pen, { fillStyle: tone("soft"), strokeStyle: tone("edge"), lineWidth: 1, textBaseline: "top", textAlign: "center" });
    for (const value of ticks(left, right, width < 500 ? 4 : 7)) pen.fillText(tick(value), Math.min(Math.max(scale.x(value), MARGIN.left + 8), width - 16), height - MARGIN.bottom + 5);
    Object.assign(pen, { textAlign: "right", textBaseline: "middle" });
    for (const value of ticks(bottom, top, 6)) pen.fillText(tick(value), MARGIN.left - 5, Math.min(Math.max(scale.y(value), 8), height - MARGIN.bottom - 4));
    pen.strokeRect(MARGIN.left, MARGIN.top, ...inside(width, height));
  }
  // Where the point is outside, an arrow at the edge says in which direction
  function drawExits(pen, width, height, scale) {
    for (const one of visible()) {
      const x = scale.x(one.path.x[at(one)]), y = scale.y(one.path.y[at(one)]);
      const px = Math.min(Math.max(x, MARGIN.left + 7), width - MARGIN.right - 7), py = Math.min(Math.max(y, MARGIN.top + 7), height - MARGIN.bottom - 7);
      if (Math.abs(px - x) <= 7 && Math.abs(py - y) <= 7) continue;
      pen.save();
      pen.translate(px, py);
      pen.rotate(Math.atan2(y - py, x - px));
      pen.beginPath();
      for (const [a, b] of [[8, 0], [-6, -7], [-6, 7]]) pen.lineTo(a, b);
      pen.closePath();
      Object.assign(pen, { fillStyle: tint(one), strokeStyle: theme().paper, lineWidth: 1.5 });
      pen.setLineDash([]);
      pen.fill();
      pen.stroke();
      pen.restore();
    }
  }
