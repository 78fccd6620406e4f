// The administrators' page: signs somebody in, shows the sections, and keeps them up to date.

import { figures } from "./admin-figures.js";
import { recomputes } from "./admin-jobs.js";
import { models } from "./admin-models.js";
import { badge } from "./admin-parts.js";
import { state, worst } from "./admin-state.js";
import { byId, h } from "./dom.js";
import { poll } from "./poll.js";
import { ask, signInByAddress, signOut, token } from "./session.js";
import { signInForm } from "./signin.js";

const SOON = 2;
const LATER = 30;
const FIGURES = 600;
// Seconds between two looks: at jobs under way, at all that is at rest, at figures of whole days.
const main = byId("main");
const bar = document.querySelector("header.bar");

/** Sign in, show the page until they leave, and begin anew. */
async function start() {
  signInByAddress();
  let note = "For administrators of this site.";
  for (;;) {
    if (!token()) await signInForm(main, { note });
    const me = await ask("GET", "api/auth/me").catch((error) => error);
    if (me instanceof Error) note = await failed(me);
    else if (me.role !== "admin") note = await refused(me);
    else note = await show(me);
    bar.querySelectorAll("nav, .end").forEach((one) => one.remove());
    document.querySelectorAll("dialog").forEach((one) => one.close());
    main.replaceChildren();
  }
}

/** Tell why nothing is shown; resolves with what to tell beside the form once they go on. */
const stopped = (title, sentence, label, work = () => {}) =>
  new Promise((done) => {
    const go = () => {
      work();
      done("For administrators of this site.");
    };
    const button = h("button", { class: "main", type: "button", click: go }, label);
    main.replaceChildren(
      h(
        "div",
        { class: "card refused" },
        h("h2", {}, title),
        h("p", { role: "alert" }, sentence),
        button,
      ),
    );
    button.focus();
  });

function failed(error) {
  if (error.status === 401) return "Your session has ended. Sign in again.";
  return stopped("This did not work", error.message, "Try again");
}

const refused = (me) =>
  stopped(
    "For administrators only",
    `${me.email} is signed in, but is no administrator of this site.`,
    "Sign in as someone else",
    signOut,
  );

/** Show all sections; resolves with a note once the session is over. */
function show(me) {
  return new Promise((done) => {
    const leave = (note) => {
      watch.stop();
      done(note);
    };
    const asking = async (...request) => {
      try {
        return await ask(...request);
      } catch (error) {
        if (error.status === 401) leave("Your session has ended. Sign in again.");
        throw error;
      }
    };
    const attention = h("div", { class: "attention", hidden: true });
    const metrics = figures(asking);
    const now = state(asking, (wrong) => warn(attention, wrong));
    const jobs = recomputes(asking, {
      asked: () => watch.now(),
      ended: () => Promise.all([stored.load(), now.load()]),
    });
    const stored = models(asking, () => Promise.all([watch.now(), now.load()]));
    let told = 0;
    let counted = 0;
    const watch = poll(async () => {
      if (Date.now() - counted >= FIGURES * 1000) {
        counted = Date.now();
        metrics.load();
      }
      const busy = await jobs.load();
      if (Date.now() - told >= (LATER - 1) * 1000) {
        told = Date.now();
        await now.load();
      }
      return busy ? SOON : LATER;
    });
    bar.append(navigation(), account(me, leave));
    main.replaceChildren(attention, ...[metrics, stored, jobs, now].map((part) => part.element));
    stored.load();
    watch.now();
  });
}

const navigation = () =>
  h(
    "nav",
    { "aria-label": "Sections" },
    [
      ["figures", "Figures"],
      ["models", "Models"],
      ["recomputes", "Recomputes"],
      ["state", "State"],
    ].map(([id, name]) => h("a", { href: `#${id}` }, name)),
  );

function account(me, leave) {
  const out = () => {
    signOut();
    leave("You are signed out.");
  };
  return h(
    "div",
    { class: "end" },
    h("span", { class: "who", title: me.email }, me.full_name ?? me.email),
    h("button", { type: "button", click: out }, "Sign out"),
  );
}

/** What is wrong, above all else, with the way to where it is told. */
function warn(place, wrong) {
  place.hidden = !wrong.length;
  const { tone, word } = worst(wrong);
  place.className = `attention ${tone}`;
  const sentences = wrong.map((one) => one.sentence).join("\n");
  if (place.dataset.told === sentences) return;
  place.dataset.told = sentences;
  place.replaceChildren(
    badge(word, tone),
    h("ul", {}, wrong.map((one) => h("li", {}, one.sentence))),
    h("a", { href: "#state" }, "State"),
  );
}

start();
