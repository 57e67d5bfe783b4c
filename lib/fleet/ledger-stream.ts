import type { LedgerEntry } from './ledger.js';
import type { TimedCommands } from './timed-commands.js';

/** What was read of the streams since the last time. */
export interface Page {
  readonly entries: readonly LedgerEntry[];
  /** Whether there is more to be read at once. */
  readonly isFull: boolean;
}

/** The ledger in Redis: entries in the order in which Redis has taken them. */
export interface LedgerStream {
  /** What has come since the last reading; `lost` where Redis lacks what it had. Rejects with `RedisAway`. */
  readonly read: () => Promise<Page | 'lost'>;
  /** Adds entries. Rejects with `RedisAway`. */
  readonly add: (entries: readonly LedgerEntry[]) => Promise<void>;
  /** Begins from the start at the next reading. */
  readonly rewind: () => void;
}

const hourMs = 60 * 60_000;

// Redis trims a stream by age, and an ending is remembered for an hour or for a year. So each age has its own.
const agesMs = [3 * hourMs, 72 * hourMs];

// What one command reads of each stream at most: some 100 kB, for which nobody else waits long.
const pageSize = 2_500;

// What one record of a stream holds at most, where many entries are told at once.
const perRecord = 100;

/**
 * Reads what follows a record of each stream, at most so many records. Where a record is missing that was there, Redis was
 * restarted empty, or a replica has taken over that had not got it yet.
 *
 * KEYS: the streams. ARGV: how many; then for each stream where to begin, and the record that must be there.
 */
const readScript = `
local pages = {}
for i, key in ipairs(KEYS) do
  local from, known = ARGV[2 * i], ARGV[2 * i + 1]
  if known ~= '' and #redis.call('xrange', key, known, known) == 0 then return 'lost' end
  local found = redis.call('xrange', key, '(' .. from, '+', 'COUNT', ARGV[1])
  local texts = {}
  for j, record in ipairs(found) do
    from = record[1]
    texts[j] = record[2][2]
  end
  pages[i] = { from, #found, table.concat(texts, ' ') }
end
return pages`;

/**
 * Adds records to a stream, and forgets those that no longer say anything.
 *
 * KEYS: the stream. ARGV: how long its records last, in milliseconds; how many it holds at most; the records.
 */
const addScript = `
local id
for i = 3, #ARGV do id = redis.call('xadd', KEYS[1], '*', 'e', ARGV[i]) end
local now = redis.call('time')
redis.call('xtrim', KEYS[1], 'MINID', '~', string.format('%.0f', now[1] * 1000 - ARGV[1]))
redis.call('xtrim', KEYS[1], 'MAXLEN', '~', ARGV[2])
redis.call('pexpire', KEYS[1], ARGV[1])
return id`;

interface Position {
  readonly key: string;
  readonly ageMs: number;
  /** The record that was read last. */
  read: string;
  /** The newest record that is known to be there; '' for none. */
  known: string;
}

