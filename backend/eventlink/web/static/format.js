// How numbers, shares and times are written: as the viewer's language and zone have it, but for
// words, which stay those of the page.

import { h } from "./dom.js";

export const NONE = "–";

const numbers = (options) => new Intl.NumberFormat(undefined, options);
const percentages = (options) => numbers({ style: "percent", ...options });
const digits = (many) => ({ minimumFractionDigits: many, maximumFractionDigits: many });
const dates = (options) => new Intl.DateTimeFormat(undefined, options);

const counts = numbers();
const figures = numbers({ maximumFractionDigits: 2 });
const scores = numbers(digits(3));
const percents = [0, 1, 2].map((many) => percentages(digits(many)));
const roundPercents = percentages({ maximumFractionDigits: 2 });
const changes = percentages({ maximumFractionDigits: 1, signDisplay: "exceptZero" });
const pointsOfPercent = numbers({ maximumFractionDigits: 2, signDisplay: "exceptZero" });

export const count = (number) => (number === null ? NONE : counts.format(number));
export const figure = (number) => (typeof number === "number" ? figures.format(number) : NONE);
export const score = (number) => (typeof number === "number" ? scores.format(number) : NONE);

/** One word or the other, after the number. */
export const counted = (number, one, many) => `${count(number)} ${number === 1 ? one : many}`;

/** A share as a percentage; small ones with a digit more, as clicks are rare. */
export function percent(share) {
  if (share === null || share === undefined) return NONE;
  return percents[share === 0 || share === 1 ? 0 : share < 0.01 ? 2 : 1].format(share);
}

export const roundPercent = (share) => roundPercents.format(share);
export const between = (low, high) => `${percent(low)} – ${percent(high)}`;

/** What became more or less, with its sign: as a share of what it was, or in percentage points. */
export const change = (share) => changes.format(share);
export const points = (share) => pointsOfPercent.format(100 * share);

/** How sure the intervals of the API are. */
export const SURE = roundPercent(0.95);

// Days of the API are UTC days, wherever the viewer is.
const days = dates({ day: "numeric", month: "short", timeZone: "UTC" });
const weekdays = dates({ weekday: "short", day: "numeric", month: "short", timeZone: "UTC" });
const midnight = (iso) => new Date(`${iso}T00:00:00Z`);

export const day = (iso) => days.format(midnight(iso));
export const weekday = (iso) => weekdays.format(midnight(iso));

const moments = dates({ dateStyle: "medium", timeStyle: "short" });
const ago = new Intl.RelativeTimeFormat("en");

const UNITS = [
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
  ["second", 1],
];

/** The largest unit of which there are two, so that 90 minutes are not told as an hour. */
const unitOf = (seconds) => UNITS.find(([, size]) => seconds >= 2 * size) ?? UNITS.at(-1);

/** A length of time: "90 minutes". */
export function span(seconds) {
  const [unit, size] = unitOf(seconds);
  const format = { style: "unit", unit, unitDisplay: "long", maximumFractionDigits: 0 };
  // Of two clocks one may be ahead: that is no time at all, and not -0 seconds.
  return new Intl.NumberFormat("en", format).format(Math.max(seconds / size, 0));
}

/** The same where there is little room: "90 min". */
export function shortSpan(seconds) {
  if (seconds < 100) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

/** A point in time as an element: as `text` tells it, and exactly in its title. */
function time(iso, text) {
  if (!iso) return h("span", { class: "faint" }, NONE);
  const exact = new Date(iso).toISOString();
  return h("time", { datetime: exact, title: exact }, text(new Date(iso)));
}

export const when = (iso) => time(iso, (moment) => moments.format(moment));

export const since = (iso) =>
  time(iso, (moment) => {
    const seconds = Math.max((Date.now() - moment) / 1000, 0);
    const [unit, size] = unitOf(seconds);
    return ago.format(-Math.round(seconds / size), unit);
  });
