// Tells Event Link what people do with the events that a page shows them.
//
//   import { Tracker } from "https://events.example.org/tracker.js";
//   const tracker = new Tracker({ token: () => accessToken });
//   tracker.observe(document.body);
//
// Whatever carries data-event-id, and the data-request-id and data-position of its list, is watched:
// its impression counts once at least half of it was seen for a second, its click when it is opened.

const SEEN_SHARE = 0.5; // half of it for a second: the MRC's viewable impression
const SEEN_MS = 1000;
const BATCH = 100; // the most that the server takes at once
const WAIT_MS = 2000; // so that what is seen together is sent together
const LONGEST_WAIT_MS = 60_000;
const KEPT = 1000; // acts that wait for a server that is away
const LATE_MS = 5000; // from here on the server's own clock is too late to date an act by
const KEPT_ALIVE = 60_000; // characters
const SHORTEST_DWELL = 1; // seconds
const LONGEST_DWELL = 4 * 3600;
const CAME_BY = "eventlink.came-by";
const BY_REQUEST_ID = new Set(["impression", "click", "view", "dwell"]); // need no token
const CONTROLS = "button, input, select, textarea, label, summary";

export class Tracker {
  #endpoint;
  #token;
  #refused;
  #waiting = [];
  #timer = null;
  #sending = null;
  #failures = 0;
  #watched = new WeakSet();
  #counted = new Set();
  #timers = new Map();
  #visits = new Set();
  #sight;
  #arrivals;

