// Charts of the last minutes: uPlot in the page's colours, one crosshair for all, values beside their names.

import { clear, h, mark, say } from "./dom.js";
import { clock } from "./format.js";

const SYNC = "now";

/** What a custom property such as "--fast" is right now, as a colour that a canvas takes. */
function colour(name) {
  const probe = h("span", { hidden: true });
  probe.style.setProperty("color", `var(${name})`);
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

/** The same colour, let through. */
function faded(value, alpha) {
  const parts = value.match(/[\d.]+/g);
  return parts === null ? value : `rgb(${parts[0]} ${parts[1]} ${parts[2]} / ${alpha})`;
}

/**
 * A chart in a panel. series: [{name, label, colour, kind: "bar" | "line" | "area", dash}], drawn in this order; "bar"
 * series stand on each other. format(value) makes its texts. show(times, columns, raw) takes Unix seconds and a list of
 * values for each series; raw, if given, is what the legend tells instead of them. The node is a figure.
 */
export class Chart {
  constructor({ title, note, series, format, axis = format, seconds }) {
    this.series = series;
    this.format = format;
    this.axis = axis;
    this.seconds = seconds;
    this.plot = null;
    this.told = [];
    this.times = [];
    this.when = h("span", { class: "chart-when" }, "");
    this.values = series.map(() => h("span", { class: "chart-value" }, "–"));
    this.area = h("div", { class: "chart-area", role: "img", "aria-label": title });
    this.title = title;
    this.node = h("figure", { class: "panel chart" },
      h("figcaption", { class: "panel-head" }, h("h2", null, title), h("span", { class: "note" }, note)),
      h("div", { class: "chart-legend" }, series.map((each, at) => h("span", { class: "chart-key", data: { colour: each.colour.slice(2) } }, each.label, this.values[at])), this.when),
      this.area);
    this.resized = new ResizeObserver(() => this.fit());
    this.resized.observe(this.area);
    this.restyled = () => this.rebuild();
    addEventListener("themechange", this.restyled);
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.scheme.addEventListener("change", this.restyled);
  }

  show(times, columns, raw = columns) {
    this.times = times;
    this.told = raw;
    this.columns = columns;
    this.data = [times, ...this.stacked(columns)];
    if (this.plot === null) this.build();
    else this.plot.setData(this.data, false);
    if (this.plot !== null) {
      const last = times.at(-1) ?? Date.now() / 1000;
      this.plot.batch(() => {
        this.plot.setScale("x", { min: last - this.seconds, max: last });
        this.plot.setScale("y", { min: 0, max: this.top() });
      });
    }
    this.tell(this.plot?.cursor.idx ?? null);
  }

  close() {
    this.resized.disconnect();
    removeEventListener("themechange", this.restyled);
    this.scheme.removeEventListener("change", this.restyled);
    this.plot?.destroy();
    this.plot = null;
  }

  // Bars stand on those before them; the last one drawn is the lowest, so the order turns round.
  stacked(columns) {
    const sums = this.times.map(() => 0);
    const stood = columns.map((column, at) =>
      this.series[at].kind === "bar" ? column.map((value, i) => (sums[i] += Math.max(0, value ?? 0))) : column);
    return stood.reverse();
  }

  top() {
    let most = 0;
    for (const column of this.data.slice(1)) for (const value of column) if (value > most) most = value;
    return most === 0 ? 1 : most * 1.12;
  }

  tell(at) {
    say(this.when, at === null || this.times[at] === undefined ? "" : clock(this.times[at]));
    const values = this.told.map((column, each) => this.format((at === null ? this.latest(column, this.series[each]) : column[at]) ?? null));
    values.forEach((value, each) => say(this.values[each], value));
    if (at === null) mark(this.area, "aria-label", `${this.title}, latest: ${this.series.map((each, n) => `${each.label} ${values[n]}`).join(", ")}`);
  }

  // What is told while nobody points: the last bar that is over, or the last value there was.
  latest(column, series) {
    return series.kind === "bar" ? column.at(-2) : column.findLast((value) => value !== null && value !== undefined);
  }

  fit() {
    const width = Math.floor(this.area.clientWidth);
    if (width > 0 && this.plot !== null && this.plot.width !== width) this.plot.setSize({ width, height: this.area.clientHeight });
    else if (width > 0 && this.plot === null && this.data) this.show(this.times, this.columns, this.told);
  }

  rebuild() {
    if (this.plot === null) return;
    this.plot.destroy();
    this.plot = null;
    clear(this.area);
    this.show(this.times, this.columns, this.told);
  }

  build() {
    const width = Math.floor(this.area.clientWidth);
    if (width === 0) return;
    const muted = colour("--muted");
    const line = colour("--line");
    const page = getComputedStyle(document.documentElement);
    const font = `${Math.round(Number.parseFloat(page.fontSize) * 0.8)}px ${page.fontFamily}`;
    const bars = uPlot.paths.bars({ size: [0.72, 20], align: 1, radius: 0.12 });
    const drawn = [...this.series].reverse().map((each) => {
      const stroke = colour(each.colour);
      const shared = { label: each.label, spanGaps: true, points: { show: false } };
      if (each.kind === "bar") return { ...shared, fill: stroke, width: 0, stroke, paths: bars };
      return { ...shared, stroke, width: 1.75, dash: each.dash, fill: each.kind === "area" ? faded(stroke, 0.12) : undefined };
    });
    this.plot = new uPlot({
      width,
      height: this.area.clientHeight,
      legend: { show: false },
      padding: [8, 16, 0, 0],
      cursor: { y: false, drag: { x: false, y: false }, sync: { key: SYNC, setSeries: false }, points: { show: false } },
      scales: { x: { time: true, auto: false }, y: { auto: false } },
      series: [{}, ...drawn],
      axes: [
        { stroke: muted, font, size: 26, grid: { show: false }, ticks: { show: false }, space: 48, incrs: [60, 120, 300], values: (_, all) => all.map((each) => clock(each).slice(0, 5)) },
        { stroke: muted, font, size: 54, grid: { stroke: line, width: 1 }, ticks: { show: false }, space: 40, values: (_, all) => all.map((each) => this.axis(each)) },
      ],
      hooks: { setCursor: [(plot) => this.tell(plot.cursor.idx ?? null)] },
    }, this.data, this.area);
  }
}
