import { afterAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import {
  clearCookie,
  clearSeal,
  type CookieSettings,
  cookieValues,
  sealCandidates,
  setCookie,
  type SetCookie,
  setSeal,
} from '../../../lib/http/cookies.js';
import { runs } from '../../support/fuzz.js';
import { listen, type Listening } from '../../support/http-server.js';

const settings: CookieSettings = {
  name: 'wos-session',
  domain: undefined,
  path: '/',
  sameSite: 'lax',
  secure: true,
  maxAge: 60,
  partitioned: false,
  priority: undefined,
};

const open: Listening[] = [];
afterAll(async () => {
  await Promise.all(open.map((server) => server.close()));
});

describe('the values of a cookie', () => {
  it.each<[string, string | undefined, string[]]>([
    ['no header', undefined, []],
    ['an empty header', '', []],
    ['another cookie', 'b=1', []],
    ['the cookie alone', 'a=1', ['1']],
    ['the cookie among others', 'b=1; a=2; c=3', ['2']],
    ['no space between', 'b=1;a=2;c=3', ['2']],
    ['more space than there should be', ' b=1 ;  a=2 ; c=3', ['2']],
    ['two of the name, in their order', 'a=1; b=2; a=3', ['1', '3']],
    ['two of the name that are alike', 'a=1; a=1', ['1', '1']],
    ['a longer name', 'aa=1; ba=2; a.b=3', []],
    ['a name in other letters', 'A=1', []],
    ['a value that looks like the cookie', 'b=a=1; c="a=2"', []],
    ['a value with equals signs', 'a=b=c==', ['b=c==']],
    ['an empty value', 'a=', ['']],
    ['a name without a value', 'a; a=1', ['1']],
    ['a value in quotes', 'a="1 2"', ['1 2']],
    ['one quote', 'a="', ['"']],
    ['a quote at one end', 'a="1; a=2"', ['"1', '2"']],
    ['quotes inside', 'a=1"2"; a="1"2', ['1"2"', '"1"2']],
    ['a cookie behind another that ends like it', 'ba=1; a=2', ['2']],
    ['an encoded value', 'a=%7B%22b%22%3A1%7D', ['{"b":1}']],
    ['an encoding that is none', 'a=100%; a=%zz; a=%E4', ['100%', '%zz', '%E4']],
    ['stray semicolons', ';;a=1;;', ['1']],
    ['tabs around', '\ta\u0009=2;\t a=1\t ;b=3', ['1']],
    ['a no-break space before the name, which is another name', '\u00a0a=1', []],
    ['a no-break space around the value, which is part of it', 'a=\u00a01\u00a0', ['\u00a01\u00a0']],
    ['a line break of Unicode before the name', '\u2028a=1; \u0085a=2', []],
  ])('are found in %s', (_, header, values) => {
    expect(cookieValues(header, 'a')).toEqual(values);
  });

  it.each(['__Host-session', 'a.b', '$', 'a+b', '(a)', 'constructor', '__proto__', '*'])(
    'are found whatever the name: %s',
    (name) => {
      expect(cookieValues(`x=1; ${name}=2; y=3`, name)).toEqual(['2']);
      expect(cookieValues('x=1; y=3', name)).toEqual([]);
    },
  );

  const names = fc.constantFrom('a', 'aa', 'b', '__Host-a', 'constructor');
  const values = fc.string({ maxLength: 12 });

  it('are all found, and nobody else’s', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(names, values), { maxLength: 12 }), names, (pairs, name) => {
        const header = pairs.map(([each, value]) => `${each}=${encodeURIComponent(value)}`).join('; ');
        const expected = pairs.filter(([each]) => each === name).map(([, value]) => value);
        expect(cookieValues(header, name)).toEqual(expected);
      }),
    );
  });

  it('are strings, whatever the header', () => {
    const pieces = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.constantFrom('a=', 'a', '=', ';', '"', '%'));
    fc.assert(
      fc.property(
        fc.array(pieces).map((each) => each.join('')),
        fc.string(),
        (header, name) => {
          for (const value of [...cookieValues(header, 'a'), ...cookieValues(header, name)]) {
            expect(typeof value).toBe('string');
            expect(value.length).toBeLessThanOrEqual(header.length);
          }
        },
      ),
    );
  });
});

