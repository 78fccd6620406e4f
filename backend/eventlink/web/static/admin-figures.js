// "How recommendations do": what impressions led to, and how surely.

import { compare, CONVERSION, CTR, experiment } from "./admin-compare.js";
import { choice, empty, panel, redraw, table, tile } from "./admin-parts.js";
import { dailyChart } from "./chart.js";
import { h, say } from "./dom.js";
import { between, count, counted, percent, SURE, weekday, when } from "./format.js";

const SOURCES = { cache: "Rankings", heuristic: "Heuristic" };
const DAY = 86400000;
const AGAIN = 5000; // milliseconds until figures are asked for again that had to wait for others
const WAITING = "Counting … Other figures come first; these follow by themselves.";

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
      redraw(part.body, ...(found.total.impressions ? report(found) : [nothing(found)]));
      part.trouble("");
    } catch (error) {
      if (number !== asked) return;
      if (error.status === 429) return wait(number);
      part.trouble(error.message);
    }
    say(part.told, "");
    part.element.removeAttribute("aria-busy");
  }

  /** Tell that others are counted first, and ask again, unless somebody has or nobody looks. */
  function wait(number) {
    part.trouble("");
    say(part.told, WAITING);
    setTimeout(() => number === asked && part.element.isConnected && load(), AGAIN);
  }
  return { element: part.element, load };
}

function report(found) {
  const { total } = found;
  const each = counted(Math.round(total.impressions / total.users), "impression", "impressions");
  const window = count(found.attribution.registration_window_days);
  const gains = gaining(found);
  return [
    h(
      "div",
      { class: "tiles" },
      tile("Impressions", count(total.impressions), unattributed(found)),
      tile("Users", count(total.users), `${each} each on average`),
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
        led: (one) => counted(one.clicks, "click", "clicks"),
        gains: () => false,
      }),
      dailyChart(found.by_day, {
        title: "Registration conversion",
        ...CONVERSION,
        led: (one) => counted(one.registrations, "registration", "registrations"),
        gains,
      }),
    ),
    h(
      "p",
      { class: "note" },
      `Shares of impressions. The bands, and the bars below, are ${SURE} intervals: where two of` +
        " them are apart, there is a difference. The line across the bars is the share of all." +
        ` Days are UTC days. A registration counts for an impression up to ${window} days before` +
        " it, so the last days can still gain. As of ",
      when(found.until),
      "; counted every ten minutes, and whenever other days are chosen.",
    ),
    byDay(found.by_day, gains),
    ...compare("By source", "Source", found.by_source, total, ({ source }) =>
      h("span", {}, SOURCES[source] ?? source ?? "Not known"),
    ),
    ...compare("By model", "Model", found.by_model_version, total, ({ model_version: version }) =>
      version === null ? h("span", {}, "No model, or not known") : h("code", {}, version),
    ),
    h("p", { class: "note" }, "Models that served on different days differ in the days, too."),
    ...experiment(found),
  ];
}

/** Tell the days whose impressions can still gain registrations: those within the window. */
function gaining({ until, attribution }) {
  const from = Date.parse(until) - attribution.registration_window_days * DAY;
  return (one) => Date.parse(`${one.day}T00:00:00Z`) >= from - (from % DAY) + DAY;
}

function surely({ rate, low, high }) {
  if (rate === null) return "Nothing was shown.";
  if (low === null) return "What one user did says nothing of the others.";
  const ends = `between ${percent(low)} and ${percent(high)}`;
  return [`With ${SURE} confidence `, h("span", { class: "whole" }, ends)];
}

function unattributed({ unattributed_impressions: number }) {
  if (!number) return "An event counts once a list";
  return `besides ${count(number)} without request_id, which count nowhere`;
}

function byDay(days, gains) {
  const shown = [...days].reverse().filter((one) => one.impressions);
  const cell = ({ rate, low, high }) => [
    percent(rate),
    low === null ? null : h("small", {}, between(low, high)),
  ];
  return h(
    "details",
    { id: "days" },
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

const nothing = ({ unattributed_impressions: without }) =>
  empty(
    "No impressions yet",
    without
      ? `${counted(without, "impression", "impressions")} came without request_id: of which list,` +
          " cannot be told. Send the list's request_id with every impression and click."
      : "Nobody was shown anything in these days, as far as this server was told. Send an" +
          " impression for every event that a page shows, and a click for each that is opened.",
    [
      "The script at ",
      h("a", { href: "tracker.js" }, "/tracker.js"),
      " does it from a page of yours; ",
      h("a", { href: "docs" }, "POST /api/analytics/interactions"),
      " is what it sends them to. docs/api.md tells more, under Interactions.",
    ],
  );
