  // The controls, and what is drawn when one of them changes.
  function drawSteps() {
    by("step").max = state.steps;
    by("step").value = state.step;
    by("step-text").textContent = state.step;
    by("play").textContent = state.playing === null ? "Play" : "Pause";
  }
  function drawStep() {
    by("message").textContent = message();
    by("protocol").textContent = protocol();
    drawSteps();
    drawMap();
    drawLosses();
    drawCards();
  }
  function drawSettings() {
    for (const [id, i] of [["start-x", 0], ["start-y", 1]]) if (document.activeElement !== by(id)) by(id).value = Number(state.start[i].toPrecision(6));
    by("noise-text").textContent = `${Math.round(state.share * 100)} %`;
    by("noise").setAttribute("aria-valuetext", `${Math.round(state.share * 100)} percent of its length at the start`);
  }
  function drawAll() {
    drawSettings();
    drawStep();
    drawHeat();
  }
  const say = () => { by("spoken").textContent = `${message()}. ${protocol()}`; };

  // Moving a slider is followed at once by the paths; the hundred other paths that choose rates come when it rests
  const retuneSoon = (() => {
    let waiting = null;
    const run = () => { waiting = null; tuneAll(); walkAll(); drawAll(); say(); };
    const soon = () => { clearTimeout(waiting); waiting = setTimeout(run, 120); };
    soon.now = () => { clearTimeout(waiting); run(); };
    return soon;
  })();
  function change(one, i, value) {
    one.values[i] = value;
    if (i === one.player.rate) one.tuned = false;
    walk(one);
    drawStep();
    retuneSoon();
  }
  function choose(one, rate, start) {
    one.values[one.player.rate] = data.rates[rate];
    one.tuned = rate === one.best;
    moveStart(...state.starts[start]);
    drawHeat();
    say();
  }
  function moveStart(x, y) {
    if (!Number.isFinite(x) || !Number.isFinite(y)) return;
    state.start = [x, y];
    walkAll();
    drawSettings();
    drawStep();
  }

  function goTo(step) {
    state.step = Math.min(Math.max(step, 0), state.steps);
    drawStep();
  }
  function setSteps(steps) {
    by("steps").value = steps;
    state.step = state.steps = steps;
    retuneSoon.now();
  }
  function stop() {
    if (state.playing !== null) cancelAnimationFrame(state.playing);
    state.playing = null;
    drawSteps();
  }
  // The whole way in about ten seconds, however fast the page is drawn; short ways slower, so that steps are seen
  function play() {
    if (state.step >= state.steps) state.step = 0;
    const first = state.step, perSecond = Math.max(state.steps / 10, 6);
    let begun = null;
    const frame = (time) => {
      begun = begun ?? time;
      const step = Math.min(first + Math.floor(((time - begun) / 1000) * perSecond), state.steps);
      if (step !== state.step) goTo(step);
      if (step >= state.steps) { stop(); say(); } else state.playing = requestAnimationFrame(frame);
    };
    state.playing = requestAnimationFrame(frame);
    goTo(state.step);
  }

  function showSurface(surface) {
    setSurface(surface);
    by("surface").value = surface.name;
    by("function").value = surface.text;
    helped("");
    retuneSoon.now();
  }
  function helped(wrong) {
    const help = by("function-help");
    help.textContent = wrong || by("function-help").dataset.usual;
    help.classList.toggle("wrong", Boolean(wrong));
    by("function").setAttribute("aria-invalid", String(Boolean(wrong)));
  }
  // A mistake is said beside the field, and the last function that could be read stays
  function typed() {
    const text = by("function").value;
    if (text.trim() === state.surface.text) { helped(""); return; }
    try {
      const [left, right, bottom, top] = state.view;
      const surface = { name: "", text: text.trim(), function: compiled(text), minimum: null, window: [...state.view], start: [left + (right - left) / 4, top - (top - bottom) / 4] };
      setSurface(surface);
      by("surface").value = "";
      helped("");
      retuneSoon.now();
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      helped(error.message);
    }
  }
  function zoom(factor) {
    const [left, right, bottom, top] = state.view, [x, y] = [(left + right) / 2, (bottom + top) / 2];
    const half = [((right - left) / 2) * factor, ((top - bottom) / 2) * factor];
    if (half[0] < 1e-9 || half[0] > 1e9) return;
    state.view = [x - half[0], x + half[0], y - half[1], y + half[1]];
    drawMap();
  }
  function dragged(event) {
    const box = by("map").getBoundingClientRect(), scale = scales(box.width, box.height), [left, right, bottom, top] = state.view;
    const x = Math.min(Math.max(scale.backX(event.clientX - box.left), left), right), y = Math.min(Math.max(scale.backY(event.clientY - box.top), bottom), top);
    moveStart(Number(x.toPrecision(5)), Number(y.toPrecision(5)));
  }

  by("function-help").dataset.usual = by("function-help").textContent;
  for (const id of ["surface-form", "player", "setting"]) by(id).addEventListener("submit", (event) => event.preventDefault());
  by("surface").addEventListener("change", () => {
    const surface = data.surfaces.find(({ name }) => name === by("surface").value && name);
    if (surface) showSurface(surface); else { by("function").focus(); by("function").select(); }
  });
  by("function").addEventListener("input", typed);
  by("step").addEventListener("input", () => { const step = Number(by("step").value); stop(); goTo(step); });
  by("step").addEventListener("change", say);
  by("back").addEventListener("click", () => { stop(); goTo(state.step - 1); say(); });
  by("forth").addEventListener("click", () => { stop(); goTo(state.step + 1); say(); });
  by("reset").addEventListener("click", () => { stop(); goTo(0); say(); });
  by("play").addEventListener("click", () => { if (state.playing === null) play(); else { stop(); say(); } });
  by("steps").addEventListener("change", () => { stop(); setSteps(Number(by("steps").value)); });
  for (const id of ["start-x", "start-y"]) by(id).addEventListener("input", () => { if (by("start-x").value && by("start-y").value) moveStart(Number(by("start-x").value), Number(by("start-y").value)); });
  by("noise").addEventListener("input", () => { state.share = Number(by("noise").value) / 100; walkAll(); drawStep(); by("noise-text").textContent = `${by("noise").value} %`; retuneSoon(); });
  by("seed").addEventListener("input", () => { state.seed = Math.max(0, Math.round(Number(by("seed").value))); walkAll(); drawStep(); retuneSoon(); });
  by("add").addEventListener("change", () => {
    const player = data.players[Number(by("add").value)], style = freeStyle();
    if (!by("add").value || style < 0) return;
    const one = show(player, style);
    tune(one);
    judge();
    walkAll();
    makeCards();
    drawAll();
    say();
  });
  by("closer").addEventListener("click", () => zoom(1 / 1.5));
  by("farther").addEventListener("click", () => zoom(1.5));
  by("window").addEventListener("click", () => { state.view = [...state.surface.window]; drawMap(); });
  let dragging = false;
  by("handle").addEventListener("pointerdown", (event) => { dragging = true; by("handle").setPointerCapture(event.pointerId); });
  by("handle").addEventListener("pointermove", (event) => { if (dragging) dragged(event); });
  for (const end of ["pointerup", "pointercancel"]) by("handle").addEventListener(end, () => { dragging = false; say(); });
  by("map").addEventListener("click", (event) => { dragged(event); say(); });
  by("handle").addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!moves) return;
    event.preventDefault();
    const [left, right, bottom, top] = state.view, share = event.shiftKey ? 0.002 : 0.02;
    moveStart(...[[left, right], [bottom, top]].map(([low, high], i) => Number(Math.min(Math.max(state.start[i] + moves[i] * share * (high - low), low), high).toPrecision(6))));
  });
  by("handle").addEventListener("keyup", say);
  const again = () => { makeCards(); drawAll(); };
  dark.addEventListener("change", again);
  addEventListener("resize", drawAll);
  addEventListener("beforeprint", again);
  addEventListener("afterprint", again);

  data.players.slice(0, data.shown).forEach((player, i) => show(player, i));
  makeCards();
  showSurface(state.surface);
  // A link can name what is shown: play.html#steps=100&step=40&start=-3,2
  function followLink() {
    const link = new URLSearchParams(location.hash.slice(1)), step = Number(link.get("step") ?? NaN);
    stop();
    if (Array.from(by("steps").options).some(({ text }) => text === link.get("steps"))) setSteps(Number(link.get("steps")));
    if (link.has("start")) moveStart(...(link.get("start").match(/^([^,]+),([^,]+)$/) || []).slice(1).map(Number));
    if (Number.isFinite(step)) goTo(Math.round(step));
  }
  addEventListener("hashchange", followLink);
  followLink();
  root.dataset.ready = "yes";
