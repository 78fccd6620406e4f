// What is wrong with the recommender's state, in sentences.

import { percent, span } from "./format.js";

// Seconds, and a share of students; docs/operations.md, "What to watch", has the same.
const LATE_RANKINGS = 30 * 3600;
const LATE_REFRESHES = 10;
const LATE_TRAINING = 3600;
const LATE_GUARDRAIL = 2 * 3600; // it looks every half hour
export const SILENT = 60;
const LEAST_FRESH = 0.8;

/** What is wrong: of which part, how bad, and a sentence. */
export function findings(state) {
  const { cache, model, refreshes, jobs, settings, last_recompute: last } = state;
  const waits = jobs.queues.find((one) => one.queue === "training")?.oldest_waiting_seconds ?? 0;
  const off = (name) => `${name} is off:`;
  return [
    ...rankingsAreWrong(cache, span(settings.recommendations_cache_max_age_seconds)),
    model?.guardrail?.decision === "kept" && {
      part: "rankings",
      tone: "bad",
      sentence: `The guardrail found ${model.model_version} to do harm: ${model.guardrail.reason}.`,
    },
    !settings.recommendations_use_ml_cache && {
      part: "rankings",
      tone: "warn",
      sentence: `${off("RECOMMENDATIONS_USE_ML_CACHE")} the heuristic answers everybody.`,
    },
    refreshes.lag_seconds > LATE_REFRESHES && {
      part: "refreshes",
      tone: "bad",
      sentence: `Refreshes are ${span(refreshes.lag_seconds)} late: too few workers, or none.`,
    },
    ...workersAreWrong(jobs.workers),
    ...guardrailIsWrong(state),
    waits > LATE_TRAINING && {
      part: "queue",
      tone: "warn",
      sentence: `A recompute has waited for ${span(waits)}.`,
    },
    !settings.task_queue_enabled && {
      part: "queue",
      tone: "warn",
      sentence: `${off("TASK_QUEUE_ENABLED")} nothing can be queued here.`,
    },
    last?.status === "failed" && {
      part: "queue",
      tone: "warn",
      sentence: `The last recompute, job ${last.job_id}, failed.`,
    },
  ].filter(Boolean);
}

function rankingsAreWrong({ generation, fresh, age_seconds: age, fresh_share: share }, most) {
  const wrong = (tone, sentence) => [{ part: "rankings", tone, sentence }];
  if (generation === null) {
    return wrong("bad", "Nobody is ranked yet: the heuristic answers everybody. Recompute.");
  }
  if (!fresh) {
    return wrong("bad", `The rankings are stale, older than ${most}: the heuristic answers.`);
  }
  if (age > LATE_RANKINGS) {
    return wrong("warn", "The rankings are older than 30 hours: did the night's recompute fail?");
  }
  if (share !== null && share < LEAST_FRESH) {
    return wrong("warn", `Only ${percent(share)} of the students have a fresh list.`);
  }
  return [];
}

const isHeard = ({ seconds_ago: seconds }) => seconds <= SILENT;

function workersAreWrong(workers) {
  const wrong = (sentence) => [{ part: "workers", tone: "bad", sentence }];
  const heard = Math.min(...workers.map((one) => one.seconds_ago));
  const idle = "nothing is refreshed, and no job runs";
  if (!workers.length) return wrong(`No worker is known: ${idle}. Start eventlink worker.`);
  return heard > SILENT ? wrong(`No worker was heard for ${span(heard)}: ${idle}.`) : [];
}

/** Whether workers have the experiment's settings: what their guardrail notes must tell of it. */
function guardrailIsWrong({ at, cache, model, jobs, settings }) {
  const { recommendations_experiment: name, recommendations_control_share: share } = settings;
  const runs = settings.recommendations_use_ml_cache && share > 0;
  if (!runs || !settings.recommendations_guardrail || !jobs.workers.some(isHeard)) return [];
  if (!model || model.model_version !== cache.made_by) return []; // it is not to be watched yet
  const activated = model.meta.activations?.at(-1)?.at ?? cache.generated_at;
  const begun = Math.max(Date.parse(activated), Date.parse(cache.generated_at));
  if (Date.parse(at) - begun < 1000 * LATE_GUARDRAIL) return []; // it may not have looked yet
  const { decision = null, experiment, control_share: watched } = model.guardrail ?? {};
  const isOver = decision !== null && decision !== "watching";
  if (isOver || (experiment === name && watched === share)) return [];
  const sentence =
    `The guardrail does not watch experiment “${name}”:` +
    " give the workers the settings that the web servers have.";
  return [{ part: "workers", tone: "warn", sentence }];
}

/** The worst tone of some findings, and the word for it. */
export function worst(findings) {
  if (!findings.length) return { tone: "good", word: "fine" };
  if (findings.some((one) => one.tone === "bad")) return { tone: "bad", word: "wrong" };
  return { tone: "warn", word: "look here" };
}
