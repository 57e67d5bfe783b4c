import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { decodeProtectedHeader, type FlattenedJWSInput, type JWTHeaderParameters } from 'jose';

import { KeyNotPublished, type KeySet, keySet } from '../../../lib/token/key-set.js';
import { isProviderFailure } from '../../../lib/wire/failure.js';
import { createEndpoint, type Endpoint } from '../../support/endpoint.js';
import { listen, type Listening } from '../../support/http-server.js';
import { createSigner } from '../../support/signer.js';

let signer: Awaited<ReturnType<typeof createSigner>>;
let endpoint: Endpoint;
let server: Listening;
let keys: KeySet;
beforeEach(async () => {
  signer = await createSigner();
  endpoint = createEndpoint(() => ({ status: 200, body: signer.jwks() }));
  server = await listen((req, res) => void endpoint.handle(req, res));
  keys = keySet(server.url);
});
afterEach(() => server.close());

/** What becomes of a token that was issued just now. */
async function lookUp(token: string): Promise<'found' | 'not published' | 'cannot tell'> {
  const [header = '', payload = '', signature = ''] = token.split('.');
  const input: FlattenedJWSInput = { protected: header, payload, signature };
  try {
    await keys.find(decodeProtectedHeader(token) as JWTHeaderParameters, input, Date.now());
    return 'found';
  } catch (error) {
    if (error instanceof KeyNotPublished) return 'not published';
    if (isProviderFailure(error)) return 'cannot tell';
    throw error;
  }
}

describe('a key set', () => {
  it('is fetched once a second at most, whatever keys strangers invent', async () => {
    const good = await signer.sign({});
    expect(await lookUp(good)).toBe('found');
    const invented = await Promise.all(Array.from({ length: 20 }, () => signer.forge.unknownKey({})));
    expect(await lookUp(invented[0]!)).toBe('not published');
    expect(endpoint.requests).toHaveLength(2);
    // Of the others it cannot be told whether they were published since, until it is fetched again: once for all of them.
    const others = await Promise.all(invented.slice(1).map(lookUp));
    expect(new Set(others)).toEqual(new Set(['not published']));
    expect(endpoint.requests).toHaveLength(3);
    // Of the one that came last, it was told a moment ago.
    expect(await lookUp(invented.at(-1)!)).toBe('not published');
    expect(endpoint.requests).toHaveLength(3);
    expect(await lookUp(good)).toBe('found');
  });

  it('finds a key that was published since', async () => {
    const [old, invented, before] = [await signer.sign({}), await signer.forge.unknownKey({}), signer.jwks()];
    await signer.rotate({ keepOld: false });
    const token = await signer.sign({});
    endpoint.reply = () => before;
    await lookUp(old);
    await lookUp(invented);
    endpoint.heal();
    expect(await lookUp(token)).toBe('found');
    expect(endpoint.requests).toHaveLength(3);
  });

  it('says that it cannot tell of an unknown key, while the set cannot be had', async () => {
    await lookUp(await signer.sign({}));
    endpoint.fail('reset');
    expect(await lookUp(await signer.forge.unknownKey({}))).toBe('cannot tell');
  });
});
