import { afterEach, describe, expect, it } from '@jest/globals';
import { compactSealer, createSessionManager, oidc, rubySealer, type SessionOptions } from 'express-sealed-session';

import { fingerprint } from '../../lib/fingerprint.js';
import { passwordCheck } from '../../lib/seal/passwords.js';
import { useClock } from '../support/clock.js';
import { commandLine, type Run, withConfig } from '../support/command-line.js';
import { listen } from '../support/http-server.js';
import { useWorkos } from '../support/use-workos.js';
import { answers } from '../support/workos-server.js';
import { expired, password, sealedSession, workosOptions } from '../support/workos-session.js';

const clock = useClock();
const workos = useWorkos();
const env = { SESSION_PASSWORD: password };

async function withOptions(args: string[], options: unknown, given: Run = {}) {
  (globalThis as { cliOptions?: unknown }).cliOptions = options;
  return commandLine([...args, ...withConfig], given);
}
afterEach(() => {
  delete (globalThis as { cliOptions?: unknown }).cliOptions;
});

describe('inspect', () => {
  it('shows what is in a cookie: times, sizes, fingerprints, and no secret', async () => {
    const { sealed, accessToken, refreshToken, sessionId } = await sealedSession(workos.server);
    const { out, code } = await commandLine(['inspect'], { stdin: `${sealed}\n`, env });
    expect(code).toBe(0);
    for (const part of [
      `${fingerprint(sealed)}, ${sealed.length} bytes`,
      /format +iron/,
      /password +the newest, id 1 in the seal/,
      sessionId,
      `${fingerprint(accessToken)} jwt RS256 of ${workos.server.url}`,
      /expires +\S+Z \(in 5 minutes\)/,
      `refresh token  ${fingerprint(refreshToken)}`,
      /started +\S+Z \(\d seconds ago\)/,
      /bytes by part +accessToken \d+, user \d+/,
    ]) {
      expect(out).toMatch(part);
    }
    for (const secret of [accessToken, refreshToken, 'one@example.com', 'user_01']) expect(out).not.toContain(secret);
  });

  it('prints JSON where no person reads', async () => {
    const { sealed } = await sealedSession(workos.server);
    const { out } = await commandLine(['inspect'], { stdin: sealed, env, isTerminal: false });
    const asked = await commandLine(['inspect', '--json'], { stdin: sealed, env });
    expect(JSON.parse(out)).toMatchObject({
      fingerprint: fingerprint(sealed),
      format: 'iron',
      passwordIndex: 0,
      contents: { isBound: true, hasUser: true, refreshToken: { bytes: 32 } },
      verdict: { answer: 'cannot_tell' },
    });
    expect(asked.out).toBe(out);
  });

  it.each([
    ['a pair', (seal: string) => `wos-session=${seal}`],
    ['a whole header', (seal: string) => `Cookie: theme=dark; wos-session=${seal}; lang=en`],
    ['a header of curl', (seal: string) => `-H 'cookie: a=b; wos-session=${seal}'`],
    ['a Set-Cookie', (seal: string) => `Set-Cookie: wos-session=${seal}; Path=/; HttpOnly; Secure`],
    ['a header with another name', (seal: string) => `Cookie: x=${'y'.repeat(10)}; other=${seal}`],
    ['pieces', (seal: string) => `wos-session.1=${seal.slice(300)}; wos-session.0=${seal.slice(0, 300)}`],
  ])('reads %s', async (_, paste) => {
    const { sealed } = await sealedSession(workos.server);
    const { out } = await commandLine(['inspect'], { stdin: paste(sealed), env, isTerminal: false });
    expect(JSON.parse(out)).toMatchObject({ fingerprint: fingerprint(sealed), verdict: { answer: 'cannot_tell' } });
  });

  it('names the cookie that is meant, where several are seals', async () => {
    const one = await sealedSession(workos.server);
    const other = await sealedSession(workos.server);
    const stdin = `Cookie: one=${one.sealed}; other=${other.sealed}`;
    const { out } = await commandLine(['inspect', '--name', 'other'], { stdin, env, isTerminal: false });
    expect(JSON.parse(out)).toMatchObject({ fingerprint: fingerprint(other.sealed) });
  });

  it.each([
    ['garbage', () => 'garbage', 'bad_shape'],
    ['a seal of another password', (seal: string) => seal, 'unknown_password'],
    [
      'a seal that was changed',
      (seal: string) => seal.replace(/.(?=.{5}~2$)/, (letter) => (letter === 'A' ? 'B' : 'A')),
      'tampered',
    ],
  ])('says why %s would be refused, with exit code 1', async (_, change, detail) => {
    const { sealed } = await sealedSession(workos.server);
    const wrong = 'x9'.repeat(20);
    const { out, code } = await commandLine(['inspect'], {
      stdin: change(sealed),
      env: detail === 'unknown_password' ? { SESSION_PASSWORD: wrong } : env,
    });
    expect(code).toBe(1);
    expect(out).toContain(`A request would be: refused (invalid_session_cookie, ${detail})`);
    // What the reference says of it.
    expect(out).toMatch(/What to do {2,}\S/);
  });

  it('takes several passwords, and says which one opened it', async () => {
    const { sealed } = await sealedSession(workos.server);
    const { out } = await commandLine(['inspect', '--password-env', 'NEW', '--password-env', 'OLD'], {
      stdin: sealed,
      env: { NEW: 'n3'.repeat(20), OLD: password },
    });
    expect(out).toMatch(/password +number 2 of the list, not the newest/);
  });

  it('says that a session without a refresh token is over', async () => {
    const { sealed } = await sealedSession(workos.server, expired, { refreshToken: undefined });
    const { out, code } = await commandLine(['inspect'], { stdin: sealed, env });
    expect(code).toBe(1);
    expect(out).toContain('none: the session ends with its access token');
    expect(out).toContain('refused (expired_jwt, no_refresh_token)');
  });

  describe('with the options of the app', () => {
    it('judges as a request would be judged, and refreshes nothing', async () => {
      const good = await sealedSession(workos.server);
      const old = await sealedSession(workos.server, expired);
      const options = workosOptions(workos.server);
      expect((await withOptions(['inspect'], options, { stdin: good.sealed })).out).toContain('would be: signed in');
      expect((await withOptions(['inspect'], options, { stdin: old.sealed })).out).toContain(
        'would be: signed in, after a refresh',
      );
      expect(workos.server.refreshCount).toBe(0);
    });

    it.each([
      ['its lifetime', 'session_expired, idle_lifetime', { lifetime: { idleSeconds: 60 } }],
      ['its issuer', 'invalid_jwt, other_issuer', {}],
    ] as [string, string, Partial<SessionOptions>][])('says that it is refused for %s', async (what, why, change) => {
      const options = workosOptions(workos.server, change);
      const claims = what === 'its issuer' ? { claims: { iss: 'https://other.example' } } : {};
      const { accessToken, refreshToken, user } = await workos.server.issueSession(claims);
      const seal = await createSessionManager(options).seal({ accessToken, refreshToken, user: { ...user } });
      clock.advance(120);
      const { out, code } = await withOptions(['inspect'], options, { stdin: seal });
      expect([out, code]).toEqual([expect.stringContaining(`refused (${why})`), 1]);
    });

    it('says that it cannot be told while the keys are away, and why', async () => {
      workos.server.keys.fail({ status: 404, body: {} });
      const { sealed } = await sealedSession(workos.server);
      const { out, code } = await withOptions(['inspect'], workosOptions(workos.server), { stdin: sealed });
      expect([out, code]).toEqual([
        expect.stringContaining('cannot be told (keys_unavailable, keys_not_fetched, http_404)'),
        0,
      ]);
    });

    it.each([
      ['compact 1', compactSealer],
      ['aes-gcm', rubySealer],
    ])('opens a seal of the format %s', async (format, sealer) => {
      const options = workosOptions(workos.server, { sealer: sealer() });
      const { accessToken, refreshToken, user } = await workos.server.issueSession();
      const seal = await createSessionManager(options).seal({ accessToken, refreshToken, user: { ...user } });
      const { out } = await withOptions(['inspect'], options, { stdin: seal });
      expect(out).toMatch(new RegExp(`format +${format}`));
      expect(out).toContain('would be: signed in');
    });
  });

  it.each([
    ['without a password', { stdin: 'x', env: {} }, 'Set SESSION_PASSWORD'],
    ['without a cookie', { stdin: ' ', env }, 'Standard input is empty'],
    ['with a header that has none', { stdin: 'Cookie: a=b; c=d', env }, 'No session cookie'],
  ])('asks for what is missing %s, with exit code 2', async (_, given, message) => {
    const { code, err, out } = await commandLine(['inspect'], given);
    expect([code, err, out]).toEqual([2, expect.stringContaining(message), '']);
  });

  it('does not take a cookie as an argument, and does not repeat it', async () => {
    const { sealed } = await sealedSession(workos.server);
    const { code, err } = await commandLine(['inspect', sealed], { env });
    expect([code, err]).toEqual([2, expect.stringContaining('standard input')]);
  });
});

