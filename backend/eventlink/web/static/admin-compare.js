// Rates beside each other: of sources, of models, of the arms of an experiment.

import { table, tile } from "./admin-parts.js";
import { axis, intervalPlot } from "./chart.js";
import { h } from "./dom.js";
import { between, change, count, NONE, percent, points, roundPercent, SURE } from "./format.js";

export const CTR = { of: (one) => one.ctr, tone: "ctr" };
export const CONVERSION = { of: (one) => one.registration_conversion, tone: "conversion" };

/** Rows beside each other, their intervals on one scale, with the rate of all marked in each. */
export function compare(title, first, rows, total, name) {
  if (!rows.length) return [];
  const column = (heading, { of, tone }) => {
    const { top: to } = axis(rows.map(of), 4);
    const cell = (row) => {
      const rate = of(row);
      return h(
        "div",
        { class: "rate" },
        h("b", {}, percent(rate.rate)),
        h("small", {}, rate.low === null ? "one user" : between(rate.low, rate.high)),
        intervalPlot(rate, { to, middle: total && of(total).rate, tone }),
      );
    };
    return { heading: `${heading}, 0 to ${roundPercent(to)}`, cell };
  };
  const ctr = column("CTR", CTR);
  const conversion = column("Conversion", CONVERSION);
  return [
    h("h3", {}, title),
    table(
      title,
      [first, "#Impressions", "#Users", ctr.heading, conversion.heading],
      rows.map((row) => [
        name(row),
        count(row.impressions),
        count(row.users),
        ctr.cell(row),
        conversion.cell(row),
      ]),
      "compared",
    ),
  ];
}

/** The arms of an experiment, where one runs. */
export function experiment({ lift, by_arm: arms }) {
  if (!lift || !arms?.some((one) => one.arm !== null)) return [];
  const names = { treatment: "Treatment: rankings", control: "Control: heuristic" };
  const title = `Experiment “${lift.experiment}”`;
  const taking = arms.filter((one) => one.arm !== null);
  return [
    ...compare(title, "Arm", taking, null, ({ arm }) => h("span", {}, names[arm] ?? arm)),
    h(
      "div",
      { class: "tiles" },
      verdict("CTR: what rankings change", lift.ctr, CTR.tone),
      verdict("Conversion: what rankings change", lift.registration_conversion, CONVERSION.tone),
    ),
  ];
}

function verdict(name, { relative, absolute }, tone) {
  const found = relative ?? absolute;
  if (!found) return tile(name, NONE, "Each arm needs impressions of two users or more.");
  const { value, low, high } = found;
  const told = relative ? change : points;
  const sure = low > 0 ? "Surely better." : high < 0 ? "Surely worse." : "No sure difference yet.";
  const reach = 1.1 * Math.max(Math.abs(low), Math.abs(high));
  return h(
    "div",
    { class: "card tile" },
    h("h3", {}, name),
    h("p", { class: "big" }, told(value), relative ? null : h("small", {}, " percentage points")),
    h("p", {}, sure),
    h("p", { class: "faint" }, `With ${SURE} confidence between ${told(low)} and ${told(high)}`),
    intervalPlot({ rate: value, low, high }, { from: -reach, to: reach || 1, middle: 0, tone }),
  );
}
