// Where there are two processors or more, whatever is measured has the first to itself, and everything else runs on the
// second: the load, the provider, Redis.
import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';

const pinned = availableParallelism() > 1 && spawnSync('taskset', ['-V']).status === 0;

/** For the head of a table. */
export const sharing = pinned
  ? 'Server and load have a processor each.'
  : 'Server and load share the processors: compare with care.';

function pin(processor, pid) {
  if (pinned) spawnSync('taskset', ['-a', '-cp', String(processor), String(pid)]);
}

/** What is measured. */
export const onItsOwn = (pid) => pin(0, pid);
/** What is not. Processes that are started from here on come along. */
export const outOfTheWay = (pid = process.pid) => pin(1, pid);
