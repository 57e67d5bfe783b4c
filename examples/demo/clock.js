// The app and its provider live in one process and tell the time by this clock. To turn it forward is to wait.
const now = Date.now.bind(Date);
let aheadMs = 0;
Date.now = () => now() + aheadMs;

export const clock = {
  turnForward: (ms) => (aheadMs += Math.max(0, ms)),
  aheadMs: () => aheadMs,
};
