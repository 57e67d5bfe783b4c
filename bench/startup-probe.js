// One start of an app in a fresh process, which then waits for its visitors. Asked for it, it says which packages are in
// memory: in a run of its own, because asking costs time.
import { Session } from 'node:inspector';
import { performance } from 'node:perf_hooks';

import { processArgs, serveProcess } from './processes.js';

const { layer, packages, url } = processArgs();

const beganMs = performance.now();
const { default: express } = await import('express');
for (const name of packages) await import(name);
const imported = performance.now() - beganMs;

const { layers } = await import('./layers.js');
const app = express();
await layers[layer].mount(app, { url });
const server = await new Promise((resolve) => {
  const listening = app.listen(0, '127.0.0.1', () => resolve(listening));
});
const address = `http://127.0.0.1:${server.address().port}/`;

serveProcess(
  { imported, beganAt: performance.timeOrigin + beganMs, address },
  { loaded: () => ({ packages: loadedPackages() }) },
);

/** Asks V8 which scripts it has. Every module is one, however it was imported. */
function loadedPackages() {
  const names = new Set();
  const session = new Session();
  session.connect();
  session.on('Debugger.scriptParsed', ({ params: { url: file } }) => {
    const name = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1];
    if (name) names.add(name);
  });
  session.post('Debugger.enable');
  session.disconnect();
  return [...names].sort();
}
