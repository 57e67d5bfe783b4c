import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import compression from 'compression';
import type { Response } from 'express';
import session from 'express-session';

import { forbidCaching } from '../../../lib/http/response-headers.js';
import { keepCookies, type CarrierSettings } from '../../../lib/http/carrier.js';
import { type App, type Framework, frameworks, type Handler, type Listening } from '../../support/apps.js';
import { createBrowser, type Page } from '../../support/browser.js';

const ours = 'ours=1; Path=/; HttpOnly';
const settings: CarrierSettings = {
  cookie: {
    name: 'ours',
    domain: undefined,
    path: '/',
    sameSite: 'lax',
    secure: true,
    maxAge: 60,
    partitioned: false,
    priority: undefined,
  },
  proofCookie: undefined,
  replaces: [],
  header: undefined,
  cacheControl: 'written',
  onSharedCache: () => undefined,
  clearSiteData: [],
  onClearedByApp: () => undefined,
};

/** Puts a cookie on the response, in a slot of its own unless one is named. */
function putCookie(res: ServerResponse, name: string, header: string, isWanted?: () => boolean, slot = name): void {
  keepCookies(res, settings, slot, [{ name, header }], isWanted);
}

const putOurs: Handler = (_req, res, next) => {
  // Nothing is compressed that does not say what it is.
  res.setHeader('Content-Type', 'text/plain');
  putCookie(res, 'ours', ours);
  next();
};

const text = 'a line of text that is worth compressing\n'.repeat(200);

/** What handlers do to the response, and the cookies of their own that are to be there before ours. */
const ways: readonly [string, readonly string[], Handler][] = [
  ['end', [], (_req, res) => res.end(text)],
  [
    'write',
    [],
    (_req, res) => {
      res.write('more ');
      res.end(text);
    },
  ],
  ['setHeader', ['app=1'], (_req, res) => res.setHeader('Set-Cookie', 'app=1').end(text)],
  ['setHeader in small letters', ['app=1'], (_req, res) => res.setHeader('set-cookie', 'app=1').end(text)],
  ['setHeader with a list', ['app=1', 'b=2'], (_req, res) => res.setHeader('Set-Cookie', ['app=1', 'b=2']).end(text)],
  [
    'setHeader twice',
    ['b=2'],
    (_req, res) => res.setHeader('Set-Cookie', 'app=1').setHeader('Set-Cookie', 'b=2').end(text),
  ],
  ['setHeaders', ['app=1'], (_req, res) => res.setHeaders(new Map([['set-cookie', 'app=1']])).end(text)],
  ['appendHeader', ['app=1'], (_req, res) => res.appendHeader('Set-Cookie', 'app=1').end(text)],
  ['writeHead', [], (_req, res) => res.writeHead(200).end(text)],
  ['writeHead with an object', ['app=1'], (_req, res) => res.writeHead(200, { 'Set-Cookie': 'app=1' }).end(text)],
  [
    'writeHead with an object that has a list',
    ['app=1', 'b=2'],
    (_req, res) => res.writeHead(200, { 'set-cookie': ['app=1', 'b=2'] }).end(text),
  ],
  [
    'writeHead with a list',
    ['app=1', 'b=2'],
    (_req, res) => res.writeHead(200, ['Set-Cookie', 'app=1', 'X-Other', 'yes', 'Set-Cookie', 'b=2']).end(text),
  ],
  [
    'writeHead with a reason',
    ['app=1'],
    (_req, res) => res.writeHead(200, 'Very Well', { 'Set-Cookie': 'app=1' }).end(text),
  ],
  ['writeHead with a reason alone', [], (_req, res) => res.writeHead(200, 'Very Well').end(text)],
  [
    'writeHead after setHeader',
    ['app=1'],
    (_req, res) => res.setHeader('Set-Cookie', 'lost=1').writeHead(200, { 'Set-Cookie': 'app=1' }).end(text),
  ],
  [
    'removeHeader',
    [],
    (_req, res) => {
      res.setHeader('Set-Cookie', 'app=1');
      res.removeHeader('Set-Cookie');
      res.end(text);
    },
  ],
  [
    'removing every header',
    [],
    (_req, res) => {
      for (const name of res.getHeaderNames()) res.removeHeader(name);
      res.end(text);
    },
  ],
  [
    'flushHeaders',
    ['app=1'],
    (_req, res) => {
      res.setHeader('Set-Cookie', 'app=1');
      res.flushHeaders();
      res.end(text);
    },
  ],
  [
    'flushHeaders after removeHeader',
    [],
    (_req, res) => {
      res.removeHeader('Set-Cookie');
      res.flushHeaders();
      res.end(text);
    },
  ],
  [
    'pipe',
    ['app=1'],
    (_req, res) => {
      res.setHeader('Set-Cookie', 'app=1');
      Readable.from([text.slice(0, 1_000), text.slice(1_000)]).pipe(res);
    },
  ],
  [
    'answering later',
    ['app=1'],
    (_req, res) => {
      setImmediate(() => res.writeHead(200, { 'Set-Cookie': 'app=1' }).end(text));
    },
  ],
  ['a redirect', ['app=1'], (_req, res) => res.writeHead(302, { Location: '/', 'Set-Cookie': 'app=1' }).end()],
  ['no content', ['app=1'], (_req, res) => res.writeHead(204, { 'Set-Cookie': 'app=1' }).end()],
  [
    'a throw',
    ['app=1'],
    (_req, res) => {
      res.setHeader('Set-Cookie', 'app=1');
      throw new Error('Broken');
    },
  ],
  [
    'an error handed on',
    ['app=1'],
    (_req, res, next) => {
      res.setHeader('Set-Cookie', 'app=1');
      next(Object.assign(new Error('Not here'), { status: 404 }));
    },
  ],
  [
    'a cookie of the same name',
    ['app=1', 'ours2=2', 'our=3'],
    (_req, res) => res.setHeader('Set-Cookie', ['app=1', 'ours=theirs; Path=/', 'ours2=2', 'our=3']).end(text),
  ],
];

