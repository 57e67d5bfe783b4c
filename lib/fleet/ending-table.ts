import type { LedgerEntry } from './ledger.js';

/** What is in the table under one name. */
export type Row = Pick<LedgerEntry, 'atMs' | 'untilMs'> & { readonly isReplaced: boolean };

export type RowKind = LedgerEntry['kind'] | 'seen';

/** Rows by name and kind, in some 60 bytes each. */
export interface EndingTable {
  readonly size: () => number;
  /** How many rows the store has not been seen to have. */
  readonly untold: () => number;
  readonly get: (kind: RowKind, name: string) => Row | undefined;
  /** Merges a row with the one that is there. @returns whether it says more than before */
  readonly put: (kind: RowKind, name: string, row: Row, isTold: boolean) => boolean;
  /** Notes that the store has a row, if it still is this one. */
  readonly noteTold: (entry: LedgerEntry) => void;
  /** Takes back that the store has any row: it was lost. */
  readonly forgetTold: () => void;
  /** The rows that the store has not been seen to have, at most so many. */
  readonly listUntold: (max: number) => LedgerEntry[];
}

// A row is four numbers of its name, then these columns. A million JavaScript objects would take four times as much, and
// every garbage collection would visit them.
interface Shard {
  words: Uint32Array;
  atMs: Float64Array;
  /** Seconds, rounded up. */
  until: Uint32Array;
  flags: Uint8Array;
  size: number;
}

const flag = { used: 1, replaced: 2, told: 4 } as const;
const kindBits: Readonly<Record<RowKind, number>> = { ended: 0, refresh: 1, seen: 2 };
const kinds: readonly RowKind[] = ['ended', 'refresh', 'seen'];

// Growing copies one shard: with 256 of them, a request waits a millisecond for it instead of half a second.
const manyShards = 256;
const firstSlots = 8;

/**
 * @param max how many rows are kept; beyond it, those go that would be over first
 */
