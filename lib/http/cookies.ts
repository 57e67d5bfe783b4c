/** The session cookie's settings; see `SessionOptions.cookie`. */
export interface CookieSettings {
  readonly name: string;
  readonly domain: string | undefined;
  readonly path: string;
  readonly sameSite: 'lax' | 'strict' | 'none';
  readonly secure: boolean;
  /** Seconds; undefined for a cookie that ends with the browser. */
  readonly maxAge: number | undefined;
  readonly partitioned: boolean;
  readonly priority: 'low' | 'medium' | 'high' | undefined;
}

/** One `Set-Cookie` header. */
export interface SetCookie {
  readonly name: string;
  readonly header: string;
}

/**
 * Every value that a `Cookie` header has for a name. There can be several: a sibling subdomain, or an earlier version
 * of the app, may have set one with another domain or path, and the browser sends both without saying which is which.
 */
export function cookieValues(header: string | undefined, name: string): string[] {
  return encodedValues(header, name).map(decode);
}

function encodedValues(header: string | undefined, name: string): string[] {
  if (header === undefined) return [];
  const values: string[] = [];
  const start = `${name}=`;
  // Only the pairs that may be meant are cut out: in a long header the rest is the larger part.
  for (let at = header.indexOf(start); at !== -1;) {
    const next = header.indexOf(';', at);
    const end = next === -1 ? header.length : next;
    const before = header.slice(header.lastIndexOf(';', at) + 1, at);
    if (trimmed(before) === '') values.push(unquoted(trimmed(header.slice(at + start.length, end))));
    at = header.indexOf(start, end);
  }
  return values;
}

/**
 * Without space and tab at the ends, which is all that may stand around a cookie (RFC 6265 section 5.2). `trim()` takes
 * more, such as a no-break space: a cookie of another name would be taken for ours.
 */
export function trimmed(text: string): string {
  let [from, to] = [0, text.length];
  while (from < to && isBlank(text, from)) from += 1;
  while (to > from && isBlank(text, to - 1)) to -= 1;
  return text.slice(from, to);
}

function isBlank(text: string, at: number): boolean {
  const letter = text.charCodeAt(at);
  return letter === 0x20 || letter === 0x09;
}

function unquoted(value: string): string {
  return value.startsWith('"') ? value.replace(/^"(.*)"$/, '$1') : value;
}

