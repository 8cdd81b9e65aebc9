  function makeHeat() {
    by("heat").replaceChildren(...entries().map((entry) => {
      const box = document.createElement("div"), head = document.createElement("h3"), plot = document.createElement("div");
      head.textContent = `${entry.label}: best ${Number(data.rates[entry.best].toPrecision(6))}` + (entry.end ? ` (${entry.end})` : "");
      plot.className = "plot";
      plot.setAttribute("role", "img");
      plot.setAttribute("aria-label", `Heat map of the final values of ${entry.label} over learning rates and starts; the numbers are in the table at the end of the page`);
      box.append(head, plot);
      return box;
    }));
    drawHeat();
  }
  function drawHeat() {
    const tint = theme(), least = Math.log10(data.range[0]), most = Math.log10(data.range[1]);
    const line = (rate, color, dash, width) => ({ type: "rect", x0: rate - 0.5, x1: rate + 0.5, y0: -0.5, y1: data.starts.length - 0.5, line: { color, width, dash } });
    // on a wider frame of the paper's colour: seen on light and on dark cells
    const frame = (rate, dash, width) => [line(rate, tint.paper, "solid", width + 3), line(rate, tint.ink, dash, width)];
    entries().forEach((entry, index) => {
      const plot = by("heat").children[index].lastChild;
      const finals = data.starts.map((_, start) => data.rates.map((_, rate) => entry.finals[rate][start]));
      const usual = (value) => value !== null && Math.log10(Math.max(value, 1e-300)) <= most + 1e-9;
      const ticks = [...new Set([0, 1, 2, 3, 4].map((i) => Math.round((i * (data.rates.length - 1)) / 4)))];
      const trace = {
        type: "heatmap", zmin: least, zmax: most, colorscale: RAMP, showscale: false, xgap: 1, ygap: 1,
        z: finals.map((row) => row.map((value) => (usual(value) ? Math.log10(Math.max(value, 1e-300)) : null))),
        text: finals.map((row) => row.map((value) => (value === null ? "×" : usual(value) ? "" : "▲"))),
        customdata: finals.map((row, start) => row.map((value, rate) => [brief(value), data.rates[rate], start + 1])),
        texttemplate: "%{text}", textfont: { color: tint.ink }, hoverongaps: true,
        hovertemplate: "rate %{customdata[1]}, start %{customdata[2]}<br>%{customdata[0]}<extra></extra>",
      };
      // cells without a colour need something that shows their mark
      const marks = finals.flatMap((row, start) => row.flatMap((value, rate) => (usual(value) ? [] : [{ x: rate, y: start, text: value === null ? "×" : "▲", showarrow: false, font: { color: tint.ink, size: 12 } }])));
      const shapes = frame(entry.best, "solid", 3);
      if (rateOf(entry) !== entry.best) shapes.push(...frame(rateOf(entry), "dash", 2));
      Plotly.react(plot, [trace], layout({
        margin: { l: 28, r: 8, t: 8, b: 38 }, shapes, annotations: marks, dragmode: false,
        xaxis: { tickvals: ticks, ticktext: ticks.map((i) => String(Number(data.rates[i].toPrecision(3)))), fixedrange: true, showgrid: false, title: { text: "learning rate", font: { size: 11 } } },
        yaxis: { autorange: "reversed", tickvals: data.starts.map((_, i) => i), ticktext: data.starts.map((_, i) => String(i + 1)), fixedrange: true, showgrid: false },
      }), { responsive: true, displayModeBar: false });
      plot.removeAllListeners("plotly_click");
      plot.on("plotly_click", (event) => {
        Object.assign(state, { same: true, rate: event.points[0].x, start: event.points[0].y });
        draw();
      });
    });
    by("low").textContent = `${brief(data.range[0])} or less`;
    by("high").textContent = brief(data.range[1]);
    by("colours").style.background = `linear-gradient(to right, ${RAMP.map((stop) => stop[1]).join(", ")})`;
  }