describe('doctor', () => {
  const about = (out: string) =>
    (JSON.parse(out) as { about: string; status: string; message: string; mend?: string }[]).map(
      ({ about: what, status, message }) => `${what} ${status}: ${message}`,
    );

  it('finds nothing wrong with a set-up that works', async () => {
    const { out, code } = await withOptions(
      ['doctor'],
      { ...workosOptions(workos.server), baseUrl: 'http://localhost:1' },
      {
        isTerminal: false,
      },
    );
    expect(code).toBe(0);
    const found = about(out);
    for (const line of [
      'options good',
      'provider good',
      /^keys good: 1 at http.*Access tokens must name the issuer/,
      'clock good',
      'client good: The provider accepts its credentials',
      'sign-out good',
      'fleet notice',
      'cookie good: wos-session: SameSite=lax, not Secure, path /',
      'sign-in unknown: http://localhost:1/login cannot be reached',
    ]) {
      expect(found).toContainEqual(expect.stringMatching(line));
    }
  });

  it('names every problem of the options, without the values', async () => {
    const { out, code } = await withOptions(['doctor'], {
      ...workosOptions(workos.server),
      password: 'short',
      cookie: { path: 'x' },
    });
    expect(code).toBe(1);
    expect(out).toMatch(/bad +options +"password" must be/);
    expect(out).toMatch(/bad +options +"cookie.path"/);
    expect(out).toContain('2 bad');
  });

  it.each([
    [
      'a wrong API key',
      'client',
      () => {
        workos.server.token.fail(answers.unauthorized);
      },
      /refuses the client: 401/,
    ],
    [
      'a token endpoint that is no such thing',
      'client',
      () => {
        workos.server.token.fail(answers.notFound);
      },
      /404/,
    ],
    [
      'a token endpoint that does not answer',
      'client',
      () => {
        workos.server.token.fail('reset');
      },
      /does not answer \(ECONNRESET\)/,
    ],
    [
      'a key set that is not there',
      'keys',
      () => {
        workos.server.keys.fail({ status: 404, body: {} });
      },
      /http_404/,
    ],
    [
      'a key set without keys',
      'keys',
      () => {
        workos.server.keys.fail({ status: 200, body: { keys: [] } });
      },
      /no keys/,
    ],
  ])('finds %s', async (_, what, breakIt, message) => {
    breakIt();
    const { out, code } = await withOptions(['doctor'], workosOptions(workos.server), { isTerminal: false });
    expect(code).toBe(1);
    expect(about(out)).toContainEqual(expect.stringMatching(new RegExp(`^${what} bad: .*${message.source}`)));
  });

  it('finds a clock that is off', async () => {
    clock.advance(120);
    const { out, code } = await withOptions(['doctor'], workosOptions(workos.server), { isTerminal: false });
    expect(code).toBe(1);
    expect(about(out)).toContainEqual(
      expect.stringMatching(/^clock bad: The clock of this machine is 1(19|20|21) seconds ahead of/),
    );
  });

  it('finds an issuer that is not there', async () => {
    const provider = oidc({ issuer: 'http://localhost:1', clientId: 'c', clientSecret: 'secret-of-the-client' });
    const { out, code } = await withOptions(['doctor'], { provider, password }, { isTerminal: false });
    expect(code).toBe(1);
    expect(about(out)).toContainEqual(expect.stringContaining('provider bad: Nobody can sign in'));
  });

  it.each([
    [
      'a redirect URI of another origin',
      { location: '?redirect_uri=http://localhost:9/callback', cookie: 'f=1' },
      /send visitors back to/,
    ],
    ['a page in place of the sign-in', { location: undefined, cookie: 'f=1' }, /answers 200/],
    ['a proxy that drops cookies', { location: '', cookie: undefined }, /sets no cookie/],
  ])('finds %s, by asking the app itself', async (_, { location, cookie }, message) => {
    const app = workos.closing(
      await listen((req, res) => {
        if (cookie !== undefined) res.setHeader('Set-Cookie', cookie);
        if (location !== undefined) {
          const own = location || `?redirect_uri=http://${req.headers.host}/callback`;
          res.writeHead(302, { location: `https://id.example${own}` });
        }
        res.end();
      }),
    );
    const { out, code } = await withOptions(
      ['doctor'],
      { ...workosOptions(workos.server), baseUrl: app.url.replace('127.0.0.1', 'localhost') },
      { isTerminal: false },
    );
    expect(about(out)).toContainEqual(expect.stringMatching(new RegExp(`^sign-in bad: .*${message.source}`)));
    expect(code).toBe(1);
  });

  it('asks nobody with --offline', async () => {
    const { out, code } = await withOptions(['doctor', '--offline'], workosOptions(workos.server), {
      isTerminal: false,
    });
    expect([code, workos.server.keyRequests.length, workos.server.tokenRequests.length]).toEqual([0, 0, 0]);
    expect(about(out).every((line) => /^(options|cookie) /.test(line))).toBe(true);
  });

  it('has colours on a terminal that has them, and none elsewhere', async () => {
    const options = workosOptions(workos.server);
    const args = ['doctor', '--offline'];
    expect((await withOptions(args, options, { hasColour: true })).out).toContain('\u001B[32mgood');
    expect((await withOptions(args, options)).out).not.toContain('\u001B[');
  });

  it('says what a module must export', async () => {
    const { code, err } = await withOptions(['doctor'], 'what withSession() returns');
    expect([code, err]).toEqual([2, expect.stringContaining('must export the options')]);
    const missing = await commandLine(['doctor', '--config', 'no-such-file.js']);
    expect([missing.code, missing.err]).toEqual([2, expect.stringContaining('no-such-file.js cannot be loaded')]);
  });
});

