// Numbers as people read them: short in the page, exact in the title.

const GROUPED = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const DASH = "–";

/** A count: 1,234; from 100,000 on 123k, 4.56M. */
export function count(value) {
  if (absent(value)) return DASH;
  if (Math.abs(value) < 100_000) return GROUPED.format(value);
  if (Math.abs(value) < 1_000_000) return `${Math.round(value / 1000)}k`;
  if (Math.abs(value) < 1_000_000_000) return `${three(value / 1_000_000)}M`;
  return `${three(value / 1_000_000_000)}B`;
}

/** The same, whole. */
export function exact(value) {
  return absent(value) ? DASH : GROUPED.format(value);
}

/** A rate per second: 0, 0.25, 12.3, 456. */
export function rate(value) {
  if (absent(value)) return DASH;
  if (value === 0) return "0";
  if (value < 0.01) return "<0.01";
  if (value < 1) return value.toFixed(2);
  if (value < 100) return value.toFixed(1);
  return count(value);
}

/** Milliseconds as [number, unit]: 0.42 ms, 12 ms, 1.24 s, 2.1 min. */
export function durationParts(ms) {
  if (absent(ms)) return [DASH, ""];
  if (ms < 1) return [ms === 0 ? "0" : ms.toFixed(2), "ms"];
  if (ms < 10) return [ms.toFixed(1), "ms"];
  if (ms < 1000) return [String(Math.round(ms)), "ms"];
  if (ms < 10_000) return [(ms / 1000).toFixed(2), "s"];
  if (ms < 120_000) return [(ms / 1000).toFixed(1), "s"];
  return [(ms / 60_000).toFixed(1), "min"];
}

/** Milliseconds in one string. */
export function duration(ms) {
  const [value, unit] = durationParts(ms);
  return unit ? `${value} ${unit}` : value;
}

/** US dollars: $0, $0.000012, $0.0123, $1.23, $12,345. */
export function money(usd) {
  if (absent(usd)) return DASH;
  const size = Math.abs(usd);
  const sign = usd < 0 ? "−" : "";
  if (size === 0) return "$0";
  if (size < 0.000001) return `${sign}<$0.000001`;
  if (size < 0.001) return `${sign}$${size.toFixed(6)}`;
  if (size < 1) return `${sign}$${size.toFixed(4)}`;
  if (size < 1000) return `${sign}$${size.toFixed(2)}`;
  return `${sign}$${count(Math.round(size))}`;
}

/** US dollars beside an axis: three figures that count. */
export function axisMoney(usd) {
  return absent(usd) ? DASH : usd >= 1000 ? money(usd) : `$${Number(usd.toPrecision(3))}`;
}

/** US dollars to the millionth. */
export function exactMoney(usd) {
  return absent(usd) ? DASH : `${usd < 0 ? "−" : ""}$${Math.abs(usd).toFixed(6)}`;
}

/** A share between 0 and 1: 0%, 0.4%, 12.3%, 100%. */
export function percent(share) {
  if (absent(share)) return DASH;
  const value = share * 100;
  if (value === 0 || value === 100) return `${value}%`;
  return `${value < 0.1 && value > 0 ? "<0.1" : value.toFixed(1)}%`;
}

/** Seconds of being up, lost, open: 12 s, 4 min 5 s, 3 h 12 min, 5 d 2 h. */
export function span(seconds) {
  if (absent(seconds)) return DASH;
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3600)} h`;
}

/** The time of day here, of an ISO text or Unix seconds: 14:03:07. */
export function clock(when) {
  const date = typeof when === "number" ? new Date(when * 1000) : new Date(when);
  if (Number.isNaN(date.getTime())) return DASH;
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((each) => String(each).padStart(2, "0")).join(":");
}

/** Date and time here, with the zone's name. */
export function moment(when) {
  const date = typeof when === "number" ? new Date(when * 1000) : new Date(when);
  return Number.isNaN(date.getTime()) ? DASH : date.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "long" });
}

/** A word of the gateway's lists as people write it: tier_fallback → tier fallback. */
export function words(name) {
  return absent(name) ? DASH : String(name).replaceAll("_", " ");
}

function absent(value) {
  return value === null || value === undefined || (typeof value === "number" && Number.isNaN(value));
}

function three(value) {
  return value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : String(Math.round(value));
}
