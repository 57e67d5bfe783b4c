// One layer on one Express app, in a process of its own. Answers what it has used of the machine.
import express from 'express';

import { layers } from './layers.js';
import { processArgs, serveProcess } from './processes.js';

const { name, ...world } = processArgs();
const app = express();
app.disable('x-powered-by');
const store = await layers[name].mount(app, world);

// The same long queue as the provider's, so that a storm comes in at once.
const server = app.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 }, () => {
  serveProcess(
    { url: `http://127.0.0.1:${server.address().port}/` },
    {
      async fill({ sessions }) {
        for (const [number, session] of sessions.entries()) await store(number, session);
      },
      usage: () => ({ cpu: process.cpuUsage(), memory: process.memoryUsage() }),
      // With --expose-gc: what is still held.
      held() {
        globalThis.gc();
        return { memory: process.memoryUsage(), mostMemory: process.resourceUsage().maxRSS * 1024 };
      },
    },
  );
});
