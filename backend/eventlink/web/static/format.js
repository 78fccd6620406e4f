// How numbers, shares and times are written: as the viewer's language and zone have it, but for
// words, which stay those of the page.

import { h } from "./dom.js";

const whole = new Intl.NumberFormat();
const short = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 });
const long = new Intl.NumberFormat(undefined, {
  minimumFractionDigits: 3,
  maximumFractionDigits: 3,
});
const shares = [0, 1, 2].map(
  (digits) =>
    new Intl.NumberFormat(undefined, {
      style: "percent",
      minimumFractionDigits: digits,
      maximumFractionDigits: digits,
    }),
);
const round = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 2 });
const signed = new Intl.NumberFormat(undefined, {
  style: "percent",
  maximumFractionDigits: 1,
  signDisplay: "exceptZero",
});
const signedPoints = new Intl.NumberFormat(undefined, {
  maximumFractionDigits: 2,
  signDisplay: "exceptZero",
});
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const days = new Intl.DateTimeFormat(undefined, {
  day: "numeric",
  month: "short",
  timeZone: "UTC",
});
const weekdays = new Intl.DateTimeFormat(undefined, {
  weekday: "short",
  day: "numeric",
  month: "short",
  timeZone: "UTC",
});
const ago = new Intl.RelativeTimeFormat("en");

export const NONE = "–";

export const count = (number) => (number === null ? NONE : whole.format(number));
export const figure = (number) => (typeof number === "number" ? short.format(number) : NONE);
export const score = (number) => (typeof number === "number" ? long.format(number) : NONE);

/** A share as a percentage; small ones with a digit more, as clicks are rare. */
export function percent(share) {
  if (share === null || share === undefined) return NONE;
  return shares[share === 0 || share === 1 ? 0 : share < 0.01 ? 2 : 1].format(share);
}

export const roundPercent = (share) => round.format(share);
export const change = (share) => signed.format(share);
export const points = (share) => signedPoints.format(100 * share);
/** How sure the intervals of the API are. */
export const SURE = round.format(0.95);

export const between = (low, high) => `${percent(low)} – ${percent(high)}`;

/** One word or the other, after the number. */
export const counted = (number, one, many) => `${count(number)} ${number === 1 ? one : many}`;

/** Days of the API are UTC days, wherever the viewer is. */
export const day = (date) => days.format(new Date(`${date}T00:00:00Z`));
export const weekday = (date) => weekdays.format(new Date(`${date}T00:00:00Z`));

const UNITS = [
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
  ["second", 1],
];

/** The largest unit of which there are two, so that 90 minutes are not told as an hour. */
const unitOf = (seconds) => UNITS.find(([, size]) => seconds >= 2 * size) ?? UNITS.at(-1);

export function span(seconds) {
  const [unit, size] = unitOf(seconds);
  const format = { style: "unit", unit, unitDisplay: "long", maximumFractionDigits: 0 };
  return new Intl.NumberFormat("en", format).format(seconds / size);
}

/** A point in time as an element: as `text` tells it, and exactly in its title. */
function time(iso, text) {
  if (!iso) return h("span", { class: "faint" }, NONE);
  const exact = new Date(iso).toISOString();
  return h("time", { datetime: exact, title: exact }, text(new Date(iso)));
}

export const when = (iso) => time(iso, (date) => moment.format(date));

export const since = (iso) =>
  time(iso, (date) => {
    const seconds = Math.max((Date.now() - date) / 1000, 0);
    const [unit, size] = unitOf(seconds);
    return ago.format(-Math.round(seconds / size), unit);
  });
