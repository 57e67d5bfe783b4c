import { fingerprint } from '../fingerprint.js';
import { resolveOptions } from '../options/config.js';
import type { SessionOptions } from '../options/session-options.js';
import { rubySealer } from '../seal/aes-gcm.js';
import { compactSealer } from '../seal/compact.js';
import { ironSealer } from '../seal/iron.js';
import { type Password, passwordCheck, type Passwords, readPasswords } from '../seal/passwords.js';
import { fullWork, open } from '../seal/sealer.js';
import { readPayload } from '../session/codec.js';
import type { SessionPayload } from '../session/payload.js';
import type { SealProblem } from '../session/reasons.js';
import { loadConfig } from './config.js';
import { find } from './explain.js';
import { readPasted } from './pasted.js';
import { contentsOf, type SealContents } from './seal-facts.js';
import { coloured, table, type Terminal, UsageError } from './terminal.js';
import { judgeAsApp, judgeByExpiry, type Verdict } from './verdict.js';

export interface InspectOptions {
  readonly config: string | undefined;
  /** The variables that hold the passwords, the newest first. */
  readonly passwordVariables: readonly string[];
  readonly name: string | undefined;
}

/** What is known of a seal. */
interface Inspection {
  readonly fingerprint: string;
  readonly format: string | undefined;
  readonly bytes: number;
  readonly pieces: number;
  /** Of Iron's seals: the id of the password that sealed it. */
  readonly passwordId: string | undefined;
  /** Which of the passwords opened it. 0 is the newest. */
  readonly passwordIndex: number | undefined;
  readonly problem: SealProblem | undefined;
  readonly contents: SealContents | undefined;
  readonly verdict: Verdict;
}

const sealers = [ironSealer(), compactSealer(), rubySealer()];

/** Shows what is in a cookie, and why it would be refused. */
export async function inspect(
  terminal: Terminal,
  { config, passwordVariables, name }: InspectOptions,
): Promise<number> {
  const options = config === undefined ? undefined : await loadConfig(config, terminal.cwd);
  const settings = options && resolveOptions(options, 'withSession');
  const passwords = settings?.life.seals.passwords ?? passwordsFrom(terminal, passwordVariables);
  const pasted = readPasted(await terminal.read(), name ?? settings?.carrier.cookie.name, sealers);
  const binding = settings?.life.binding ?? '';

  const each = pasted.seals.map((seal) => openOne(seal, passwords, binding));
  const best = each.find(({ payload }) => payload) ?? each[0];
  if (!best) throw new UsageError('No session cookie is in that text.');
  const { seal, payload, problem, passwordIndex } = best;
  const inspection: Inspection = {
    fingerprint: fingerprint(seal),
    format: sealers.find((one) => one.recognises(seal))?.name,
    bytes: seal.length,
    pieces: pasted.pieces,
    passwordId: /^Fe26\.2\*(\d+)\*/.exec(seal)?.[1],
    passwordIndex,
    problem,
    contents: payload && contentsOf(payload),
    verdict: await verdictOf(options, pasted.seals, payload, problem),
  };
  terminal.print(terminal.isTerminal ? shown(inspection, terminal) : JSON.stringify(inspection, undefined, 2));
  return inspection.verdict.answer === 'refused' || inspection.problem !== undefined ? 1 : 0;
}

function passwordsFrom({ env }: Terminal, variables: readonly string[]): Passwords {
  const password: Password = variables.map((variable) => env[variable]);
  const message = passwordCheck(password);
  if (message === undefined) return readPasswords(password);
  throw new UsageError(
    `Set ${variables.join(', ')} to the password of the sessions, or give --config. ` +
      'It is read from the environment, where no history of a shell keeps it.',
  );
}

interface Tried {
  readonly seal: string;
  readonly payload?: SessionPayload | undefined;
  readonly problem?: SealProblem;
  readonly passwordIndex?: number;
}

function openOne(seal: string, passwords: Passwords, binding: string): Tried {
  const opened = open(seal, sealers, passwords, Date.now(), binding, fullWork());
  if (!opened.ok) return { seal, problem: opened.problem };
  const payload = readPayload(opened.value, true);
  if (!payload) return { seal, problem: 'bad_shape', passwordIndex: opened.passwordIndex };
  const isOther = binding !== '' && payload.boundTo !== undefined && payload.boundTo !== binding;
  return { seal, payload, passwordIndex: opened.passwordIndex, ...(isOther && { problem: 'other_provider' as const }) };
}

