// One layer on one Express app, in a process of its own. Answers over IPC what it has used of the processor.
import { importPKCS8 } from 'jose';
import express from 'express';

import { layers } from './layers.js';
import { visitor } from './world.js';

const [name, url, stored = '0'] = process.argv.slice(2);
const app = express();
app.disable('x-powered-by');
const fill = await layers[name].mount(app, { url });
if (layers[name].stored) {
  const privateKey = await importPKCS8(process.env.BENCH_KEY, 'RS256');
  for (let number = 0; number < Number(stored); number += 1) {
    await fill(`session-${number}`, await visitor(number, { issuer: url, privateKey }));
  }
}
const server = app.listen(0, '127.0.0.1', () => {
  process.send({ port: server.address().port });
});
process.on('message', (ask) => {
  if (ask === 'usage') process.send({ usage: process.cpuUsage(), memory: process.memoryUsage() });
});
