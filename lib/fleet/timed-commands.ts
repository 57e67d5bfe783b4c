import type { Command } from './redis-client.js';

/** Commands with a time limit, and whether Redis answers them. */
export interface TimedCommands {
  /**
   * Sends a command, and rejects with `RedisAway` when Redis fails or does not answer in time. `tooLate` is called
   * when Redis carries out a command after all that was given up.
   */
  readonly send: (...command: [...Parameters<Command>, tooLate?: () => void]) => Promise<unknown>;
  /** Reports when Redis stops answering (`false`), and when it answers again (`true`). */
  readonly onChange: (listener: (reachable: boolean) => void) => void;
  /** How often Redis stopped answering. When the count has changed, earlier keys may be lost. */
  readonly losses: () => number;
}

// After a failure no command is sent for this long: Redis trouble delays one request a second, not every request.
const pauseMs = 1_000;

/** Sends commands for as long as Redis answers each within `timeoutMs` milliseconds. */
export function timedCommands(command: Command, timeoutMs: number): TimedCommands {
  const listeners = new Set<(reachable: boolean) => void>();
  let losses = 0;
  let isAway = false;
  let silentUntilMs = 0;

  function change(reachable: boolean): void {
    if (isAway !== reachable) return;
    isAway = !reachable;
    if (isAway) losses += 1;
    for (const listener of listeners) listener(reachable);
  }

  return {
    onChange: (listener) => {
      listeners.add(listener);
    },
    losses: () => losses,
    send: async (key, args, tooLate = () => undefined) => {
      if (Date.now() < silentUntilMs) throw new RedisAway();
      // While Redis seems to be away, one command at a time finds out whether it still is.
      if (isAway) silentUntilMs = Date.now() + timeoutMs;
      let sent: Promise<unknown> | undefined;
      const limit = awakeFor(timeoutMs);
      try {
        sent = command(key, args);
        const reply = await Promise.race([sent, limit.reached]);
        silentUntilMs = 0;
        change(true);
        return reply;
      } catch {
        sent?.then(tooLate, () => undefined);
        silentUntilMs = Date.now() + pauseMs;
        change(false);
        throw new RedisAway();
      } finally {
        limit.clear();
      }
    },
  };
}

// Five short timers instead of one long: a blocked event loop can use up only one of them. A blocked process has not
// read the answer yet, and may not even have sent the command, so its block must not count as Redis's silence.
const timerParts = 5;

/** Rejects after this time, in which the process itself was not blocked. */
function awakeFor(ms: number): { readonly reached: Promise<never>; readonly clear: () => void } {
  let timer: NodeJS.Timeout | undefined;
  const reached = new Promise<never>((_, reject) => {
    const wait = (parts: number) => {
      if (parts === 0) reject(new RedisAway());
      else timer = setTimeout(wait, ms / timerParts, parts - 1);
    };
    wait(timerParts);
  });
  return {
    reached,
    clear: () => {
      clearTimeout(timer);
    },
  };
}

/** Redis did not answer, or not in time. It has no cause: a client's error holds the command, and so the secrets in it. */
export class RedisAway extends Error {
  override readonly name = 'RedisAway';
}
