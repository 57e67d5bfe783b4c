import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { frameworks, type App, type Listening } from './apps.js';
import { createBrowser } from './browser.js';

function setup(app: App): void {
  app.use((_req, res, next) => {
    res.setHeader('Set-Cookie', 'seen=yes; Path=/; HttpOnly; Secure');
    next();
  });
  app.get(
    '/',
    (_req, res, next) => {
      res.setHeader('X-First', 'yes');
      next();
    },
    (req, res) => res.end(req.headers.cookie ?? 'none'),
  );
  app.get('/refused', (_req, _res, next) => {
    next(Object.assign(new Error('Not here'), { status: 401, code: 'no_session' }));
  });
  app.get('/thrown', () => {
    throw new Error('Broken');
  });
}

describe.each(frameworks)('$name', ({ listen }) => {
  let app: Listening;

  beforeEach(async () => {
    app = await listen(setup);
  });

  afterEach(() => app.close());

  it('runs middleware, then the handlers of the path', async () => {
    const browser = createBrowser(app.url);
    const first = await browser.get('/?query=1');
    expect(first).toMatchObject({ status: 200, text: 'none', setCookies: ['seen=yes; Path=/; HttpOnly; Secure'] });
    expect(first.headers.get('x-first')).toBe('yes');
    expect((await browser.get('/')).text).toBe('seen=yes');
    expect((await browser.get('/nowhere')).status).toBe(404);
  });

  it('answers errors as JSON and keeps the headers', async () => {
    const browser = createBrowser(app.url);
    const refused = await browser.get('/refused');
    expect(refused).toMatchObject({ status: 401, json: { error: 'no_session', message: 'Not here' } });
    expect(refused.setCookies).toHaveLength(1);
    expect(await browser.get('/thrown')).toMatchObject({ status: 500, json: { message: 'Broken' } });
  });
});