export function endingTable(max: number): EndingTable {
  const first = emptyShard(firstSlots);
  const shards = [first, ...Array.from({ length: max < 65_536 ? 0 : manyShards - 1 }, () => emptyShard(firstSlots))];
  const key = new Uint32Array(4);
  let size = 0;
  let untold = 0;

  const shardIndex = () => (key[0] ?? 0) % shards.length;

  /** Reads a name into `key`, and finds its shard. The names are as random as hashes. */
  function seek(kind: RowKind, name: string): Shard {
    const bytes = Buffer.from(name, 'base64url');
    for (let word = 0; word < 4; word += 1) key[word] = bytes.length >= 16 ? bytes.readUInt32LE(word * 4) : 0;
    // The last two bits say what kind of row it is.
    key[3] = ((key[3] ?? 0) & ~3) | kindBits[kind];
    return shards[shardIndex()] ?? first;
  }

  /** The slot of `key`, or the free one where it belongs. */
  function slotOf({ words, flags }: Shard): number {
    const mask = flags.length - 1;
    let slot = (key[1] ?? 0) & mask;
    while (((flags[slot] ?? 0) & flag.used) !== 0 && !isKeyAt(words, slot)) slot = (slot + 1) & mask;
    return slot;
  }

  function isKeyAt(words: Uint32Array, slot: number): boolean {
    const from = slot * 4;
    return (
      words[from] === key[0] && words[from + 1] === key[1] && words[from + 2] === key[2] && words[from + 3] === key[3]
    );
  }

  function isUsed({ flags }: Shard, slot: number): boolean {
    return ((flags[slot] ?? 0) & flag.used) !== 0;
  }

  function rowAt({ atMs, until, flags }: Shard, slot: number): Row {
    return {
      atMs: atMs[slot] ?? 0,
      untilMs: (until[slot] ?? 0) * 1000,
      isReplaced: ((flags[slot] ?? 0) & flag.replaced) !== 0,
    };
  }

  function setTold({ flags }: Shard, slot: number, isTold: boolean): void {
    const before = flags[slot] ?? 0;
    if (((before & flag.told) !== 0) === isTold) return;
    flags[slot] = before ^ flag.told;
    untold += isTold ? -1 : 1;
  }

  function write(shard: Shard, slot: number, { atMs, untilMs, isReplaced }: Row): void {
    shard.atMs[slot] = atMs;
    shard.until[slot] = Math.min(Math.ceil(untilMs / 1000), 0xffffffff);
    const told = (shard.flags[slot] ?? 0) & flag.told;
    shard.flags[slot] = flag.used | told | (isReplaced ? flag.replaced : 0);
  }

  function uncount(shard: Shard, slot: number): void {
    setTold(shard, slot, true);
    size -= 1;
  }

  /** Empties a slot, and moves those up that stand behind it because it was taken. */
  function remove(shard: Shard, slot: number): void {
    uncount(shard, slot);
    shard.size -= 1;
    const { words, flags, atMs, until } = shard;
    const mask = flags.length - 1;
    let free = slot;
    for (let next = (free + 1) & mask; isUsed(shard, next); next = (next + 1) & mask) {
      const home = (words[next * 4 + 1] ?? 0) & mask;
      if (((next - home) & mask) < ((next - free) & mask)) continue;
      words.copyWithin(free * 4, next * 4, next * 4 + 4);
      atMs[free] = atMs[next] ?? 0;
      until[free] = until[next] ?? 0;
      flags[free] = flags[next] ?? 0;
      free = next;
    }
    flags[free] = 0;
  }

  /** Makes room for one more row. */
  function makeRoom(index: number): Shard {
    let shard = shards[index] ?? first;
    const slots = shard.flags.length;
    if (shard.size >= slots * 0.75) {
      const nowMs = Date.now();
      const before = shard;
      const rows = slotsOf(before).filter((slot) => {
        const isOver = rowAt(before, slot).untilMs <= nowMs;
        // The copy leaves it out.
        if (isOver) uncount(before, slot);
        return !isOver;
      });
      shard = copyOf(before, rows, rows.length >= slots * 0.5 ? slots * 2 : slots);
      shards[index] = shard;
    }
    if (size >= max) {
      const soonestOver = slotsOf(shard).reduce<number | undefined>(
        (found, slot) => (found !== undefined && untilOf(shard, found) <= untilOf(shard, slot) ? found : slot),
        undefined,
      );
      if (soonestOver !== undefined) remove(shard, soonestOver);
    }
    return shard;
  }

  function entryAt(shard: Shard, slot: number): LedgerEntry | undefined {
    const bytes = Buffer.alloc(16);
    for (let word = 0; word < 4; word += 1) bytes.writeUInt32LE(shard.words[slot * 4 + word] ?? 0, word * 4);
    const kind = kinds[(shard.words[slot * 4 + 3] ?? 0) & 3];
    if (kind === undefined || kind === 'seen') return undefined;
    return { kind, name: bytes.toString('base64url'), ...rowAt(shard, slot) };
  }

  return {
    size: () => size,
    untold: () => untold,
    get: (kind, name) => {
      const shard = seek(kind, name);
      const slot = slotOf(shard);
      if (!isUsed(shard, slot)) return undefined;
      const row = rowAt(shard, slot);
      if (row.untilMs > Date.now()) return row;
      remove(shard, slot);
      return undefined;
    },
    put: (kind, name, row, isTold) => {
      let shard = seek(kind, name);
      let slot = slotOf(shard);
      if (isUsed(shard, slot)) {
        const before = rowAt(shard, slot);
        const merged = {
          atMs: Math.max(before.atMs, row.atMs),
          untilMs: Math.max(before.untilMs, row.untilMs),
          // A sign-out after all: then nothing is spared.
          isReplaced: before.isReplaced && row.isReplaced,
        };
        const saysMore = merged.atMs > before.atMs || merged.isReplaced !== before.isReplaced;
        const isLonger = Math.ceil(merged.untilMs / 1000) * 1000 > before.untilMs;
        write(shard, slot, merged);
        // What the store says and what is known here may each be more than the other.
        if (isTold ? covers(row, merged) : saysMore || isLonger) setTold(shard, slot, isTold);
        return saysMore;
      }
      shard = makeRoom(shardIndex());
      slot = slotOf(shard);
      shard.words.set(key, slot * 4);
      shard.flags[slot] = flag.used | flag.told;
      write(shard, slot, row);
      // What has come once is asked of the store itself.
      setTold(shard, slot, isTold || kind === 'seen');
      shard.size += 1;
      size += 1;
      return true;
    },
    noteTold: (entry) => {
      const shard = seek(entry.kind, entry.name);
      const slot = slotOf(shard);
      if (isUsed(shard, slot) && covers(entry, rowAt(shard, slot))) setTold(shard, slot, true);
    },
    forgetTold: () => {
      for (const shard of shards) {
        for (const slot of slotsOf(shard)) {
          if (((shard.words[slot * 4 + 3] ?? 0) & 3) !== kindBits.seen) setTold(shard, slot, false);
        }
      }
    },
    listUntold: (most) => {
      const nowMs = Date.now();
      const found: LedgerEntry[] = [];
      for (const shard of shards) {
        if (found.length >= most || untold === 0) break;
        for (const slot of slotsOf(shard)) {
          if (found.length >= most) break;
          if (((shard.flags[slot] ?? 0) & flag.told) !== 0) continue;
          const entry = entryAt(shard, slot);
          if (!entry || entry.untilMs <= nowMs) setTold(shard, slot, true);
          else found.push(entry);
        }
      }
      return found;
    },
  };
}

/** Whether who knows the one row knows the other. */
function covers(one: Pick<LedgerEntry, 'atMs' | 'untilMs' | 'isReplaced'>, other: Row): boolean {
  return (
    one.atMs >= other.atMs &&
    Math.ceil(one.untilMs / 1000) * 1000 >= other.untilMs &&
    (one.isReplaced ?? false) === other.isReplaced
  );
}

const untilOf = ({ until }: Shard, slot: number) => until[slot] ?? 0;

function emptyShard(slots: number): Shard {
  return {
    words: new Uint32Array(slots * 4),
    atMs: new Float64Array(slots),
    until: new Uint32Array(slots),
    flags: new Uint8Array(slots),
    size: 0,
  };
}

function slotsOf({ flags }: Shard): number[] {
  const slots: number[] = [];
  for (let slot = 0; slot < flags.length; slot += 1) if (((flags[slot] ?? 0) & flag.used) !== 0) slots.push(slot);
  return slots;
}

function copyOf(shard: Shard, rows: readonly number[], slots: number): Shard {
  const copy = emptyShard(slots);
  const mask = slots - 1;
  for (const row of rows) {
    let slot = (shard.words[row * 4 + 1] ?? 0) & mask;
    while (copy.flags[slot] !== 0) slot = (slot + 1) & mask;
    copy.words.set(shard.words.subarray(row * 4, row * 4 + 4), slot * 4);
    copy.atMs[slot] = shard.atMs[row] ?? 0;
    copy.until[slot] = shard.until[row] ?? 0;
    copy.flags[slot] = shard.flags[row] ?? 0;
    copy.size += 1;
  }
  return copy;
}