  /**
   * @param endpoint Where to send to; the API of the server that this script comes from.
   * @param token Returns the reader's access token; null where nobody is signed in.
   * @param refused Told of each act that the server does not take: { act, code, text }.
   */
  constructor({
    endpoint = new URL("api/analytics/interactions", import.meta.url).href,
    token = () => null,
    refused = ({ act, text }) => console.warn(`event link: ${act.type} refused: ${text}`),
  } = {}) {
    this.#endpoint = endpoint;
    this.#token = token;
    this.#refused = refused;
    const steps = Array.from({ length: 21 }, (_, step) => step / 20);
    this.#sight = new IntersectionObserver((entries) => entries.forEach((one) => this.#seen(one)), {
      threshold: steps,
    });
    this.#arrivals = new MutationObserver((changes) =>
      changes.forEach((change) => change.addedNodes.forEach((node) => this.#watchWithin(node))),
    );
    // The last moment at which a page is sure to be told anything, also on telephones.
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "hidden") this.#leave();
    });
    addEventListener("pagehide", () => this.#leave());
  }

  /** Watch all events below an element, and those that are put there later. */
  observe(root) {
    this.#watchWithin(root);
    this.#arrivals.observe(root, { childList: true, subtree: true });
  }

  /** Watch one element that carries data-event-id. */
  watch(element) {
    this.#sight.observe(element); // anew, if it shows another list's event by now
    if (this.#watched.has(element)) return;
    this.#watched.add(element);
    const opened = (event) => this.#clicked(element, event);
    element.addEventListener("click", opened);
    element.addEventListener("auxclick", (event) => event.button === 1 && opened(event));
  }

  /**
   * Record that an event's own page is read: a view now, and how long it is visible from now on.
   * Which list the reader came by is known if they clicked it in this tab.
   *
   * @returns A function to call when something else is shown in its place.
   */
  page(eventId, list = cameBy(eventId)) {
    this.record({ type: "view", event_id: eventId, ...list });
    let since = document.visibilityState === "visible" ? performance.now() : null;
    const pause = () => {
      if (since === null) return;
      const seconds = Math.min((performance.now() - since) / 1000, LONGEST_DWELL);
      since = null;
      if (seconds < SHORTEST_DWELL) return;
      const dwell_seconds = Math.round(seconds * 10) / 10;
      this.record({ type: "dwell", event_id: eventId, dwell_seconds, ...list });
    };
    const goOn = () => {
      if (document.visibilityState === "visible") since ??= performance.now();
    };
    this.#visits.add(pause);
    document.addEventListener("visibilitychange", goOn);
    return () => {
      pause();
      this.#visits.delete(pause);
      document.removeEventListener("visibilitychange", goOn);
    };
  }

  /** Record any act; its fields are those of POST /api/analytics/interactions. */
  record(act) {
    this.#waiting.push({ act: { client_id: randomName(), ...act }, at: Date.now() });
    if (this.#waiting.length > KEPT) this.#waiting.shift();
    const urgent = this.#waiting.length >= BATCH || !BY_REQUEST_ID.has(act.type);
    if (urgent && this.#failures === 0) this.flush();
    else this.#later(WAIT_MS);
  }

  /** Send what waits, now; resolves once the server has answered. */
  async flush() {
    clearTimeout(this.#timer);
    this.#timer = null;
    while (this.#sending) await this.#sending;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, BATCH);
      this.#sending = this.#send(batch).finally(() => (this.#sending = null));
      if (!(await this.#sending)) return;
    }
  }

  #later(ms) {
    this.#timer ??= setTimeout(() => this.flush(), ms);
  }

  /** Send a batch; false if it has to be sent again later. */
  async #send(batch) {
    let answer;
    try {
      answer = await this.#post(batch, this.#token());
      // A token that has run out; what a list led to is believed by its request_id for a day.
      if (answer.status === 401) answer = await this.#post(batch, null);
    } catch {
      return this.#again(batch); // the network
    }
    if (answer.status === 429 || answer.status >= 500) {
      return this.#again(batch, 1000 * Number(answer.headers.get("Retry-After")));
    }
    this.#failures = 0;
    const said = await answer.json().catch(() => ({}));
    if (!answer.ok) {
      const text = `${answer.status}: ${JSON.stringify(said.detail)}`;
      batch.forEach(({ act }) => this.#refused({ act, code: "batch_refused", text }));
      return true;
    }
    for (const { index, code, text } of said.refused ?? []) {
      this.#refused({ act: batch[index].act, code, text });
    }
    return true;
  }

  #post(batch, token) {
    const headers = { "Content-Type": "application/json" };
    if (token) headers.Authorization = `Bearer ${token}`;
    const body = asBody(batch);
    // What is kept alive goes on while the page is being left; browsers do so for 64 KiB.
    return fetch(this.#endpoint, { method: "POST", headers, body, keepalive: body.length < KEPT_ALIVE });
  }

  #again(batch, wait = 0) {
    this.#waiting.unshift(...batch);
    this.#waiting.splice(KEPT);
    this.#failures += 1;
    // A server that comes back must not be met by everybody at once.
    const pause = Math.min(WAIT_MS * 2 ** this.#failures, LONGEST_WAIT_MS) * (0.5 + Math.random() / 2);
    this.#later(Math.max(pause, wait || 0));
    return false;
  }

  /** Send what waits as the page is being left: there may be nobody to hear the answer. */
  #leave() {
    this.#visits.forEach((pause) => pause());
    clearTimeout(this.#timer);
    this.#timer = null;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, BATCH);
      if (this.#foreign) {
        // Before it takes a token another site's server is asked whether it would, and the page does
        // not live to see the answer. A beacon has no token; the request_id stands in for it.
        if (!navigator.sendBeacon(this.#endpoint, asBody(batch))) this.#again(batch);
        continue;
      }
      // The page may come back, and then it is to know what did not get through.
      this.#post(batch, this.#token()).then(
        (answer) => (answer.status === 429 || answer.status >= 500) && this.#again(batch),
        () => this.#again(batch),
      );
    }
  }

  get #foreign() {
    return new URL(this.#endpoint, location.href).origin !== location.origin;
  }

  #watchWithin(node) {
    if (!(node instanceof Element)) return;
    if (node.matches("[data-event-id]")) this.watch(node);
    node.querySelectorAll("[data-event-id]").forEach((one) => this.watch(one));
  }

  #seen({ target, intersectionRect, boundingClientRect, rootBounds }) {
    // Of what is taller than the window, half a window is enough.
    const whole = Math.min(boundingClientRect.height, rootBounds?.height ?? innerHeight);
    const enough = intersectionRect.width > 0 && intersectionRect.height >= SEEN_SHARE * whole;
    if (enough === this.#timers.has(target)) return;
    if (enough) {
      this.#timers.set(target, setTimeout(() => this.#impression(target), SEEN_MS));
    } else {
      clearTimeout(this.#timers.get(target));
      this.#timers.delete(target);
    }
  }

  #impression(element) {
    if (document.visibilityState === "hidden") {
      this.#timers.set(element, setTimeout(() => this.#impression(element), SEEN_MS));
      return;
    }
    this.#sight.unobserve(element);
    this.#timers.delete(element);
    const list = listOf(element);
    const name = `${list.request_id} ${list.event_id}`;
    if (this.#counted.has(name)) return;
    this.#counted.add(name);
    this.record({ type: "impression", ...list });
  }

  #clicked(element, event) {
    const control = event.target.closest?.(CONTROLS);
    const other = control && control !== element && element.contains(control);
    if (other && !control.hasAttribute("data-opens")) return;
    const list = listOf(element);
    remember(list);
    this.record({ type: "click", ...list });
  }
}

function listOf({ dataset }) {
  const list = { event_id: Number(dataset.eventId) };
  if (dataset.requestId) list.request_id = dataset.requestId;
  if (dataset.position) list.position = Number(dataset.position);
  return list;
}

function remember(list) {
  try {
    sessionStorage.setItem(CAME_BY, JSON.stringify(list));
  } catch {
    // Storage may be forbidden; then a view does not know its list.
  }
}

function cameBy(eventId) {
  try {
    const { event_id, ...list } = JSON.parse(sessionStorage.getItem(CAME_BY)) ?? {};
    return event_id === eventId ? list : {};
  } catch {
    return {};
  }
}

function asBody(batch) {
  const now = Date.now();
  const interactions = batch.map(({ act, at }) =>
    now - at > LATE_MS && !act.occurred_at ? { ...act, occurred_at: new Date(at).toISOString() } : act,
  );
  return JSON.stringify({ interactions });
}

function randomName() {
  // randomUUID is there only where the page came by TLS or from this machine.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
