"use strict";
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const plots = [...document.querySelectorAll(".plot")];

  function colours() {
    const style = getComputedStyle(root);
    return (name) => style.getPropertyValue(`--${name}`).trim();
  }

  function themedAxis(axis, colour) {
    const ruled = { gridcolor: colour("rule"), linecolor: colour("faint"), tickcolor: colour("faint") };
    return { showline: axis.showticklabels !== false, ticks: axis.showticklabels === false ? "" : "outside",
      ticklen: 4, zeroline: false, griddash: "dot", ...ruled, ...axis,
      title: { ...axis.title, font: { size: 13 }, standoff: 10 } };
  }

  function themedTrace(trace, colour, hidden) {
    const own = colour(`series-${trace.meta.style}`);
    const themed = { ...trace, visible: !hidden.has(trace.meta.group) };
    themed.marker = { ...trace.marker, color: own };
    if (trace.type === "bar") {
      themed.marker.pattern = { ...trace.marker.pattern, fgcolor: colour("paper"), bgcolor: own, size: 8, solidity: 0.2 };
      themed.marker.line = { color: own, width: 1 };
    }
    if (trace.line) themed.line = { ...trace.line, color: own };
    if (trace.error_y) {
      const ink = trace.type === "bar" ? colour("ink") : own;
      themed.error_y = { ...trace.error_y, color: ink, thickness: 1.2, width: 3 };
    }
    if (trace.text) themed.textfont = { color: colour("ink"), size: 12 };
    return themed;
  }

  function hiddenGroups(plot) {
    const off = plot.closest("figure").querySelectorAll('.legend [aria-pressed="false"]');
    return new Set([...off].map((button) => button.dataset.group));
  }

  function draw(plot) {
    const spec = JSON.parse(plot.nextElementSibling.textContent);
    const colour = colours();
    const hidden = hiddenGroups(plot);
    const layout = { ...spec.layout, margin: { l: 8, r: 12, t: 24, b: 8 }, autosize: true, dragmode: false,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: colour("sans"), size: 12, color: colour("ink") },
      hoverlabel: { bgcolor: colour("shade"), bordercolor: colour("rule"), font: { color: colour("ink") } },
      xaxis: themedAxis(spec.layout.xaxis, colour), yaxis: themedAxis(spec.layout.yaxis, colour) };
    const traces = spec.data.map((trace) => themedTrace(trace, colour, hidden));
    Plotly.react(plot, traces, layout, { displayModeBar: false, responsive: true });
  }

  for (const button of document.querySelectorAll(".legend button")) {
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") === "false"));
      button.closest("figure").querySelectorAll(".plot").forEach(draw);
    });
  }
  // What a cell is sorted by: its first number, else its text; empty ones come last.
  function key(row, column) {
    const text = row.cells[column].textContent.trim();
    const number = parseFloat(text.replaceAll(",", ""));
    return { text, number, isEmpty: text === "" };
  }

  function sort(table, column, ascends) {
    const rows = [...table.tBodies[0].rows].map((row) => ({ row, ...key(row, column) }));
    const isNumeric = rows.every((one) => one.isEmpty || !Number.isNaN(one.number)) && column > 0;
    const compared = (a, b) => (isNumeric ? a.number - b.number : a.text.localeCompare(b.text));
    rows.sort((a, b) => a.isEmpty - b.isEmpty || (ascends ? 1 : -1) * (a.isEmpty ? 0 : compared(a, b)));
    table.tBodies[0].append(...rows.map((one) => one.row));
  }

  for (const table of document.querySelectorAll("table.results")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      if (!head.textContent.trim()) return;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        // The greatest first, but names from the first letter on.
        const before = head.getAttribute("aria-sort");
        const ascends = before === null ? column === 0 : before === "descending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", ascends ? "ascending" : "descending");
        sort(table, column, ascends);
      });
    });
  }

  for (const button of document.querySelectorAll("button.copy")) {
    const text = document.getElementById(button.dataset.of);
    if (!navigator.clipboard) button.remove();
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    });
  }

  dark.addEventListener("change", () => plots.forEach(draw));
  plots.forEach(draw);
})();
