// "State": how the recommender does at this moment.

import { findings, SILENT, worst } from "./admin-findings.js";
import { badge, panel, redraw, table } from "./admin-parts.js";
import { h } from "./dom.js";
import { count, counted, figure, NONE, percent, since, span } from "./format.js";

/** The section; `found` is called with the state and what is wrong, each time it was asked for. */
export function state(ask, found) {
  const part = panel("state", "State");
  let asked = 0;

  async function load() {
    const number = (asked += 1);
    try {
      const status = await ask("GET", "api/admin/personalization/status");
      if (number !== asked) return; // a later one is asked for, after something was changed
      const wrong = findings(status);
      redraw(part.body, ...cards(status, wrong));
      part.trouble("");
      found(status, wrong);
    } catch (error) {
      part.trouble(error.message);
    }
  }
  return { element: part.element, load };
}

function cards({ cache, refreshes, jobs, seats, settings }, wrong) {
  const card = (part, title, body) => {
    const here = wrong.filter((one) => one.part === part);
    const { tone, word } = worst(here);
    return h(
      "div",
      { class: "card state", "data-part": part },
      h("div", { class: "head" }, h("h3", {}, title), badge(word, tone)),
      here.map((one) => h("p", { class: `finding ${one.tone}` }, one.sentence)),
      body,
    );
  };
  return [
    h(
      "div",
      { class: "states" },
      card("rankings", "Rankings", rankings(cache)),
      card("refreshes", "Refreshes", refreshing(refreshes, cache, settings)),
      card("workers", "Workers", workers(jobs.workers)),
      card("queue", "Queue", queues(jobs.queues)),
    ),
    scarce(seats),
    inForce(settings),
  ];
}

function refreshing({ waiting, due, lag_seconds: lag }, { refreshed_lists: done }, settings) {
  const enabled = settings.recommendations_realtime_refresh_enabled;
  return facts([
    ["Waiting", counted(waiting, "user", "users")],
    ["Due now", count(due)],
    ["Lag", span(lag)],
    ["Since the recompute", counted(done, "user refreshed", "users refreshed")],
    ["Refreshing after each act", enabled ? "on" : "off"],
  ]);
}

function rankings(cache) {
  if (cache.generation === null) return null;
  return facts([
    ["Generation", count(cache.generation)],
    ["Made by", h("code", {}, cache.made_by)],
    ["Made", since(cache.generated_at)],
    ["Students with a list", share(cache.with_list, cache.active_students, cache.coverage)],
    ["With a fresh one", share(cache.with_fresh_list, cache.active_students, cache.fresh_share)],
    ["To roll back to", cache.previous_made_by ? h("code", {}, cache.previous_made_by) : NONE],
  ]);
}

const share = (some, all, part) => `${count(some)} of ${count(all)} (${percent(part)})`;

const facts = (pairs) =>
  h(
    "dl",
    {},
    pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );

function workers(heartbeats) {
  const heard = (seconds) =>
    seconds > SILENT ? badge(`silent for ${span(seconds)}`, "bad") : `heard ${span(seconds)} ago`;
  return [
    facts(
      heartbeats.map(({ worker_id: id, seconds_ago: seconds, job_id: job }) => [
        `Heartbeat ${id}`,
        [heard(seconds), job === null ? null : h("small", {}, `runs job ${job}`)],
      ]),
    ),
    heartbeats.length
      ? h("p", { class: "note" }, "A worker has two: one for recomputes, one for refreshes.")
      : null,
  ];
}

function queues(depths) {
  return facts(
    depths.map(({ queue, waiting, later, running, oldest_waiting_seconds: oldest }) => [
      queue === "training" ? "Recomputes" : queue === "refresh" ? "Refreshes" : queue,
      [
        `${count(running)} running, ${count(waiting)} waiting, ${count(later)} later`,
        oldest === null ? null : h("small", {}, `the oldest waits for ${span(oldest)}`),
      ],
    ]),
  );
}

function scarce(seats) {
  const none = "The last recompute did not look for scarce seats (RECOMMENDATIONS_SEAT_STRENGTH).";
  const held = seats ? ` ${counted(seats.held_back, "event", "events")} held back` : "";
  return h(
    "details",
    { id: "seats" },
    h("summary", {}, "Scarce seats", h("span", { class: "faint" }, held)),
    seats
      ? h(
          "p",
          { class: "note" },
          `${counted(seats.limited, "event has", "events have")} limited seats. Those that would` +
            " get more registrations than they have seats left are shown to fewer people.",
        )
      : h("p", { class: "note" }, none),
    seats?.events?.length
      ? table(
          "Events held back",
          ["Event", "#Seats left", "#Registrations expected", "#Scores are worth"],
          seats.events.map((one) => [
            `Event ${one.event_id}`,
            count(one.seats_left),
            figure(one.expected_demand),
            percent(one.factor),
          ]),
        )
      : null,
  );
}

function inForce(settings) {
  const words = new Map([[null, "not set"], [true, "on"], [false, "off"]]);
  const told = Object.entries(settings).map(([name, value]) => [
    h("code", {}, name.toUpperCase()),
    words.get(value) ?? String(value),
  ]);
  return h(
    "details",
    { id: "settings" },
    h("summary", {}, "Settings in force"),
    h("div", { class: "card settings" }, facts(told)),
  );
}
