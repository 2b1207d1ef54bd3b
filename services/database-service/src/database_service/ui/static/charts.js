// Charts: each figure draws one column of a table on its page, which says the same to who sees no chart.
"use strict";

// The library tells sizes by attributes `style`, which the policy forbids; an element's own style may say the same.
const attributes = Chartist.Svg.prototype.attr;
Chartist.Svg.prototype.attr = function (told, namespace) {
  if (typeof told !== "object" || told.style === undefined) return attributes.call(this, told, namespace);
  const {style, ...others} = told;
  this._node.style.cssText = style;
  return attributes.call(this, others, namespace);
};

const DAY_MS = 86_400_000;
const drawn = new Map();

function bytes(number) {
  let unit = 0;
  while (Math.abs(number) >= 1000 && unit < 4) { number /= 1000; unit++; }
  return `${Number(number.toPrecision(3))} ${["B", "kB", "MB", "GB", "TB"][unit]}`;
}

function moments(from, to) {
  const known = to - from > 3 * DAY_MS ? {month: "short", day: "numeric"} : {weekday: "short", hour: "2-digit", minute: "2-digit"};
  const format = new Intl.DateTimeFormat(undefined, known);
  return (at) => format.format(new Date(at));
}

function points(table, column) {
  return Array.from(table.tBodies[0].rows, (row) => { // the newest first
    const cell = row.cells[column];
    return {x: Date.parse(row.querySelector("time").dateTime), y: Number((cell.querySelector("data") || {value: cell.textContent}).value)};
  }).reverse();
}

// Where nobody looked for longer than usual, the line is broken.
function broken(all) {
  const steps = all.slice(1).map((point, n) => point.x - all[n].x).sort((a, b) => a - b);
  const usual = steps[Math.floor(steps.length / 2)] || 0;
  return all.flatMap((point, n) => (n && point.x - all[n - 1].x > 1.5 * usual ? [{x: point.x - usual, y: null}, point] : [point]));
}

function chart(figure) {
  const table = document.getElementById(figure.dataset.table);
  const all = points(table, Number(figure.dataset.column));
  const limit = Number(figure.dataset.limit || 0);
  const [from, to] = [all[0].x, all[all.length - 1].x];
  const series = [{className: "measured", data: broken(all)}];
  if (limit) series.push({className: "limit", data: [{x: from, y: limit}, {x: to, y: limit}]});
  const place = document.createElement("div");
  place.className = "drawing";
  figure.append(place);
  const made = new Chartist.LineChart(place, {series}, {
    showPoint: all.length === 1,
    lineSmooth: Chartist.Interpolation.none(),
    chartPadding: {top: 12, right: 20, bottom: 4, left: 4},
    axisX: {type: Chartist.FixedScaleAxis, divisor: Math.min(4, Math.max(1, all.length - 1)), low: from, high: Math.max(to, from + 1), showGrid: false,
      labelInterpolationFnc: moments(from, to)},
    axisY: {type: Chartist.AutoScaleAxis, low: 0, high: Math.max(limit, 1, ...all.map((point) => point.y)), offset: 68, onlyInteger: true,
      labelInterpolationFnc: figure.dataset.unit === "bytes" ? bytes : (number) => number.toLocaleString()},
  });
  made.on("created", () => {
    const svg = place.querySelector("svg");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", figure.querySelector("figcaption").textContent);
  });
  return made;
}

function drawCharts(part) {
  for (const [figure, made] of drawn) {
    if (!figure.isConnected) { made.detach(); drawn.delete(figure); }
  }
  for (const figure of part.querySelectorAll("figure.chart")) {
    if (!drawn.has(figure)) drawn.set(figure, chart(figure));
  }
}

drawCharts(document);
let opened = [];
document.body.addEventListener("htmx:beforeSwap", (event) => {
  opened = Array.from(event.detail.target.querySelectorAll("details[id][open]"), (each) => each.id);
});
document.body.addEventListener("htmx:afterSwap", (event) => {
  for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
  drawCharts(event.detail.target);
});
