// What the visitor said about themselves and about events, as the server keeps it, and how to
// change it.
//
// A change is announced as `mine`, and all that is `.drawn` from it is drawn anew.

import { acted, now } from "./foryou-acts.js";
import { ask } from "./session.js";

const listPath = (list) => (id) => `api/profile/${list}/${id}`;
const eventPath = (what) => (id) => `api/events/${id}/${what}`;

// By kind: where it is changed, what it drives out, and how the visitor is told what they did.
const KINDS = {
  registered: {
    path: eventPath("registration"),
    on: "you registered",
    off: "you gave a seat back",
  },
  remembered: {
    path: eventPath("favorite"),
    on: "you remembered an event",
    off: "you forgot an event",
  },
  interests: {
    path: listPath("interests"),
    rival: "hidden",
    on: "you named an interest",
    off: "you took an interest back",
  },
  hidden: {
    path: listPath("hidden-tags"),
    rival: "interests",
    on: "you hid a tag",
    off: "you showed a tag again",
  },
  followed: {
    path: listPath("followed-organizers"),
    rival: "blocked",
    on: "you followed an organizer",
    off: "you stopped following",
  },
  blocked: {
    path: listPath("blocked-organizers"),
    rival: "followed",
    on: "you shut an organizer out",
    off: "you let an organizer in again",
  },
};

/** By kind, what there is of it: id to event, tag or organizer. */
export const mine = { profile: null };

/** Ask the server for all of it. */
export async function loadMine() {
  const [profile, registered, remembered, interests, hidden, followed, blocked] = await Promise.all(
    [
      "profile",
      "registrations?limit=100",
      "favorites?limit=100",
      "profile/interests",
      "profile/hidden-tags",
      "profile/followed-organizers",
      "profile/blocked-organizers",
    ].map((path) => ask("GET", `api/${path}`)),
  );
  const keyed = (things) => new Map(things.map((one) => [one.id, one]));
  Object.assign(mine, {
    profile,
    registered: keyed(registered.items.map((one) => ({ ...one, id: one.event_id }))),
    remembered: keyed(remembered.items),
    interests: keyed(interests),
    hidden: keyed(hidden),
    followed: keyed(followed),
    blocked: keyed(blocked),
  });
  announce();
}

/** Whether nothing at all is known of the visitor. */
export const isBlank = () => Object.keys(KINDS).every((kind) => mine[kind].size === 0);

/** Put something on a list of mine, or take it off: an event, a tag or an organizer with its id. */
export async function change(kind, thing, isOn) {
  const { path, rival, on, off } = KINDS[kind];
  const moment = now();
  await ask(isOn ? "PUT" : "DELETE", path(thing.id));
  if (isOn) mine[kind].set(thing.id, thing);
  else mine[kind].delete(thing.id);
  if (isOn && rival) mine[rival].delete(thing.id);
  announce();
  acted(isOn ? on : off, moment);
}

/** Change what the profile says. */
export async function changeProfile(changes) {
  const moment = now();
  mine.profile = await ask("PATCH", "api/profile", changes);
  acted("you changed your profile", moment);
}

function announce() {
  for (const part of document.querySelectorAll(".drawn")) part.draw();
  document.dispatchEvent(new Event("mine"));
}
