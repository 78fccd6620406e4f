// "Recomputes": the latest ones, how far they are, and having one made.

import { badge, choice, empty, panel, redraw, table } from "./admin-parts.js";
import { h, run, say } from "./dom.js";
import { roundPercent, span, when } from "./format.js";

const JOBS = "api/admin/jobs?type=recompute_recommendations_ml&limit=8";
const TONES = { queued: "", running: "busy", succeeded: "good", failed: "bad", cancelled: "warn" };

export const isUnderWay = ({ status }) => ["queued", "running"].includes(status);

/** The section; `asked` is called once one was queued or cancelled, `ended` once one has ended. */
export function recomputes(ask, { asked, ended }) {
  const part = panel("recomputes", "Recomputes");
  const how = choice(
    "How",
    "how",
    [
      { value: "train", label: "Train and rank" },
      { value: "rank", label: "Only rank" },
    ],
    "train",
  );
  const button = h("button", { class: "main", type: "button", click: recompute }, "Recompute now");
  part.tools.append(how.element, button);
  let shown = ""; // what the table was made of
  let underWay = new Set(); // ids, at the last look
  let told = null; // the job that was spoken of, and whether what was said still holds

  /** Ask and show; tells whether one is queued or running. */
  async function load() {
    const jobs = await ask("GET", JOBS).catch((error) => error);
    if (jobs instanceof Error) {
      part.trouble(jobs.message);
      return underWay.size > 0;
    }
    const written = JSON.stringify(jobs);
    if (written !== shown) redraw(part.body, jobs.length ? listed(jobs, act) : none());
    part.trouble("", written !== shown);
    shown = written;
    const over = jobs.find((job) => underWay.has(job.job_id) && !isUnderWay(job));
    underWay = new Set(jobs.filter(isUnderWay).map((job) => job.job_id));
    keepTrue(jobs, Math.max(told?.id ?? 0, over?.job_id ?? 0));
    if (over) ended();
    return underWay.size > 0;
  }

  /** Say what has become of a job since something else was said; nothing once there is a next. */
  function keepTrue(jobs, id) {
    const job = jobs.find((one) => one.job_id === id);
    if (!job) return;
    if (!isUnderWay(job) && job !== jobs[0]) tell("");
    else if (id !== told?.id || !told.holds(job)) {
      tell(becameOf(job), id, ({ status }) => status === job.status);
    }
  }

  function tell(sentence, id, holds) {
    say(part.told, sentence);
    told = sentence ? { id, holds } : null;
  }

  async function recompute() {
    const order = { skip_training: how.value() === "rank" };
    await queue(button, () => ask("POST", "api/admin/personalization/retrain", order));
  }

  async function act({ currentTarget: pressed }) {
    const { job, act: what } = pressed.dataset;
    const work = () => ask("POST", `api/admin/jobs/${job}/${what}`);
    if (what === "retry") await queue(pressed, work);
    else if (await run(pressed, part.problems, work)) {
      tell(`Job ${job} is being cancelled.`, Number(job), isUnderWay);
      asked();
    }
  }

  async function queue(pressed, work) {
    const answer = await run(pressed, part.problems, work);
    if (!answer) return;
    const { job_id: id, created } = answer;
    if (created) tell(`Job ${id} is queued.`, id, ({ status }) => status === "queued");
    else tell(`Job ${id} is queued or running already; none was added.`, id, isUnderWay);
    asked();
  }

  return { element: part.element, load };
}

function becameOf({ job_id: id, status, cancelling }) {
  const words = { queued: "is queued", running: "is running", cancelled: "was cancelled" };
  return `Job ${id} ${cancelling ? "is being cancelled" : (words[status] ?? status)}.`;
}

function listed(jobs, act) {
  return table(
    "The latest recomputes",
    ["Job", "State", "Progress", "When", "Do"],
    jobs.map((job) => [
      [
        h("b", {}, `Job ${job.job_id}`),
        h("small", {}, job.payload.request?.skip_training ? "only ranks" : "trains and ranks"),
      ],
      [badge(job.cancelling ? "being cancelled" : job.status, TONES[job.status])],
      progress(job),
      times(job),
      button(job, act),
    ]),
    "jobs",
  );
}

function progress({ job_id: id, status, phase, done, error, attempts, starts_at: starts }) {
  const running = status === "running";
  const known = running && typeof done === "number";
  const label = `Progress of job ${id}`;
  const share = known ? `, ${roundPercent(Math.round(100 * done) / 100)}` : "";
  return [
    running ? h("progress", { value: known ? done : null, max: 1, "aria-label": label }) : null,
    running ? h("span", {}, phase ?? "starting", share) : null,
    status === "succeeded" ? h("span", { class: "faint" }, "done") : null,
    status === "queued" ? h("span", { class: "faint" }, "waits for a worker") : null,
    status === "queued" && attempts ? h("small", {}, "tries again ", when(starts)) : null,
    ["failed", "cancelled"].includes(status) && phase
      ? h("span", { class: "faint" }, `ended while: ${phase}`)
      : null,
    error && status !== "succeeded" ? h("small", { class: "error" }, error) : null,
  ];
}

function times({ queued_at: queuedAt, started_at: started, ended_at: ended, status }) {
  if (status === "queued") return [when(queuedAt), h("small", {}, "queued")];
  if (status === "running") return [when(started), h("small", {}, "started")];
  const took = started && ended ? (Date.parse(ended) - Date.parse(started)) / 1000 : null;
  return [
    when(ended ?? started ?? queuedAt),
    took === null ? null : h("small", {}, `took ${span(took)}`),
  ];
}

function button(job, act) {
  const { job_id: id, status, cancelling } = job;
  const one = (what, label) =>
    h(
      "button",
      {
        type: "button",
        id: `${what}-${id}`,
        "data-job": id,
        "data-act": what,
        "aria-label": `${label} job ${id}`,
        click: act,
      },
      label,
    );
  if (isUnderWay(job) && !cancelling) return one("cancel", "Cancel");
  if (status === "failed" || status === "cancelled") return one("retry", "Retry");
  return null;
}

const none = () =>
  empty(
    "No recompute was queued in the last two weeks",
    "Those that cron runs as a command are not jobs, and not listed here.",
  );
