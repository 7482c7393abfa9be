// Draws the loss curves in the page's own colours, and again when light, dark or paper change them;
// opens what is folded before printing, and folds it again afterwards.
"use strict";

const drawCurves = (box, traces) => {
  const css = getComputedStyle(document.documentElement);
  const colour = (name) => css.getPropertyValue(name).trim();
  const axis = {
    gridcolor: colour("--line"), linecolor: colour("--line"), tickcolor: colour("--line"),
    zeroline: false, ticks: "outside", ticklen: 4, automargin: true,
  };
  const data = traces.map((trace) => {
    const hue = colour(`--series-${trace.colour % 5}`);
    return {
      type: "scatter", name: trace.name, x: trace.x, y: trace.y,
      mode: trace.kind === "validation" ? "markers" : "lines",
      line: { color: hue, width: 2 },
      marker: { color: colour("--paper"), size: 8, line: { color: hue, width: 2 } },
      hovertemplate: "step %{x}: %{y:.3f}",
    };
  });
  const layout = {
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("--soft") },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 46, r: 12, t: 12, b: 44 },
    xaxis: { ...axis, title: { text: "step" } },
    yaxis: { ...axis, title: { text: "loss" }, rangemode: "tozero" },
    legend: { orientation: "h", x: 0, y: 1.08, yanchor: "bottom" },
    hovermode: "x unified",
    hoverlabel: {
      bgcolor: colour("--raised"), bordercolor: colour("--line"), font: { color: colour("--ink") },
    },
  };
  Plotly.react(box, data, layout, { responsive: true, displaylogo: false, displayModeBar: false })
    .then(() => {
      // With a view box the drawing scales to the width of a sheet of paper.
      for (const svg of box.querySelectorAll(".main-svg")) {
        svg.setAttribute("viewBox", `0 0 ${svg.getAttribute("width")} ${svg.getAttribute("height")}`);
      }
    });
};

const box = document.getElementById("curves");
if (box) {
  const traces = JSON.parse(document.getElementById("curves-data").textContent);
  drawCurves(box, traces);
  for (const query of ["(prefers-color-scheme: dark)", "print"]) {
    window.matchMedia(query).addEventListener("change", () => drawCurves(box, traces));
  }
}

let unfolded = [];
window.addEventListener("beforeprint", () => {
  unfolded = [...document.querySelectorAll("details.on-paper:not([open])")];
  for (const it of unfolded) it.open = true;
});
window.addEventListener("afterprint", () => {
  for (const it of unfolded) it.open = false;
});