/** What Express adds to a response. */
const expressWays: readonly [string, readonly string[], (res: Response) => unknown][] = [
  ['res.send', [], (res) => res.send(text)],
  ['res.json', [], (res) => res.json({ text })],
  ['res.cookie', ['app=1; Path=/'], (res) => res.cookie('app', '1').send(text)],
  [
    'res.clearCookie',
    ['app=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT'],
    (res) => res.clearCookie('app').send(text),
  ],
  ['res.set', ['app=1'], (res) => res.set('Set-Cookie', 'app=1').send(text)],
  ['res.append', ['app=1', 'b=2'], (res) => res.append('Set-Cookie', ['app=1', 'b=2']).send(text)],
  [
    'res.redirect',
    ['app=1; Path=/'],
    (res) => {
      res.cookie('app', '1').redirect('/');
    },
  ],
  ['res.sendStatus', [], (res) => res.sendStatus(202)],
];
const onExpress =
  (handler: (res: Response) => unknown): Handler =>
  (_req, res) =>
    handler(res as Response);

const expressSession = session({
  secret: 'not a secret',
  resave: false,
  saveUninitialized: true,
}) as unknown as Handler;
const compress = compression({ threshold: 0 }) as unknown as Handler;

/** Which middlewares of others stand before ours, and which after. */
const mounts: readonly [string, Handler[], Handler[]][] = [
  ['alone', [], []],
  ['behind compression', [compress], []],
  ['before compression', [], [compress]],
  ['behind express-session', [expressSession], []],
  ['before express-session', [], [expressSession]],
  ['between both', [expressSession], [compress]],
  ['behind both', [compress, expressSession], []],
  ['before both', [], [expressSession, compress]],
];

const open: Listening[] = [];
afterAll(async () => {
  await Promise.all(open.map((app) => app.close()));
});

async function serve(
  { listen }: Framework,
  setup: (app: App) => void,
): Promise<(path: string, init?: RequestInit) => Promise<Page>> {
  const app = await listen(setup);
  open.push(app);
  return (path, init) => createBrowser(app.url).get(path, init);
}

const pathOf = (name: string) => `/${name.replace(/\W/g, '-')}`;
const isSessionCookie = (header: string) => header.startsWith('connect.sid=');

