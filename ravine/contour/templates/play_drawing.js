  // Canvases and lines: sharp on every screen, with the dashes and marks that tell lines apart without their colours.
  const DASHES = { solid: [], dash: [9, 3], dashdot: [9, 3, 2, 3], dot: [2, 3] };
  const MARKS = ["circle", "square", "triangle", "diamond", "cross", "pentagon", "circle", "square", "triangle", "diamond"];

  // A canvas at the screen's own resolution, empty; its size in CSS pixels
  function prepared(canvas) {
    const { clientWidth: width, clientHeight: height } = canvas, ratio = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.font = "12px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
    pen.lineJoin = "round";
    return { pen, width, height };
  }
  function polyline(pen, xs, ys, count) {
    pen.beginPath();
    let down = false;
    for (let i = 0; i < count; i++) {
      const x = xs[i], y = ys[i];
      if (!Number.isFinite(x) || !Number.isFinite(y)) { down = false; continue; }
      // far outside nothing is seen, and coordinates that are too large are not drawn at all
      const px = Math.min(Math.max(x, -1e5), 1e5), py = Math.min(Math.max(y, -1e5), 1e5);
      if (down) pen.lineTo(px, py); else pen.moveTo(px, py);
      down = true;
    }
    pen.stroke();
  }
  function mark(pen, kind, x, y, size, fill, edge) {
    pen.setLineDash([]);
    pen.beginPath();
    const corners = { square: [4, Math.PI / 4], triangle: [3, -Math.PI / 2], diamond: [4, 0], pentagon: [5, -Math.PI / 2] }[kind];
    if (kind === "cross") {
      pen.lineCap = "round";
      for (const [ink, wide] of [[edge, 6], [fill, 3]]) {
        pen.beginPath();
        pen.strokeStyle = ink;
        pen.lineWidth = wide;
        for (const side of [1, -1]) { pen.moveTo(x - size * 0.8, y - side * size * 0.8); pen.lineTo(x + size * 0.8, y + side * size * 0.8); }
        pen.stroke();
      }
      pen.lineCap = "butt";
      return;
    }
    if (corners) {
      const [count, turn] = corners, radius = size * 1.2;
      for (let i = 0; i < count; i++) {
        const angle = turn + (2 * Math.PI * i) / count;
        pen.lineTo(x + radius * Math.cos(angle), y + radius * Math.sin(angle));
      }
      pen.closePath();
    } else pen.arc(x, y, size, 0, 2 * Math.PI);
    pen.fillStyle = fill;
    pen.fill();
    pen.lineWidth = 1.5;
    pen.strokeStyle = edge;
    pen.stroke();
  }
  function star(pen, x, y, size) {
    pen.beginPath();
    for (let i = 0; i < 10; i++) {
      const radius = i % 2 ? size * 0.42 : size, angle = -Math.PI / 2 + (Math.PI * i) / 5;
      pen.lineTo(x + radius * Math.cos(angle), y + radius * Math.sin(angle));
    }
    pen.closePath();
    pen.setLineDash([]);
    pen.fillStyle = "gold";
    pen.fill();
    pen.lineWidth = 1;
    pen.strokeStyle = "black";
    pen.stroke();
  }
  // A short line with an optimizer's mark, for lists
  function legendLine(one) {
    const canvas = document.createElement("canvas");
    canvas.style.cssText = "width: 40px; height: 16px; flex: none";
    canvas.setAttribute("aria-hidden", "true");
    canvas.width = 80;
    canvas.height = 32;
    const pen = canvas.getContext("2d");
    pen.scale(2, 2);
    Object.assign(pen, { strokeStyle: tint(one), lineWidth: 2.5 });
    pen.setLineDash(DASHES[styleOf(one).dash]);
    polyline(pen, [0, 40], [8, 8], 2);
    mark(pen, MARKS[one.style], 20, 8, 4.5, tint(one), theme().paper);
    return canvas;
  }
  // Round numbers in a range
  function ticks(low, high, most) {
    const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= rough * 0.999) || 10 * power;
    const found = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(i === 0 ? 0 : i * step);
    return found;
  }
  const tick = (value) => String(Number(value.toPrecision(6))).replace("-", "−");
