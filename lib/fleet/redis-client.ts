/**
 * The app's own client of Redis or Valkey: node-redis (`createClient`, `createCluster`, `createSentinel`) or ioredis
 * (`new Redis`, `new Cluster`). Only what is used of them, so that neither is a dependency.
 */
export type RedisClient = IoredisClient | NodeRedisClient | NodeRedisCluster | NodeRedisSentinel;

interface IoredisClient {
  call(command: string, ...args: string[]): Promise<unknown>;
}
interface NodeRedisClient {
  sendCommand(args: string[]): Promise<unknown>;
}
interface NodeRedisCluster {
  readonly slots: unknown;
  sendCommand(key: string, isReadonly: boolean, args: string[]): Promise<unknown>;
}
interface NodeRedisSentinel {
  getMasterNode(): unknown;
  sendCommand(isReadonly: boolean, args: string[]): Promise<unknown>;
}

/** Sends one command about one key, by which a cluster finds the node. */
export type Command = (key: string, args: readonly [command: string, ...args: string[]]) => Promise<unknown>;

/** One way of sending a command, whichever the client. */
export function commandOf(client: RedisClient): Command {
  if ('call' in client) return (_key, [command, ...args]) => client.call(command, ...args);
  if ('slots' in client) return (key, args) => client.sendCommand(key, false, [...args]);
  if ('getMasterNode' in client) return (_key, args) => client.sendCommand(false, [...args]);
  return (_key, args) => client.sendCommand([...args]);
}

/** The same, with a limit. `tooLate` is called when a command that was given up is answered after all. */
export type TimedCommand = (...command: [...Parameters<Command>, tooLate?: () => void]) => Promise<unknown>;

/**
 * Sends commands for as long as Redis answers in time, and rejects with `RedisAway` when it does not. After a failure
 * nobody asks for a while: Redis trouble costs one request a moment, not every request a time-out.
 */
export function withinTime(
  command: Command,
  timeoutMs: number,
  tell: (scope: 'process' | 'fleet') => void,
): TimedCommand {
  let away = false;
  let silentUntilMs = 0;

  return async (key, args, tooLate = () => undefined) => {
    if (Date.now() < silentUntilMs) throw new RedisAway();
    // While Redis is thought to be away, one command at a time finds out whether it still is.
    if (away) silentUntilMs = Date.now() + timeoutMs;
    let sent: Promise<unknown> | undefined;
    const limit = awakeFor(timeoutMs);
    try {
      sent = command(key, args);
      const reply = await Promise.race([sent, limit.reached]);
      silentUntilMs = 0;
      if (away) tell('fleet');
      away = false;
      return reply;
    } catch {
      sent?.then(tooLate, () => undefined);
      silentUntilMs = Date.now() + pauseMs;
      if (!away) tell('process');
      away = true;
      throw new RedisAway();
    } finally {
      limit.clear();
    }
  };
}

const pauseMs = 1_000;

/**
 * Rejects after this time, of which a moment when the process itself was busy counts as one part at most: a busy
 * process has not read the answer yet, and may not even have sent the command.
 */
function awakeFor(ms: number): { readonly reached: Promise<never>; readonly clear: () => void } {
  let timer: NodeJS.Timeout | undefined;
  const reached = new Promise<never>((_, reject) => {
    const wait = (parts: number) => {
      if (parts === 0) reject(new RedisAway());
      else timer = setTimeout(wait, ms / 5, parts - 1);
    };
    wait(5);
  });
  return {
    reached,
    clear: () => {
      clearTimeout(timer);
    },
  };
}

/** Redis did not answer, or not in time. Without a cause: a client's error holds the command, and so its arguments. */
export class RedisAway extends Error {
  override readonly name = 'RedisAway';
}
