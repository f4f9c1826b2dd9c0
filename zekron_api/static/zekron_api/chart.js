// Draws the numbers in the element #chart-data as stacked bars into #chart. Without it the page has its tables.
import uPlot from "./vendor/uPlot.esm.js";

const HEIGHT = 320;
const COLOURS = 8;
const POWERS = [0, 1, 2, 3, 4, 5, 6, 7, 8].map((power) => 10 ** power);
const WHOLE_STEPS = POWERS.flatMap((power) => [power, 2 * power, 5 * power]);

const place = document.getElementById("chart");
const data = JSON.parse(document.getElementById("chart-data").textContent);
const count = data.labels.length;
let chart = null;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function seriesColour(index) {
  return colour(`--chart-${Math.min(index, COLOURS - 1) + 1}`);
}

function write(value) {
  return data.isMoney ? `${value.toFixed(4)} USD` : value.toLocaleString("en");
}

function writeAxis(value) {
  return data.isMoney ? value.toFixed(value < 1 && value ? 2 : 0) : value.toLocaleString("en");
}

// A bar of a series stands on those of the series after it, so the sums are drawn from the highest to the lowest.
function stack(series) {
  const sums = series.map(() => null);
  let below = new Array(count).fill(0);
  for (let index = series.length - 1; index >= 0; index -= 1) {
    below = series[index].values.map((value, at) => value + below[at]);
    sums[index] = below;
  }
  return sums;
}

function seriesOptions(each, index) {
  const fill = seriesColour(index);
  return {
    label: each.name,
    fill,
    stroke: fill,
    width: 0,
    points: { show: false },
    paths: uPlot.paths.bars({ size: [0.8, 48] }),
    value: (_chart, _sum, _series, at) => (at === null ? "–" : write(each.values[at])),
  };
}

function axisOptions() {
  const line = { stroke: colour("--quiet"), grid: { show: false }, ticks: { show: false } };
  return [
    {
      ...line,
      incrs: [1, 2, 3, 5, 7, 10, 14, 20, 30, 50, 100],
      space: 70,
      size: 32,
      values: (_chart, places) => places.map((at) => data.ticks[at] ?? ""),
    },
    {
      ...line,
      grid: { stroke: colour("--line"), width: 1 },
      incrs: data.isMoney ? undefined : WHOLE_STEPS,
      size: (_chart, texts) => 18 + 8 * Math.max(2, ...(texts ?? []).map((text) => text.length)),
      values: (_chart, values) => values.map(writeAxis),
    },
  ];
}

function draw() {
  chart?.destroy();
  const options = {
    width: place.clientWidth,
    height: HEIGHT,
    ms: 1,
    scales: {
      x: { time: false, range: [-0.5, count - 0.5] },
      y: { range: (_chart, _least, most) => [0, (most || 1) * 1.08] },
    },
    axes: axisOptions(),
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false }, dataIdx: (_chart, _series, at) => at },
    legend: { markers: { width: 0, fill: (_chart, index) => seriesColour(index - 1) } },
    series: [{ label: data.bucket, value: (_chart, _x, _series, at) => (at === null ? "–" : data.labels[at]) }, ...data.series.map(seriesOptions)],
  };
  chart = new uPlot(options, [data.labels.map((_label, at) => at), ...stack(data.series)], place);
}

place.hidden = false;
draw();
new ResizeObserver(() => {
  if (chart.width !== place.clientWidth) {
    chart.setSize({ width: place.clientWidth, height: HEIGHT });
  }
}).observe(place);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