describe('a Set-Cookie header', () => {
  it.each<[string, Partial<CookieSettings>, string]>([
    ['as a rule', {}, 'Path=/; Max-Age=60; HttpOnly; Secure; SameSite=Lax'],
    [
      'for a domain',
      { domain: 'example.com' },
      'Path=/; Domain=example.com; Max-Age=60; HttpOnly; Secure; SameSite=Lax',
    ],
    ['below a path', { path: '/app' }, 'Path=/app; Max-Age=60; HttpOnly; Secure; SameSite=Lax'],
    ['for development', { secure: false }, 'Path=/; Max-Age=60; HttpOnly; SameSite=Lax'],
    ['strict', { sameSite: 'strict' }, 'Path=/; Max-Age=60; HttpOnly; Secure; SameSite=Strict'],
    ['for other sites too', { sameSite: 'none' }, 'Path=/; Max-Age=60; HttpOnly; Secure; SameSite=None'],
  ])('has its attributes %s', (_, changes, attributes) => {
    expect(setCookie('value', { ...settings, ...changes })).toBe(`wos-session=value; ${attributes}`);
  });

  it('removes the cookie under the same name, domain and path', () => {
    expect(clearCookie({ ...settings, domain: 'example.com', path: '/app' })).toBe(
      'wos-session=; Path=/app; Domain=example.com; Max-Age=0; HttpOnly; Secure; SameSite=Lax; Expires=Thu, 01 Jan 1970 00:00:00 GMT',
    );
  });
});

