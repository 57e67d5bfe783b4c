// The processes of a bench. Each says over IPC when it is ready, and answers what it is asked; none outlives the bench.
import { fork } from 'node:child_process';

const running = new Set();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));

/** Starts a file of this folder. `ready` is the first thing that it says. */
export async function startProcess(file, args = {}, execArgv = []) {
  const child = fork(new URL(file, import.meta.url), [JSON.stringify(args)], {
    execArgv,
    env: { ...process.env, NODE_ENV: 'production' },
  });
  running.add(child);
  child.once('exit', () => running.delete(child));
  const ready = await answerOf(child, file);
  return {
    pid: child.pid,
    ready,
    ask(question) {
      const answer = answerOf(child, file);
      child.send(question);
      return answer;
    },
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await gone;
    },
  };
}

function answerOf(child, file) {
  return new Promise((resolve, reject) => {
    const onMessage = (message) => {
      child.off('exit', onExit);
      resolve(message);
    };
    const onExit = (code) => {
      child.off('message', onMessage);
      reject(new Error(`${file} has ended with ${code}.`));
    };
    child.once('message', onMessage);
    child.once('exit', onExit);
  });
}

/** In such a process: what it was started with. */
export const processArgs = () => JSON.parse(process.argv[2]);

/** In such a process: says that it is ready, then answers each question by its name. */
export function serveProcess(ready, answers = {}) {
  process.on('message', async ({ ask, ...question }) => {
    process.send((await answers[ask](question)) ?? {});
  });
  // The bench itself has been killed.
  process.on('disconnect', () => process.exit());
  process.send(ready);
}