describe.each(frameworks)('a cookie that is put on a response of $name', (framework) => {
  const isExpress = framework.name.startsWith('Express');
  const everyWay = [
    ...ways,
    ...(isExpress ? expressWays.map(([name, theirs, handler]) => [name, theirs, onExpress(handler)] as const) : []),
  ];

  describe.each(mounts)('%s', (_, before, after) => {
    let get: (path: string, init?: RequestInit) => Promise<Page>;
    const hasSession = [...before, ...after].includes(expressSession);
    const hasCompression = [...before, ...after].includes(compress);

    beforeAll(async () => {
      get = await serve(framework, (app) => {
        for (const middleware of [...before, putOurs, ...after]) app.use(middleware);
        for (const [name, , handler] of everyWay) app.get(pathOf(name), handler);
      });
    });

    it('is there, once and last, whatever the handler does', async () => {
      const expected = everyWay.map(([name, theirs]) => [name, [...theirs, ours], 'private, no-store', 'Cookie']);
      const seen: unknown[] = [];
      for (const [name] of everyWay) {
        const { setCookies, headers } = await get(pathOf(name), { headers: { 'accept-encoding': 'gzip' } });
        // A middleware that stands before ours writes its cookie after it; nothing can be behind that.
        const others = setCookies.filter(isSessionCookie);
        expect([name, others.length]).toEqual([name, hasSession ? 1 : 0]);
        if (after.includes(expressSession)) expect([name, setCookies.at(-1)]).toEqual([name, ours]);
        const [vary] = headers.get('vary')?.match(/\bCookie\b/) ?? [];
        seen.push([name, setCookies.filter((each) => !others.includes(each)), headers.get('cache-control'), vary]);
      }
      expect(seen).toEqual(expected);
    });

    it('leaves the body as it is', async () => {
      const { text: body, headers } = await get(pathOf('setHeader'), { headers: { 'accept-encoding': 'gzip' } });
      expect(body).toBe(text);
      expect(headers.get('content-encoding')).toBe(hasCompression ? 'gzip' : null);
      if (hasCompression) expect(headers.get('vary')).toMatch(/\bAccept-Encoding\b/);
    });
  });
});

/** What comes of one handler on plain node:http. */
async function respond(handler: Handler): Promise<Page> {
  const get = await serve(frameworks.at(-1)!, (app) => {
    app.get('/', handler);
  });
  return get('/');
}

describe('cookies of ours', () => {
  it('replace each other by name', async () => {
    let seen: unknown;
    const { setCookies } = await respond((_req, res) => {
      putCookie(res, 'ours', 'ours=1');
      putCookie(res, 'flow', 'flow=1');
      putCookie(res, 'ours', 'ours=; Max-Age=0');
      seen = res.getHeader('set-cookie');
      res.end();
    });
    expect(seen).toEqual(['ours=; Max-Age=0', 'flow=1']);
    expect(setCookies).toEqual(seen);
  });

  it('make way for what takes their place under another name', async () => {
    const { setCookies } = await respond((_req, res) => {
      putCookie(res, 'whole', 'whole=1', () => true, 'session');
      putCookie(res, 'flow', 'flow=1');
      putCookie(res, 'piece', 'piece=1', () => true, 'session');
      res.end();
    });
    expect(setCookies).toEqual(['piece=1', 'flow=1']);
  });

  it('are there at once, for whoever looks at the headers', async () => {
    let seen: unknown;
    await respond((_req, res) => {
      res.setHeader('Set-Cookie', 'app=1');
      putCookie(res, 'ours', ours);
      seen = res.getHeader('set-cookie');
      res.end();
    });
    expect(seen).toEqual(['app=1', ours]);
  });

  it('are taken off when they are no longer wanted as the headers are written', async () => {
    const { setCookies } = await respond((_req, res) => {
      let wanted = true;
      putCookie(res, 'ours', ours, () => wanted);
      putCookie(res, 'flow', 'flow=1');
      res.appendHeader('Set-Cookie', 'app=1');
      wanted = false;
      res.end();
    });
    expect(setCookies).toEqual(['app=1', 'flow=1']);
  });

  it('leave no header behind when none is wanted', async () => {
    const { setCookies } = await respond((_req, res) => {
      let wanted = true;
      putCookie(res, 'ours', ours, () => wanted);
      wanted = false;
      res.end();
    });
    expect(setCookies).toEqual([]);
  });

  it('come too late for a response that has begun, without breaking it', async () => {
    const page = await respond((_req, res) => {
      res.write('begun');
      putCookie(res, 'ours', ours);
      res.end();
    });
    expect(page).toMatchObject({ status: 200, text: 'begun', setCookies: [] });
  });

  it('do not get onto another response', async () => {
    let count = 0;
    const get = await serve(frameworks.at(-1)!, (app) => {
      app.get('/', (_req, res) => {
        count += 1;
        if (count === 1) putCookie(res, 'ours', ours);
        res.end();
      });
    });
    expect((await get('/')).setCookies).toEqual([ours]);
    expect((await get('/')).setCookies).toEqual([]);
  });
});

