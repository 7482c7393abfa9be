// Draws the curves and the Pareto plots in the page's own colours, and again when these change.
"use strict";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const hue = (number) => css(`--series-${number % 5}`);
const faint = (colour) => `color-mix(in srgb, ${colour} 16%, transparent)`;
const solid = (colour) => {
  // Plotly reads no color-mix: the browser works it out first.
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.color = colour;
  const found = getComputedStyle(probe).color;
  probe.remove();
  const parts = found.match(/^color\(srgb ([\d.]+) ([\d.]+) ([\d.]+) \/ ([\d.]+)\)$/);
  return parts ? `rgba(${parts.slice(1, 4).map((x) => Math.round(255 * x)).join(",")},${parts[4]})` : found;
};

const curves = (plot) => plot.lines.flatMap((line) => {
  const colour = hue(line.colour);
  const shown = { type: "scatter", mode: "lines", legendgroup: `${line.name} ${line.kind}`, x: line.x,
    visible: line.kind === "training" || plot.lines.every((it) => it.kind !== "training") ? true : "legendonly" };
  const edge = { ...shown, line: { width: 0 }, hoverinfo: "skip", showlegend: false };
  return [
    { ...edge, y: line.low },
    { ...edge, y: line.high, fill: "tonexty", fillcolor: solid(faint(colour)) },
    { ...shown, y: line.mean, name: line.kind === "training" ? line.name : `${line.name}, validation`,
      line: { color: colour, width: 2, dash: ["solid", "dash", "dot"][Math.floor(line.colour / 5) % 3] },
      hovertemplate: "%{y:.3f}" },
  ];
});

const fronts = (plot) => plot.points.map((point) => ({
  type: "scatter", mode: "markers+text", name: point.name, x: [point.x], y: [point.y],
  text: [point.name], textposition: "top center", showlegend: false,
  marker: { size: 12, color: point.front ? hue(point.colour) : css("--paper"), line: { color: hue(point.colour), width: 2 } },
  hovertemplate: `${point.name}: %{x:.4g}, %{y:.4g}<br>${point.told}<extra></extra>`,
}));

const draw = (plot) => {
  const axis = { gridcolor: css("--line"), linecolor: css("--line"), tickcolor: css("--line"), zeroline: false, ticks: "outside", ticklen: 4, automargin: true };
  const box = document.getElementById(plot.id);
  const layout = {
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: css("--soft") },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 56, r: 12, t: 12, b: 44 }, legend: { orientation: "h", x: 0, y: 1.08, yanchor: "bottom" },
    xaxis: { ...axis, title: { text: plot.x }, rangemode: plot.what === "curve" ? "normal" : "tozero" },
    yaxis: { ...axis, title: { text: plot.y || "loss" } },
    hovermode: plot.what === "curve" ? "x unified" : "closest",
    hoverlabel: { bgcolor: css("--raised"), bordercolor: css("--line"), font: { color: css("--ink") } },
  };
  Plotly.react(box, plot.what === "curve" ? curves(plot) : fronts(plot), layout, { responsive: true, displaylogo: false, displayModeBar: false });
};

const plots = document.getElementById("plots-data");
if (plots) {
  const every = JSON.parse(plots.textContent);
  const all = () => every.forEach(draw);
  all();
  for (const query of ["(prefers-color-scheme: dark)", "print"]) window.matchMedia(query).addEventListener("change", all);
}
