import { clearCookie, type CookieSettings, type SetCookie, trimmed } from './cookies.js';

// All cookies of a request are to fit behind nginx, which takes 8 KiB. What sign-ins under way take of it has a limit:
// another site can begin as many as it likes, and a browser that sends too much is refused everywhere, at /login too.
const maxFlowBytes = 4_096;
const maxTotalBytes = 7_680;
// Each removal is a header of the response.
const maxRemovals = 50;

/** The name of the cookie of a sign-in, by the beginning of the hash of its state. */
export function flowName(sessionName: string, id: string): string {
  return `${sessionName}-flow-${id}`;
}

/** Where a sign-in was begun, and when. It stands behind the seal, so that cookies can be weighed without opening them. */
export function flowMark(beganAtMs: number, isCrossSite: boolean): string {
  return `!${isCrossSite ? 'x' : 's'}${Math.trunc(beganAtMs / 1000).toString(36)}`;
}

/** The seal in the value of a sign-in's cookie. */
export function withoutMark(value: string): string {
  return value.replace(/![sx][0-9a-z]{1,9}$/, '');
}

interface FlowCookie {
  readonly name: string;
  readonly bytes: number;
  readonly isCrossSite: boolean;
  readonly beganAt: number;
}

/**
 * Removals for the sign-ins for which there is no room: at most 4 kB, and less where the other cookies leave less. Those
 * that were begun from another site go first, then the oldest.
 *
 * @param taken `session`: the bytes of a session that is being written. `flow`: those of a sign-in that begins now
 */
export function crowdedOut(
  header: string | undefined,
  cookie: CookieSettings,
  taken: { readonly session?: number; readonly flow?: number },
): SetCookie[] {
  if (!header?.includes(flowName(cookie.name, ''))) return [];
  const flows: FlowCookie[] = [];
  let otherBytes = taken.session ?? 0;
  for (const pair of header.split(';')) {
    const [name = '', ...values] = pair.split('=');
    const flow = readFlow(trimmed(name), values.join('='), pair.length + 1, cookie.name);
    if (flow) flows.push(flow);
    else if (taken.session === undefined || !isOfSession(trimmed(name), cookie.name)) otherBytes += pair.length + 1;
  }
  flows.sort((one, other) => Number(one.isCrossSite) - Number(other.isCrossSite) || other.beganAt - one.beganAt);
  let room = Math.min(maxFlowBytes, maxTotalBytes - otherBytes) - (taken.flow ?? 0);
  const firstOut = flows.findIndex(({ bytes }) => {
    room -= bytes;
    return room < 0;
  });
  const names = new Set(firstOut === -1 ? [] : flows.slice(firstOut).map(({ name }) => name));
  return [...names].slice(0, maxRemovals).map((name) => ({ name, header: clearCookie({ ...cookie, name }) }));
}

function readFlow(name: string, value: string, bytes: number, sessionName: string): FlowCookie | undefined {
  const prefix = flowName(sessionName, '');
  if (!name.startsWith(prefix) || !/^[0-9a-f]{8}$/.test(name.slice(prefix.length))) return undefined;
  // One without a mark is none of ours, or was begun before there were marks.
  const [, kind = 'x', time = '0'] = /!([sx])([0-9a-z]{1,9})$/.exec(trimmed(value)) ?? [];
  return { name, bytes, isCrossSite: kind === 'x', beganAt: parseInt(time, 36) };
}

function isOfSession(name: string, sessionName: string): boolean {
  return (
    name === sessionName || (name.startsWith(`${sessionName}.`) && /^\d$/.test(name.slice(sessionName.length + 1)))
  );
}