describe('a response with our cookie', () => {
  const withHeaders = (headers: Record<string, string | string[]>) =>
    respond((_req, res) => {
      putCookie(res, 'ours', ours);
      for (const [name, value] of Object.entries(headers)) res.setHeader(name, value);
      res.end();
    });

  it.each(['public, max-age=3600', 'max-age=3600, immutable', 's-maxage=60', 'no-cache', 'private', 'no-store'])(
    'is for no cache, whatever the handler says: %s',
    async (value) => {
      expect((await withHeaders({ 'Cache-Control': value })).headers.get('cache-control')).toBe('private, no-store');
    },
  );

  it('may still not be transformed when the handler says so', async () => {
    for (const handlers of [
      [compress, putOurs],
      [putOurs, compress],
    ]) {
      const get = await serve(frameworks.at(-1)!, (app) => {
        for (const middleware of handlers) app.use(middleware);
        app.get('/', (_req, res) => {
          res.setHeader('Content-Type', 'text/event-stream');
          res.setHeader('Cache-Control', 'no-cache, no-transform');
          res.end(text);
        });
      });
      const { headers } = await get('/', { headers: { 'accept-encoding': 'gzip' } });
      expect(headers.get('content-encoding')).toBeNull();
      expect(headers.get('cache-control')).toMatch(/\bno-store\b/);
    }
  });

  it.each<[string | string[] | undefined, string]>([
    [undefined, 'Cookie'],
    ['', 'Cookie'],
    ['Accept-Encoding', 'Accept-Encoding, Cookie'],
    ['Accept-Encoding , Origin', 'Accept-Encoding, Origin, Cookie'],
    [['Accept-Encoding', 'Origin'], 'Accept-Encoding, Origin, Cookie'],
    ['Cookie', 'Cookie'],
    ['cookie, Origin', 'cookie, Origin'],
    ['X-Cookie', 'X-Cookie, Cookie'],
    ['*', '*'],
  ])('varies with the cookie: %j', async (value, expected) => {
    const { headers } = await withHeaders(value === undefined ? {} : { Vary: value });
    expect(headers.get('vary')).toBe(expected);
  });

  it('has no validator', async () => {
    const { headers } = await withHeaders({ ETag: '"1"', 'Last-Modified': new Date(0).toUTCString() });
    expect([headers.get('etag'), headers.get('last-modified')]).toEqual([null, null]);
  });

  it('is told from one without, which stays as the handler made it', async () => {
    const { headers } = await respond((_req, res) => {
      res.writeHead(200, { 'Cache-Control': 'public, max-age=60', ETag: '"1"', Vary: 'Origin' }).end();
    });
    expect([headers.get('cache-control'), headers.get('etag'), headers.get('vary')]).toEqual([
      'public, max-age=60',
      '"1"',
      'Origin',
    ]);
  });

  it.each(frameworks.filter(({ name }) => name.startsWith('Express')))(
    'is whole, also for a browser that has the page: $name',
    async (framework) => {
      let put = false;
      const get = await serve(framework, (app) => {
        app.use((req, res, next) => {
          if (put) putOurs(req, res, next);
          else next();
        });
        app.get(
          '/',
          onExpress((res) => res.send(text)),
        );
        app.get(
          '/dated',
          onExpress((res) => res.set('Last-Modified', new Date(0).toUTCString()).send(text)),
        );
      });
      const etag = (await get('/')).headers.get('etag')!;
      for (const [name, value, path] of [
        ['if-none-match', etag, '/'],
        ['if-modified-since', new Date(0).toUTCString(), '/dated'],
      ] as const) {
        const init = { headers: { [name]: value, 'cache-control': 'max-age=0' } };
        put = false;
        expect((await get(path, init)).status).toBe(304);
        put = true;
        const page = await get(path, init);
        expect([page.status, page.headers.get('etag'), page.headers.get('last-modified')]).toEqual([200, null, null]);
        expect(page).toMatchObject({ text, setCookies: [ours] });
      }
    },
  );

  it('may be one that was made by hand, without its request', () => {
    const headers = new Map<string, unknown>();
    const res = {
      getHeader: (name: string) => headers.get(name.toLowerCase()),
      setHeader: (name: string, value: unknown) => headers.set(name.toLowerCase(), value),
      removeHeader: (name: string) => headers.delete(name.toLowerCase()),
    };
    expect(forbidCaching(res as unknown as ServerResponse)).toBe(false);
    expect([...headers]).toEqual([
      ['cache-control', 'private, no-store'],
      ['vary', 'Cookie'],
    ]);
  });
});
