// Work that is done again and again while somebody looks: not in a hidden tab, nor twice at once.

const AFTER_ERROR = 30;

/** Start; `work` returns the seconds until it is to be done again. `now()` does it at once. */
export function poll(work) {
  let timer = null;
  let running = false;
  let again = false;
  let stopped = false;

  async function now() {
    clearTimeout(timer);
    if (stopped || document.hidden) return;
    if (running) {
      again = true;
      return;
    }
    running = true;
    const seconds = await work().catch((error) => {
      console.error(error); // one look that fails is not the last
      return AFTER_ERROR;
    });
    running = false;
    if (again) {
      again = false;
      await now();
    } else if (!stopped) {
      timer = setTimeout(now, seconds * 1000);
    }
  }

  document.addEventListener("visibilitychange", now);
  const stop = () => {
    stopped = true;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", now);
  };
  return { now, stop };
}

/** Let `work` be done at most once in so many seconds, however often it is asked for. */
export function atMostEvery(seconds, work) {
  let last = 0;
  return async () => {
    if (Date.now() - last < seconds * 1000) return;
    last = Date.now();
    await work();
  };
}
