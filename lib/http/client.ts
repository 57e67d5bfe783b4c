import type { IncomingMessage } from 'node:http';

/**
 * A few bits about the client, to tell a copied seal by: the browser's engine, and whether it is a phone. They stay the same
 * over versions, and say of a visitor no more than that.
 */
export function clientOf({ headers }: IncomingMessage): string {
  const agent = headers['user-agent'] ?? '';
  const isMobile = headers['sec-ch-ua-mobile'] === '?1' || /\bMobi|\bAndroid\b/.test(agent);
  return `${engineOf(agent)}${isMobile ? ' mobile' : ''}`;
}

// Blink names WebKit too, and all of them name Mozilla.
function engineOf(agent: string): string {
  if (/(Chrome|Chromium)\//.test(agent)) return 'blink';
  if (/\bAppleWebKit\//.test(agent)) return 'webkit';
  if (/\bGecko\/\d/.test(agent)) return 'gecko';
  return 'other';
}
