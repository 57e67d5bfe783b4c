import type { RefreshSource } from '../events.js';
import { failureReason } from '../wire/failure.js';
import type { Provider } from '../provider/provider.js';
import { send } from '../wire/token-endpoint.js';
import type { Sealing } from '../seal/sealer.js';
import { type SessionPayload, succeed } from '../session/payload.js';
import { withExpiry } from '../token/access-token.js';
import { type Coordinator, nameOf, type Outcome, secretOf } from './coordinator.js';
import { withBreaker } from './breaker.js';
import { judge, type Terminal, type Transient } from './outcome.js';

/** What a refresh needs to know of the options. */
export interface RenewalSettings extends Sealing<SessionPayload> {
  readonly provider: Provider;
  readonly coordinator: Coordinator;
  readonly graceMs: number;
  readonly budgetMs: number;
  readonly waitMs: number;
  /** What of a new session is sealed. */
  readonly shape: (payload: SessionPayload) => SessionPayload;
}

export interface RenewalRequest {
  /** Switches the session to this organization. Default: the session's own. */
  readonly organizationId?: string | undefined;
  /** Whether to wait for a refresh that somebody else is running; if not, the answer may be `elsewhere`. */
  readonly wait?: boolean;
}

export type Renewal =
  | {
      readonly kind: 'refreshed';
      readonly payload: SessionPayload;
      readonly sealed: string;
      readonly source: RefreshSource;
      readonly startedMs: number;
    }
  | Terminal
  | Transient
  | { readonly kind: 'elsewhere' };

// A request whose token is still valid waits for its renewal this long, so as to carry the new cookie; then it goes on
// without, and the next request finds the renewal done.
const aheadWaitMs = 1_000;

/** Trades the payload's refresh token for new tokens: once, however many ask at the same time. What fails is a value. */
export async function renew(
  settings: RenewalSettings,
  payload: SessionPayload & { readonly refreshToken: string },
  request: RenewalRequest = {},
): Promise<Renewal> {
  const { provider, coordinator, graceMs, budgetMs } = settings;
  let organizationId: string | undefined;
  try {
    organizationId = request.organizationId ?? (await organizationOf(provider, payload));
  } catch (error) {
    return { kind: 'transient', reason: failureReason(error) };
  }
  const variant = organizationId ?? '';
  const startedMs = Date.now();
  let current = payload;

  // Each turn but the last finds that the token has been spent for another organization and takes its successor.
  for (let turn = 0; turn < 5; turn += 1) {
    const ticket = {
      key: nameOf(provider, current.refreshToken),
      secret: secretOf(provider, current.refreshToken),
      variant,
      accessToken: current.accessToken,
      graceMs,
      budgetMs,
      wait: request.wait ?? true,
    };
    const lead = () => runGrant(settings, current, organizationId);
    const waitMs = ticket.wait ? settings.waitMs : Math.min(settings.waitMs, aheadWaitMs);
    const led = await atMost(waitMs, coordinator.refresh(ticket, lead));
    if (led === 'late') return { kind: 'transient', reason: 'timeout' };
    if (led === undefined) return { kind: 'elsewhere' };
    const { outcome, source } = led;
    if (outcome.kind !== 'refreshed') return outcome;
    if (led.variant === variant) {
      // The app's own values are this cookie's, not those of whoever was first.
      const sameData = JSON.stringify(outcome.session.data) === JSON.stringify(payload.data);
      const session = sameData ? outcome.session : { ...outcome.session, data: payload.data };
      const reusable = sameData && outcome.sealedUnder === settings.sealedUnder;
      return {
        kind: 'refreshed',
        payload: session,
        sealed: reusable ? outcome.sealed : await settings.seal(session),
        source,
        startedMs,
      };
    }
    const { refreshToken } = outcome.session;
    if (refreshToken === undefined) break;
    current = { ...outcome.session, refreshToken };
  }
  return { kind: 'transient', reason: 'server_error' };
}

/** Asks the provider, and seals what it gives at once: nothing that fails later may lose what it has rotated. */
async function runGrant(
  { provider, budgetMs, shape, seal, sealedUnder }: RenewalSettings,
  payload: SessionPayload & { readonly refreshToken: string },
  organizationId: string | undefined,
): Promise<Outcome> {
  try {
    const request = await provider.refreshRequest({ refreshToken: payload.refreshToken, organizationId });
    const judgement = await withBreaker(provider.id, async () => {
      const answer = await send(request, { budgetMs, mayRepeat: provider.refreshTokens === 'reusable' });
      return judge(answer, provider, payload);
    });
    if (judgement.kind !== 'tokens') return judgement;
    const tokens = await withExpiry(provider, judgement.tokens);
    const session = shape(succeed(payload, tokens, Date.now()));
    const successorKey = session.refreshToken && nameOf(provider, session.refreshToken);
    return { kind: 'refreshed', session, sealed: await seal(session), sealedUnder, successorKey };
  } catch (error) {
    return { kind: 'transient', reason: failureReason(error) };
  }
}

async function organizationOf(provider: Provider, payload: SessionPayload): Promise<string | undefined> {
  // Awaited for an `async` method: a rejection that is not handled ends the process.
  return provider.organizationOf ? Promise.resolve(provider.organizationOf(payload)) : payload.organizationId;
}

/** Waits for `work` no longer than this. The work itself goes on: its result is for whoever comes next. */
async function atMost<Value>(ms: number, work: Promise<Value>): Promise<Value | 'late'> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(resolve, ms, 'late');
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
