// "How recommendations do": what impressions led to, and how surely.

import { axis, dailyChart, intervalPlot } from "./chart.js";
import { h } from "./dom.js";
import { between, change, count, counted, percent, roundPercent, weekday, when } from "./format.js";
import { choice, panel, say, table } from "./admin-parts.js";

const CTR = { of: (one) => one.ctr, tone: "ctr" };
const CONVERSION = { of: (one) => one.registration_conversion, tone: "conversion" };
const SOURCES = { cache: "Rankings", heuristic: "Heuristic" };
const DAY = 86400000;

/** The section; it asks anew for the figures when other days are chosen. */
export function figures(ask) {
  const part = panel("figures", "How recommendations do");
  const spans = [7, 30, 90].map((days) => ({ value: days, label: `${days} days` }));
  const chosen = choice("Days", "days", spans, 30, () => load());
  part.tools.append(chosen.element);
  let asked = 0;

  async function load() {
    const number = (asked += 1);
    part.element.setAttribute("aria-busy", "true");
    try {
      const found = await ask("GET", `api/admin/personalization/metrics?days=${chosen.value()}`);
      if (number !== asked) return; // other days were chosen meanwhile
      part.body.replaceChildren(...(found.total.impressions ? report(found) : nothing(found)));
      say(part.problems, "");
    } catch (error) {
      say(part.problems, error.message);
    }
    part.element.removeAttribute("aria-busy");
  }
  return { element: part.element, load };
}

function report(found) {
  const { total } = found;
  const gains = gaining(found);
  return [
    h(
      "div",
      { class: "tiles" },
      tile("Impressions", count(total.impressions), unattributed(found)),
      tile("Users", count(total.users), `${count(Math.round(total.impressions / total.users))} impressions each on average`),
      tile(
        "Clicked (CTR)",
        percent(total.ctr.rate),
        surely(total.ctr),
        `${counted(total.clicks, "impression", "impressions")} clicked`,
      ),
      tile(
        "Registered (conversion)",
        percent(total.registration_conversion.rate),
        surely(total.registration_conversion),
        `${counted(total.registrations, "impression", "impressions")} led to a registration`,
      ),
    ),
    h(
      "div",
      { class: "charts" },
      dailyChart(found.by_day, {
        title: "CTR",
        ...CTR,
        led: (one) => ({ number: one.clicks, what: (n) => counted(n, "click", "clicks") }),
        gains: () => false,
      }),
      dailyChart(found.by_day, {
        title: "Registration conversion",
        ...CONVERSION,
        led: (one) => ({ number: one.registrations, what: (n) => counted(n, "registration", "registrations") }),
        gains,
      }),
    ),
    h(
      "p",
      { class: "note" },
      "Shares of impressions. The bands, and the bars below, are 95 % intervals: where two of them are" +
        " apart, there is a difference. The line across the bars is the share of all. Days are UTC days. A registration counts for an" +
        ` impression up to ${count(found.attribution.registration_window_days)} days before it, so the last` +
        " days can still gain. As of ",
      when(found.until),
      ".",
    ),
    byDay(found.by_day, gains),
    ...compare("By source", "Source", found.by_source, total, ({ source }) =>
      h("span", {}, SOURCES[source] ?? source ?? "Not known"),
    ),
    ...compare("By model", "Model", found.by_model_version, total, ({ model_version: version }) =>
      version === null ? h("span", {}, "No model, or not known") : h("code", {}, version),
    ),
    ...experiment(found),
  ];
}

/** Tell the days whose impressions can still gain registrations: those within the window. */
function gaining({ until, attribution }) {
  const from = Date.parse(until) - attribution.registration_window_days * DAY;
  return (one) => Date.parse(`${one.day}T00:00:00Z`) >= from - (from % DAY) + DAY;
}

const tile = (name, value, ...notes) =>
  h(
    "div",
    { class: "card tile" },
    h("h3", {}, name),
    h("p", { class: "big" }, value),
    notes.map((note) => h("p", { class: "faint" }, note)),
  );

function surely({ rate, low, high }) {
  if (rate === null) return "Nothing was shown.";
  if (low === null) return "What one user did says nothing of the others.";
  return ["With 95 % confidence ", h("span", { class: "whole" }, `between ${percent(low)} and ${percent(high)}`)];
}

