// The steps of a first sight, each alone before one route. Between two requests a step costs more than in a loop, which
// keeps it in the processor's caches, and it makes what follows cost more. They are measured with `--only steps`.
import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  generateKeyPairSync,
  hash,
  randomBytes,
  sign,
  verify,
} from 'node:crypto';
import { deflateRawSync, inflateRawSync } from 'node:zlib';

import { claimsOf, user } from './world.js';

async function makeSteps() {
  const { dictionary1: dictionary } = await import('../dist/seal/compact-dictionary.js');
  const claims = JSON.stringify({ ...claimsOf(1), iss: 'http://localhost', sub: user.id, iat: 1, exp: 2 });
  const fields = JSON.stringify({ user, organizationId: 'org_01', sessionId: 'session-1', startedAt: 1, sealedAt: 1 });
  const deflated = deflateRawSync(claims + fields, { level: 9, dictionary });

  const [rootAndSalt, iv, context] = [randomBytes(48), randomBytes(12), Buffer.from('c1.and-the-binding-of-these')];
  const keyOf = () => createSecretKey(hash('sha256', rootAndSalt, 'buffer'));
  const options = { authTagLength: 16 };
  const cipher = createCipheriv('aes-256-gcm', keyOf(), iv, options).setAAD(context);
  const encrypted = Buffer.concat([cipher.update(randomBytes(300)), cipher.update(deflated), cipher.final()]);
  const tag = cipher.getAuthTag();

  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const signed = Buffer.from(randomBytes(500).toString('base64url'));
  const signature = sign('sha256', signed, privateKey);

  const steps = {
    read: () => undefined,
    decode: (value) => {
      const letters = value.slice(3);
      return Buffer.from(letters, 'base64url').toString('base64url') === letters;
    },
    derive: keyOf,
    decrypt: () => {
      const decipher = createDecipheriv('aes-256-gcm', steps.key, iv, options);
      decipher.setAAD(context).setAuthTag(tag);
      return decipher.update(encrypted) && decipher.final();
    },
    inflate: () => inflateRawSync(deflated, { dictionary, maxOutputLength: 131_072, chunkSize: 1_024 }),
    parse: () => [JSON.parse(claims), JSON.parse(fields)],
    verify: () => verify('sha256', signed, publicKey, signature),
    key: keyOf(),
  };
  return steps;
}

/** Layers of one or several of these steps. */
export function stepLayers({ cookie, valueOf, name, answer }) {
  const layer = (...wanted) => ({
    async mount(app) {
      const steps = await makeSteps();
      const run = wanted.map((each) => steps[each]);
      app.use((req, res, next) => {
        const value = valueOf(req, name);
        for (const step of run) step(value);
        next();
      });
      app.get('/', (req, res) => answer(res, user.id));
    },
    cookie,
    isStep: true,
  });
  return {
    'read the cookie': layer('read'),
    '  and decode it': layer('read', 'decode'),
    '  and derive a key': layer('read', 'derive'),
    '  and decrypt 440 bytes': layer('read', 'decrypt'),
    '  and inflate a session': layer('read', 'inflate'),
    '  and parse a session': layer('read', 'parse'),
    '  and verify RS256': layer('read', 'verify'),
    '  and all but verify': layer('read', 'decode', 'derive', 'decrypt', 'inflate', 'parse'),
    '  and all of these': layer('read', 'decode', 'derive', 'decrypt', 'inflate', 'parse', 'verify'),
  };
}
