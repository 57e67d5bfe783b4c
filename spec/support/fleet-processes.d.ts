import type { Password } from 'express-sealed-session';
import type { RedisFleetOptions } from 'express-sealed-session/redis';

export interface RedisProcess {
  readonly port: number;
  readonly url: string;
  readonly clusterPort: number | undefined;
  /** Resolves as soon as the server has logged a line with this text. */
  logged: (text: string) => Promise<void>;
  /** The server accepts connections and commands, and never answers. */
  pause: () => void;
  resume: () => void;
  /** With SIGKILL. */
  kill: () => Promise<void>;
  /** On the same port, empty. */
  restart: () => Promise<void>;
  stop: () => Promise<void>;
}

/** A redis-server on a free port of the loopback interface, with nothing on disk. */
export function startRedisProcess(options?: { cluster?: boolean }): Promise<RedisProcess>;

export type RedisLibrary = 'node-redis' | 'ioredis';

export interface AppSettings {
  library: RedisLibrary;
  /** One port, or those of the masters of a cluster. */
  redisPorts: readonly number[];
  /** In place of `redisPorts`: a Sentinel, and the name of what it watches. For ioredis. */
  sentinel?: { port: number; name: string };
  /** With it, the app has the routes that sign in and out. */
  baseUrl?: string;
  provider: { clientId: string; apiKey: string; baseUrl: string };
  /** Whether the provider treats a replayed refresh token as an attack. */
  strict: boolean;
  password: Password;
  fleet?: Omit<RedisFleetOptions, 'client'>;
  refresh?: { waitMs?: number; timeoutMs?: number; graceSeconds?: number };
  clockToleranceSeconds?: number;
  /** The types of reports and the names of events that are sent. Default: all. */
  reports?: readonly string[];
}

/** One report of an app. They arrive in order. */
export type Report =
  /** A request has arrived. */
  | { readonly type: 'visit' }
  /** `/slow` waits for a message. */
  | { readonly type: 'handling' }
  /** The middleware has asked the provider for new tokens. */
  | { readonly type: 'presented' }
  | { readonly type: 'event'; readonly name: string; readonly event: Readonly<Record<string, unknown>> }
  | { readonly type: 'command'; readonly name: string; readonly atMs: number };

export interface AppProcess {
  readonly url: string;
  /** Sends the process a message. `/slow` answers when it gets one. */
  tell: (message: string) => void;
  hasEnded: () => boolean;
  /** With SIGKILL. */
  kill: () => Promise<void>;
  stop: () => Promise<void>;
}

/**
 * Starts the app in its own process. Resolves when it serves. `tell` is called with each report: each visit, each token
 * that it presents to the provider, each event, each command that it sends to Redis.
 */
export function startAppProcess(settings: AppSettings, tell?: (report: Report) => void): Promise<AppProcess>;
