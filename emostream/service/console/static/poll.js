/** Ask again and again while the page is seen, less often while the service is away. */

const LONGEST_MS = 8000;

/**
 * @param {() => Promise<void>} ask
 * @param {{everyMs: number, onError: (error: Error | null) => void}} options `onError(null)` says that it works
 * @returns {{now: () => void, stop: () => void}}
 */
export function poll(ask, { everyMs, onError }) {
  let timer = 0;
  let waitMs = everyMs;
  let isOver = false;
  let isAsking = false;
  let isWantedAgain = false;

  async function run() {
    clearTimeout(timer);
    if (isAsking) {
      isWantedAgain = true;
      return;
    }
    isAsking = true;
    try {
      await ask();
      if (!isOver) onError(null);
      waitMs = everyMs;
    } catch (error) {
      if (!isOver) onError(error);
      waitMs = Math.min(LONGEST_MS, waitMs * 1.5);
    }
    isAsking = false;
    if (isOver) return;
    timer = setTimeout(() => document.hidden || run(), isWantedAgain ? 0 : waitMs);
    isWantedAgain = false;
  }

  const onVisible = () => document.hidden || run();
  document.addEventListener("visibilitychange", onVisible);
  run();
  return {
    now: run,
    stop() {
      isOver = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", onVisible);
    },
  };
}
