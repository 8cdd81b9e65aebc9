  // What every chart is made of: which optimizers are shown, how their lines and marks look, and where charts are kept
  const everyone = data.optimizers.map((_, place) => place);
  const state = { shown: new Set(everyone), hyperparameter: by("hyperparameter")?.value, metric: by("metric")?.value };
  const shown = () => everyone.filter((place) => state.shown.has(place));
  const nameOf = (place) => escaped(shortened(data.optimizers[place].label));
  const shortened = (text, most = 44) => (text.length > most ? `${text.slice(0, Math.ceil(most * 0.65) - 1)}…${text.slice(-Math.floor(most * 0.35))}` : text);
  const finite = (values) => values.filter((value) => value !== null);
  const greatest = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);
  const least = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);
  const printing = () => root.classList.contains("printing");
  // symbols with points have less of a surface: they are drawn larger, so that all look as large
  const full = (place) => ({ circle: 8, square: 8, diamond: 9 })[data.optimizers[place].symbol] ?? 11;
  const mark = (place, more) => ({ symbol: data.optimizers[place].symbol, color: colour(data.optimizers[place]), size: full(place), opacity: 1, line: { color: theme().paper, width: 0.7 }, ...more });
  const stroke = (place, more) => ({ color: colour(data.optimizers[place]), width: 2, dash: data.optimizers[place].dash, ...more });
  const charts = new Map();  // id of the element to the function that draws it

  // On a touch screen a finger on a chart must still scroll the page
  const drag = matchMedia("(pointer: coarse)").matches ? false : "zoom";
  function plot(id, traces, more, buttons = false) {
    const box = by(id);
    const size = printing() ? { width: box.clientWidth, height: box.clientHeight, autosize: false } : { autosize: true };
    Plotly.react(box, traces, layout({ dragmode: drag, hovermode: "closest", ...size, ...more }), { ...CONFIG, displayModeBar: buttons && "hover" });
  }