/** @param longestMs how far an entry may reach */
export function ledgerStream(
  { send }: Pick<TimedCommands, 'send'>,
  { prefix, longestMs, maxEntries }: { prefix: string; longestMs: number; maxEntries: number },
): LedgerStream {
  // The braces keep them on one node of a cluster, so that one command reads all.
  const streams = [...agesMs, longestMs].map((ageMs, index): Position => ({
    key: `${prefix}{ledger}:${index}`,
    ageMs,
    read: '0-0',
    known: '',
  }));
  const keys = streams.map(({ key }) => key);

  function rewind(): void {
    for (const stream of streams) {
      stream.read = '0-0';
      stream.known = '';
    }
  }

  async function read(): Promise<Page | 'lost'> {
    const before = streams.flatMap((stream) => [stream.read, stream.known]);
    const reply = await send(keys[0] ?? '', [
      'EVAL',
      readScript,
      String(keys.length),
      ...keys,
      String(pageSize),
      ...before,
    ]);
    if (reply === 'lost') return 'lost';
    const entries: LedgerEntry[] = [];
    let isFull = false;
    for (const [index, stream] of streams.entries()) {
      const [last, count, text] = partsOf(reply, index);
      // Meanwhile it was told to begin anew.
      if (stream.read !== before[index * 2]) return { entries, isFull: true };
      if (isLater(last, stream.known)) stream.known = last;
      stream.read = last;
      isFull ||= count >= pageSize;
      for (const item of text.split(' ')) {
        const entry = readEntry(item, longestMs);
        if (entry) entries.push(entry);
      }
    }
    return { entries, isFull };
  }

  async function add(entries: readonly LedgerEntry[]): Promise<void> {
    const nowMs = Date.now();
    const byStream = new Map<Position, LedgerEntry[]>();
    for (const entry of entries) {
      const leftMs = entry.untilMs - nowMs;
      const stream = streams.find(({ ageMs }) => leftMs < ageMs) ?? streams.at(-1);
      if (!stream || leftMs <= 0) continue;
      byStream.set(stream, [...(byStream.get(stream) ?? []), entry]);
    }
    await Promise.all([...byStream].map(([stream, all]) => addTo(stream, all)));
  }

  async function addTo(stream: Position, entries: readonly LedgerEntry[]): Promise<void> {
    const { key, ageMs } = stream;
    const records: string[] = [];
    for (let from = 0; from < entries.length; from += perRecord) {
      records.push(
        entries
          .slice(from, from + perRecord)
          .map(writeEntry)
          .join(' '),
      );
    }
    const limits = [String(Math.ceil(ageMs)), String(maxEntries)];
    const id = await send(key, ['EVAL', addScript, '1', key, ...limits, ...records]);
    if (typeof id === 'string' && isLater(id, stream.known)) stream.known = id;
  }

  return { read, add, rewind };
}

function partsOf(reply: unknown, index: number): readonly [last: string, count: number, text: string] {
  const page: unknown = Array.isArray(reply) ? (reply as unknown[])[index] : undefined;
  if (!Array.isArray(page)) return ['0-0', 0, ''];
  const [last, count, text] = page as unknown[];
  return [typeof last === 'string' ? last : '0-0', Number(count), typeof text === 'string' ? text : ''];
}

/** Whether one id of a stream is later than the other: milliseconds, and a number within them. */
function isLater(one: string, other: string): boolean {
  if (other === '') return one !== '0-0';
  const [ms = 0, count = 0] = one.split('-').map(Number);
  const [otherMs = 0, otherCount = 0] = other.split('-').map(Number);
  return ms > otherMs || (ms === otherMs && count > otherCount);
}

const letters = { ended: 'e', refresh: 'r' } as const;

/** `e`, the name, when, `.`, until when; and `!` where a sign-in took its place. The times in milliseconds and seconds. */
function writeEntry({ kind, name, atMs, untilMs, isReplaced = false }: LedgerEntry): string {
  const [at, until] = [Math.floor(atMs).toString(36), Math.ceil(untilMs / 1000).toString(36)];
  return `${letters[kind]}${name}${at}.${until}${isReplaced ? '!' : ''}`;
}

/** An entry as another process has written it. What is none says nothing; one that reaches too far is cut. */
function readEntry(item: string, longestMs: number): LedgerEntry | undefined {
  const [, letter, name, at, until, replaced] =
    /^([er])([\w-]{22})([\da-z]{1,11})\.([\da-z]{1,9})(!?)$/.exec(item) ?? [];
  if (name === undefined || at === undefined || until === undefined) return undefined;
  const nowMs = Date.now();
  const untilMs = Math.min(Number.parseInt(until, 36) * 1000, nowMs + longestMs);
  if (untilMs <= nowMs) return undefined;
  return {
    kind: letter === 'e' ? 'ended' : 'refresh',
    name,
    // What is still to come has not ended.
    atMs: Math.min(Number.parseInt(at, 36), nowMs),
    untilMs,
    isReplaced: replaced === '!',
  };
}
