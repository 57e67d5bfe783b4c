import type { Ledger, LedgerEntry } from './ledger.js';
import { ledgerStream } from './ledger-stream.js';
import { memoryLedger } from './memory-ledger.js';
import { ledgerLimits } from './fleet.js';
import type { TimedCommands } from './timed-commands.js';

interface Settings extends Pick<TimedCommands, 'send'> {
  readonly prefix: string;
  /** How often the ledger is read, in milliseconds. */
  readonly pollMs: number;
  readonly rememberMs: number;
}

// A process that has just started lets its requests wait so long for what has ended before.
const readWithinMs = 2_000;

// A part of the time between two readings is for the answer: who waits for `pollMs` has it by then.
const pollPart = 0.95;

// An entry may outlast `rememberMs` by the lifetime of an access token.
const longestTokenMs = 31 * 24 * 60 * 60_000;

// How many entries are given back with one command.
const returnedAtOnce = 5_000;

// One process gives back what Redis has lost, and the others see what it lacked. One that dies meanwhile holds up the
// others for so long.
const returnLeaseMs = 10_000;

/**
 * The endings of a fleet: each process reads what was added about once a second, with one command, and answers from memory.
 * What Redis did not take, or has lost since, is given back to it.
 */
export function redisLedger({ send, prefix, pollMs, rememberMs }: Settings): Ledger {
  const { maxEntries } = ledgerLimits;
  const local = memoryLedger({ maxEntries, rememberMs });
  const { table } = local;
  const stream = ledgerStream({ send }, { prefix, longestMs: rememberMs + longestTokenMs, maxEntries });
  const returnKey = `${prefix}{ledger}:return`;
  const seenKey = (name: string) => `${prefix}{${name}}:seen`;

  let telling = 0;
  let reading: Promise<boolean> | undefined;
  let readingAgain: Promise<boolean> | undefined;
  let firstRead: Promise<boolean> | undefined;
  let mayServe = false;

  /** Reads everything that has come. */
  async function readNew(): Promise<void> {
    for (let isFull = true; isFull;) {
      const page = await stream.read();
      if (page === 'lost') {
        table.forgetTold();
        stream.rewind();
      } else {
        apply(page.entries);
        ({ isFull } = page);
      }
    }
  }

  /** Reads everything, and gives back what is lost. @returns whether it is all */
  async function readAll(): Promise<boolean> {
    try {
      await readNew();
    } catch {
      // Redis is away. Each process goes by what it knows.
      return false;
    }
    if (table.untold() > 0 && telling === 0) await giveBack();
    return true;
  }

  function apply(entries: readonly LedgerEntry[]): void {
    let saysMore = false;
    for (const { kind, name, atMs, untilMs, isReplaced = false } of entries) {
      if (table.put(kind, name, { atMs, untilMs, isReplaced }, true)) saysMore = true;
    }
    if (saysMore) local.changed();
  }

  /** One reading at a time. Who asks while one runs waits for the next: what was added a moment ago may be in that only. */
  function read(): Promise<boolean> {
    if (!reading) {
      reading = readAll().finally(() => {
        reading = undefined;
      });
      return reading;
    }
    readingAgain ??= reading.then(() => {
      readingAgain = undefined;
      return read();
    });
    return readingAgain;
  }

  /** Gives Redis what it lacks. */
  async function giveBack(): Promise<void> {
    try {
      const lease = ['SET', returnKey, '1', 'PX', String(returnLeaseMs), 'NX'] as const;
      if ((await send(returnKey, lease)) !== 'OK') return;
      // Another process may have given it back since the last reading.
      await readNew();
      for (let left = table.listUntold(returnedAtOnce); left.length > 0; left = table.listUntold(returnedAtOnce)) {
        await tell(left);
      }
      await send(returnKey, ['DEL', returnKey]);
    } catch {
      // The next reading that succeeds tries again.
    }
  }

  async function tell(entries: readonly LedgerEntry[]): Promise<void> {
    telling += 1;
    try {
      await stream.add(entries);
      for (const entry of entries) table.noteTold(entry);
    } finally {
      telling -= 1;
    }
  }

  /** Begins to read, once: a fleet that no sessions use costs nothing. */
  function begin(): Promise<boolean> {
    firstRead ??= new Promise((resolve) => {
      const serve = (isComplete: boolean) => {
        mayServe = true;
        resolve(isComplete);
      };
      setTimeout(serve, readWithinMs, false).unref();
      const poll = async () => {
        if (await read()) serve(true);
        setTimeout(() => void poll(), pollMs * pollPart).unref();
      };
      void poll();
    });
    return firstRead;
  }

  return Object.freeze({
    ...local,
    record: async (entries) => {
      void begin();
      await local.record(entries);
      // What Redis does not take now is given back later.
      return tell(entries).then(
        () => true,
        () => false,
      );
    },
    firstSight: async (name, untilMs) => {
      const leftMs = Math.ceil(untilMs - Date.now());
      if (leftMs <= 0 || table.get('seen', name)) return false;
      try {
        const key = seenKey(name);
        const isFirst = (await send(key, ['SET', key, '1', 'PX', String(leftMs), 'NX'])) === 'OK';
        await local.firstSight(name, untilMs);
        return isFirst;
      } catch {
        return undefined;
      }
    },
    look: async () => {
      void begin();
      await atMost(readWithinMs, read());
    },
    untilRead: () => (mayServe ? undefined : begin()),
  } satisfies Ledger);
}

async function atMost(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
