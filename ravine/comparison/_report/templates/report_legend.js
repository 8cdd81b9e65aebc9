  // The look of each optimizer beside its name: a piece of its line with its mark
  const CORNERS = { square: [4, 45], diamond: [4, 0], "triangle-up": [3, 0], "triangle-down": [3, 180], "triangle-left": [3, 270] };
  function outline(symbol, tint) {
    const around = (count, turn, radius) => Array.from({ length: count }, (_, i) => {
      const angle = ((i * 360) / count + turn - 90) * (Math.PI / 180), far = typeof radius === "function" ? radius(i) : radius;
      return `${(18 + far * Math.cos(angle)).toFixed(1)},${(6 + far * Math.sin(angle)).toFixed(1)}`;
    }).join(" ");
    const look = { fill: tint };
    if (symbol === "circle") return shape("circle", { cx: 18, cy: 6, r: 4, ...look });
    if (symbol === "star") return shape("polygon", { points: around(10, 0, (i) => (i % 2 ? 2.3 : 5.5)), ...look });
    if (symbol === "hourglass") return shape("polygon", { points: "13,1 23,1 13,11 23,11", ...look });
    if (symbol === "bowtie") return shape("polygon", { points: "13,2 23,10 23,2 13,10", ...look });
    return shape("polygon", { points: around(...CORNERS[symbol], 5), ...look });
  }
  function key(place) {
    const optimizer = data.optimizers[place], svg = sample(optimizer);
    svg.setAttribute("height", 12);
    svg.setAttribute("class", "key");
    svg.firstChild.setAttribute("y1", 6);
    svg.firstChild.setAttribute("y2", 6);
    svg.append(outline(optimizer.symbol, colour(optimizer)));
    return svg;
  }
  function samples() {
    for (const box of document.querySelectorAll("label[data-optimizer], th[data-optimizer], h3[data-optimizer], figure[data-optimizer] figcaption")) {
      const place = Number(box.dataset.optimizer ?? box.parentElement.dataset.optimizer);
      box.querySelector("svg.key")?.remove();
      const before = box.querySelector(".name");
      if (before) before.before(key(place)); else box.prepend(key(place));
    }
  }
  function legends() {
    for (const list of document.querySelectorAll(".legend")) {
      list.replaceChildren(...shown().map((place) => {
        const item = document.createElement("li");
        item.append(key(place), data.optimizers[place].label);
        return item;
      }));
    }
  }
