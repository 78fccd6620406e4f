// Charts in SVG: a rate day by day with its interval as a band, and intervals beside each other.
//
// Colours and strokes come from admin.css by class; the page's policy allows no inline style.

import { h, s } from "./dom.js";
import { between, counted, day, percent, roundPercent, weekday } from "./format.js";

const HEIGHT = 220; // pixels, like all but the steps
const EDGE = { left: 46, right: 16, top: 22, bottom: 28 };
const DATE_WIDTH = 72;
const BESIDE = 10; // from a day to what is told of it
const STEPS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25];
const MOST_DOTS = 31; // of more days only the line is drawn

/**
 * Where an axis from 0 ends, and its step.
 *
 * Intervals may reach beyond it: those of a few users are so wide that they would squeeze all else.
 */
export function axis(rates, most) {
  const known = rates.filter((one) => one.rate !== null);
  const highest = Math.max(...known.map((one) => one.rate), 0);
  const widest = Math.max(...known.map((one) => one.high ?? one.rate), 0);
  const whole = !highest || widest <= most * highest;
  const wanted = Math.min(whole ? widest : most * highest, 1) || 0.01;
  const step = STEPS.find((one) => wanted / one <= 5) ?? 0.25;
  const steps = whole ? Math.ceil(wanted / step - 1e-9) : Math.floor(wanted / step);
  return { top: Math.min(steps * step, 1), step };
}

/**
 * A chart of one rate by day, with arrow keys and pointer to look at single days.
 *
 * `of` gives a day's rate; `led` tells what that is in clicks; `gains`, whether it can still rise.
 */
export function dailyChart(days, { title, tone, of, led, gains }) {
  const last = days.length - 1;
  const tip = h("div", { class: "tip", role: "status", hidden: true });
  const svg = s("svg", {
    class: `daily ${tone}`,
    height: HEIGHT,
    role: "img",
    tabindex: 0,
    "aria-label":
      `${title} by day, ${day(days[0].day)} to ${day(days[last].day)}.` +
      " The arrow keys tell the figures of each day.",
  });
  const dayWidth = () => (svg.clientWidth - EDGE.left - EDGE.right) / days.length;
  let x = () => 0;
  let mark = null;
  let chosen = null;

  function choose(index) {
    chosen = index;
    tip.hidden = index === null;
    mark?.setAttribute("visibility", index === null ? "hidden" : "visible");
    if (index === null) return;
    const one = days[index];
    mark?.setAttribute("x1", x(index));
    mark?.setAttribute("x2", x(index));
    const lines = told(one, of(one), led(one), gains(one));
    tip.replaceChildren(h("strong", {}, weekday(one.day)), ...lines);
    // Beside the day, not upon it.
    const right = x(index) + BESIDE;
    const fits = right + tip.offsetWidth <= svg.clientWidth;
    tip.style.left = `${fits ? right : Math.max(x(index) - BESIDE - tip.offsetWidth, 0)}px`;
  }

  function draw() {
    const width = svg.clientWidth;
    if (!width) return;
    const wide = dayWidth();
    x = (index) => EDGE.left + (index + 0.5) * wide;
    const bottom = HEIGHT - EDGE.bottom;
    mark = s("line", { class: "mark", y1: EDGE.top, y2: bottom, visibility: "hidden" });
    svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    svg.replaceChildren(...picture(days, { of, gains, x, wide, width }), mark);
    if (chosen !== null) choose(chosen);
  }

  svg.addEventListener("pointermove", (event) => {
    const index = Math.floor((event.offsetX - EDGE.left) / dayWidth());
    choose(Math.max(0, Math.min(last, index)));
  });
  svg.addEventListener("pointerleave", () => choose(null));
  svg.addEventListener("blur", () => choose(null));
  svg.addEventListener("keydown", (event) => {
    const next = {
      ArrowLeft: Math.max((chosen ?? days.length) - 1, 0),
      ArrowRight: Math.min((chosen ?? -1) + 1, last),
      Home: 0,
      End: last,
      Escape: null,
    }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    choose(next);
  });
  new ResizeObserver(draw).observe(svg);
  const caption = h("figcaption", {}, h("h3", {}, title));
  return h("figure", { class: "card chart" }, caption, h("div", {}, svg, tip));
}

function told(one, rate, led, gaining) {
  if (rate.rate === null) return [h("span", {}, "no impressions")];
  const interval = rate.low === null ? "one user: no interval" : between(rate.low, rate.high);
  return [
    h("b", {}, percent(rate.rate)),
    h("span", {}, interval),
    h("span", {}, `${led} of ${counted(one.impressions, "impression", "impressions")}`),
    h("span", {}, counted(one.users, "user", "users")),
    gaining ? h("em", {}, "can still gain") : null,
  ].filter(Boolean);
}

