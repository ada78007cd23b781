/* Draws the charts that the page holds as data. */
"use strict";

const HEIGHT = 260;
const COLOURS = {
  light: ["#2f5fd0", "#c0531f", "#1f7f52", "#a13fc0", "#8a6900", "#00789a", "#c22f62", "#5b6270"],
  dark: ["#8fb2ff", "#ff9d6b", "#6fd6a4", "#dc9bf2", "#e8c34a", "#5fd0ee", "#ff8fb4", "#b9c0cc"],
};
const DATA = JSON.parse(document.getElementById("data").textContent);
const darkScheme = matchMedia("(prefers-color-scheme: dark)");
const several = DATA.runs.length > 1;
const KEY = `maskling ${location.pathname}`;
const state = { x: "steps", smooth: 0, log: false, zoom: null, scroll: 0, open: [] };
let plots = [];

function colour(name) {
  // A colour for both schemes is a function that a canvas does not know.
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function runColour(run) {
  const own = COLOURS[darkScheme.matches ? "dark" : "light"];
  return run < 0 ? colour("--soft") : own[run % own.length];
}

function shown(chart) {
  return (value) => value === null || value === undefined ? "" :
    chart.percent ? `${(100 * value).toFixed(1)} %` :
      Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") :
        Math.abs(value) >= 0.01 || value === 0 ? String(+value.toFixed(4)) : value.toExponential(2);
}

// The x axis: steps, or what corresponds to them in a run.

function compact(value) {
  for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (Math.abs(value) >= size) return `${+(value / size).toPrecision(4)} ${unit}`;
  }
  return String(+value.toPrecision(4));
}

function shownX(value) {
  if (value === null || value === undefined) return "";
  if (state.x === "tokens") return compact(value);
  return state.x === "hours" ? `${+value.toPrecision(3)} h` : Math.round(value).toLocaleString("en");
}

function interpolated(x, [steps, hours]) {
  let high = steps.findIndex((step) => step >= x);
  if (high < 0) high = steps.length - 1;
  if (high === 0) return steps[0] > 0 ? hours[0] * Math.min(1, x / steps[0]) : hours[0];
  const share = Math.min(1, (x - steps[high - 1]) / (steps[high] - steps[high - 1]));
  return hours[high - 1] + share * (hours[high] - hours[high - 1]);
}

function placed(curve) {
  const runs = curve.run < 0 ? [...DATA.runs.keys()] : [curve.run];
  const most = (values) => Math.max(...values);
  if (state.x === "tokens") return curve.x.map((x) => most(runs.map((run) => x * (DATA.tokens[run] || 0))));
  if (state.x === "hours") return curve.x.map((x) => most(runs.map((run) => DATA.hours[run][0].length ? interpolated(x, DATA.hours[run]) : 0)));
  return curve.x;
}

function smoothed(curve) {
  // An exponential mean, corrected for its start; only of training curves: evaluations are few.
  if (!state.smooth || curve.style === "dots" || curve.style === "dashed") return curve.y;
  const keep = 1 - Math.pow(10, -state.smooth / 40);
  let sum = 0, weight = 0;
  return curve.y.map((y) => {
    sum = keep * sum + (1 - keep) * y;
    weight = keep * weight + (1 - keep);
    return sum / weight;
  });
}

function seriesOf(curve, chart) {
  const stroke = runColour(curve.run);
  return {
    label: curve.name,
    stroke: curve.style === "faint" ? `${stroke}${darkScheme.matches ? "aa" : "80"}` : stroke,
    width: curve.style === "faint" ? 1 : 1.6,
    dash: curve.style === "dashed" ? [5, 5] : undefined,
    points: { show: curve.style === "dots" && curve.x.length <= 60, size: 5 },
    spanGaps: true,
    value: (_, value) => shown(chart)(value),
  };
}

function saved(name, type, content) {
  const link = document.createElement("a");
  link.href = typeof content === "string" && content.startsWith("data:") ? content : `data:${type};charset=utf-8,${encodeURIComponent(content)}`;
  link.download = name;
  link.click();
}

function button(text, label, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.setAttribute("aria-label", label);
  made.addEventListener("click", act);
  return made;
}

function csv(chart) {
  const quoted = (text) => `"${String(text).replaceAll('"', '""')}"`;
  const lines = chart.curves.flatMap((curve) => curve.x.map((x, index) => `${quoted(curve.name)},${x},${curve.y[index]}`));
  return ["curve,step,value", ...lines].join("\n") + "\n";
}

