  const root = document.documentElement;
  const by = (id) => document.getElementById(id);
  const data = JSON.parse(by("data").textContent);
  // plotly reads some HTML in its texts
  const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  const tone = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
  const theme = () => ({ paper: tone("paper"), ink: tone("ink"), edge: tone("edge"), soft: tone("soft") });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  function colour(style) {
    if (style.reference) return theme().ink;
    if (!dark.matches || root.classList.contains("printing")) return style.colour;
    // half way to white: strong colours are too dark on a dark page
    return "#" + [1, 3, 5].map((i) => Math.round(parseInt(style.colour.slice(i, i + 2), 16) * 0.55 + 115).toString(16).padStart(2, "0")).join("");
  }

  const joined = (parts) => parts.flatMap((part, i) => (i ? [null, ...part] : part));
  function layout(more) {
    const tint = theme();
    const axis = { gridcolor: tint.edge, linecolor: tint.edge, zeroline: false, color: tint.ink };
    const merged = { paper_bgcolor: tint.paper, plot_bgcolor: tint.paper, font: { color: tint.ink }, margin: { l: 55, r: 15, t: 15, b: 40 }, showlegend: false, dragmode: "pan", ...more };
    merged.xaxis = { ...axis, ...more.xaxis };
    merged.yaxis = { ...axis, ...more.yaxis };
    return merged;
  }
  const CONFIG = { responsive: true, displaylogo: false, scrollZoom: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };

  function drawing(width, height) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    for (const [key, value] of Object.entries({ width, height, "aria-hidden": "true" })) svg.setAttribute(key, value);
    return svg;
  }
  function shape(kind, attributes) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", kind);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  }
  function sample(style) {
    const svg = drawing(36, 10), dashes = { solid: "none", dash: "9 3", dashdot: "9 3 2 3", dot: "2 3" };
    svg.append(shape("line", { x1: 0, x2: 36, y1: 5, y2: 5, stroke: colour(style), "stroke-width": 2.5, "stroke-dasharray": dashes[style.dash] }));
    return svg;
  }