async function verdictOf(
  options: SessionOptions | undefined,
  seals: readonly string[],
  payload: SessionPayload | undefined,
  problem: SealProblem | undefined,
): Promise<Verdict> {
  if (options) return judgeAsApp(options, seals);
  if (problem !== undefined || !payload) {
    return { answer: 'refused', reason: 'invalid_session_cookie', detail: problem ?? 'bad_shape' };
  }
  return judgeByExpiry(payload);
}

const answers = {
  signed_in: ['green', 'signed in'],
  refreshed_first: ['green', 'signed in, after a refresh'],
  refused: ['red', 'refused'],
  cannot_tell: ['yellow', 'cannot be told'],
} as const satisfies Record<Verdict['answer'], readonly [string, string]>;

function shown(inspection: Inspection, terminal: Terminal): string {
  const { contents, verdict } = inspection;
  const seal = table(
    given([
      [
        'seal',
        `${inspection.fingerprint}, ${inspection.bytes} bytes${inspection.pieces > 1 ? ` in ${inspection.pieces} cookies` : ''}`,
      ],
      ['format', inspection.format ?? 'none that is known'],
      ['password', passwordOf(inspection)],
      ['problem', inspection.problem],
    ]),
    terminal,
  );
  const parts = contents && table(partsOf(contents), terminal);
  const [colour, words] = answers[verdict.answer];
  const why = [verdict.reason, verdict.detail, verdict.error].filter((word) => word !== undefined).join(', ');
  const heading = `A request would be: ${coloured(terminal, colour, words)}${why === '' ? '' : ` (${why})`}`;
  return [seal, parts, [heading, ...adviceOf(verdict, terminal)].join('\n')].filter(Boolean).join('\n\n');
}

function passwordOf({ passwordIndex, passwordId }: Inspection): string {
  const id = passwordId === undefined ? '' : `, id ${passwordId} in the seal`;
  if (passwordIndex === undefined) return `none of these opens it${id}`;
  return `${passwordIndex === 0 ? 'the newest' : `number ${passwordIndex + 1} of the list, not the newest`}${id}`;
}

function partsOf(contents: SealContents): (readonly [string, string])[] {
  const { accessToken, refreshToken } = contents;
  const { fingerprint: ofToken, kind, issuer, issuedAt, expiresAt, algorithm } = accessToken;
  const sizes = Object.entries(contents.parts).map(([name, bytes]) => `${name} ${bytes}`);
  return given([
    ['session', contents.sessionId],
    ['organization', contents.organizationId],
    [
      'bound to',
      [contents.isBound && 'its provider', contents.isDeviceBound && 'a device'].filter(Boolean).join(', ') ||
        'nothing',
    ],
    [
      'access token',
      [ofToken, kind, algorithm, typeof issuer === 'string' && `of ${issuer}`].filter(Boolean).join(' '),
    ],
    ['  issued', issuedAt && ago(issuedAt)],
    ['  expires', expiresAt && ago(expiresAt)],
    ['refresh token', refreshToken ? refreshToken.fingerprint : 'none: the session ends with its access token'],
    ['started', contents.startedAt && ago(contents.startedAt)],
    ['sealed', contents.sealedAt && ago(contents.sealedAt)],
    ['refreshed', contents.refreshedAt && ago(contents.refreshedAt)],
    ['used', contents.usedAt && ago(contents.usedAt)],
    ['bytes by part', sizes.join(', ')],
  ]);
}

function adviceOf({ reason, detail, answer }: Verdict, terminal: Terminal): string[] {
  if (answer === 'cannot_tell' && reason === undefined) {
    return ['The access token is not expired. Give --config to have it checked as the app does.'];
  }
  const explanation = find(detail ?? '') ?? find(reason ?? '');
  return explanation ? [table(explanation.text, terminal)] : [];
}

function given(rows: readonly (readonly [string, string | undefined])[]): (readonly [string, string])[] {
  return rows.filter((row): row is readonly [string, string] => Boolean(row[1]));
}

/** A time, and how far away it is. */
function ago(at: string): string {
  const seconds = Math.round((Date.now() - Date.parse(at)) / 1000);
  const [amount, unit] = inUnits(Math.abs(seconds));
  return `${at} (${seconds >= 0 ? `${amount} ${unit} ago` : `in ${amount} ${unit}`})`;
}

function inUnits(seconds: number): [number, string] {
  for (const [length, unit] of [
    [86_400, 'days'],
    [3_600, 'hours'],
    [60, 'minutes'],
  ] as const) {
    if (seconds >= 2 * length) return [Math.round(seconds / length), unit];
  }
  return [seconds, 'seconds'];
}
