// "State": how the recommender does at this moment, and what is wrong with it.

import { badge, panel, renew, say, table } from "./admin-parts.js";
import { h } from "./dom.js";
import { count, counted, figure, NONE, percent, since, span } from "./format.js";

const LATE_RANKINGS = 30 * 3600;
const LATE_REFRESHES = 10;
const LATE_TRAINING = 3600;
const SILENT = 60;
const LEAST_FRESH = 0.8;
// These limits are those of docs/operations.md, "What to watch".

/** The section; `found` is called with what is wrong, each time the state was asked for. */
export function state(ask, found) {
  const part = panel("state", "State");

  async function load() {
    try {
      const status = await ask("GET", "api/admin/personalization/status");
      const wrong = findings(status);
      renew(part.body, ...cards(status, wrong));
      say(part.problems, "");
      found(wrong);
    } catch (error) {
      say(part.problems, error.message);
    }
  }
  return { element: part.element, load };
}

/** What is wrong: of which part, how bad, and a sentence. */
export function findings({ cache, refreshes, jobs, settings, last_recompute: last }) {
  const found = [];
  const add = (holds, part, tone, sentence) => holds && found.push({ part, tone, sentence });
  const heard = Math.min(...jobs.workers.map((one) => one.seconds_ago));
  const most = settings.recommendations_cache_max_age_seconds;
  const training = jobs.queues.find((one) => one.queue === "training");

  if (cache.generation === null) {
    add(true, "rankings", "bad", "Nobody is ranked yet: the heuristic answers everybody. Recompute.");
  } else if (!cache.fresh) {
    add(true, "rankings", "bad", `The rankings are stale, older than ${span(most)}: the heuristic answers. Recompute.`);
  } else {
    add(cache.age_seconds > LATE_RANKINGS, "rankings", "warn", "The rankings are older than 30 hours: did the night's recompute fail?");
    add(
      cache.fresh_share !== null && cache.fresh_share < LEAST_FRESH,
      "rankings",
      "warn",
      `Only ${percent(cache.fresh_share)} of the students have a fresh list; the heuristic answers the others.`,
    );
  }
  add(!settings.recommendations_use_ml_cache, "rankings", "warn", "RECOMMENDATIONS_USE_ML_CACHE is off: the heuristic answers everybody.");
  add(refreshes.lag_seconds > LATE_REFRESHES, "refreshes", "bad", `Refreshes are ${span(refreshes.lag_seconds)} late: too few workers, or none.`);
  add(!jobs.workers.length, "workers", "bad", "No worker is known: nothing is refreshed, and no job runs. Start eventlink worker.");
  add(
    jobs.workers.length && heard > SILENT,
    "workers",
    "bad",
    `No worker was heard for ${span(heard)}: nothing is refreshed, and no job runs.`,
  );
  add(
    training?.oldest_waiting_seconds > LATE_TRAINING,
    "queue",
    "warn",
    `A recompute has waited for ${span(training?.oldest_waiting_seconds ?? 0)}.`,
  );
  add(!settings.task_queue_enabled, "queue", "warn", "TASK_QUEUE_ENABLED is off: this page can queue nothing.");
  add(last?.status === "failed", "queue", "warn", `The last recompute, job ${last?.job_id}, failed.`);
  return found;
}

function cards(status, wrong) {
  const { cache, refreshes, jobs, seats, settings } = status;
  const card = (part, title, ...body) => {
    const here = wrong.filter((one) => one.part === part);
    return h(
      "div",
      { class: "card state", "data-part": part },
      h(
        "div",
        { class: "head" },
        h("h3", {}, title),
        here.length ? badge(here.some((one) => one.tone === "bad") ? "wrong" : "look here", here.some((one) => one.tone === "bad") ? "bad" : "warn") : badge("fine", "good"),
      ),
      here.map((one) => h("p", { class: `finding ${one.tone}` }, one.sentence)),
      body,
    );
  };
  return [
    h(
      "div",
      { class: "states" },
      card("rankings", "Rankings", rankings(cache)),
      card(
        "refreshes",
        "Refreshes",
        facts([
          ["Waiting", counted(refreshes.waiting, "user", "users")],
          ["Due now", count(refreshes.due)],
          ["Lag", span(refreshes.lag_seconds)],
          ["Since the recompute", counted(cache.refreshed_lists, "user refreshed", "users refreshed")],
          ["After a click", settings.recommendations_realtime_refresh_enabled ? "refreshed" : "switched off"],
        ]),
      ),
      card("workers", "Workers", workers(jobs.workers), h("p", { class: "note" }, "Each has two heartbeats: one for recomputes, one for refreshes.")),
      card("queue", "Queue", queues(jobs.queues)),
    ),
    scarce(seats),
    inForce(settings),
  ];
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

const facts = (pairs) => h("dl", {}, pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));

function workers(heartbeats) {
  return facts(
    heartbeats.map(({ worker_id: id, seconds_ago: seconds, job_id: job }) => [
      `Heartbeat ${id}`,
      [
        seconds > SILENT ? badge(`silent for ${span(seconds)}`, "bad") : `heard ${span(seconds)} ago`,
        job === null ? null : h("small", {}, `runs job ${job}`),
      ],
    ]),
  );
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
  return h(
    "details",
    { id: "seats" },
    h("summary", {}, "Scarce seats", seats ? h("span", { class: "faint" }, ` ${counted(seats.held_back, "event", "events")} held back`) : null),
    seats
      ? h(
          "p",
          { class: "note" },
          `${counted(seats.limited, "event has", "events have")} limited seats. Those that would get more` +
            " registrations than they have seats left are shown to fewer people.",
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
  const told = (value) => (value === null ? "not set" : typeof value === "boolean" ? (value ? "on" : "off") : String(value));
  return h(
    "details",
    { id: "settings" },
    h("summary", {}, "Settings in force"),
    h("div", { class: "card settings" }, facts(Object.entries(settings).map(([name, value]) => [h("code", {}, name.toUpperCase()), told(value)]))),
  );
}
