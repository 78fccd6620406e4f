// "Models": what is stored, and making another one serve.

import { badge, confirmed, empty, panel, redraw, table } from "./admin-parts.js";
import { isUnderWay } from "./admin-recomputes.js";
import { h, run, say } from "./dom.js";
import { counted, NONE, score, when } from "./format.js";

const STATUS = "api/admin/personalization/status";

/** The section; `changed` is called once another model was made to serve. */
export function models(ask, changed) {
  const part = panel("models", "Models");
  part.told.tabIndex = -1;
  let shown = ""; // what the table was made of
  let holds = null; // whether what a button was answered is so in a state
  part.tools.append(h("button", { type: "button", id: "roll-back", click: rollBack }, "Roll back"));

  async function load() {
    try {
      const found = await ask("GET", "api/admin/models");
      found.sort((one, other) => Date.parse(other.created_at) - Date.parse(one.created_at));
      const written = JSON.stringify(found);
      if (written !== shown) redraw(part.body, found.length ? listed(found, activate) : none());
      part.trouble("", written !== shown);
      shown = written;
    } catch (error) {
      part.trouble(error.message);
    }
  }

  async function rollBack({ currentTarget: button }) {
    const before = await run(button, part.problems, () => ask("GET", STATUS));
    if (!before) return;
    const plan = backTo(before);
    if (typeof plan === "string") {
      say(part.problems, plan);
      holds = (state) => backTo(state) === plan;
      return;
    }
    const question = `Roll back to ${plan.version}?`;
    await make(question, plan.sentences, "Roll back", "api/admin/models/rollback");
  }

  async function activate({ currentTarget: button }) {
    const version = button.value;
    const before = await run(button, part.problems, () => ask("GET", STATUS));
    if (!before) return;
    const sentences = whatActivatingDoes(version, before);
    await make(`Activate ${version}?`, sentences, "Activate", "api/admin/models/activate", {
      model_version: version,
    });
  }

  async function make(question, sentences, label, path, body) {
    const done = await confirmed(question, sentences, label, () => ask("POST", path, body));
    if (!done) return;
    part.told.replaceChildren(...outcome(done));
    part.told.focus();
    holds = (state) => isStillSo(done, state);
    await Promise.all([load(), changed()]);
  }

  /** Take back what a button was answered if it is not so in the latest state. */
  function keepTrue(state) {
    if (!holds || holds(state)) return;
    holds = null;
    part.told.replaceChildren();
    say(part.problems, "");
  }

  return { element: part.element, load, keepTrue };
}

/** What rolling back goes to, as the server decides it; a sentence where there is nothing. */
function backTo({ model, cache, last_recompute: last }) {
  if (cache.made_by && model && cache.made_by !== model.model_version) {
    return {
      version: cache.made_by,
      sentences: [
        `${model.model_version} was activated but has not ranked everybody yet. ${cache.made_by},` +
          " whose rankings still serve, becomes active again.",
        ...training(last),
      ],
    };
  }
  if (!cache.previous_made_by) {
    return "There are no earlier rankings to go back to.";
  }
  return {
    version: cache.previous_made_by,
    sentences: [
      `The last rankings by ${cache.previous_made_by} serve again at once, and that model becomes` +
        ` active instead of ${model?.model_version}.`,
      ...deletes(cache),
      "They are older, so a recompute without training is queued. Rankings beyond their greatest" +
        " age are not served meanwhile: the heuristic answers. Rolling back again undoes this.",
      ...training(last),
    ],
  };
}

function whatActivatingDoes(version, { cache, last_recompute: last }) {
  const again = version === cache.previous_made_by && version !== cache.made_by;
  const stay =
    `Refreshes use ${version} at once. The rankings of everybody stay those of ${cache.made_by}` +
    " until the recompute that is queued has published.";
  return [
    version === cache.made_by
      ? `${version} becomes active. The rankings that serve now are by it already.`
      : again
        ? `${version} becomes active, and its last rankings serve again at once if they are not` +
          " too old. A recompute without training is queued."
        : stay,
    ...deletes(cache),
    ...training(last),
  ];
}