function unattributed({ unattributed_impressions: number }) {
  if (!number) return "Events shown, each once a list";
  return `${count(number)} more came without request_id and count nowhere`;
}

function byDay(days, gains) {
  const shown = [...days].reverse().filter((one) => one.impressions);
  const cell = ({ rate, low, high }) => [percent(rate), low === null ? null : h("small", {}, between(low, high))];
  return h(
    "details",
    {},
    h("summary", {}, "The days in figures"),
    table(
      "Figures by day",
      ["Day", "#Impressions", "#Users", "#Clicks", "#CTR", "#Registrations", "#Conversion"],
      shown.map((one) => [
        [weekday(one.day), gains(one) ? h("small", {}, "can still gain") : null],
        count(one.impressions),
        count(one.users),
        count(one.clicks),
        cell(one.ctr),
        count(one.registrations),
        cell(one.registration_conversion),
      ]),
      "scrolls",
    ),
  );
}

/** Rows beside each other, their intervals on one scale, with the rate of all marked in each. */
function compare(title, first, rows, total, name) {
  if (!rows.length) return [];
  const column = (heading, { of, tone }) => {
    const { top: to, step } = axis(rows.map(of), 4);
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
    return { heading: `${heading}, 0 to ${roundPercent(to, step)}`, cell };
  };
  const ctr = column("CTR", CTR);
  const conversion = column("Conversion", CONVERSION);
  return [
    h("h3", {}, title),
    table(
      title,
      [first, "#Impressions", "#Users", ctr.heading, conversion.heading],
      rows.map((row) => [name(row), count(row.impressions), count(row.users), ctr.cell(row), conversion.cell(row)]),
      "compared",
    ),
  ];
}

/** The arms of an experiment, where one runs. */
function experiment({ lift, by_arm: arms }) {
  if (!lift || !arms?.some((one) => one.arm !== null)) return [];
  const names = { treatment: "Treatment: rankings", control: "Control: heuristic" };
  return [
    ...compare("Experiment", "Arm", arms.filter((one) => one.arm !== null), null, ({ arm }) =>
      h("span", {}, names[arm] ?? arm),
    ),
    h(
      "div",
      { class: "tiles" },
      verdict("What rankings change of the CTR", lift.ctr, CTR.tone),
      verdict("What rankings change of the conversion", lift.registration_conversion, CONVERSION.tone),
    ),
  ];
}

function verdict(name, { relative, absolute }, tone) {
  const found = relative ?? absolute;
  if (!found) return tile(name, "–", "Each arm needs impressions of two users or more.");
  const { value, low, high } = found;
  const sure = low > 0 ? "Surely better." : high < 0 ? "Surely worse." : "No sure difference yet.";
  const reach = 1.1 * Math.max(Math.abs(low), Math.abs(high));
  const unit = relative ? "" : " of impressions";
  return h(
    "div",
    { class: "card tile" },
    h("h3", {}, name),
    h("p", { class: "big" }, change(value), unit ? h("small", {}, unit) : null),
    h("p", {}, sure),
    h("p", { class: "faint" }, `With 95 % confidence between ${change(low)} and ${change(high)}${unit}`),
    intervalPlot({ rate: value, low, high }, { from: -reach, to: reach, middle: 0, tone }),
  );
}

function nothing(found) {
  const without = found.unattributed_impressions;
  return [
    h(
      "div",
      { class: "card empty" },
      h("h3", {}, "No impressions yet"),
      h(
        "p",
        {},
        without
          ? `${counted(without, "impression", "impressions")} came without request_id, so nobody can tell which list` +
              " they belong to. Send the request_id of the list with every impression and click."
          : "Nobody was shown anything in these days, as far as this server was told. Send an impression for" +
              " every event that a page shows, and a click for every one that is opened.",
      ),
      h(
        "p",
        {},
        "The script at ",
        h("a", { href: "tracker.js" }, "/tracker.js"),
        " does it from a page of yours; ",
        h("a", { href: "docs" }, "POST /api/analytics/interactions"),
        " is what it sends them to. docs/api.md tells more, under Interactions.",
      ),
    ),
  ];
}
