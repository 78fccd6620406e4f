// "Recomputes": the latest ones, how far they are, and having one made.

import { badge, choice, empty, panel, redraw, table } from "./admin-parts.js";
import { h, run, say } from "./dom.js";
import { roundPercent, since, span, when } from "./format.js";

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

  /** Ask and show; tells whether one is queued or running. */
  async function load() {
    const jobs = await ask("GET", JOBS).catch((error) => error);
    part.trouble(jobs instanceof Error ? jobs.message : "");
    if (jobs instanceof Error) return underWay.size > 0;
    const written = JSON.stringify(jobs);
    if (written !== shown) redraw(part.body, jobs.length ? listed(jobs, act) : none());
    shown = written;
    const over = jobs.find((job) => underWay.has(job.job_id) && !isUnderWay(job));
    underWay = new Set(jobs.filter(isUnderWay).map((job) => job.job_id));
    if (over) {
      const end = over.status === "cancelled" ? "was cancelled" : over.status;
      say(part.told, `Job ${over.job_id} ${end}.`);
      ended();
    }
    return underWay.size > 0;
  }

  async function recompute() {
    const order = { skip_training: how.value() === "rank" };
    await tell(button, () => ask("POST", "api/admin/personalization/retrain", order), queued);
  }

  async function act({ currentTarget: pressed }) {
    const { job, act: what } = pressed.dataset;
    const told = what === "retry" ? queued : () => `Job ${job} is being cancelled.`;
    await tell(pressed, () => ask("POST", `api/admin/jobs/${job}/${what}`), told);
  }

  async function tell(pressed, work, told) {
    const answer = await run(pressed, part.problems, work);
    if (!answer) return;
    say(part.told, told(answer));
    asked();
  }

  return { element: part.element, load };
}

const queued = ({ job_id: id, created }) =>
  created ? `Job ${id} is queued.` : `Job ${id} is queued or running already; none was added.`;

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
  const took = started && ended ? (Date.parse(ended) - Date.parse(started)) / 1000 : null;
  return [
    when(ended ?? started ?? queuedAt),
    took === null ? null : h("small", {}, `took ${span(took)}`),
    status === "running" ? h("small", {}, "started ", since(started)) : null,
    status === "queued" ? h("small", {}, "queued ", since(queuedAt)) : null,
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