function deletes({ refreshed_lists: refreshed }) {
  if (!refreshed) return [];
  const rankings = counted(refreshed, "refreshed ranking", "refreshed rankings");
  return [`Of ${rankings} those by other models are deleted.`];
}

function training(job) {
  if (!job || !isUnderWay(job) || job.payload.request?.skip_training) return [];
  return [
    `Job ${job.job_id} trains: its model will compete with this one. Cancel it first if the` +
      " choice must stand.",
  ];
}

/** Whether a state is the one that the server's answer tells of. */
function isStillSo(done, { model, cache, last_recompute: last }) {
  const { model_version: version, generation, recompute_job_id: job } = done;
  if (model?.model_version !== version || cache.generation !== generation) return false;
  return !job || (job === last?.job_id && isUnderWay(last));
}

/** The server's answer in sentences. */
function outcome(done) {
  const { model_version: version, instead_of: before, rankings_made_by: by } = done;
  const { recompute_job_id: job, refreshed_rankings_deleted: deleted } = done;
  const byHand = " Nothing is queued: run eventlink recompute --skip-training.";
  const gone = counted(deleted, "refreshed ranking was", "refreshed rankings were");
  const rankings =
    by === version
      ? `Its rankings serve (generation ${done.generation}).`
      : by
        ? `The rankings of everybody are those of ${by} until a recompute has published.`
        : "Nobody is ranked by it yet.";
  return [
    h("strong", {}, `${version} is active now`),
    before && before !== version ? ` instead of ${before}. ` : ". ",
    rankings,
    job ? ` Job ${job} recomputes; see below.` : done.recompute_wanted ? byHand : "",
    deleted ? ` ${gone} deleted.` : "",
  ];
}

function listed(found, activate) {
  return table(
    "Stored models, the newest first",
    ["Model", "Trained", "NDCG@10", "Hit rate@10", "Gate", "Serve"],
    found.map((one) => [
      [
        h("code", {}, one.model_version),
        h("small", {}, `${one.kind ?? "unknown"} model`),
        handled(one.activations.at(-1)),
      ],
      when(one.trained_at ?? one.created_at),
      quality(one.metrics, "ndcg_10"),
      quality(one.metrics, "hitrate_10"),
      [gate(one.gate), guardrail(one.guardrail)].flat(),
      one.is_active
        ? badge("active", "good")
        : activation(one.model_version, activate),
    ]),
    "models",
  );
}

const activation = (version, activate) =>
  h(
    "button",
    { type: "button", value: version, "aria-label": `Activate ${version}`, click: activate },
    "Activate",
  );

function handled(last) {
  if (!last) return null;
  const by = last.by === "guardrail" ? "by the guardrail" : "by hand";
  return h("small", {}, `activated ${by}, `, when(last.at));
}

/** A model's figure, what popularity had on the same days beneath it. */
function quality(metrics, name) {
  if (!metrics?.model) return h("span", { class: "faint" }, "not evaluated");
  const plain = metrics.popularity?.[name];
  return [
    h("b", {}, score(metrics.model[name])),
    plain === undefined ? null : h("small", {}, `popularity ${score(plain)}`),
  ];
}

function gate(decision) {
  if (!decision) return NONE;
  return [
    decision.activate ? badge("let through", "good") : badge("held back", "warn"),
    h("small", {}, decision.reason),
  ];
}

/** What the guardrail found while an experiment ran; nothing as long as it only watches. */
function guardrail(found) {
  if (!found || found.decision === "watching") return [];
  const word = found.decision === "kept" ? "does harm" : "taken back";
  return [badge(word, "bad"), h("small", {}, found.reason)];
}

const none = () =>
  empty(
    "No model yet",
    "The heuristic answers everybody. Train and rank, below, and there is one.",
  );
