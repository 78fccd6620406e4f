// Who is signed in, and requests in their name. Tokens live as long as the tab.

const ACCESS = "eventlink.access";
const REFRESH = "eventlink.refresh";
const TOKEN = /^[\w.-]+$/;
export const AWAY = "The server does not answer. Is it running?";

/** A request that was refused: the status, and what the server says to do. */
export class Problem extends Error {
  constructor(status, detail) {
    super(Array.isArray(detail) ? detail.map((one) => one.msg).join("; ") : detail);
    this.status = status;
  }
}

/** Send a request and return the answer's JSON; null where it has none. */
export async function ask(method, path, body) {
  let used = token();
  let answer = await send(method, path, body);
  if (answer.status === 401 && (await renew())) {
    used = token();
    answer = await send(method, path, body);
  }
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  // Somebody else may have signed in meanwhile.
  if (answer.status === 401 && token() === used) signOut();
  throw await problem(answer);
}

export const token = () => sessionStorage.getItem(ACCESS);

/** Sign in with an address and a password; `register` makes the account. */
export async function signIn(email, password, { register = false } = {}) {
  signOut();
  const path = register ? "api/auth/register" : "api/auth/login";
  const answer = await send("POST", path, { email, password });
  if (!answer.ok) throw await problem(answer);
  keep(await answer.json());
}

export function signOut() {
  sessionStorage.removeItem(ACCESS);
  sessionStorage.removeItem(REFRESH);
}

/** Sign in with the token behind the address's `#token=`, and take it out of the address. */
export function signInByAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!given) return;
  history.replaceState(null, "", location.pathname);
  if (!TOKEN.test(given)) return; // no header could carry it
  signOut();
  sessionStorage.setItem(ACCESS, given);
}

// A link with a token that is opened in this tab loads nothing: only what is behind the # is new.
addEventListener("hashchange", () => {
  if (location.hash.startsWith("#token=")) location.reload();
});

async function send(method, path, body) {
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (token()) headers.Authorization = `Bearer ${token()}`;
  try {
    return await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  } catch {
    throw new Problem(0, AWAY);
  }
}

let renewing = null;

/** Get new tokens for the refresh token; requests that fail together wait for the same ones. */
function renew() {
  const refresh = sessionStorage.getItem(REFRESH);
  if (!refresh) return false;
  renewing ??= send("POST", "api/auth/refresh", { refresh_token: refresh })
    .then(async (answer) => {
      // A server that is away for a moment ends no session.
      if (answer.status === 429 || answer.status >= 500) throw await problem(answer);
      // They may have signed out meanwhile, and stay so.
      if (!answer.ok || sessionStorage.getItem(REFRESH) !== refresh) return false;
      keep(await answer.json());
      return true;
    })
    .finally(() => (renewing = null));
  return renewing;
}

function keep(tokens) {
  sessionStorage.setItem(ACCESS, tokens.access_token);
  sessionStorage.setItem(REFRESH, tokens.refresh_token);
}

async function problem(answer) {
  const said = await answer.json().catch(() => ({}));
  return new Problem(answer.status, said.detail ?? `The server answered ${answer.status}.`);
}