describe('a seal in cookies', () => {
  /** The `Cookie` header of a browser that had `before` and was sent these. */
  function cookieHeader(set: readonly SetCookie[], before: readonly [string, string][] = []): string {
    const jar = new Map(before);
    for (const { header } of set) {
      const [pair = '', ...attributes] = header.split('; ');
      const at = pair.indexOf('=');
      if (attributes.includes('Max-Age=0')) jar.delete(pair.slice(0, at));
      else jar.set(pair.slice(0, at), pair.slice(at + 1));
    }
    return [...jar].map((pair) => pair.join('=')).join('; ');
  }

  const pairsOf = (header: string) => header.split('; ').map((pair) => pair.split('=') as [string, string]);

  const letters = fc.constantFrom('Fe26.2*AZaz09_-~', 'AZaz09+/=', '+/', '{"a": 1; b, %2F}');
  const patterns = letters.chain((all) =>
    fc.string({ unit: fc.constantFrom(...Array.from(all)), minLength: 1, maxLength: 30 }),
  );
  // Where one cookie ends and another begins, and all the rest.
  const lengths = fc.oneof(
    fc.integer({ min: 1, max: 12_288 }),
    fc.integer({ min: 3_900, max: 4_100 }),
    fc.integer({ min: 7_500, max: 7_800 }),
  );
  const seals = fc
    .tuple(patterns, lengths)
    .map(([pattern, length]) => pattern.repeat(Math.ceil(length / pattern.length)).slice(0, length));

  it('comes back as it was, whatever its length and letters', () => {
    fc.assert(
      fc.property(seals, (seal) => {
        const set = setSeal(seal, settings, undefined, true);
        expect(set === undefined || sealCandidates(cookieHeader(set), settings.name).includes(seal)).toBe(true);
      }),
      { numRuns: runs(300) },
    );
  });

  it('has no cookie that a browser would drop, and none with letters of another meaning', () => {
    fc.assert(
      fc.property(seals, (seal) => {
        for (const { header } of setSeal(seal, settings, undefined, true) ?? []) {
          expect(header.length).toBeLessThanOrEqual(4_096);
          const [pair = '', ...attributes] = header.split('; ');
          expect(pair).toMatch(/^wos-session(\.\d)?=[\w!#$%&'*+\-.^`|~()/:<=>?@[\]{}]*$/);
          expect(attributes).toEqual(['Path=/', 'Max-Age=60', 'HttpOnly', 'Secure', 'SameSite=Lax']);
        }
      }),
      { numRuns: runs(100) },
    );
  });

  it('is one cookie as long as it fits into one', () => {
    const room = 4_096 - setCookie('', settings).length;
    expect(setSeal('a'.repeat(room), settings, undefined)?.map(({ name }) => name)).toEqual(['wos-session']);
    expect(setSeal('a'.repeat(room + 1), settings, undefined)?.map(({ name }) => name)).toEqual([
      'wos-session.0',
      'wos-session.1',
    ]);
  });

  it('is no longer than servers take back, or than tokens that were rotated may make it', () => {
    const piecesFor = (bytes: number, rotated: boolean) =>
      setSeal('a'.repeat(bytes), settings, undefined, rotated)?.length;
    expect([piecesFor(7_680, false), piecesFor(7_681, false)]).toEqual([2, undefined]);
    expect([piecesFor(12_288, true), piecesFor(12_289, true)]).toEqual([4, undefined]);
  });

  it('takes the place of one of another length, and leaves nothing of it', () => {
    const size = fc.integer({ min: 1, max: 7_600 });
    fc.assert(
      fc.property(size, size, (length, lengthBefore) => {
        const before = cookieHeader(setSeal('b'.repeat(lengthBefore), settings, undefined)!);
        const after = cookieHeader(setSeal('a'.repeat(length), settings, before)!, pairsOf(before));
        expect(after).not.toContain('b');
        expect(sealCandidates(after, settings.name)[0]).toBe('a'.repeat(length));
        expect(cookieHeader(clearSeal(settings, after), pairsOf(after))).toBe('');
      }),
      { numRuns: runs(50) },
    );
  });

  it('is found in spite of pieces left over, behind the cookie that is whole', () => {
    expect(sealCandidates('s.0=a; s.1=b; s.2=c', 's')).toEqual(['abc', 'ab', 'a']);
    expect(sealCandidates('s=whole; s.0=a', 's')).toEqual(['whole', 'a']);
    expect(sealCandidates('s.1=b; s.2=c', 's')).toEqual([]);
    expect(sealCandidates('s.0=a; s.2=c', 's')).toEqual(['a']);
    expect(sealCandidates(Array.from({ length: 20 }, (_, index) => `s.${index}=a`).join('; '), 's')).toHaveLength(4);
  });

  it('is found beside junk pieces of a sibling subdomain', () => {
    expect(sealCandidates('s.0=junk; s.0=a; s.1=b', 's')).toContain('ab');
    expect(sealCandidates('s.0=a; s.1=junk; s.1=b; s.2=c; s.3=junk', 's')).toContain('abc');
    const twoOfEach = ['a', 'b', 'c', 'd'].flatMap((value, index) => [`s.${index}=junk`, `s.${index}=${value}`]);
    expect(sealCandidates(twoOfEach.join('; '), 's')).toContain('abcd');
  });

  it('makes a bounded number of candidates of many pieces', () => {
    const pieces = Array.from({ length: 2_000 }, (_, index) => `s.${index % 4}=${index}`);
    expect(sealCandidates(pieces.join('; '), 's').length).toBeLessThanOrEqual(44);
  });

  const oddLengths = Array.from({ length: 70 }, (_, index) => 3_000 + index * 251);

  it('fits behind a proxy that takes 8 KiB, when the app asks for it to be written', () => {
    for (const length of oddLengths) {
      const set = setSeal('a'.repeat(length), settings, undefined);
      expect([length, set === undefined || cookieHeader(set).length < 8_192]).toEqual([length, true]);
    }
  });

  it.each([
    ['the app asks for it', false],
    ['the provider has rotated', true],
  ])('comes back through Node, which takes 16 KiB of headers, when %s', async (_, rotated) => {
    const server = await listen((_req, res) => res.end());
    open.push(server);
    // About as much as a browser sends besides.
    const headers = { 'user-agent': 'u'.repeat(150), accept: 'a'.repeat(150), 'x-others': 'x'.repeat(700) };
    const refused: number[] = [];
    for (const length of oddLengths) {
      const set = setSeal('a'.repeat(length), settings, undefined, rotated);
      if (!set) continue;
      const { status } = await fetch(server.url, { headers: { ...headers, cookie: cookieHeader(set) } });
      if (status !== 200) refused.push(length);
    }
    expect(refused).toEqual([]);
  });

  it('may go out as large as it has come in', () => {
    const [large, larger] = ['a'.repeat(9_000), 'a'.repeat(9_001)];
    const brought = cookieHeader(setSeal(large, settings, undefined, true)!);
    expect(setSeal(large, settings, undefined)).toBeUndefined();
    expect(sealCandidates(cookieHeader(setSeal(large, settings, brought)!), settings.name)).toContain(large);
    expect(setSeal(larger, settings, brought)).toBeUndefined();
  });
});