describe('explain', () => {
  it.each([
    ['ERR_SESSION_UNAVAILABLE', 'Codes'],
    ['invalid_grant', 'Reasons'],
    ['unknown_password', 'Seal problems'],
    ['no_refresh_token', 'Misconfigurations'],
    ['refreshFailed', 'The events'],
    ['err_session_required', 'Codes'],
  ])('says what %s means', async (name, kind) => {
    const { out, code } = await commandLine(['explain', name]);
    expect(code).toBe(0);
    expect(out).toContain(kind);
    // Plain text: no links, no backticks.
    expect(out).not.toMatch(/\]\(|`|\*\*/);
    const { out: json } = await commandLine(['explain', name], { isTerminal: false });
    expect(JSON.parse(json)).toContainEqual(expect.objectContaining({ kind }));
  });

  it('says all that a name means', async () => {
    // A misconfiguration and a detail.
    const { out } = await commandLine(['explain', 'no_refresh_token'], { isTerminal: false });
    expect(JSON.parse(out)).toHaveLength(2);
  });

  it('lists every name without one', async () => {
    const { out, code } = await commandLine(['explain']);
    expect(code).toBe(0);
    expect(out).toMatch(/Reasons +no_session_cookie_provided/);
  });

  it('suggests names, with exit code 1', async () => {
    const { code, err } = await commandLine(['explain', 'ERR_SESSION_UNAVAILABL']);
    expect([code, err]).toEqual([1, expect.stringContaining('ERR_SESSION_UNAVAILABLE')]);
  });
});

it('generate-password makes a new one each time, that the option takes', async () => {
  const [one, other] = [await commandLine(['generate-password']), await commandLine(['generate-password'])];
  expect([one.code, passwordCheck(one.out)]).toEqual([0, undefined]);
  expect(one.out).not.toBe(other.out);
});

it.each([
  [[], 2, 'out', 'Usage:'],
  [['--help'], 0, 'out', 'Exit codes'],
  [['inspct'], 2, 'err', 'no such command'],
  [['doctor'], 2, 'err', '--config'],
  [['explain', 'one', 'other'], 2, 'err', 'too many arguments'],
  [['generate-password', '--length', '8'], 2, 'err', 'not known here'],
] as const)('called with %j it ends with exit code %i', async (args, code, where, words) => {
  const ran = await commandLine(args);
  expect([ran.code, ran[where]]).toEqual([code, expect.stringContaining(words)]);
});
