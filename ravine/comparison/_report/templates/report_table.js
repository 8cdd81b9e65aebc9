  // The table of all trials: sorted by a heading, filtered by the optimizers, and the command of a row
  const body = by("table").tBodies[0], declared = Array.from(body.rows);
  const heads = Array.from(document.querySelectorAll("#table .sort"));
  function filter() {
    let count = 0;
    for (const row of declared) {
      row.hidden = !state.shown.has(Number(row.dataset.row));
      count += !row.hidden;
    }
    by("count").textContent = `${count} of ${declared.length}`;
  }
  function sort(column) {
    const head = heads[column].parentElement, falling = head.getAttribute("aria-sort") === "ascending";
    for (const other of heads) other.parentElement.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const sign = falling ? -1 : 1, numeric = heads[column].hasAttribute("data-numeric");
    const order = new Intl.Collator("en", { numeric: true }).compare;
    const keys = new Map(declared.map((row) => {
      const cell = row.cells[column];
      return [row, numeric ? (cell.dataset.value === undefined ? null : Number(cell.dataset.value)) : cell.textContent];
    }));
    const sorted = [...declared].sort((one, other) => {
      const a = keys.get(one), b = keys.get(other);
      if (a === null || b === null) return (a === null) - (b === null);  // last, whichever way it is sorted
      return sign * (numeric ? a - b : order(a, b));
    });
    body.append(...sorted);
  }
  heads.forEach((button, column) => button.addEventListener("click", () => sort(column)));

  if (by("command")) {
    body.addEventListener("click", (event) => {
      const button = event.target.closest("button.key");
      if (!button) return;
      for (const other of body.querySelectorAll('[aria-pressed="true"]')) other.removeAttribute("aria-pressed");
      button.setAttribute("aria-pressed", "true");
      by("command").textContent = data.command + button.textContent;
      by("copied").textContent = "";
      by("again").scrollIntoView({ block: "nearest" });
    });
    by("copy").addEventListener("click", async () => {
      getSelection().selectAllChildren(by("command"));
      try {
        await navigator.clipboard.writeText(by("command").textContent);
        by("copied").textContent = "Copied.";
      } catch {
        by("copied").textContent = "Selected: copy it with the keyboard.";
      }
    });
  }
