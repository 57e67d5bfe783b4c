import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import connect from 'connect';
import express, { type RequestHandler } from 'express';
import express4 from 'express4';
import { listen, type Listening } from './http-server.js';
import { watch } from './watch.js';

export { listen, type Listening } from './http-server.js';

export type Next = (error?: unknown) => void;
export type Handler = (req: IncomingMessage, res: ServerResponse, next: Next) => unknown;

/** What every framework here can do, for specs that run the same app on each. */
export interface App {
  use: (middleware: Handler) => void;
  get: (path: string, ...handlers: Handler[]) => void;
}

export interface Framework {
  name: string;
  listen: (setup: (app: App) => void) => Promise<Listening>;
}

export const frameworks: Framework[] = [
  { name: 'Express 5', listen: (setup) => listen(expressApp(express, setup)) },
  { name: 'Express 4', listen: (setup) => listen(expressApp(express4, setup)) },
  { name: 'Connect', listen: (setup) => listen(connectApp(setup)) },
  { name: 'node:http', listen: (setup) => listen(plainApp(setup)) },
];

function expressApp(create: typeof express, setup: (app: App) => void): RequestListener {
  const app = create();
  setup({
    use: (middleware) => app.use(middleware as RequestHandler),
    get: (path, ...handlers) => app.get(path, ...(handlers as RequestHandler[])),
  });
  app.use(answerError);
  return app;
}

function connectApp(setup: (app: App) => void): RequestListener {
  const app = connect();
  setup({
    use: (middleware) => app.use(middleware),
    get: (path, ...handlers) => app.use(route(path, handlers)),
  });
  app.use(answerError);
  return app;
}

function plainApp(setup: (app: App) => void): RequestListener {
  const stack: Handler[] = [];
  setup({
    use: (middleware) => stack.push(middleware),
    get: (path, ...handlers) => stack.push(route(path, handlers)),
  });
  const run = chain(stack);
  return (req, res) => {
    run(req, res, (error) => {
      if (error === undefined) res.writeHead(404).end();
      else answerError(error, req, res, () => res.destroy());
    });
  };
}

function route(path: string, handlers: Handler[]): Handler {
  const run = chain(handlers);
  return (req, res, next) => {
    const matches = req.method === 'GET' && req.url?.split('?', 1)[0] === path;
    if (matches) run(req, res, next);
    else next();
  };
}

/** One after the other, as Connect does it: what is thrown becomes an error, what is rejected is caught by nobody. */
function chain(handlers: Handler[]): Handler {
  return (req, res, done) => {
    const step = (index: number, error?: unknown): void => {
      const handler = handlers[index];
      if (error !== undefined || !handler) {
        done(error);
        return;
      }
      try {
        handler(req, res, (problem) => {
          step(index + 1, problem);
        });
      } catch (thrown) {
        done(thrown);
      }
    };
    step(0);
  };
}

/** The status of the error and what it says; headers that are on the response already stay. */
function answerError(thrown: unknown, _req: IncomingMessage, res: ServerResponse, next: Next): void {
  watch('an error', thrown);
  if (res.headersSent) {
    next(thrown);
    return;
  }
  const error = thrown as { status?: number; code?: string; message?: string };
  res.statusCode = error.status ?? 500;
  res.setHeader('Content-Type', 'application/json');
  res.end(JSON.stringify({ error: error.code, message: error.message }));
}
