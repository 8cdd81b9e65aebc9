"use strict";
(() => {
  {% include "page.js" %}

  {% include "report_charts.js" %}

  {% include "report_losses.js" %}

  {% include "report_rows.js" %}

  {% include "report_legend.js" %}

  {% include "report_table.js" %}

  // One chart at a time, those in the window first: the page answers meanwhile, however many there are
  const stale = new Set();
  let waiting = false;
  function inWindow(id) {
    const box = by(id).getBoundingClientRect();
    return box.bottom > 0 && box.top < innerHeight;
  }
  function drawNext() {
    const next = [...stale].find(inWindow) ?? [...stale][0];
    if (stale.delete(next)) charts.get(next)();
    waiting = stale.size > 0;
    if (waiting) setTimeout(drawNext);
    root.dataset.ready = waiting ? "no" : "yes";
  }
  function refresh(ids = charts.keys()) {
    for (const id of ids) stale.add(id);
    if (!waiting) drawNext();
  }
  function choose(places) {
    state.shown = new Set(places);
    for (const box of document.querySelectorAll("input.optimizer")) box.checked = state.shown.has(Number(box.value));
    for (const box of document.querySelectorAll("#sensitivity figure")) box.hidden = !inSensitivity(Number(box.dataset.optimizer));
    legends();
    filter();
    refresh();
  }
  function showOnly(attribute, value) {
    for (const box of document.querySelectorAll(`[data-${attribute}]`)) box.hidden = box.dataset[attribute] !== value;
  }

  for (const form of document.querySelectorAll("form")) form.addEventListener("submit", (event) => event.preventDefault());
  for (const box of document.querySelectorAll("input.optimizer")) {
    box.addEventListener("change", () => choose(everyone.filter((place) => document.querySelector(`input.optimizer[value="${place}"]`).checked)));
  }
  by("all").addEventListener("click", () => choose(everyone));
  by("none").addEventListener("click", () => choose([]));
  by("log").addEventListener("change", () => refresh());
  for (const id of ["by-step", "by-second", "band"]) by(id).addEventListener("change", () => refresh(["curves"]));
  by("budget-band")?.addEventListener("change", () => refresh(["budget"]));
  by("metric")?.addEventListener("change", () => {
    state.metric = by("metric").value;
    showOnly("metric", state.metric);
    refresh(["differences"]);
  });
  if (state.hyperparameter !== undefined) {
    by("hyperparameter").addEventListener("change", () => {
      state.hyperparameter = by("hyperparameter").value;
      showOnly("hyperparameter", state.hyperparameter);
      choose(state.shown);
    });
  }
  dark.addEventListener("change", () => { samples(); legends(); refresh(); });

  // Paper has its own width, light colours and no scrolling: everything is drawn for it, and back afterwards
  const opened = [];
  addEventListener("beforeprint", () => {
    root.classList.add("printing");
    for (const box of document.querySelectorAll("details[data-print]:not([open])")) { box.open = true; opened.push(box); }
    samples();
    legends();
    stale.clear();
    for (const draw of charts.values()) draw();
  });
  addEventListener("afterprint", () => {
    root.classList.remove("printing");
    while (opened.length) opened.pop().open = false;
    samples();
    legends();
    refresh();
  });

  prepareLosses();
  samples();
  choose(everyone);
})();
