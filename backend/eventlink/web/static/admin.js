// The administrators' page: signs somebody in, shows the sections, and keeps them up to date.

import { figures } from "./admin-figures.js";
import { worst } from "./admin-findings.js";
import { models } from "./admin-models.js";
import { badge } from "./admin-parts.js";
import { recomputes } from "./admin-recomputes.js";
import { state } from "./admin-state.js";
import { byId, h } from "./dom.js";
import { atMostEvery, poll } from "./poll.js";
import { ask, signInByAddress, signOut, token } from "./session.js";
import { signInForm } from "./signin.js";

// Seconds between two looks: at jobs under way, at all that is at rest, at figures of whole days.
const SOON = 2;
const LATER = 30;
const FIGURES = 600;
const NOTE = "For administrators of this site.";
const ENDED = "Your session has ended. Sign in again.";

const main = byId("main");
const bar = document.querySelector("header.bar");

/** Let people sign in, one after the other, and show each what they may see until they leave. */
async function start() {
  signInByAddress();
  let note = NOTE;
  for (;;) {
    if (!token()) await signInForm(main, { note });
    note = await visit();
    bar.querySelectorAll("nav, .end").forEach((one) => one.remove());
    document.querySelectorAll("dialog").forEach((one) => one.close());
    main.replaceChildren();
  }
}

/** Show the page to whoever is signed in; resolves with what to tell beside the form afterwards. */
async function visit() {
  const me = await ask("GET", "api/auth/me").catch((error) => error);
  if (me instanceof Error) return failed(me);
  return me.role === "admin" ? show(me) : refused(me);
}

function failed(error) {
  if (error.status === 401) return ENDED;
  return notice("This did not work", error.message, "Try again");
}

const nameOf = (me) => me.full_name ?? me.email ?? `User ${me.id}`;

const refused = (me) =>
  notice(
    "For administrators only",
    `${nameOf(me)} is signed in, but is no administrator of this site.`,
    "Sign in as someone else",
    signOut,
  );

/** Tell why nothing is shown, beside a button that does `work` and goes on. */
function notice(title, sentence, label, work = () => {}) {
  return new Promise((done) => {
    const go = () => {
      work();
      done(NOTE);
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
}

/** Show all sections, and keep them up to date. */
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
        if (error.status === 401) leave(ENDED);
        throw error;
      }
    };
    const attention = h("div", { class: "attention", role: "status", hidden: true });
    const sections = {
      figures: figures(asking),
      models: models(asking, () => Promise.all([watch.now(), sections.state.load()])),
      recomputes: recomputes(asking, {
        asked: () => watch.now(),
        ended: () => Promise.all([sections.models.load(), sections.state.load()]),
      }),
      state: state(asking, (status, wrong) => {
        warn(attention, wrong);
        sections.models.keepTrue(status);
      }),
    };
    const loadFigures = atMostEvery(FIGURES, sections.figures.load);
    const loadRest = atMostEvery(LATER - 1, () =>
      Promise.all([sections.models.load(), sections.state.load()]),
    );
    const watch = poll(async () => {
      loadFigures();
      const busy = await sections.recomputes.load();
      await loadRest();
      return busy ? SOON : LATER;
    });
    bar.append(navigation(), account(me, leave));
    main.replaceChildren(attention, ...Object.values(sections).map((one) => one.element));
    byId("figures-title").focus({ preventScroll: true }); // the form that had it is gone
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
    h("span", { class: "who", title: me.email }, nameOf(me)),
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
