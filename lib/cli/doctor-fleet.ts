import type { Config } from '../options/config.js';
import { bad, type Finding, good, notice } from './finding.js';

/** Whether the processes of the app can share what they must. */
export async function checkFleet({ mount, life }: Config): Promise<readonly Finding[]> {
  const { kind } = mount.fleet;
  if (kind === 'process') {
    return [
      notice(
        'fleet',
        'There is none: this process coordinates itself alone.',
        'With more than one process, give redisFleet() as "fleet": else they spend the same refresh token, and a sign-out is known to one of them.',
      ),
    ];
  }
  const changes: boolean[] = [];
  life.fleet.onChange((reachable) => changes.push(reachable));
  const startedMs = performance.now();
  await life.fleet.ledger.look();
  const ms = Math.round(performance.now() - startedMs);
  return [
    !changes.includes(false)
      ? good('fleet', `The store of ${kind} answers, in ${ms} ms.`)
      : bad(
          'fleet',
          `The store of ${kind} does not answer: each process works alone.`,
          'Check the address and the password of the client, and that it is connected.',
        ),
  ];
}