function image(plot, title) {
  const canvas = document.createElement("canvas");
  const from = plot.ctx.canvas;
  canvas.width = from.width;
  canvas.height = from.height;
  const context = canvas.getContext("2d");
  context.fillStyle = colour("--card");
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(from, 0, 0);
  saved(`${title}.png`, "image/png", canvas.toDataURL("image/png"));
}

function draw(chart, place) {
  const box = document.createElement("section");
  box.className = "chart";
  const head = document.createElement("div");
  head.className = "head";
  const title = document.createElement("h3");
  title.textContent = chart.title;
  head.append(title);
  box.append(head);
  if (chart.note) {
    const note = document.createElement("p");
    note.className = "note";
    note.textContent = chart.note;
    box.append(note);
  }
  place.append(box);
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
  const positive = chart.curves.every((curve) => curve.y.every((y) => y > 0));
  const whole = [1, 2, 5].flatMap((digit) => Array.from({ length: 12 }, (_, power) => digit * 10 ** power)).sort((a, b) => a - b);
  const curves = chart.curves.map((curve) => [placed(curve), smoothed(curve)]);
  const plot = new uPlot({
    width: Math.max(200, box.clientWidth - 20),
    height: HEIGHT,
    scales: { x: { time: false }, y: { distr: (chart.log || state.log) && positive ? 3 : 1 } },
    cursor: { sync: { key: "steps" }, drag: { x: true, y: false } },
    axes: [
      { ...axis, space: 70, ...(state.x === "hours" ? {} : { incrs: whole }), values: (_, values) => values.map(shownX) },
      { ...axis, size: 62, values: (_, values) => values.map((value) => value === null ? "" : shown(chart)(value)) },
    ],
    series: [
      { label: state.x === "steps" ? "step" : state.x, value: (_, value) => shownX(value) },
      ...chart.curves.map((curve) => seriesOf(curve, chart)),
    ],
    hooks: {
      setScale: [(self, key) => {
        if (key !== "x" || !self.ready) return;
        const { min, max } = self.scales.x, all = self.data[0];
        state.zoom = min <= all[0] && max >= all[all.length - 1] ? null : [min, max];
      }],
      ready: [(self) => { self.ready = true; }],
    },
  }, uPlot.join(curves), box);
  head.append(button("CSV", `${chart.title} as CSV`, () => saved(`${chart.title}.csv`, "text/csv", csv(chart))));
  head.append(button("PNG", `${chart.title} as an image`, () => image(plot, chart.title)));
  const resized = new ResizeObserver(() => plot.setSize({ width: Math.max(200, box.clientWidth - 20), height: HEIGHT }));
  resized.observe(box);
  return { plot, end: () => { resized.disconnect(); plot.destroy(); } };
}

function drawAll() {
  const place = document.getElementById("charts"), zoom = state.zoom;
  plots.forEach((each) => each.end());
  place.replaceChildren();
  plots = DATA.charts.map((chart) => draw(chart, place));
  if (zoom) plots.forEach(({ plot }) => plot.setScale("x", { min: zoom[0], max: zoom[1] }));
  const legend = document.getElementById("runs");
  legend.replaceChildren();
  if (several) {
    DATA.runs.forEach((name, run) => {
      const item = document.createElement("span"), line = document.createElement("i");
      line.style.background = runColour(run);
      item.append(line, name);
      legend.append(item);
    });
  }
}

// What a reader has set up stays when the page is loaded again.

function remember() {
  state.scroll = scrollY;
  state.open = [...document.querySelectorAll("details[open]")].map((each) => each.id);
  try { sessionStorage.setItem(KEY, JSON.stringify(state)); } catch { /* a browser that stores nothing */ }
}

function recall() {
  try { Object.assign(state, JSON.parse(sessionStorage.getItem(KEY) || "{}")); } catch { /* as above */ }
  state.open.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
}

function control(id, property, read) {
  const field = document.getElementById(id);
  field[property] = state[id];
  field.addEventListener("input", () => {
    state[id] = read(field[property]);
    if (id === "x") state.zoom = null;
    drawAll();
  });
}

recall();
const choices = document.getElementById("x").options;
choices[1].disabled = DATA.tokens.some((count) => !count);
choices[2].disabled = DATA.hours.some(([steps]) => !steps.length);
control("x", "value", String);
control("smooth", "value", Number);
control("log", "checked", Boolean);
document.getElementById("controls").hidden = false;
drawAll();
scrollTo(0, state.scroll);
addEventListener("pagehide", remember);
darkScheme.addEventListener("change", drawAll);
if (DATA.reload) {
  const again = () => document.hidden || document.querySelector("#controls :active") ? setTimeout(again, 1000) : location.reload();
  setTimeout(again, 1000 * DATA.reload);
}
