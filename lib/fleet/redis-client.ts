/**
 * The app's own client of Redis or Valkey: node-redis (`createClient`, `createCluster`, `createSentinel`) or ioredis
 * (`new Redis`, `new Cluster`). Only the methods that are called, so that neither library is a dependency.
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

/** Sends one command about one key. A cluster finds the node by the key. */
export type Command = (key: string, args: readonly [command: string, ...args: string[]]) => Promise<unknown>;

/** Sends commands in the same way through each kind of client. */
export function commandOf(client: RedisClient): Command {
  if (isIoredis(client)) return (_key, [command, ...args]) => client.call(command, ...args);
  if ('slots' in client) return (key, args) => client.sendCommand(key, false, [...args]);
  if ('getMasterNode' in client) return (_key, args) => client.sendCommand(false, [...args]);
  return (_key, args) => client.sendCommand([...args]);
}

function isIoredis(client: RedisClient): client is IoredisClient {
  return 'call' in client && typeof client.call === 'function';
}
