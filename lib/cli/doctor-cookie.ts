import { isLoopback } from '../checks.js';
import type { Config } from '../options/config.js';
import { bad, type Finding, good, notice, unknown } from './finding.js';

/** What browsers will do with the cookie, by their rules. */
export function checkCookie({ carrier, routes }: Config, origins: readonly string[]): readonly Finding[] {
  const { name, domain, path, sameSite, secure } = carrier.cookie;
  const { site } = routes;
  const findings: Finding[] = [];
  const said = [`SameSite=${sameSite}`, secure ? 'Secure' : 'not Secure', `path ${path}`, domain && `domain ${domain}`];
  findings.push(good('cookie', `${name}: ${said.filter(Boolean).join(', ')}.`));
  if (!site) {
    findings.push(
      notice(
        'cookie',
        'Without baseUrl nothing can be said about the host.',
        'Set baseUrl to the origin that browsers show.',
      ),
    );
    return findings;
  }
  for (const origin of origins) {
    const { hostname, protocol } = new URL(origin);
    if (isLoopback(hostname)) {
      findings.push(
        notice(
          'cookie',
          `${origin} is this machine. All ports of it share their cookies.`,
          'For other people, set baseUrl to the origin that they see. Beside other apps here, set cookie.name.',
        ),
      );
    } else if (protocol === 'https:' && !secure) {
      findings.push(bad('cookie', `It travels in clear, although ${origin} is https.`, 'Leave cookie.secure out.'));
    }
    if (domain !== undefined && hostname !== domain && !hostname.endsWith(`.${domain}`)) {
      findings.push(
        bad(
          'cookie',
          `Browsers refuse the domain ${domain} from ${hostname}.`,
          'Leave cookie.domain out, or name a parent of the host.',
        ),
      );
    }
  }
  if (sameSite === 'strict') {
    findings.push(
      notice(
        'cookie',
        'With SameSite=strict, who comes from a link elsewhere seems signed out on the first page.',
        "Use 'lax', which is the default.",
      ),
    );
  }
  if (path !== '/' && !`${site.publicBase}/`.startsWith(path.endsWith('/') ? path : `${path}/`)) {
    findings.push(
      bad(
        'cookie',
        `Its path ${path} does not cover ${site.publicBase || '/'}, where the app is.`,
        'Leave cookie.path out.',
      ),
    );
  }
  return findings;
}

/** Asks the app itself to begin a sign-in, as a browser would: what is between may change hosts, paths and cookies. */
export async function checkSite({ routes, carrier }: Config, origins: readonly string[]): Promise<readonly Finding[]> {
  const { site, paths } = routes;
  const [origin] = origins;
  if (!site || origin === undefined || paths.login === undefined) return [];
  const url = `${origin}${site.publicBase}${paths.login}`;
  let response: Response;
  try {
    response = await fetch(url, {
      redirect: 'manual',
      signal: AbortSignal.timeout(5_000),
      headers: { accept: 'text/html' },
    });
  } catch {
    return [
      unknown(
        'sign-in',
        `${url} cannot be reached from here, so its answers were not looked at.`,
        'Start the app, or run this where browsers are.',
      ),
    ];
  }
  const location = response.headers.get('location');
  if (response.status < 300 || response.status >= 400 || location === null || !URL.canParse(location)) {
    return [
      bad(
        'sign-in',
        `${url} answers ${response.status}, and does not lead to the provider.`,
        'Mount sessions.routes(), and have the proxy hand on the path and the Host header.',
      ),
    ];
  }
  const asked = new URL(location).searchParams.get('redirect_uri');
  const expected = `${origin}${site.publicBase}${paths.callback ?? ''}`;
  if (asked !== null && asked !== expected) {
    return [
      bad(
        'sign-in',
        `The provider is told to send visitors back to ${asked}, not to ${expected}.`,
        'Set baseUrl to the origin that browsers show, and start the app with it.',
      ),
    ];
  }
  const cookies = response.headers.getSetCookie();
  if (cookies.length === 0) {
    return [
      bad(
        'sign-in',
        `${url} sets no cookie, so the callback will find no sign-in.`,
        'Have the proxy or the cache hand on Set-Cookie.',
      ),
    ];
  }
  if (carrier.cookie.secure && !cookies.every((cookie) => /;\s*secure/i.test(cookie))) {
    return [bad('sign-in', `${url} sets a cookie without Secure.`, 'Find what changes Set-Cookie on the way.')];
  }
  return [good('sign-in', `${url} leads to the provider. Register ${expected} there.`)];
}
