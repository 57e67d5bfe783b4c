// The provider, in a process of its own on a loopback port: keys, metadata, and a refresh that is answered after a
// while. Counts what comes to it.
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

import { exportJWK, exportPKCS8, generateKeyPair } from 'jose';

import { processArgs, serveProcess } from './processes.js';
import { visitors } from './visitor.js';
import { clientId } from './world.js';

const { delayMs = 0 } = processArgs();
const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true });
const keys = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'bench', alg: 'RS256', use: 'sig' }] });
const key = await exportPKCS8(privateKey);

const successors = new Map();
const counts = { refreshes: 0, connections: 0, mostConnections: 0 };

const server = createServer(async (req, res) => {
  res.setHeader('content-type', 'application/json');
  if (req.url.startsWith('/.well-known')) res.end(metadata());
  else if (req.url === '/user_management/authenticate') await refresh(req, res);
  else res.end(keys);
});
server.on('connection', (socket) => {
  counts.connections += 1;
  counts.mostConnections = Math.max(counts.mostConnections, counts.connections);
  socket.once('close', () => {
    counts.connections -= 1;
  });
});
// The queue of connections that were not accepted yet: with the usual 511, the system would refuse the rest of a storm
// for a second, and the bench would measure that.
server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 }, async () => {
  const mint = await visitors({ url: urlOf(), key });
  serveProcess(
    { url: urlOf(), key },
    {
      // Signing takes longer than all else here, so it is done beforehand.
      async prepare({ count }) {
        for (let number = 0; number < count; number += 1) {
          const { accessToken } = await mint(number);
          successors.set(`refresh_${number}`, { access_token: accessToken, refresh_token: `next_${number}` });
        }
      },
      // Counting begins anew, without the connections that somebody has kept from before.
      async counts() {
        const { refreshes, mostConnections } = counts;
        server.closeIdleConnections();
        await sleep(100);
        Object.assign(counts, { refreshes: 0, mostConnections: counts.connections });
        return { refreshes, mostConnections };
      },
    },
  );
});

const urlOf = () => `http://127.0.0.1:${server.address().port}`;

function metadata() {
  const issuer = urlOf();
  return JSON.stringify({
    issuer,
    authorization_endpoint: `${issuer}/authorize`,
    token_endpoint: `${issuer}/token`,
    jwks_uri: `${issuer}/sso/jwks/${clientId}`,
    response_types_supported: ['code', 'id_token'],
    id_token_signing_alg_values_supported: ['RS256'],
    subject_types_supported: ['public'],
  });
}

async function refresh(req, res) {
  counts.refreshes += 1;
  const { refresh_token: token } = JSON.parse(Buffer.concat(await req.toArray()).toString());
  await sleep(delayMs);
  const tokens = successors.get(token);
  res.statusCode = tokens ? 200 : 400;
  // The same pair for the same token, as from WorkOS.
  res.end(JSON.stringify(tokens ? { ...tokens, organization_id: 'org_01' } : { error: 'invalid_grant' }));
}
