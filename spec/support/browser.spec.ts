import { afterEach, describe, expect, it } from '@jest/globals';
import { listen, type Listening } from './apps.js';
import { createBrowser } from './browser.js';
import { useClock } from './clock.js';
import { createCookieJar } from './cookie-jar.js';

const clock = useClock();
const page = 'http://127.0.0.1:3000/shop/cart';

function jarWith(...setCookies: string[]) {
  const jar = createCookieJar();
  for (const setCookie of setCookies) jar.set(page, setCookie);
  return jar;
}

describe('the cookie jar', () => {
  it('replaces, expires and deletes', () => {
    const jar = jarWith('a=1; Path=/; Max-Age=60', 'a=2; Path=/; Max-Age=60', 'b=3; Path=/');
    expect(jar.header(page)).toBe('a=2; b=3');
    jar.set(page, 'b=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT');
    expect(jar.header(page)).toBe('a=2');
    clock.advance(61);
    expect(jar.header(page)).toBeUndefined();
  });

  it('sends cookies where they belong, the longest path first, whatever the port', () => {
    const jar = jarWith('root=1; Path=/', 'shop=1', 'admin=1; Path=/admin');
    expect(jar.header('http://127.0.0.1:4000/shop/')).toBe('shop=1; root=1');
    expect(jar.header('http://127.0.0.1:4000/shopping')).toBe('root=1');
    expect(jar.header('http://localhost:3000/shop')).toBeUndefined();
  });

  it('widens a cookie to its Domain, but never to a foreign one', () => {
    const jar = createCookieJar();
    jar.set('https://app.example.com/', 'wide=1; Domain=example.com; Path=/');
    jar.set('https://app.example.com/', 'foreign=1; Domain=example.org; Path=/');
    expect(jar.header('https://www.example.com/')).toBe('wide=1');
  });

  it.each([
    ['__Host-a=1; Secure; Path=/shop'],
    ['__Host-a=1; Path=/'],
    ['a=1; SameSite=None; Path=/'],
    [`a=${'x'.repeat(4096)}; Path=/`],
  ])('refuses %.40s', (setCookie) => {
    expect(jarWith(setCookie).cookies).toEqual([]);
  });

  it('keeps Secure cookies of plain http on loopback only, and not even there when told so', () => {
    const strict = createCookieJar({ secureOnLoopback: false });
    strict.set(page, 'a=1; Secure; Path=/');
    expect(strict.cookies).toEqual([]);
    const jar = jarWith('a=1; Secure; Path=/');
    expect(jar.header(page)).toBe('a=1');
    jar.set('http://example.com/', 'b=1; Secure; Path=/');
    expect(jar.get('b')).toBeUndefined();
  });
});

describe('the browser', () => {
  const apps: Listening[] = [];
  afterEach(() => Promise.all(apps.splice(0).map(({ close }) => close())));

  it('follows redirects to other hosts, with the cookies of each', async () => {
    const other = await listen((req, res) => res.end(JSON.stringify({ cookie: req.headers.cookie ?? null })));
    const elsewhere = other.url.replace('127.0.0.1', 'localhost');
    const app = await listen((_req, res) => {
      res.writeHead(302, { Location: `${elsewhere}/end`, 'Set-Cookie': 'here=1; Path=/' }).end();
    });
    apps.push(app, other);

    const browser = createBrowser(app.url);
    const { hops, url, json } = await browser.follow('/start');
    expect(hops).toEqual([`${app.url}/start`]);
    expect(url).toBe(`${elsewhere}/end`);
    expect(json).toEqual({ cookie: null });
    expect(browser.jar.get('here')).toBe('1');
  });

  it('shares its cookies with a tab, and gives a clone a copy', () => {
    const browser = createBrowser('http://127.0.0.1:3000');
    const tab = browser.tab();
    const clone = browser.clone();
    browser.jar.set(page, 'a=1; Path=/');
    expect(tab.jar.get('a')).toBe('1');
    expect(clone.jar.get('a')).toBeUndefined();
  });
});