/** All that stands still: axes, the part that still gains, the band, the line. */
function picture(days, { of, gains, x, wide, width }) {
  const { top, step } = axis(days.map(of), 2);
  const floor = HEIGHT - EDGE.bottom;
  const right = width - EDGE.right;
  const y = (share) => floor - (Math.min(share, top) / top) * (floor - EDGE.top);
  const levels = Array.from({ length: Math.round(top / step) + 1 }, (_, level) => level * step);
  const every = Math.max(1, Math.ceil(DATE_WIDTH / wide));
  const first = days.findIndex(gains);
  const dated = (index) => (days.length - 1 - index) % every === 0;
  const dates = days.map((one, index) => ({ one, index })).filter(({ index }) => dated(index));
  const course = (run) => line(run.map(({ one, index }) => [x(index), y(of(one).rate)]));
  return [
    ...(first < 0
      ? []
      : [
          s("rect", {
            class: "gaining",
            x: x(first) - wide / 2,
            y: EDGE.top,
            width: wide * (days.length - first),
            height: floor - EDGE.top,
          }),
          s("text", { x: right, y: 14, "text-anchor": "end" }, "can still gain"),
        ]),
    ...levels.flatMap((level) => [
      s("line", { class: "grid", x1: EDGE.left, x2: right, y1: y(level), y2: y(level) }),
      s("text", { x: EDGE.left - 8, y: y(level) + 4, "text-anchor": "end" }, roundPercent(level)),
    ]),
    ...dates.map(({ one, index }) =>
      s("text", { x: x(index), y: HEIGHT - 8, "text-anchor": "middle" }, day(one.day)),
    ),
    ...runs(days, of).flatMap((run) => [
      s("path", { class: "band", d: band(run, of, x, y, wide) }),
      run.length > 1 ? s("path", { class: "line", d: course(run) }) : null,
      ...(run.length === 1 || days.length <= MOST_DOTS
        ? run.map(({ one, index }) =>
            s("circle", {
              class: gains(one) ? "dot open" : "dot",
              cx: x(index),
              cy: y(of(one).rate),
              r: days.length > 14 ? 2.5 : 3.5,
            }),
          )
        : []),
    ]),
  ].filter((element) => element !== null);
}

/** Days with impressions that follow each other; between two runs there is a gap. */
function runs(days, of) {
  const found = [];
  days.forEach((one, index) => {
    if (of(one).rate === null) return;
    if (found.at(-1)?.at(-1).index === index - 1) found.at(-1).push({ one, index });
    else found.push([{ one, index }]);
  });
  return found;
}

const line = (points) => `M${points.map(([x, y]) => `${x},${y}`).join("L")}`;

/** The outline of a run's intervals; a single day is a bar. */
function band(run, of, x, y, wide) {
  const ends = run.map(({ one, index }) => {
    const { rate, low, high } = of(one);
    return { at: x(index), low: y(low ?? rate), high: y(high ?? rate) };
  });
  if (ends.length === 1) {
    const [{ at, low, high }] = ends;
    const half = Math.min(wide / 2, 4);
    return `M${at - half},${low}V${high}H${at + half}V${low}Z`;
  }
  const there = ends.map(({ at, high }) => [at, high]);
  const back = ends.reverse().map(({ at, low }) => [at, low]);
  return `${line([...there, ...back])}Z`;
}

/** A row's interval, on a scale that all rows share; `middle` is marked on each. */
export function intervalPlot({ rate, low, high }, { from = 0, to, middle, tone }) {
  const at = (value) => `${Math.max(0, Math.min(1, (value - from) / (to - from))) * 100}%`;
  const inside = (value) => value >= from && value <= to;
  return s(
    "svg",
    { class: `interval ${tone}`, height: 18, "aria-hidden": "true" },
    s("line", { class: "track", x1: "0%", x2: "100%", y1: 9, y2: 9 }),
    middle === null || middle === undefined
      ? null
      : s("line", { class: "middle", x1: at(middle), x2: at(middle), y1: 1, y2: 17 }),
    low === null ? null : s("line", { class: "reach", x1: at(low), x2: at(high), y1: 9, y2: 9 }),
    high > to
      ? s("text", { class: "beyond", x: "100%", y: 14, "text-anchor": "end" }, "›")
      : null,
    rate === null || !inside(rate)
      ? null
      : s("circle", { class: "dot", cx: at(rate), cy: 9, r: 4 }),
  );
}
