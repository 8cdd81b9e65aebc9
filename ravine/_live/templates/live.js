  // What both pages do: show the head, draw what is in sight, and follow the events
  const text = (id, words) => { const box = by(id); if (box && box.textContent !== words) box.textContent = words; };
  const made = (tag, words, kind) => { const one = document.createElement(tag); if (words !== undefined) one.textContent = words; if (kind) one.className = kind; return one; };
  const painters = new Map();  // part of the page to the function that shows it
  const drawers = new Map();  // part to the charts that are drawn from it

  painters.set("head", (head) => {
    text("title", head.title);
    document.title = `${head.word}: ${head.title}`;
    text("badge", head.word);
    by("badge").className = head.mood;
    text("message", head.message);
    text("detail", head.detail);
    by("detail").hidden = !head.detail;
    text("folder", head.folder);
    const bar = by("progress");
    bar.hidden = head.progress === null;
    if (head.progress !== null) bar.value = head.progress;
    bar.className = head.mood;
    by("figures").replaceChildren(...head.figures.map(([name, value, note]) => {
      const box = made("div"), cell = made("dd");
      cell.append(made("span", value, "value"), made("span", note, "note"));
      box.append(made("dt", name), cell);
      return box;
    }));
    // said aloud only where it is news, not at every step
    if (by("spoken").dataset.word !== head.word) {
      by("spoken").dataset.word = head.word;
      text("spoken", head.message);
    }
  });

  painters.set("trouble", (trouble) => {
    text("lost", trouble);
    by("lost").hidden = !trouble;
  });

  function filled(id, columns, rows, best, textual = []) {
    const head = made("tr"), body = made("tbody");
    columns.forEach((name, i) => { const cell = made("th", name, textual.includes(i) ? "text" : ""); cell.scope = "col"; head.append(cell); });
    rows.forEach((cells, place) => {
      const row = made("tr", undefined, place === best ? "best" : "");
      cells.forEach((value, i) => { const cell = made(i ? "td" : "th", value, textual.includes(i) ? "text" : ""); if (!i) cell.scope = "row"; row.append(cell); });
      body.append(row);
    });
    const heading = made("thead");
    heading.append(head);
    by(id).replaceChildren(heading, body);
  }

  // Only what is in sight is drawn, one chart at a time: a page in the background costs nothing
  const due = new Set(), inSight = new Set();
  let drawing_ = false;
  function drawDue() {
    const next = [...due].find((id) => inSight.has(id));
    drawing_ = Boolean(next) && Boolean(window.Plotly) && !document.hidden;
    root.dataset.ready = window.Plotly && !next ? "yes" : "no";
    if (!drawing_) return;
    due.delete(next);
    try {
      charts.get(next)();
    } finally { // one that cannot be drawn does not keep the others from it
      requestAnimationFrame(() => setTimeout(drawDue));
    }
  }
  function refresh(ids = charts.keys()) {
    for (const id of ids) if (charts.has(id)) due.add(id);
    if (!drawing_) drawDue();
  }

  function take(parts) {
    Object.assign(data, parts);
    for (const [name, part] of Object.entries(parts)) {
      if (painters.has(name)) painters.get(name)(part);
      refresh(drawers.get(name) ?? []);
    }
  }

  function begin() {
    const sight = new IntersectionObserver((entries) => {
      for (const entry of entries) entry.isIntersecting ? inSight.add(entry.target.id) : inSight.delete(entry.target.id);
      if (!drawing_) drawDue();
    }, { rootMargin: "100px" });
    for (const box of document.querySelectorAll(".plot")) sight.observe(box);
    for (const form of document.querySelectorAll("form")) form.addEventListener("submit", (event) => event.preventDefault());
    by("log")?.addEventListener("change", () => refresh());
    dark.addEventListener("change", () => refresh());
    document.addEventListener("visibilitychange", () => { if (!drawing_) drawDue(); });
    data.head ??= { word: "reading", mood: "busy", message: "Reading what there is", detail: "", progress: null, title: document.title, folder: "", figures: [] };
    take({ ...data });
    // the words are painted first, then the script that draws is fetched
    requestAnimationFrame(() => setTimeout(() => {
      const script = made("script");
      script.src = "plotly.js";
      script.onload = () => drawDue();
      document.head.append(script);
    }));
    const source = new EventSource("events");
    source.onopen = () => { text("connection", "live"); by("lost").hidden = true; };
    source.onmessage = (event) => take(JSON.parse(event.data));
    source.addEventListener("end", () => {
      source.close();
      text("connection", "ended");
      text("lost", "What ran has ended, and this page with it: it stays as it is.");
      by("lost").hidden = false;
      for (const button of document.querySelectorAll("#controls button")) button.disabled = true;
    });
    source.onerror = () => {
      text("connection", "not connected");
      text("lost", "The connection is lost: the server has ended, or cannot be reached. The page shows what it said last, and goes on by itself once it is back.");
      by("lost").hidden = false;
    };
    for (const button of document.querySelectorAll("#controls button[data-act]")) button.addEventListener("click", () => act(button));
  }

  async function act(button) {
    if (button.dataset.sure && !confirm(button.dataset.sure)) return;
    const given = {};
    for (const field of document.querySelectorAll(`[data-for="${button.dataset.act}"]`)) given[field.name] = field.value;
    button.disabled = true;
    try {
      const reply = await fetch(`act/${button.dataset.act}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(given) });
      const content = await reply.json();
      text("acted", content.answer ?? content.error);
    } catch {
      text("acted", "The server could not be reached.");
    }
    button.disabled = false;
  }
