  function drawControls() {
    by("each").checked = !state.same;
    by("same").checked = state.same;
    by("rate").value = state.rate;
    by("rate-text").textContent = state.same ? String(Number(data.rates[state.rate].toPrecision(6))) : "";
    by("rate").setAttribute("aria-valuetext", String(data.rates[state.rate]));
    if (data.swept) {
      by("value").value = state.value;
      by("value-text").textContent = data.values[state.value];
      by("value").setAttribute("aria-valuetext", data.values[state.value]);
    }
    by("start").value = String(state.start);
    by("step").value = state.step;
    by("step-text").textContent = `${state.step} of ${data.steps}`;
    by("play").textContent = state.playing === null ? "Play" : "Pause";
  }
  function draw() {
    drawControls();
    drawPlots();
    drawTable();
    drawHeat();
  }
  function goTo(step) {
    state.step = Math.min(Math.max(step, 0), data.steps);
    drawControls();
    move();
    drawTable();
  }
  function stop() {
    if (state.playing !== null) cancelAnimationFrame(state.playing);
    state.playing = null;
    drawControls();
  }
  // The whole way in about ten seconds, however fast the page is drawn; short ways slower, so that steps are seen
  function play() {
    if (state.step >= data.steps) state.step = 0;
    const first = state.step, perSecond = Math.max(data.steps / 10, 6);
    let begun = null;
    const frame = (time) => {
      begun = begun ?? time;
      const step = Math.min(first + Math.floor(((time - begun) / 1000) * perSecond), data.steps);
      if (step !== state.step) goTo(step);
      if (step >= data.steps) stop();
      else state.playing = requestAnimationFrame(frame);
    };
    state.playing = requestAnimationFrame(frame);
    drawControls();
  }

  by("controls").addEventListener("submit", (event) => event.preventDefault());
  by("each").addEventListener("change", () => { state.same = false; draw(); });
  by("same").addEventListener("change", () => { state.same = true; draw(); });
  by("rate").addEventListener("input", () => { Object.assign(state, { same: true, rate: Number(by("rate").value) }); draw(); });
  if (data.swept) by("value").addEventListener("input", () => { state.value = Number(by("value").value); makeTable(); makeHeat(); draw(); });
  by("start").addEventListener("change", () => { state.start = by("start").value === "all" ? "all" : Number(by("start").value); draw(); });
  by("whole").addEventListener("change", draw);
  by("step").addEventListener("input", () => { state.step = Number(by("step").value); stop(); goTo(state.step); });
  by("back").addEventListener("click", () => { stop(); goTo(state.step - 1); });
  by("forth").addEventListener("click", () => { stop(); goTo(state.step + 1); });
  by("play").addEventListener("click", () => { if (state.playing === null) play(); else stop(); });
  dark.addEventListener("change", () => { makeTable(); draw(); });

  state.rate = Math.floor((data.rates.length - 1) / 2);
  makeTable();
  drawControls();
  drawPlots();
  drawTable();
  makeHeat();
  document.documentElement.dataset.ready = "yes";