function decode(value: string): string {
  // Iron's alphabet needs no encoding; base64 does, and other writers apply it.
  if (!value.includes('%')) return value;
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

// A browser ignores a cookie whose name and value are longer together (RFC 6265bis section 5.7). The attributes are
// counted in as well: some browsers and proxies do, and a proxy may add one.
const maxCookieBytes = 4_096;
// iron-session reads and writes as many pieces.
const maxPieces = 4;
// The next request brings them all in one `Cookie` header, with whatever else is in it. What the app asks to be written
// is to fit behind nginx, which takes 8 KiB; tokens that the provider has rotated are not given up while Node takes them,
// which is up to 16 KiB.
const maxTotalBytes = 7_680;
const maxRotatedBytes = 12_288;

// How many values of a piece are tried, and how many runs of pieces: enough to find a session beside junk of a sibling
// subdomain, and bounded whatever comes.
const maxValuesOfPiece = 3;
const maxRuns = 16;

/**
 * What a request's cookies may have been written as: each value of the name, then the value that was split into
 * `name.0`, `name.1` and so on. A piece that an earlier, longer value has left over makes no difference, nor does one
 * that a sibling subdomain has planted: every run of pieces from the first on is a candidate, and only the right one
 * opens. The longest come first.
 */
export function sealCandidates(header: string | undefined, name: string): string[] {
  const whole = cookieValues(header, name);
  if (!header?.includes(`${name}.0=`)) return whole;
  const runs: string[] = [];
  let longest = [''];
  for (const piece of pieceNames(name)) {
    const values = [...new Set(encodedValues(header, piece))].slice(0, maxValuesOfPiece);
    longest = longest.flatMap((run) => values.map((value) => run + value)).slice(0, maxRuns);
    if (longest.length === 0) break;
    runs.unshift(...longest);
  }
  // Decoded as a whole: the cut may be inside an escape such as `%2F`.
  return [...whole, ...runs.map(decode)];
}

/**
 * The `Set-Cookie` headers for a seal: one cookie, or pieces of it where a browser would drop one so long without a
 * word. With them go removals of what the browser has of another length. What has come in may go out again.
 *
 * @returns undefined when it is larger than what servers take back
 */
export function setSeal(
  seal: string,
  settings: CookieSettings,
  requestCookies: string | undefined,
  rotated = false,
): SetCookie[] | undefined {
  const value = encodeURIComponent(seal);
  const whole = setCookie(value, settings);
  const names = pieceNames(settings.name);
  if (whole.length <= maxCookieBytes) {
    return [{ name: settings.name, header: whole }, ...clearPresent(names, settings, requestCookies)];
  }
  const broughtBytes = Math.max(
    0,
    ...sealCandidates(requestCookies, settings.name).map((each) => encodeURIComponent(each).length),
  );
  if (value.length > Math.max(broughtBytes, rotated ? maxRotatedBytes : maxTotalBytes)) return undefined;
  const room = maxCookieBytes - setCookie('', { ...settings, name: names[0] ?? '' }).length;
  const pieces = value.match(new RegExp(`.{1,${room}}`, 'g')) ?? [];
  if (pieces.length > maxPieces) return undefined;
  return [
    ...pieces.map((piece, index) => {
      const name = names[index] ?? '';
      return { name, header: setCookie(piece, { ...settings, name }) };
    }),
    ...clearPresent([settings.name, ...names.slice(pieces.length)], settings, requestCookies),
  ];
}

/** The `Set-Cookie` headers that remove a session's cookie and what pieces of it the browser has. */
export function clearSeal(settings: CookieSettings, requestCookies: string | undefined): SetCookie[] {
  return [
    { name: settings.name, header: clearCookie(settings) },
    ...clearPresent(pieceNames(settings.name), settings, requestCookies),
  ];
}

function pieceNames(name: string): string[] {
  return Array.from({ length: maxPieces }, (_, index) => `${name}.${index}`);
}

function clearPresent(
  names: readonly string[],
  settings: CookieSettings,
  requestCookies: string | undefined,
): SetCookie[] {
  return names
    .filter((name) => cookieValues(requestCookies, name).length > 0)
    .map((name) => ({ name, header: clearCookie({ ...settings, name }) }));
}

/** A `Set-Cookie` header. `HttpOnly` is always on: no script needs the seal. `value` is encoded already. */
export function setCookie(value: string, settings: CookieSettings): string {
  const { name, domain, path, sameSite, secure, maxAge, partitioned, priority } = settings;
  return [
    `${name}=${value}`,
    `Path=${path}`,
    ...(domain === undefined ? [] : [`Domain=${domain}`]),
    ...(maxAge === undefined ? [] : [`Max-Age=${maxAge}`]),
    'HttpOnly',
    ...(secure ? ['Secure'] : []),
    `SameSite=${capitalized(sameSite)}`,
    ...(partitioned ? ['Partitioned'] : []),
    ...(priority === undefined ? [] : [`Priority=${capitalized(priority)}`]),
  ].join('; ');
}

function capitalized(word: string): string {
  return `${word.charAt(0).toUpperCase()}${word.slice(1)}`;
}

/** A `Set-Cookie` header that removes the cookie: browsers compare name, domain and path. */
export function clearCookie(settings: CookieSettings): string {
  return `${setCookie('', { ...settings, maxAge: 0 })}; Expires=Thu, 01 Jan 1970 00:00:00 GMT`;
}
