/* Draws the charts that the page holds as data. */
"use strict";

const COLOURS = ["#2f5fd0", "#d0622f", "#2f9d6a", "#a13fc0", "#b58a00", "#008fb3", "#c22f62", "#6b7280"];
const HEIGHT = 260;
const style = getComputedStyle(document.documentElement);
const ink = { soft: style.getPropertyValue("--soft"), line: style.getPropertyValue("--line") };

function colour(name) {
  // A colour for both schemes is a function that a canvas does not know.
  const probe = document.createElement("i");
  probe.style.color = name;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function shown(chart) {
  return (value) => value === null || value === undefined ? "" :
    chart.percent ? `${(100 * value).toFixed(1)} %` :
      Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") :
        Math.abs(value) >= 0.01 || value === 0 ? String(+value.toFixed(4)) : value.toExponential(2);
}

function seriesOf(curve, chart) {
  const stroke = curve.run < 0 ? colour(ink.soft) : COLOURS[curve.run % COLOURS.length];
  return {
    label: curve.name,
    stroke: curve.style === "faint" ? `${stroke}66` : stroke,
    width: curve.style === "faint" ? 1 : 1.6,
    dash: curve.style === "dashed" ? [5, 5] : undefined,
    points: { show: curve.style === "dots" && curve.x.length <= 60, size: 5 },
    spanGaps: true,
    value: (_, value) => shown(chart)(value),
  };
}

function draw(chart, place) {
  const box = document.createElement("section");
  box.className = "chart";
  const title = document.createElement("h3");
  title.textContent = chart.title;
  box.append(title);
  place.append(box);
  const axis = { stroke: colour(ink.soft), grid: { stroke: colour(ink.line), width: 1 }, ticks: { stroke: colour(ink.line) } };
  const plot = new uPlot({
    width: box.clientWidth - 20,
    height: HEIGHT,
    scales: { x: { time: false }, y: { distr: chart.log ? 3 : 1 } },
    cursor: { sync: { key: "steps" }, drag: { x: true, y: false } },
    axes: [axis, { ...axis, size: 62, values: (_, values) => values.map((value) => value === null ? "" : shown(chart)(value)) }],
    series: [
      { label: "step", value: (_, value) => value === null ? "" : Math.round(value).toLocaleString("en") },
      ...chart.curves.map((curve) => seriesOf(curve, chart)),
    ],
  }, uPlot.join(chart.curves.map((curve) => [curve.x, curve.y])), box);
  new ResizeObserver(() => plot.setSize({ width: box.clientWidth - 20, height: HEIGHT })).observe(box);
}

for (const chart of JSON.parse(document.getElementById("data").textContent)) {
  draw(chart, document.getElementById("charts"));
}
