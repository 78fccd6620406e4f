// The demo's site: what people of the simulated city would see. Signs in, and builds the page.

import { byId, h } from "./dom.js";
import { allView, showFirst, startAll } from "./foryou-all.js";
import { listView, startList } from "./foryou-list.js";
import { isBlank, loadMine, mine } from "./foryou-mine.js";
import { welcome } from "./foryou-welcome.js";
import { startYou, youView } from "./foryou-you.js";
import { signInByAddress, signOut, token } from "./session.js";
import { signInForm } from "./signin.js";

const NOTE =
  "This is the demo's city. Make a new account to start as a stranger:" +
  " any address and eight characters do. No mail is sent.";
const OVER =
  "You were signed out: the token is no longer good. Sign in, or open a new link of make serve.";

const TABS = [
  ["for-you", "For you"],
  ["all", "All events"],
  ["you", "You"],
];

const isOver = location.hash === "#over";
if (isOver) history.replaceState(null, "", location.pathname);
signInByAddress();
begin()
  .catch((error) => {
    if (error.status !== 401) throw error;
    return enter(OVER);
  })
  .catch((error) => byId("main").replaceChildren(h("p", { role: "alert" }, error.message)));

/** Go on as whoever is signed in already, else let somebody sign in. */
async function begin() {
  if (!token()) return enter(isOver ? OVER : NOTE);
  await loadMine();
  return show();
}

/** Let somebody sign in; who is new is asked what they like first. */
async function enter(note) {
  await signInForm(byId("main"), { note, registering: true });
  await loadMine();
  if (isBlank()) await welcome(byId("main"));
  const loaded = show();
  byId("for-you-title").focus(); // the form that had it is gone
  await loaded;
}

async function show() {
  header();
  byId("main").replaceChildren(h("div", { class: "columns" }, listView, allView, youView), hint());
  turn("for-you");
  await Promise.all([startList(), startYou(), startAll()]);
  setInterval(leaveIfOver, 1000);
}

/** Whichever request finds that the token is no longer good, everything begins anew. */
function leaveIfOver() {
  if (token()) return;
  location.hash = "#over";
  location.reload();
}

function header() {
  const { id, role, full_name: fullName, email } = mine.profile;
  const tab = ([name, label]) =>
    h("button", { class: "tab", "data-tab": name, click: () => turn(name) }, label);
  const leave = () => {
    signOut();
    location.reload();
  };
  document.querySelector("header.bar").append(
    h("nav", { "aria-label": "Views" }, TABS.map(tab)),
    h(
      "div",
      { class: "end" },
      h("span", { class: "who" }, fullName ?? email ?? `person ${id}`),
      role === "admin" ? h("a", { href: "admin" }, "Administration") : null,
      h("a", { href: "docs", target: "_blank" }, "API"),
      h("button", { click: leave }, "Sign out"),
    ),
  );
}

function turn(name) {
  document.body.dataset.tab = name;
  for (const tab of document.querySelectorAll("button.tab")) {
    if (tab.dataset.tab === name) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  if (name === "all") showFirst();
  scrollTo(0, 0);
}

/** How to see all this with other eyes. */
function hint() {
  return h(
    "details",
    { class: "hint" },
    h("summary", {}, "See this as somebody else"),
    h(
      "p",
      {},
      "Sign out and make a new account, of which nothing is known. Or be one of the city's people:" +
        " open a link that make serve printed as it started. The links are good for 30 minutes;" +
        " start make serve again for new ones.",
    ),
  );
}
